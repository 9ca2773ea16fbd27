import itertools
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from bsc.report.html.network import MOST_LANES, Network, Row, _links, network
from bsc.testing import mlp_model, random_weights, tiny_model
from tests.bsc.plans import model_plan


def test_a_residual_block(tmp_path: Path) -> None:
    """x feeds the first layer and the addition behind the second."""
    model = tiny_model(
        "(float[N,4] x) => (float[N,4] y) { [a] h = MatMul(x, w) r = Relu(h) [b] s = MatMul(r, v) y = Add(s, x) }",
        {"w": random_weights(4, 4), "v": random_weights(4, 4, seed=1)},
    )
    drawn = network(model_plan(model, tmp_path).document)
    assert [(row.kind, row.name) for row in drawn.rows] == [
        ("input", "x"),
        ("layer", "a"),
        ("digital", "Relu ×1"),
        ("layer", "b"),
        ("digital", "Add ×1"),
        ("output", "y"),
    ]
    assert set(drawn.links) == {(0, 1, 0), (1, 2, 0), (2, 3, 0), (3, 4, 0), (4, 5, 0), (0, 4, 1)}
    assert drawn.drawing().count('class="skip"') == 1


def test_layers_one_behind_the_other_need_no_lane(tmp_path: Path) -> None:
    drawn = network(model_plan(mlp_model(4, 3, 2), tmp_path).document)
    assert {lane for *_, lane in drawn.links} == {0}


@given(st.sets(st.tuples(st.integers(0, 40), st.integers(1, 20)).map(lambda each: (each[0], sum(each))), max_size=60))
def test_lines_in_one_lane_do_not_cover_each_other(reads: set[tuple[int, int]]) -> None:
    links = _links(reads)
    assert {(start, end) for start, end, _ in links} == reads
    for lane in range(1, MOST_LANES):  # the last one is shared
        ends = sorted((start, end) for start, end, which in links if which == lane)
        assert all(first[1] <= second[0] for first, second in itertools.pairwise(ends))
    assert all(end == start + 1 for start, end, lane in links if lane == 0)


def test_width_grows_with_lanes() -> None:
    rows = (Row(kind="input", name="x"),) * 3
    assert Network(rows=rows, links=((0, 2, 2),)).width - Network(rows=rows, links=((0, 1, 0),)).width == 28
