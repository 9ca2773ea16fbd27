"""Plans that are tried out and thrown away: by searches, observations and accuracy tests."""

from bsc.hardware.target import Target
from bsc.ir.graph import Graph
from bsc.plan.document import Plan
from bsc.plan.planner import make_plan


def candidate_plan(graph: Graph, target: Target) -> Plan:
    """A plan to replay or to price; nobody reads where it came from.

    Args:
        graph: every layer quantised, sliced, tiled and assigned.
        target: the hardware.

    Raises:
        ModelError: as `make_plan`.
    """
    return make_plan(graph, target, "a candidate", None)
