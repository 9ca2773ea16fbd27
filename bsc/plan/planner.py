"""From a mapped graph to a plan."""

from dataclasses import asdict

from bsc import __version__
from bsc.hardware.target import Target
from bsc.ir.graph import Graph
from bsc.ir.mapped import mapping_of
from bsc.plan.document import (
    BudgetRecord,
    CalibrationRecord,
    ImportRecord,
    ModelRecord,
    Plan,
    Provenance,
    SetInputRecord,
)


def make_plan(
    graph: Graph,
    target: Target,
    pipeline: str,
    calibration: CalibrationRecord | None,
    budget: BudgetRecord | None = None,
) -> Plan:
    """Say where a mapping comes from; its arrays stay in the graph until they are asked for.

    Args:
        graph: every layer quantised, sliced, tiled and assigned.
        target: the hardware it is meant for.
        pipeline: text of the passes that made it.
        calibration: where input ranges came from, if from data.
        budget: how accurate the plan was found to be, if it was tested.

    Raises:
        ModelError, DoesNotFitError: as `mapping_of`.
    """
    model = ModelRecord(
        file=graph.info.name,
        sha256=graph.info.sha256,
        opsets=dict(graph.info.opsets),
        constants=tuple(SetInputRecord(**asdict(each)) for each in graph.info.constants),
        check=None if graph.info.check is None else ImportRecord(**asdict(graph.info.check)),
        notes=graph.info.notes,
    )
    provenance = Provenance(
        bsc_version=__version__, model=model, calibration=calibration, budget=budget, pipeline=pipeline
    )
    return Plan(mapping=mapping_of(graph), target=target, provenance=provenance)
