"""Traffic against plain loops over crossbars, copies and routers, and by hand."""

import random
from pathlib import Path

import onnx
import pytest

import hw_models
from bsc.chip.performance import ChipComparison, chip_comparison
from bsc.compiler.driver import compile_model
from bsc.compiler.options import CompileOptions, MappingOptions, Placing, resolve
from bsc.cost.compare import compare
from bsc.hardware.target import Target
from bsc.plan.document import Plan
from bsc.testing import random_weights, save, tiny_model
from tests.bsc.chip.networks import attention, branch, chain, dense, residual
from tests.bsc.chip.traffic_by_loops import Baseline, Chip, traffic
from tests.bsc.plans import ISAAC

LAWS = hw_models.laws()


def small(crossbars: int, imas: int, tiles: int, shared: int) -> Target:
    """ISAAC with few crossbars of 16x16 cells, so that small models fill several chips."""
    counts = (crossbars, imas, tiles, None)
    levels = [level.model_copy(update={"count": count}) for level, count in zip(ISAAC.level, counts, strict=True)]
    mesh = levels[2].link["mesh"].model_copy(update={"shared_by": shared})
    levels[2] = levels[2].model_copy(update={"link": {**levels[2].link, "mesh": mesh}})
    crossbar = ISAAC.crossbar.model_copy(update={"rows": 16, "cols": 16})
    return ISAAC.model_copy(update={"level": tuple(levels), "crossbar": crossbar})


def placed(model: onnx.ModelProto, target: Target, folder: Path, **options: object) -> tuple[Plan, ChipComparison]:
    """A plan, and what chips do with it."""
    found = resolve(MappingOptions(placing=Placing(**options)), target, LAWS["isaac"])  # type: ignore[arg-type]
    path = save(model, folder / "model.onnx")
    plan = compile_model(path, target, CompileOptions(pipeline=found.pipeline)).plan
    assert plan is not None
    return plan, chip_comparison(plan.mapping, target, compare(plan.mapping, target, LAWS["isaac"], LAWS))


def random_network(seed: int) -> onnx.ModelProto:
    """Convolutions with strides, dilations, pooling and residual blocks, and a head; some weights are zero."""
    draw = random.Random(seed)
    body, weights, x, channels, width = "", {}, "x", draw.randint(1, 5), draw.randint(7, 12)
    head = f"(float[N,{channels},{width},{width}] x) => (float[N,5] y)"
    for at in range(draw.randint(2, 4)):
        outs, kernel = draw.choice([4, 12, 20]), draw.choice([1, 3])
        stride, dilation = draw.choice([1, 1, 2]), draw.choice([1, 1, 2])
        pads = (kernel - 1) * dilation // 2
        weights[f"w{at}"] = random_weights(outs, channels, kernel, kernel, seed=at)
        weights[f"w{at}"][:, draw.randrange(channels)] = 0
        shape = f"strides = [{stride}, {stride}], dilations = [{dilation}, {dilation}]"
        body += f"[c{at}] a{at} = Conv <pads = [{pads}, {pads}, {pads}, {pads}], {shape}> ({x}, w{at})\n"
        body += f"r{at} = Relu (a{at})\n"
        x, channels, width = f"r{at}", outs, (width - 1) // stride + 1
        if draw.random() < 0.6:  # a residual block
            weights[f"v{at}"] = random_weights(channels, channels, 3, 3, seed=at + 10)
            body += f"[d{at}] b{at} = Conv <pads = [1, 1, 1, 1]> ({x}, v{at})\ns{at} = Add ({x}, b{at})\n"
            x = f"s{at}"
        if width > 3 and draw.random() < 0.4:
            body += f"p{at} = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> ({x})\n"
            x, width = f"p{at}", width // 2
    weights["u"] = random_weights(channels, 5)
    body += f"g = GlobalAveragePool ({x})\nf = Flatten (g)\n[head] y = Gemm (f, u)\n"
    return tiny_model(f"{head} {{ {body} }}", weights)


def agrees(plan: Plan, comparison: ChipComparison, chip: Chip) -> None:
    """The plan, the plan on a full chip, and both baselines carry what loops find."""
    cases: list[tuple[str, Baseline]] = [
        ("plan", None),
        ("filled", None),
        ("uniform", "differential"),
        ("offset", "offset"),
    ]
    for name, baseline in cases:
        found = getattr(comparison, name)
        judge = traffic(plan.mapping, found.placed, chip, baseline)
        assert dict(found.traffic.counters) == judge.rounded_up()
        ours = (found.traffic.mesh_bits, found.traffic.link_bits, found.traffic.bus_bits, found.traffic.buffer_bits)
        assert ours == pytest.approx(judge.busiest())


@pytest.mark.parametrize("seed", range(10))
def test_ten_random_models(seed: int, tmp_path: Path) -> None:
    draw = random.Random(100 + seed)
    chip = Chip(draw.choice([4, 8]), draw.choice([2, 3]), draw.choice([4, 6, 9]), draw.choice([1, 2, 4]))
    target = small(chip.crossbars, chip.imas, chip.tiles, chip.shared)
    policy = draw.choice(["none", "throughput", "latency"])
    plan, comparison = placed(random_network(seed), target, tmp_path, copies=policy, chips=draw.choice([0, 0, 12]))
    agrees(plan, comparison, chip)


@pytest.mark.parametrize("model", [chain, branch, residual, dense, attention])
def test_networks_of_every_kind(model: object, tmp_path: Path) -> None:
    chip = Chip(4, 2, 5, 2)
    target = small(chip.crossbars, chip.imas, chip.tiles, chip.shared)
    plan, comparison = placed(model(), target, tmp_path, copies="throughput")  # type: ignore[operator]
    agrees(plan, comparison, chip)


def test_by_hand(tmp_path: Path) -> None:
    """Two matrices of 16 x 16 on 8 crossbars each: one IMA, one tile, one router each."""
    weights = {"a": random_weights(16, 16), "b": random_weights(16, 16, seed=1)}
    model = tiny_model("(float[N,16] x) => (float[N,16] y) { h = MatMul (x, a)\n y = MatMul (h, b) }", weights)
    target = small(8, 1, 4, 1)
    _, comparison = placed(model, target, tmp_path)
    found = comparison.plan
    assert [each.crossbars_per_copy for each in found.placed.values()] == [8, 8]
    assert found.traffic is not None
    # 16 inputs come in over the edge to tile 0, go on to tile 1 through both routers, and out: 128 bits each time.
    assert found.traffic.counters == {
        "repeated_bits": 0,
        "partial_bits": 0,
        "merges": 0,
        "arriving_bits": 2 * 128,
        "router_bits": (1 + 2 + 1) * 128,
        "chip_link_bits": 2 * 128,
    }
    assert found.links_s["mesh"] == 128 / 32e9
    assert found.links_s["chip links"] == 256 / (4 * 51.2e9)
