"""The command line as a user meets it: what is printed, which exit code, what is left on the disk."""

import errno
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result
from safetensors.numpy import load_file

import bsc.compiler.driver
import bsc.plan.folder
import hw_models
from bsc.cli import main
from bsc.testing import mlp_model, random_weights, save, tiny_model
from tests.bsc.plans import replace_arrays

EXAMPLE = Path(__file__).parent.parent / "examples" / "mnist" / "model.onnx"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def model(folder: Path) -> Path:
    return save(mlp_model(12, 8, 3), folder / "mlp.onnx")


def nan_weights() -> onnx.ModelProto:
    weight = random_weights(4, 2)
    weight[1, 1] = np.nan
    return tiny_model("(float[N,4] x) => (float[N,2] y) { [fc] y = MatMul (x, w) }", {"w": weight})


def unknown_domain() -> onnx.ModelProto:
    text = "(float[N,4] x) => (float[N,2] y) { [fc] h = MatMul (x, w) [odd] y = acme.Magic (h) }"
    return tiny_model(text, {"w": random_weights(4, 2)}, domains=("acme",))


def external_data(location: str) -> Callable[[], onnx.ModelProto]:
    def build() -> onnx.ModelProto:
        model = mlp_model(4, 2)
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=location)
        return model

    return build


BAD_MODELS: dict[str, tuple[Callable[[], onnx.ModelProto | bytes], int, str]] = {
    "empty": (
        lambda: b"",
        3,
        "error [BSC301] model 'bad.onnx' is not a readable ONNX model\n"
        "  seen: an empty file\n"
        "  fix:  export the model again; check that the file was copied whole\n",
    ),
    "nan": (
        nan_weights,
        3,
        "error [BSC303] layer 'fc': a weight is not a finite number\n"
        "  seen: nan\n"
        "  fix:  train or export the model again; NaN and infinity have no code\n",
    ),
    "domain": (
        unknown_domain,
        3,
        "error [BSC304] node 'odd' (Magic): operator domain is not supported\n"
        "  seen: domain 'acme'\n"
        "  fix:  replace the operator by standard ONNX operators before compiling\n",
    ),
    "missing data": (
        external_data("weights.bin"),
        3,
        "error [BSC302] model 'bad.onnx': external data of tensor 'w0' is missing\n"
        "  seen: no file 'weights.bin' beside the model\n"
        "  fix:  copy the external data file into the model's folder\n",
    ),
    "outside data": (
        external_data("../weights.bin"),
        3,
        "error [BSC302] model 'bad.onnx': external data of tensor 'w0' lies outside the model's folder\n"
        "  seen: '../weights.bin'\n"
        "  fix:  store the weights beside the model with a relative path\n",
    ),
}


@pytest.mark.parametrize("name", BAD_MODELS)
def test_bad_model_is_one_clear_error(name: str, folder: Path) -> None:
    build, code, message = BAD_MODELS[name]
    content = build()
    path = folder / "bad.onnx"
    path.write_bytes(content if isinstance(content, bytes) else content.SerializeToString())
    before = path.read_bytes()
    result = run("compile", path)
    assert (result.exit_code, result.stderr, result.stdout) == (code, message, "")
    assert path.read_bytes() == before
    assert list(folder.iterdir()) == [path]


@pytest.mark.parametrize("content", ["truncated", "text", "junk"])
def test_bytes_that_are_no_model(content: str, folder: Path) -> None:
    whole = EXAMPLE.read_bytes()
    data = {"truncated": whole[: len(whole) // 2], "text": b"hello, this is no model\n" * 50, "junk": bytes(range(256))}
    path = folder / "bad.onnx"
    path.write_bytes(data[content])
    result = run("compile", path)
    assert result.exit_code == 3
    assert result.stderr.startswith("error [BSC301] model 'bad.onnx' is not a readable ONNX model\n  seen: ")
    assert "Traceback" not in result.stderr
    assert list(folder.iterdir()) == [path]


BAD_OPTIONS: dict[str, tuple[tuple[str, ...], int, str]] = {
    "xbar": (
        ("--xbar", "128"),
        2,
        "error [BSC201] --xbar cannot be read\n  seen: '128'\n  fix:  write ROWSxCOLS, each 1 or more, as 128x128\n",
    ),
    "xbar zero": (
        ("--xbar", "0x128"),
        2,
        "error [BSC201] --xbar cannot be read\n  seen: '0x128'\n  fix:  write ROWSxCOLS, each 1 or more, as 128x128\n",
    ),
    "xbar huge": (
        ("--xbar", "128x16385"),
        2,
        "error [BSC205] pass 'tile': cols must be 1 to 16384\n  seen: 16385\n  fix:  choose tile{cols=128}\n",
    ),
    "adc": (
        ("--adc", "best"),
        2,
        "error [BSC201] --adc cannot be read\n"
        "  seen: 'best'\n"
        "  fix:  write lossless, isaac, fixed=N, calibrated, calibrated=N, budgeted or raella; N is 1 or more\n",
    ),
    "adc bits": (
        ("--adc", "fixed=17"),
        2,
        "error [BSC205] pass 'assign-adc': bits must be 1 to 16\n  seen: 17\n  fix:  choose assign-adc{bits=8}\n",
    ),
    "target": (
        ("--hw", "isaak"),
        2,
        "error [BSC206] no hardware description of that name\n"
        "  seen: 'isaak'\n"
        "  fix:  did you mean 'isaac'? shipped: isaac, isaac-se, neurram, puma, raella; "
        "for your own give a path that ends in .toml\n",
    ),
    "pass": (
        ("--passes", "quantise"),
        2,
        "error [BSC205] pipeline: unknown pass 'quantise'\n"
        "  seen: passes are fold-batchnorm, quantize, slice-bits, eliminate, permute, cap-columns, tile, assign-adc, "
        "calibrate-adc, budget-adc, place, reload\n"
        "  fix:  did you mean 'quantize'?\n",
    ),
    "pass order": (
        ("--passes", "quantize,tile"),
        3,
        "error [BSC309] layer 'fc0': pass 'tile' needs what 'slice-bits' computes\n"
        "  seen: no result of 'slice-bits' in the graph\n"
        "  fix:  put 'slice-bits' before 'tile' in --passes\n",
    ),
    "half a pipeline": (
        ("--passes", "quantize,slice-bits,tile"),
        3,
        "error [BSC309] layer 'fc0': pass 'plan' needs what 'assign-adc' computes\n"
        "  seen: no result of 'assign-adc' in the graph\n"
        "  fix:  put 'assign-adc' before 'plan' in --passes\n",
    ),
    "two sayings": (
        ("--passes", "quantize", "--xbar", "64x64"),
        2,
        "error [BSC201] --passes and --xbar cannot be used together\n"
        "  seen: --passes 'quantize'\n"
        "  fix:  write what --xbar says into the pipeline text, or leave --passes out\n",
    ),
    "stop": (
        ("--stop-after", "slice"),
        2,
        "error [BSC205] --stop-after names no pass of the pipeline: 'slice'\n"
        "  seen: passes fold-batchnorm, quantize, slice-bits, eliminate, tile, assign-adc, place\n"
        "  fix:  use one of these names\n",
    ),
    "calibration": (
        ("--calib", "none.npz"),
        2,
        "error [BSC202] data file 'none.npz' cannot be opened\n"
        "  seen: No such file or directory\n"
        "  fix:  give the path of a .npz file\n",
    ),
    "output folder": (
        ("-o", "nowhere/plan.bsc"),
        2,
        "error [BSC204] output 'nowhere/plan.bsc' cannot be written\n"
        "  seen: No such file or directory\n"
        "  fix:  choose a folder you may write to\n",
    ),
    "output is a file": (
        ("-o", "mlp.onnx", "--force"),
        2,
        "error [BSC203] output 'mlp.onnx' exists already\n"
        "  seen: something that is not a plan folder, which is never replaced\n"
        "  fix:  choose another --output\n",
    ),
}


@pytest.mark.parametrize("name", BAD_OPTIONS)
def test_bad_option_is_one_clear_error(name: str, model: Path) -> None:
    options, code, message = BAD_OPTIONS[name]
    before = model.read_bytes()
    result = run("compile", model.name, *options)
    assert (result.exit_code, result.stderr, result.stdout) == (code, message, "")
    assert list(model.parent.iterdir()) == [model]
    assert model.read_bytes() == before


def test_missing_model(folder: Path) -> None:
    result = run("compile", "none.onnx")
    assert (result.exit_code, result.stderr) == (
        2,
        "error [BSC202] model 'none.onnx' cannot be opened\n"
        "  seen: No such file or directory\n"
        "  fix:  give the path of an ONNX file\n",
    )
    assert list(folder.iterdir()) == []


def test_existing_plan_needs_force(model: Path) -> None:
    assert run("compile", model.name).exit_code == 0
    plan = model.with_suffix(".bsc")
    first = {path: path.read_bytes() for path in plan.rglob("*") if path.is_file()}
    result = run("compile", model.name, "--adc", "isaac")
    assert (result.exit_code, result.stderr) == (
        2,
        "error [BSC203] output 'mlp.bsc' exists already\n"
        "  seen: a plan folder\n"
        "  fix:  add --force to replace it, or choose another --output\n",
    )
    assert {path: path.read_bytes() for path in plan.rglob("*") if path.is_file()} == first
    assert run("compile", model.name, "--adc", "isaac", "--force").exit_code == 0
    assert json.loads((plan / "plan.json").read_text())["layers"][0]["adc_policy"] == "isaac"
    assert sorted(path.name for path in model.parent.iterdir()) == ["mlp.bsc", "mlp.onnx"]


def test_full_disk_leaves_nothing(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_space(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(bsc.plan.folder, "save_file", no_space)
    result = run("compile", model.name)
    assert (result.exit_code, result.stderr) == (
        2,
        "error [BSC204] output 'mlp.bsc' cannot be written\n"
        "  seen: No space left on device\n"
        "  fix:  free some space or choose another --output\n",
    )
    assert list(model.parent.iterdir()) == [model]


def test_compile_writes_the_report_it_prints(model: Path) -> None:
    result = run("compile", model.name, "--time-passes")
    assert result.exit_code == 0
    assert result.stdout == Path("mlp.bsc/report.txt").read_text(encoding="utf-8")
    assert "\nwrote mlp.bsc/\n" in result.stderr
    assert result.stderr.splitlines()[-1] == "next  bsc verify mlp.bsc --data FILE.npz --model mlp.onnx"
    assert [line.split()[0] for line in result.stderr.splitlines()[:6]] == [
        "fold-batchnorm",
        "quantize",
        "slice-bits",
        "eliminate",
        "tile",
        "assign-adc",
    ]
    as_json = run("compile", model.name, "--force", "--json")
    assert as_json.stdout == Path("mlp.bsc/report.json").read_text()


def test_stop_after_prints_the_graph(model: Path) -> None:
    result = run("compile", model.name, "--stop-after", "slice-bits", "--dump-ir", "ir")
    assert result.exit_code == 0
    assert result.stdout == (
        "model     mlp.onnx\n"
        "input     x:float32[1x12]\n"
        "crossbar  fc0  Gemm  x -> h0  12x8  1 vectors\n"
        "          weights 8 bit + sign, inputs 8 bit signed dynamic step\n"
        "          4 slices of 2 bit, 1-bit DAC\n"
        "digital   relu0  Relu  h0 -> a0\n"
        "crossbar  fc1  Gemm  a0 -> y  8x3  1 vectors\n"
        "          weights 8 bit + sign, inputs 8 bit unsigned dynamic step\n"
        "          4 slices of 2 bit, 1-bit DAC\n"
        "output    y:float32[1x3]\n"
    )
    names = ["00-import.txt", "01-fold-batchnorm.txt", "02-quantize.txt", "03-slice-bits.txt"]
    assert sorted(path.name for path in Path("ir").iterdir()) == names
    assert Path("ir/03-slice-bits.txt").read_text(encoding="utf-8") == result.stdout
    assert not Path("mlp.bsc").exists()


def test_a_plan_records_the_line_that_rebuilds_it(model: Path) -> None:
    assert run("compile", model.name, "--xbar", "16x8", "--granularity", "tile", "-o", "a.bsc").exit_code == 0
    line = json.loads(Path("a.bsc/plan.json").read_text())["pipeline"]
    assert run("compile", model.name, "--passes", line, "-o", "b.bsc").exit_code == 0
    files = [path.relative_to("a.bsc") for path in Path("a.bsc").rglob("*") if path.is_file()]
    assert {name: Path("a.bsc", name).read_bytes() for name in files} == {
        name: Path("b.bsc", name).read_bytes() for name in files
    }


def test_inspect_and_cost(model: Path) -> None:
    assert run("compile", model.name).exit_code == 0
    assert run("inspect", "mlp.bsc").stdout == Path("mlp.bsc/report.txt").read_text(encoding="utf-8")
    assert run("cost", "mlp.bsc").stdout == Path("mlp.bsc/report.txt").read_text(encoding="utf-8")
    assert "ADC law 'saberi'" in run("cost", "mlp.bsc", "--adc-law", "saberi").stdout
    layers = json.loads(run("inspect", "mlp.bsc", "--json").stdout)["layers"]
    assert layers["fc0"] == json.loads(run("inspect", "mlp.bsc", "--layer", "fc0", "--json").stdout)
    assert run("inspect", "mlp.bsc", "--layer", "fc1", "--crossbar", "0,0,0,-").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("inspect", "mlp.bsc", "--layer", "fc9"),
            "error [BSC201] the plan has no layer 'fc9'\n  seen: layers fc0, fc1\n  fix:  did you mean 'fc1'?\n",
        ),
        (
            ("inspect", "mlp.bsc", "--crossbar", "0,0,0,+"),
            "error [BSC201] --crossbar needs --layer\n  seen: 0,0,0,+\n  fix:  add --layer NAME\n",
        ),
        (
            ("inspect", "mlp.bsc", "--layer", "fc0", "--crossbar", "0,0,4,+"),
            "error [BSC201] layer 'fc0' has no crossbar '0,0,4,+'\n"
            "  seen: 1 row tiles, 1 column tiles, 4 slices; all-zero ones are left out\n"
            "  fix:  write ROW-TILE,COLUMN-TILE,SLICE,SIGN counted from 0, such as 0,0,1,+\n",
        ),
        (
            ("verify", "none.bsc"),
            "error [BSC202] plan 'none.bsc' cannot be opened\n"
            "  seen: no such folder\n"
            "  fix:  give the folder that 'bsc compile' wrote, such as model.bsc\n",
        ),
        (
            ("cost", "mlp.bsc", "--adc-law", "sabery"),
            "error [BSC207] no ADC law of that name\n"
            "  seen: 'sabery'\n"
            "  fix:  did you mean 'saberi'? shipped: isaac, saberi, linear, puma, neurosim, exponential; "
            "for your own give a path that ends in .toml\n",
        ),
    ],
)
def test_bad_arguments_for_a_plan(arguments: tuple[str, ...], message: str, model: Path) -> None:
    assert run("compile", model.name).exit_code == 0
    result = run(*arguments)
    assert (result.exit_code, result.stderr) == (2, message)


def test_verify(model: Path) -> None:
    assert run("compile", model.name).exit_code == 0
    result = run("verify", "mlp.bsc", "--model", model.name, "--limit", "5")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[:6] == [
        "model      mlp.onnx",
        "data       random inputs, seed 0, 5 samples",
        "exact: yes",
        "           0 of 55 layer results differ from the quantised integer model",
        "import     equals the file in onnxruntime on 2 made-up samples, but for rounding; as recorded",
        lines[5],
    ]
    assert lines[6].startswith("float      largest difference 0.")
    found = json.loads(run("verify", "mlp.bsc", "--json").stdout)
    assert (found["exact"], found["samples"], found["accuracy"]) == (True, 64, None)


def test_verify_checks_proofs(model: Path) -> None:
    """What --proofs finds ends with exit code 5, before anything is replayed."""
    assert run("compile", model.name, "--subtract", "analog").exit_code == 0
    result = run("verify", "mlp.bsc", "--proofs")
    assert result.exit_code == 0
    assert "derived again from the cells, all as recorded" in result.stdout
    assert "nothing lost" in result.stdout
    checked = json.loads(run("verify", "mlp.bsc", "--proofs", "--json").stdout)["proofs"]
    assert all(proof["lossless"] == proof["conversions"] for proof in checked.values())
    plan, layer = Path("mlp.bsc"), "layers/0000.safetensors"
    codes = load_file(plan / layer)["codes"]
    codes[0, 0] = 0 if codes[0, 0] else 1
    replace_arrays(plan, layer, codes=codes)
    result = run("verify", "mlp.bsc", "--proofs")
    assert (result.exit_code, result.stdout) == (5, "")
    assert result.stderr.startswith("error [BSC504] layer '")
    assert run("verify", "mlp.bsc").exit_code == 3  # a plan whose record differs is not replayed at all


def test_verify_per_layer(model: Path) -> None:
    assert run("compile", model.name).exit_code == 0
    alone = run("verify", "mlp.bsc", "--per-layer")
    assert (alone.exit_code, alone.stderr) == (
        2,
        "error [BSC201] --per-layer has nothing to compare layers with\n"
        "  seen: no --model\n"
        "  fix:  add --model with the ONNX file that was compiled\n",
    )
    assert "Difference from the float model" in run("verify", "mlp.bsc", "--per-layer", "--model", model.name).stdout
    found = json.loads(run("verify", "mlp.bsc", "--per-layer", "--model", model.name, "--json").stdout)
    assert list(found["layer_differences"]) == ["fc0", "fc1"]
    assert all(0 < each["relative_rms"] < 0.1 for each in found["layer_differences"].values())


def test_a_lossy_plan_is_not_exact_and_says_so(model: Path) -> None:
    assert run("compile", model.name, "--adc", "fixed=1").exit_code == 0
    result = run("verify", "mlp.bsc")
    assert result.exit_code == 0  # it never claimed to be
    assert "exact: no" in result.stdout


def test_hw_commands(folder: Path) -> None:
    assert run("hw", "list").stdout.startswith("isaac ")
    shown = run("hw", "show", "isaac").stdout
    assert "1.56 pJ" in shown
    assert json.loads(run("hw", "show", "isaac", "--json").stdout)["name"] == "isaac"
    checked = run("hw", "check", "isaac")
    assert checked.exit_code == 0
    assert all(line.startswith("ok ") for line in checked.stdout.splitlines())
    text = (Path(__file__).parent.parent / "hw_models" / "isaac.toml").read_text(encoding="utf-8")
    (folder / "mine.toml").write_text(text.replace("value = 16e-3", "value = 18e-3"), encoding="utf-8")
    failed = run("hw", "check", "mine.toml")
    assert failed.exit_code == 5
    assert "FAIL  power of one IMA" in failed.stdout
    assert failed.stderr.startswith("error [BSC502] target 'isaac': ")


def test_internal_error_shows_no_traceback(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(bsc.compiler.driver, "compile_model", broken)
    result = run("compile", model.name)
    assert (result.exit_code, result.stderr) == (
        1,
        "internal error: RuntimeError: a bug\n"
        "  fix:  this is a bug of bsc; run again with 'bsc --debug ...' and report what it prints\n",
    )
    assert "Traceback" in run("--debug", "compile", model.name).stderr


def test_a_killed_run_leaves_nothing(model: Path) -> None:
    code = (
        "import os, signal, bsc.plan.folder; from bsc.cli import main\n"
        "bsc.plan.folder.save_file = lambda *_: os.kill(os.getpid(), signal.SIGTERM)\n"
        "main(['compile', 'mlp.onnx'])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, cwd=model.parent)
    assert done.returncode == 143
    assert list(model.parent.iterdir()) == [model]


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from bsc.cli import main\n"
        "try: main(['--help'], prog_name='bsc')\n"
        "except SystemExit: pass\n"
        "heavy = {'numpy', 'onnx', 'onnxruntime', 'torch', 'networkx', 'pydantic', 'rich'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_same_bytes_on_every_run(model: Path) -> None:
    """Another folder, another hash seed, another process."""
    plans = []
    for seed in ("1", "2"):
        here = model.parent / seed
        here.mkdir()
        (here / model.name).write_bytes(model.read_bytes())
        command = [sys.executable, "-m", "bsc", "compile", model.name]
        environment = {"PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parent.parent), "PATH": "/usr/bin:/bin"}
        subprocess.run(command, cwd=here, env=environment, check=True, capture_output=True)
        plan = here / "mlp.bsc"
        plans.append({p.relative_to(plan): p.read_bytes() for p in sorted(plan.rglob("*")) if p.is_file()})
    assert plans[0] == plans[1]
    assert len(plans[0]) >= 6


@pytest.fixture
def plan(model: Path) -> Path:
    assert run("compile", model, "--adc", "fixed=2", "--xbar", "8x8").exit_code == 0
    return Path("mlp.bsc")


def test_simulate_without_a_device(plan: Path) -> None:
    result = run("simulate", plan, "--limit", 5, "--stats")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[:2] == ["model      mlp.onnx", "data       random inputs, seed 0, 5 samples"]
    assert "Column sums in front of the ADCs, in cell units times input digits" in lines
    found = json.loads(run("simulate", plan, "--limit", 5, "--stats", "--json").stdout)
    assert found["trials"] is None
    sums = found["column_sums"]["fc0"]
    assert len(sums["histogram"]) == 4
    counted = sum(sum(bins) for polarities in sums["histogram"] for cycles in polarities for bins in cycles)
    assert counted == found["layers"]["fc0"]["conversions"] - found["layers"]["fc0"]["proved"]
    assert sum(sums["clipped_by_slice"]) == found["layers"]["fc0"]["clipped"] > 0


def test_simulate_trials(plan: Path) -> None:
    np.savez("data.npz", x=np.random.default_rng(0).random((20, 12), np.float32), y=np.zeros(20, np.int64))
    arguments = ("simulate", plan, "--data", "data.npz", "--noise", "generic", "--trials", 3, "--scale", "drift=2")
    result = run(*arguments, "--read-at", 1e6)
    assert result.exit_code == 0
    assert "trials     3, seed 0\n" in result.stdout
    assert " points (95 % confidence)\n" in result.stdout
    first, second, other = (
        json.loads(run(*arguments, "--json", *more).stdout)["trials"] for more in ((), ("--batch", 7), ("--seed", 1))
    )
    assert first == second  # batches do not meet
    assert first["each"] != other["each"]
    assert first["accuracy"]["low_95"] <= first["accuracy"]["mean"] <= first["accuracy"]["high_95"]
    ideal = json.loads(run("simulate", plan, "--noise", "ideal", "--trials", 1, "--json").stdout)["trials"]
    assert ideal["effects"] == []
    assert ideal["each"] == [{"accuracy": None, "error_rms": 0.0}]
    assert (ideal["accuracy"], ideal["relative_rms_error"]["deviation"]) == (None, None)


def test_simulate_and_compile_with_a_fault_map(model: Path) -> None:
    arguments = ("compile", model, "--xbar", "8x8", "-o")
    assert run(*arguments, "plain.bsc").exit_code == 0
    lines = [f"{place},{line},{line},on" for place in range(6) for line in range(8)]
    Path("map.csv").write_text("crossbar,row,column,stuck\n" + "\n".join(lines) + "\n")
    moved = run(*arguments, "moved.bsc", "--faults", "map.csv")
    assert moved.exit_code == 0, moved.output
    assert "note       stuck cells of map.csv, SHA-256 " in moved.stdout
    errors = []
    for plan in ("plain.bsc", "moved.bsc"):
        result = run("simulate", plan, "--faults", "map.csv", "--limit", 20)
        assert result.exit_code == 0, result.output
        assert "stuck      48 cells of map.csv on crossbars of the plan\n" in result.stdout
        assert "effects    the stuck cells alone\n" in result.stdout
        assert "trials" not in result.stdout  # another one would be the same
        found = json.loads(run("simulate", plan, "--faults", "map.csv", "--limit", 20, "--json").stdout)["trials"]
        assert found["stuck_cells"] == 48
        errors.append(found["relative_rms_error"]["mean"])
    assert min(errors) > 0
    noisy = run("simulate", "plain.bsc", "--faults", "map.csv", "--noise", "reram-wan22", "--trials", 2)
    assert "trials     2, seed 0\n" in noisy.stdout
    Path("map.csv").write_text("crossbar,row,column,stuck\n0,8,0,on\n")
    for command in (("simulate", "plain.bsc"), ("compile", model, "-o", "new.bsc", "--xbar", "8x8")):
        refused = run(*command, "--faults", "map.csv")
        assert refused.exit_code == 3
        assert "[BSC317] map.csv, line 2: is of larger crossbars than those of the plan\n" in refused.stderr


def test_one_trial_has_no_interval(plan: Path) -> None:
    np.savez("data.npz", x=np.zeros((2, 12), np.float32), y=np.zeros(2, np.int64))
    result = run("simulate", plan, "--data", "data.npz", "--noise", "generic", "--trials", 1)
    assert "% (one trial: no interval)\n" in result.stdout


@pytest.mark.parametrize("options", [("ideal",), ("generic", "--only", "drift", "--scale", "drift=0")])
def test_a_device_without_effects_has_no_interval(options: tuple[str, ...], plan: Path) -> None:
    np.savez("data.npz", x=np.zeros((2, 12), np.float32), y=np.zeros(2, np.int64))
    result = run("simulate", plan, "--data", "data.npz", "--noise", *options)
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1] == "effects    none that change anything: all trials equal the exact replay"
    assert "±" not in result.stdout


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            ("--only", "drift"),
            "device 'reram-wan22' has no drift to leave\n  seen: effects {effects}\n  fix:  name one of them",
        ),
        (
            ("--only", "read_noise", "--scale", "programming_error=2"),
            "device 'reram-wan22' has no programming_error to scale\n"
            "  seen: effects read_noise\n  fix:  scale one of them",
        ),
    ],
)
def test_effects_that_a_device_lacks(options: tuple[str, ...], words: str, plan: Path) -> None:
    result = run("simulate", plan, "--noise", "reram-wan22", *options)
    assert (result.exit_code, result.stdout) == (2, "")
    effects = ", ".join(hw_models.load_device("reram-wan22").effects)
    expected = f"error [BSC206] {words}, or add the table to a device file of your own\n"
    assert result.stderr == expected.format(effects=effects)


def test_verify_carries_out_every_conversion(model: Path) -> None:
    assert run("compile", model, "--xbar", "8x8").exit_code == 0
    assert "which are proved lossless and not carried out" in run("verify", "mlp.bsc").stdout
    every = run("verify", "mlp.bsc", "--every-conversion", "--batch", 3)
    assert every.exit_code == 0
    assert "exact: yes" in every.stdout
    assert "proved" not in every.stdout


SIMULATE_ERRORS: dict[tuple[object, ...], tuple[int, str]] = {
    ("--trials", 3): (
        2,
        "error [BSC201] --trials needs --noise\n  seen: no device\n  fix:  add --noise NAME, such as generic\n",
    ),
    ("--read-at", 10): (
        2,
        "error [BSC201] --read-at needs --noise\n  seen: no device\n  fix:  add --noise NAME, such as generic\n",
    ),
    ("--noise", "generic", "--scale", "drift"): (
        2,
        "error [BSC201] --scale cannot be read\n  seen: 'drift'\n  fix:  write EFFECT=FACTOR, as read_noise=2\n",
    ),
    ("--noise", "generic", "--scale", "drft=2"): (
        2,
        "error [BSC206] no effect of that name\n  seen: 'drft'\n  fix:  did you mean 'drift'? effects: ",
    ),
    ("--noise", "generik"): (2, "error [BSC206] no device of that name\n  seen: 'generik'\n"),
    ("--device", "abacus"): (2, "error [BSC201] --device abacus cannot be used\n"),
    ("--data", "none.npz"): (2, "error [BSC202] data file 'none.npz' cannot be opened\n"),
}


@pytest.mark.parametrize("arguments", SIMULATE_ERRORS, ids=str)
def test_simulate_errors(arguments: tuple[object, ...], plan: Path) -> None:
    code, text = SIMULATE_ERRORS[arguments]
    result = run("simulate", plan, *arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr.startswith(text)


def test_a_batch_that_the_model_fixes(folder: Path) -> None:
    save(mlp_model(12, 3, batch=2), folder / "two.onnx")
    assert run("compile", "two.onnx").exit_code == 0
    assert run("simulate", "two.bsc", "--limit", 4, "--batch", 2).exit_code == 0
    result = run("simulate", "two.bsc", "--limit", 4, "--batch", 4)
    assert (result.exit_code, result.stderr) == (
        2,
        "error [BSC201] --batch cannot be chosen for this plan\n"
        "  seen: 4; the model takes 2 at a time\n"
        "  fix:  leave --batch out, or export the model with a free batch axis\n",
    )


@pytest.mark.parametrize("command", ["verify", "simulate"])
def test_bad_plans_and_data(command: str, plan: Path) -> None:
    """Another version, an array gone, a changed byte, inputs of another shape: one error, exit 3."""
    np.savez("wide.npz", x=np.zeros((2, 13), np.float32))
    wrong_shape = run(command, plan, "--data", "wide.npz")
    assert wrong_shape.exit_code == 3
    assert wrong_shape.stderr == (
        "error [BSC308] data file 'wide.npz': input 'x' does not fit\n"
        "  seen: shape (2, 13)\n"
        "  fix:  give shape (samples, 12)\n"
    )
    arrays = plan / "layers" / "0000.safetensors"
    whole = arrays.read_bytes()
    arrays.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    altered = run(command, plan)
    assert altered.exit_code == 3
    assert altered.stderr == (
        "error [BSC307] plan 'mlp.bsc' is malformed or was altered\n"
        "  seen: file 'layers/0000.safetensors' does not have the SHA-256 that plan.json records\n"
        "  fix:  compile the model again\n"
    )
    arrays.unlink()
    missing = run(command, plan)
    assert (missing.exit_code, "file 'layers/0000.safetensors' is missing" in missing.stderr) == (3, True)
    document = (plan / "plan.json").read_text()
    (plan / "plan.json").write_text(document.replace('"schema_version": 4', '"schema_version": 3'))
    old = run(command, plan)
    assert old.exit_code == 3
    assert "  seen: schema version 3, where this one reads 4\n" in old.stderr


def test_devices_are_listed_and_shown() -> None:
    names = [line.split()[0] for line in run("hw", "devices").stdout.splitlines()]
    assert {"ideal", "generic"} < set(names)
    shown = run("hw", "devices", "generic")
    assert "drift.nu " in shown.stdout
    assert json.loads(run("hw", "devices", "generic", "--json").stdout)["name"] == "generic"
    assert run("hw", "devices", "ideal").stdout.endswith("effects: none\n")
    assert run("hw", "devices", "--json").exit_code == 2


def hardware(folder: Path, offered: str) -> Path:
    """A copy of the shipped description whose ADCs offer something else."""
    text = Path(hw_models.__file__).with_name("isaac.toml").read_text(encoding="utf-8")
    said = 'granularity = { value = "column"'
    assert text.count(said) == 1
    path = folder / f"{offered}.toml"
    path.write_text(text.replace(said, f'granularity = {{ value = "{offered}"'), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("offered", "step"),
    [
        ("column", "assign-adc{policy=lossless granularity=column bits=8}"),
        ("tile", "assign-adc{policy=lossless granularity=tile bits=8}"),
        ("slice", "assign-adc{policy=lossless granularity=slice bits=8}"),
        ("fixed", "assign-adc{policy=fixed granularity=column bits=8}"),
    ],
)
def test_the_hardware_chooses_what_has_a_resolution_of_its_own(
    offered: str, step: str, model: Path, folder: Path
) -> None:
    assert run("compile", model.name, "--hw", hardware(folder, offered), "-o", "a.bsc").exit_code == 0
    pipeline = json.loads((folder / "a.bsc" / "plan.json").read_text())["pipeline"]
    assert f",{step},place{{" in pipeline
    assert "NOT OFFERED" not in (folder / "a.bsc" / "report.txt").read_text()


@pytest.mark.parametrize(
    ("offered", "options", "message"),
    [
        (
            "tile",
            ("--granularity", "column"),
            "theirs are per tile\n"
            "  seen: lossless resolutions for each column\n"
            "  fix:  choose --granularity tile, or another --hw\n",
        ),
        (
            "fixed",
            ("--adc", "fixed=6"),
            "theirs are fixed at 8 bits\n  seen: 6 bits\n  fix:  choose --adc fixed=8, or another --hw\n",
        ),
        (
            "fixed",
            ("--passes", "quantize,slice-bits,tile,assign-adc"),
            "theirs are fixed at 8 bits\n"
            "  seen: lossless resolutions for each column\n"
            "  fix:  choose --adc fixed=8, or another --hw\n",
        ),
    ],
)
def test_resolutions_that_the_hardware_does_not_offer(
    offered: str, options: tuple[str, ...], message: str, model: Path, folder: Path
) -> None:
    result = run("compile", model.name, "--hw", hardware(folder, offered), "-o", "a.bsc", *options)
    head = "error [BSC403] pass 'assign-adc': the target's ADCs cannot have these resolutions; "
    assert (result.exit_code, result.stderr) == (4, head + message)
    assert not (folder / "a.bsc").exists()


def test_a_plan_priced_on_hardware_that_offers_less(model: Path, folder: Path) -> None:
    assert run("compile", model.name, "-o", "a.bsc").exit_code == 0
    lines = run("cost", "a.bsc", "--hw", hardware(folder, "slice")).stdout.splitlines()
    (line,) = [line for line in lines if line.startswith("NOT OFFERED")]
    assert line.startswith("NOT OFFERED       the resolutions of fc0 and 1 more: ADCs of isaac have one for each slice")


# --- check ---


def test_check_of_a_model_that_compiles(model: Path) -> None:
    result = run("check", model)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines()[-3:] == [
        "on crossbars  100.0% of 120 multiply-accumulates (MACs) of one inference",
        "digital       0 in products of two activations, 0 in other operators",
        "compiles      yes",
    ]
    assert list(model.parent.iterdir()) == [model]


def test_check_of_a_model_that_is_refused(folder: Path) -> None:
    """The report says it of the node, the error is that of `compile`, and JSON stays JSON."""
    path = save(unknown_domain(), folder / "bad.onnx")
    result = run("check", path)
    assert (result.exit_code, result.stderr) == (3, BAD_MODELS["domain"][2])
    assert result.stdout.splitlines()[-2:] == ["not counted   odd", "compiles      no: BSC304"]
    result = run("check", "--json", path)
    assert (result.exit_code, result.stderr) == (3, BAD_MODELS["domain"][2])
    assert [node["place"] for node in json.loads(result.stdout)["nodes"]] == ["crossbar", "unsupported"]


def test_check_takes_open_sizes(folder: Path) -> None:
    path = save(
        tiny_model("(float[N,M,4] x) => (float[] y) { y = MatMul(x, w) }", {"w": random_weights(4, 2)}),
        folder / "m.onnx",
    )
    result = run("check", path)
    assert result.exit_code == 3
    assert "--input-shape x:N,16,4" in result.stderr
    result = run("check", path, "--input-shape", "x:5,3,4", "--json")
    assert (result.exit_code, json.loads(result.stdout)["macs"]["crossbar"]) == (0, 120)


def test_check_of_a_file_that_is_not_there(folder: Path) -> None:
    assert run("check", folder / "none.onnx").exit_code == 2
