import pytest

from bsc.report.pipelines import pipeline_difference


@pytest.mark.parametrize(
    ("other", "added", "removed"),
    [
        ("a{x=1 y=2},b,c", [], []),
        ("a{x=1 y=3},b,c", ["a{x=1 y=3}"], ["a{x=1 y=2}"]),
        ("a{x=1 y=2},c", [], ["b"]),
        ("a{x=1 y=2},b,n{p=u,v},c", ["n{p=u,v}"], []),
    ],
)
def test_pipeline_difference(other: str, added: list[str], removed: list[str]) -> None:
    """A comma between braces belongs to an option."""
    assert pipeline_difference("a{x=1 y=2},b,c", other) == (added, removed)
