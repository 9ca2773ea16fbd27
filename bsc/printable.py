r"""Names are data: what may be shown of text that comes from files.

A name in a model, plan, data set or hardware description may hold anything: line breaks, escape sequences that move a
terminal's cursor, characters that turn the direction of writing. Whatever shows text to people makes those visible as
`\n`, `\x1b` or `\u202e`, so that a name can neither start a line of a report nor change what is around it. Three
places do so for all of bsc, and everything that is printed goes through one of them: `bsc.report.text` for reports,
`bsc.commands.output` for what commands say, and `bsc.report.html.page` for pages. JSON has escapes of its own.
"""

import unicodedata
from typing import Final

INVISIBLE: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode categories: controls, formats such as bidirectional overrides, surrogates, line and paragraph separators."""

FORMULA: Final = "=+-@＝＋－＠"  # noqa: RUF001, since spreadsheets take the wide forms too
"""What a spreadsheet takes for the start of a formula."""


def visible(text: str) -> str:
    """Text of one line: every invisible character, line breaks too, as Python would write it in a literal."""
    if text.isprintable():
        return text
    return "".join(_escaped(each) if unicodedata.category(each) in INVISIBLE else each for each in text)


def visible_lines(text: str) -> str:
    """Text whose line breaks are ours and stay."""
    return "\n".join(map(visible, text.split("\n")))


def csv_text(text: str) -> str:
    """A cell of a table of comma-separated values: visible, and behind a quote where it would be a formula."""
    text = visible(text)
    return f"'{text}" if text.startswith(tuple(FORMULA)) else text


def json_text(text: str) -> str:
    r"""JSON that `json.dumps` wrote; of all invisible characters it leaves DEL as it is, within strings alone."""
    return text.replace("\x7f", "\\u007f")


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
