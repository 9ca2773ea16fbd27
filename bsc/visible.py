"""Text of models, plans and data for a terminal: names are untrusted, and nothing of them may move its cursor.

Control characters, and those that turn the direction of writing, become escapes as Python writes them.
"""


def visible(text: str) -> str:
    """The text on one line: every character that is not printable becomes its escape."""
    return text if text.isprintable() else "".join(map(_shown, text))


def visible_lines(text: str) -> str:
    """The same of a text of several lines, which it keeps."""
    return "\n".join(map(visible, text.split("\n")))


def _shown(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
