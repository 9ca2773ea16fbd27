"""Traffic against plain loops over crossbars, copies and routers, and by hand."""

import random
from pathlib import Path

import onnx
import pytest

import hw_models
from bsc.chip.performance import ChipComparison, Performance, chip_comparison
from bsc.compiler.driver import compile_model
from bsc.compiler.options import CompileOptions, MappingOptions, Placing, resolve
from bsc.cost.compare import compare
from bsc.hardware.target import Target
from bsc.mapping.placement import Reloading
from bsc.plan.document import Plan
from bsc.replay.proofs import check_records
from bsc.testing import random_weights, save, tiny_model
from tests.bsc.chip.networks import attention, branch, chain, dense, residual
from tests.bsc.chip.traffic_by_loops import Baseline, Chip, traffic, traffic_in_segments
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
        ("raella", "raella"),
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


@pytest.mark.parametrize("seed", range(10))
def test_ten_random_models_in_segments(seed: int, tmp_path: Path) -> None:
    """On half of the tiles that they need, or a little more."""
    draw = random.Random(200 + seed)
    chip = Chip(draw.choice([4, 8]), draw.choice([2, 3]), draw.choice([4, 6, 9]), draw.choice([1, 2, 4]))
    target = small(chip.crossbars, chip.imas, chip.tiles, chip.shared)
    whole, _ = placed(random_network(seed), target, tmp_path)
    taken = [each.placed for each in whole.mapping.layers if each.placed is not None]
    per_tile = chip.crossbars * chip.imas
    need = -(-max(each.end_slot for each in taken) // per_tile)
    tiles = max(need // 2, *(-(-each.crossbars_per_copy // per_tile) for each in taken))
    reload = Reloading(batch=3, cell_s=1e-9, cell_j=1e-12, updates=1e6, device=None)
    policy = draw.choice(["none", "throughput"])
    plan, comparison = placed(random_network(seed), target, tmp_path, copies=policy, tiles=tiles, reload=reload)
    check_records(plan)
    assert len(comparison.plan.segments) > 1 or need <= tiles  # all is on one tile
    cases: list[tuple[Performance, Baseline]] = [
        (comparison.plan, None),
        (comparison.filled, None),
        (comparison.uniform, "differential"),
        (comparison.offset, "offset"),
    ]
    for found, baseline in cases:
        judged = traffic_in_segments(plan.mapping, found.placed, chip, baseline)
        parts = [each.traffic for each in found.segments] or [found.traffic]
        assert len(judged) == len(parts)
        for part, judge in zip(parts, judged, strict=True):
            assert part is not None
            assert dict(part.counters) == judge.rounded_up()
            ours = (part.mesh_bits, part.link_bits, part.bus_bits, part.buffer_bits)
            assert ours == pytest.approx(judge.busiest())
        adds_up(found)


def adds_up(found: Performance) -> None:
    """Times and energies of a batch from those of its segments."""
    reload = found.rules.reload
    assert reload is not None
    if not found.segments:
        assert (found.writing_j, found.lifetime_s) == (None, None)
        return
    batch_s = writing_j = 0.0
    for each in found.segments:
        crossbars = sum(found.placed[name].copies * found.placed[name].crossbars_per_copy for name in each.load.layers)
        batch_s += each.write_s + each.load.timing.latency_s + (reload.batch - 1) * each.interval_s
        writing_j += crossbars * 16 * 16 * reload.cell_j
        assert each.write_s >= (16 * 16 * reload.cell_s if crossbars else 0.0)
    assert found.latency_s == pytest.approx(batch_s)
    assert found.interval_s * reload.batch == pytest.approx(batch_s)
    assert found.batch_s(reload.batch + 1) == pytest.approx(
        batch_s + sum(each.write_s + each.load.timing.latency_s for each in found.segments)
    )
    assert found.writing_j == pytest.approx(writing_j / reload.batch)
    assert found.lifetime_s == pytest.approx(1e6 * batch_s / len(found.segments))
    energy = found.energy
    parts = [energy.layers_j, *energy.by_action_j.values(), energy.static_j, energy.writing_j]
    assert energy.total_j == pytest.approx(sum(each or 0.0 for each in parts))
    assert max(each.end_s for each in found.timing.uses) <= found.latency_s


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
