"""A few of the cases of tests/fuzz/run.py, and that the fuzzer itself finds what it looks for."""

from pathlib import Path

import pytest

from tests.fuzz import case
from tests.fuzz.case import base_plans, run_case
from tests.fuzz.seeds import seed_models, weights_file


@pytest.fixture(scope="session")
def plans(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return base_plans(tmp_path_factory.mktemp("base"))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("first", range(0, 200, 40))
def test_hostile_files_end_in_errors_of_ours(first: int, plans: list[Path], tmp_path: Path) -> None:
    outcomes = []
    for number in range(first, first + 40):
        folder = tmp_path / str(number)
        folder.mkdir()
        outcomes.append(run_case(number, folder, plans))
    assert [outcome for outcome in outcomes if outcome.problem] == []
    assert len({outcome.code for outcome in outcomes}) > 3


@pytest.mark.parametrize("name", seed_models())
def test_seeds_are_sound(name: str, tmp_path: Path) -> None:
    """Otherwise mutations of them would only try the first check."""
    (tmp_path / "weights.bin").write_bytes(weights_file())
    (tmp_path / "model.onnx").write_bytes(seed_models()[name].SerializeToString())
    assert case._run(["compile", str(tmp_path / "model.onnx"), "-o", str(tmp_path / "p.bsc")]) == ("ok", "")
    assert case._run(["verify", str(tmp_path / "p.bsc"), "--limit", "2"]) == ("ok", "")


def test_what_must_not_be_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "secret.bin").write_bytes(b"secret")
    with case._watched(tmp_path) as touched:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "file").write_text("")
        assert touched == []
        (tmp_path / "beside").write_text("")
        (tmp_path / "secret.bin").read_bytes()
    assert touched == [f"open {tmp_path / 'beside'}", f"read {tmp_path / 'secret.bin'}"]
