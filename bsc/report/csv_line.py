"""A line of comma-separated values: RFC 4180 but for its end, which is a newline alone.

Names are data: what is invisible in a text is written visibly, and a text that a spreadsheet would take for a formula
begins with a quote.
"""

import csv
import io
from collections.abc import Mapping, Sequence

from bsc.printable import csv_text

Cell = str | float | None


def csv_line(cells: Sequence[Cell]) -> str:
    """Cells in one line, whatever they hold."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(
        [csv_text(cell) if isinstance(cell, str) else cell for cell in cells]
    )
    return text.getvalue()


def csv_table(columns: Mapping[str, Sequence[Cell]]) -> str:
    """Columns of one length under their names."""
    return "".join([csv_line(list(columns)), *map(csv_line, zip(*columns.values(), strict=True))])
