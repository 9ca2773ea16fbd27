"""A line of comma-separated values: RFC 4180 but for its end, which is a newline alone."""

import csv
import io
from collections.abc import Sequence

Cell = str | float | None


def csv_line(cells: Sequence[Cell]) -> str:
    """The writer quotes what its own line ends hold, carriage returns too; these become newlines alone."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(cells)
    return text.getvalue().removesuffix("\r\n") + "\n"
