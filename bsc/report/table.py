"""Tables of plain cells, as rich draws them and a hundred times as fast.

rich renders every cell as a document of its own, half a millisecond a row, and networks have up to a million rows.
Here a cell is text: one that fits into its column is padded, and only those that do not fit are left to rich to wrap.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment
from rich.text import Text

from bsc.printable import visible

Justify = Literal["left", "right"]

PADDING = 1
"""Blanks on both sides of a column, except at the table's edges."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Table:
    """A title, a row of headings and rows of text, without lines between rows.

    Attributes:
        title: a line above, or "".
        columns: the headings.
        justify: how the cells of each column, and its heading, are set.
        rows: the cells of every row, one for each column.
        sections: numbers of rows that a blank line comes before.
        stacks: where numbers would be broken over lines, columns are continued below, beside the first column again.
    """

    title: str
    columns: tuple[str, ...]
    justify: tuple[Justify, ...]
    rows: list[tuple[str, ...]] = field(default_factory=list)
    sections: set[int] = field(default_factory=set)
    stacks: bool = False

    def add_row(self, *cells: str) -> None:
        """Add a row; cells that are not given are empty. Names in cells are untrusted and made visible."""
        self.rows.append((*map(visible, cells), *[""] * (len(self.columns) - len(cells))))

    def add_section(self) -> None:
        """Leave a line blank behind the last row, if there is one."""
        if self.rows:
            self.sections.add(len(self.rows))

    @property
    def width(self) -> int:
        """Of a terminal on which no cell and no heading is wrapped."""
        return self._around(max(map(_width, {name, *cells})) for name, cells in self._by_column())

    @property
    def least_width(self) -> int:
        """Of a terminal on which no number, and no word, is broken."""
        return self._around(
            max(
                0,
                *map(_width, name.split()),
                *(_width(part) for cell in cells for part in (cell.split() if justify == "left" else [cell])),
            )
            for (name, cells), justify in zip(self._by_column(), self.justify, strict=True)
        )

    def _by_column(self) -> Iterator[tuple[str, set[str]]]:
        """Each heading, and the cells below it."""
        for column, name in enumerate(self.columns):
            yield name, {row[column] for row in self.rows}

    def _around(self, rooms: Iterable[int]) -> int:
        """Width of a table whose columns have so much room for text."""
        return sum(rooms) + sum(sum(self._padding(column)) + 1 for column in range(len(self.columns))) + 1

    def _title_lines(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        """The title; a name in it cannot begin a line, since what does not fit continues further to the right."""
        first, *rest = Text(visible(self.title), style="bold").wrap(console, options.max_width) or [Text()]
        yield from console.render(first, options.update(justify="left"))
        behind = Text(visible(self.title)[len(first.plain) :].lstrip(), style="bold") if rest else Text()
        for line in behind.wrap(console, max(options.max_width - 2, 1)) if rest else ():
            yield from console.render(Text("  ", style="bold") + line, options.update(justify="left"))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        parts = self._parts(options.max_width)
        if parts[0] is not self:
            for part in parts:
                yield from part.__rich_console__(console, options)
            return
        shape = box.SIMPLE_HEAD.substitute(options, safe=console.safe_box)
        widths = self._widths(options.max_width)
        if self.title:
            yield from self._title_lines(console, options.update(height=None))
        newline = Segment.line()
        yield Segment(shape.get_top(widths))
        yield newline
        for line in self._lines(console, widths, self.columns, at_bottom=True):
            yield Segment(shape.head_left)
            for position, cell in enumerate(line):
                yield Segment(cell, console.get_style("table.header"))
                yield Segment(shape.head_vertical if position + 1 < len(line) else shape.head_right)
            yield newline
        yield Segment(shape.get_row(widths, "head"))
        yield newline
        yield Segment("".join(self._rows(console, widths, shape)))
        yield Segment(shape.get_bottom(widths))
        yield newline

    def _parts(self, available: int) -> list["Table"]:
        """Tables below each other, none of whose numbers is broken; this one alone where it fits, or nothing helps."""
        least = self._least(available // 3) if self.stacks else []
        if not least or sum(self._least(available)) + len(least) + 1 <= available:
            return [self]
        left = available - len(least) - 1 - sum(least[1:]) - sum(self._padding(0))
        if left >= available // 3:
            return [self._only(range(len(self.columns)), left, titled=True)]
        parts: list[list[int]] = [[0]]
        for unit in self._units():
            taken = sum(least[column] + 1 for column in (*parts[-1], *unit)) + 1
            if taken > available and len(parts[-1]) > 1:
                parts.append([0])
            parts[-1] += unit
        if len(parts) == 1:
            return [self]
        return [self._only(columns, available // 3, titled=not number) for number, columns in enumerate(parts)]

    def _least(self, most_of_names: int) -> list[int]:
        """Of every column the width, padding included, that breaks no number, and no word but names."""
        widths = []
        for column, (heading, justify) in enumerate(zip(self.columns, self.justify, strict=True)):
            cells = {row[column] for row in self.rows}
            whole = [word for cell in cells for word in cell.split()] if justify == "left" else cells
            width = max(map(_width, {"", *heading.split(), *whole}))
            widths.append((min(width, most_of_names) if column == 0 else width) + sum(self._padding(column)))
        return widths

    def _units(self) -> list[list[int]]:
        """Columns behind the first that stay together: a repeated heading, such as "ratio", with its own."""
        units: list[list[int]] = []
        for column, heading in enumerate(self.columns[1:], 1):
            if units and self.columns.count(heading) > 1:
                units[-1].append(column)
            else:
                units.append([column])
        return units

    def _only(self, columns: Sequence[int], most_of_names: int, *, titled: bool) -> "Table":
        """Some of the columns, names in the first shortened."""
        rows = [(shortened(row[0], most_of_names), *(row[column] for column in columns[1:])) for row in self.rows]
        return Table(
            title=self.title if titled else "",
            columns=tuple(self.columns[column] for column in columns),
            justify=tuple(self.justify[column] for column in columns),
            rows=rows,
            sections=self.sections,
        )

    def _rows(self, console: Console, widths: Sequence[int], shape: box.Box) -> Iterator[str]:
        """Every line below the headings, ended."""
        middle = (shape.mid_left, shape.mid_vertical, shape.mid_right)
        at_once = self._format(widths, middle)
        doubtful = [column for column, width in enumerate(widths) if not self._fits(column, width)]
        for number, row in enumerate(self.rows):
            if number in self.sections:
                yield f"{shape.get_row(widths, 'row')}\n"
            last = number + 1 == len(self.rows)
            if not last and all(_is_plain(row[column], self._room(column, widths[column])) for column in doubtful):
                yield at_once % row
                continue
            left, between, right = (shape.foot_left, shape.foot_vertical, shape.foot_right) if last else middle
            for line in self._lines(console, widths, row):
                yield f"{left}{between.join(line)}{right}\n"

    def _format(self, widths: Sequence[int], edges: tuple[str, str, str]) -> str:
        """What makes a line of a row whose cells all fit."""
        cells = []
        for column, (width, justify) in enumerate(zip(widths, self.justify, strict=True)):
            left, right = self._padding(column)
            side = "-" if justify == "left" else ""
            cells.append(f"{'':{left}}%{side}{self._room(column, width)}s{'':{right}}")
        left_edge, between, right_edge = (edge.replace("%", "%%") for edge in edges)
        return f"{left_edge}{between.join(cells)}{right_edge}\n"

    def _fits(self, column: int, width: int) -> bool:
        """Whether every cell of a column is one line as it is."""
        room = self._room(column, width)
        return all(_is_plain(cell, room) for cell in {row[column] for row in self.rows})

    def _room(self, column: int, width: int) -> int:
        """Of a column's width, what is left for text."""
        return width - sum(self._padding(column))

    def _padding(self, column: int) -> tuple[int, int]:
        """Blanks left and right of a column's cells."""
        return PADDING if column else 0, PADDING if column + 1 < len(self.columns) else 0

    def _widths(self, available: int) -> list[int]:
        """Of every column with its padding, narrower until the table fits.

        First headings are wrapped, then text, then numbers and their units; only then are words broken.
        """
        room = available - len(self.columns) - 1
        cells = [{row[column] for row in self.rows} for column in range(len(self.columns))]
        padding = [sum(self._padding(column)) for column in range(len(self.columns))]

        def widest(texts: Sequence[Iterable[str]]) -> list[int]:
            return [
                min(max(map(_width, {"", *each})) + more, room) or 1 for each, more in zip(texts, padding, strict=True)
            ]

        widths = widest([{heading, *each} for heading, each in zip(self.columns, cells, strict=True)])
        if sum(widths) <= room:
            return widths
        headings = [heading.split() for heading in self.columns]
        words = [{word for cell in each for word in cell.split()} for each in cells]
        is_text = [justify == "left" for justify in self.justify]
        for least in (
            widest([[*names, *each] for names, each in zip(headings, cells, strict=True)]),
            widest(
                [
                    [*names, *(each if text else whole)]
                    for names, each, whole, text in zip(headings, words, cells, is_text, strict=True)
                ]
            ),
            widest([[*names, *each] for names, each in zip(headings, words, strict=True)]),
        ):
            _narrow(widths, least, room)
        while (excess := sum(widths) - room) > 0:
            largest = max(widths)
            next_largest = max((width for width in widths if width < largest), default=0)
            if not next_largest:  # all alike
                return _reduced(widths, [True] * len(widths), excess, room)
            widths = _reduced(widths, [width == largest for width in widths], excess, largest - next_largest)
        return widths

    def _lines(
        self, console: Console, widths: Sequence[int], cells: Sequence[str], *, at_bottom: bool = False
    ) -> Iterator[Sequence[str]]:
        """The lines of a row, each as the text of its columns."""
        columns = []
        for column, (cell, width, justify) in enumerate(zip(cells, widths, self.justify, strict=True)):
            left, right = self._padding(column)
            lines = _set(console, cell, self._room(column, width), justify)
            columns.append([f"{'':{left}}{line}{'':{right}}" for line in lines])
        height = max(map(len, columns))
        for lines, width in zip(columns, widths, strict=True):
            blank = [" " * width] * (height - len(lines))
            lines[:] = [*blank, *lines] if at_bottom else [*lines, *blank]
        return zip(*columns, strict=True)


def shortened(text: str, width: int) -> str:
    """The text with words that are wider cut in the middle, where names of layers are most alike."""

    def short(word: str) -> str:
        if _width(word) <= width or not word.isascii():
            return word
        left = (width - 1) // 2
        return f"{word[:left]}…{word[len(word) - (width - 1 - left) :]}"

    return " ".join(map(short, text.split(" ")))


def _is_plain(cell: str, room: int) -> bool:
    """Whether a cell is one line that needs nothing but blanks behind it, or before it."""
    return len(cell) <= room and cell.isascii() and cell.isprintable() and not cell.endswith(" ")


def _width(cell: str) -> int:
    """Cells of a terminal that the longest line takes."""
    if cell.isascii() and cell.isprintable():
        return len(cell)
    return max((cell_len(line) for line in Text(cell).plain.splitlines()), default=0)


def _narrow(widths: list[int], least: Sequence[int], room: int) -> None:
    """Take from the widest columns that may be narrower, one by one, until all fit."""
    while sum(widths) > room:
        wide = [column for column, width in enumerate(widths) if width > least[column]]
        if not wide:
            return
        widths[max(wide, key=widths.__getitem__)] -= 1


def _reduced(widths: Sequence[int], which: Sequence[bool], excess: int, most: int) -> list[int]:
    """Take an excess from some of the widths, as evenly as whole numbers go, and `most` from each at most."""
    result, left = [], sum(which)
    for width, taken in zip(widths, which, strict=True):
        part = min(most, round(excess / left)) if taken else 0
        result.append(width - part)
        excess, left = excess - part, left - taken
    return result


def _set(console: Console, cell: str, width: int, justify: Justify) -> list[str]:
    """A cell as lines of a width."""
    if cell.isascii() and cell.isprintable() and len(cell) <= width:
        return [cell.ljust(width) if justify == "left" else cell.rstrip().rjust(width)]
    lines = Text(cell).wrap(console, max(width, 1), justify=justify, overflow="fold")
    return [line.plain + " " * (width - cell_len(line.plain)) for line in lines] or [" " * width]
