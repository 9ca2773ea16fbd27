"""A Dask cluster in this process: what it says of designs that its workers do not live through."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("distributed")

from distributed import LocalCluster
from distributed.scheduler import KilledWorker

import hw_models
from bsc.compiler.options import MappingOptions, ModelOptions, resolve
from bsc.exploration.cluster import Cluster
from bsc.exploration.mapping import Input, MappingJob, MappingResult

ISAAC = hw_models.load("isaac")
LAW = hw_models.load_law("isaac")


def work(size: str) -> MappingJob:
    return MappingJob(
        model=Input(path=Path("m.onnx"), sha256="0"),
        recipe=resolve(MappingOptions(xbar=size), ISAAC, LAW),
        target=ISAAC,
        law=LAW,
        max_accuracy_drop=None,
        given=ModelOptions(),
        calibration=None,
        data=None,
        limit=None,
    )


def dying(work: MappingJob) -> MappingResult:
    if "rows=8 " in work.recipe.pipeline:
        last: Any = SimpleNamespace(address="tcp://127.0.0.1:1")
        raise KilledWorker("bsc", last, 3)
    return MappingResult(key=work.key)


@pytest.mark.filterwarnings("ignore")
def test_a_design_that_kills_workers_is_named_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bsc.exploration.cluster._done", dying)
    works = [work(size) for size in ("16x16", "8x8", "32x32")]
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None) as here,
        Cluster(here.scheduler_address) as cluster,
    ):
        found = {answer.key: answer for answer in cluster.run(works)}
    assert [found[each.key].lost for each in works] == [False, True, False]
    assert found[works[1].key].seen == "workers died one after another over it, as when memory runs out"
