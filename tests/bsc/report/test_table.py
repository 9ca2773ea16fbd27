"""Tables are drawn as rich draws them, and a row costs as much among many rows as among few."""

from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich import box
from rich.cells import cell_len
from rich.table import Table as RichTable
from rich.text import Text

from bsc.printable import visible
from bsc.report.table import Justify, Table
from bsc.report.text import new_table, to_text

WORDS = st.text("ab .-_[]:é日\n", max_size=30)
# Headings are ours: each says something or is empty, and none is only a line break.
HEADINGS = WORDS.filter(lambda heading: not heading or bool(heading.strip()))


ONE_WORD = st.text("ab.-_[]:é日", max_size=30)


@st.composite
def tables(draw: st.DrawFn, *, one_word: bool = False) -> tuple[Table, RichTable]:
    """The same table in both forms."""
    words = ONE_WORD if one_word else WORDS
    columns = tuple(draw(st.lists(ONE_WORD if one_word else HEADINGS, min_size=1, max_size=5)))
    justify: tuple[Justify, ...] = tuple(draw(st.sampled_from(("left", "right"))) for _ in columns)
    ours = Table(title="", columns=columns, justify=justify)
    theirs = RichTable(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading, side in zip(columns, justify, strict=True):
        theirs.add_column(Text(heading), justify=side, overflow="fold")
    for row in draw(st.lists(st.tuples(*[words] * len(columns)), max_size=4)):
        ours.add_row(*row)
        theirs.add_row(*(Text(visible(cell)) for cell in row))
        if draw(st.booleans()):
            ours.add_section()
            theirs.add_section()
    return ours, theirs


@given(pair=tables(one_word=True), width=st.integers(24, 120))
def test_as_rich_draws_it(pair: tuple[Table, RichTable], width: int) -> None:
    ours, theirs = pair
    assert to_text(ours, width) == to_text(theirs, width)


@given(pair=tables())
def test_as_rich_draws_it_where_there_is_room(pair: tuple[Table, RichTable]) -> None:
    ours, theirs = pair
    assert to_text(ours, 200) == to_text(theirs, 200)


@given(pair=tables(), width=st.integers(24, 120))
def test_no_line_is_longer_than_there_is_room(pair: tuple[Table, RichTable], width: int) -> None:
    assert all(cell_len(line) <= width for line in to_text(pair[0], width).splitlines())


@pytest.mark.parametrize(("width", "whole"), [(1, 0), (20, 5), (40, 10), (48, 12), (80, 12)])
def test_columns_that_there_is_no_room_for_are_left_out(width: int, whole: int) -> None:
    table = Table(title="", columns=tuple("abcdefghijkl"), justify=("right",) * 12)
    table.add_row(*["1.25"] * 12)
    assert to_text(table, width).count("1") == whole


@pytest.mark.parametrize(
    ("width", "first"),
    [
        (40, " a few words   12.5 µs"),
        (23, " a few words   12.5 µs"),
        (22, " a few        12.5 µs"),
        (17, " a few   12.5 µs"),
        (16, " a few     12.5"),
        (14, " a few   12.5"),
        (13, " a      12.5"),
    ],
)
def test_text_is_wrapped_before_numbers_and_words_last(width: int, first: str) -> None:
    table = Table(title="", columns=("what", "time"), justify=("left", "right"))
    table.add_row("a few words", "12.5 µs")
    assert to_text(table, width).splitlines()[3] == first


def test_headings_are_wrapped_before_cells() -> None:
    table = Table(title="", columns=("what", "in all of them"), justify=("left", "right"))
    table.add_row("a few words", "1")
    assert to_text(table, 20).split("\n", 1)[1] == (
        "                 in\n"
        "                all\n"
        "                 of\n"
        " what          them\n"
        " ──────────────────\n"
        " a few words      1\n"
        "\n"
    )


def test_by_hand() -> None:
    table = Table(title="Title", columns=("name", "value"), justify=("left", "right"))
    table.add_row("[bold]a", "1")
    table.add_section()
    table.add_row("b")
    assert to_text(table) == (
        "Title\n"
        "\n"
        " name      value\n"
        " ───────────────\n"
        " [bold]a       1\n"
        "\n"
        " b\n"
        "\n"
    )  # fmt: skip


@pytest.mark.parametrize("rows", [1, 1000])
def test_rows_that_fit_are_left_to_nobody(rows: int) -> None:
    table = Table(title="", columns=("name", "value"), justify=("left", "right"))
    for number in range(rows):
        table.add_row(f"layer {number}", str(number))
    with (
        patch("bsc.report.table.Text", side_effect=AssertionError),
        patch("bsc.report.table.cell_len", side_effect=cell_len) as measured,
    ):
        assert len(to_text(table).splitlines()) == rows + 4
    assert measured.call_count == 0


def test_widths_at_which_nothing_is_wrapped_and_nothing_is_broken() -> None:
    table = new_table("t", ["a name", "of two words", "energy"], 2)
    table.add_row("first", "some words here", "1.25 mJ")
    table.add_row("the second one", "more", "12.0 µJ")
    assert to_text(table, table.width) == to_text(table, 200)
    assert to_text(table, table.width - 1) != to_text(table, 200)
    narrow = to_text(table, table.least_width)
    assert max(map(len, narrow.splitlines())) <= table.least_width
    assert "1.25 mJ" in narrow
    assert {"second", "words", "energy"} <= set(narrow.split())
    assert "1.25 mJ" in to_text(table, table.least_width - 1)  # the column is continued below
