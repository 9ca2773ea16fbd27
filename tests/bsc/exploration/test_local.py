"""Worker processes: answers come as they are ready, and a bug in a worker is told where the sweep was begun."""

from pathlib import Path
from typing import Any

import pytest

import hw_models
from bsc.compiler.options import MappingOptions, ModelOptions, resolve
from bsc.exploration.local import Processes
from bsc.exploration.mapping import Input, MappingJob, MappingResult, count
from bsc.frontend.model_file import model_digest
from bsc.testing import mlp_model, save

ISAAC = hw_models.load("isaac")
LAW = hw_models.load_law("isaac")


def work(path: Path, **changes: Any) -> MappingJob:
    settings: dict[str, Any] = {
        "model": Input(path=path, sha256=model_digest(path)),
        "recipe": resolve(MappingOptions(xbar="16x16"), ISAAC, LAW),
        "target": ISAAC,
        "law": LAW,
        "max_accuracy_drop": None,
        "given": ModelOptions(),
        "calibration": None,
        "data": None,
        "limit": None,
    }
    return MappingJob(**settings | changes)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return save(mlp_model(12, 8, 3), tmp_path / "mlp.onnx")


def test_workers_give_the_same_as_no_workers(path: Path) -> None:
    works = [work(path, recipe=resolve(MappingOptions(xbar=size), ISAAC, LAW)) for size in ("8x8", "16x16", "32x32")]
    with Processes(2) as processes:
        found = {answer.key: answer for answer in processes.run(iter(works))}
        again = [answer.key for answer in processes.run(works[:1])]  # the same workers serve several times
    assert again == [works[0].key]
    for each in works:
        here = count(each)
        there = found[each.key]
        assert isinstance(there, MappingResult)
        assert [layer.conversions.tolist() for layer in there.counts] == [
            layer.conversions.tolist() for layer in here.counts
        ]
        assert there.pipeline == here.pipeline


def test_a_bug_in_a_worker_is_told_with_its_traceback(path: Path) -> None:
    broken = work(path, given=7)
    with Processes(1) as processes, pytest.raises(RuntimeError, match="Traceback"):
        list(processes.run([broken]))


def test_another_version_of_bsc_is_no_use(path: Path) -> None:
    answer = count(work(path, version="0.0.1"))
    assert (answer.fatal, answer.code, answer.problem) == (True, "BSC210", "a worker is of another version")
    assert answer.fix == "install bsc 0.0.1 there"


def test_keys_name_what_counts_follow_from(path: Path) -> None:
    plain = work(path)
    assert work(path, law=hw_models.load_law("saberi")).key == plain.key  # no price decides this plan
    searched = resolve(MappingOptions(xbar="16x16", permute="auto"), ISAAC, LAW)
    keys = {work(path, recipe=searched, law=hw_models.load_law(law)).key for law in ("isaac", "saberi")}
    assert len(keys) == 2
    assert work(path, model=Input(path=path, sha256="0")).key != plain.key
    assert work(path, model=Input(path=Path("elsewhere"), sha256=plain.model.sha256)).key == plain.key
    assert work(path, data=Input(path=path, sha256="1")).key != plain.key
