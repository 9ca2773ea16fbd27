"""Where two pipelines part."""

import difflib
import re

_BETWEEN_STEPS = re.compile(r",(?![^{}]*\})")


def pipeline_difference(reference: str, other: str) -> tuple[list[str], list[str]]:
    """Steps of a pipeline text that another one lacks.

    Returns:
        Steps that only `other` has, and steps that only `reference` has, each in its order.
    """
    ours, theirs = _BETWEEN_STEPS.split(reference), _BETWEEN_STEPS.split(other)
    added: list[str] = []
    removed: list[str] = []
    for kind, first, last, start, stop in difflib.SequenceMatcher(None, ours, theirs, autojunk=False).get_opcodes():
        if kind != "equal":
            removed += ours[first:last]
            added += theirs[start:stop]
    return added, removed
