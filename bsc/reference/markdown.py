"""What the pages have in common."""


def table_row(*cells: str) -> str:
    """A line of a table, whatever the cells hold."""
    return f"| {' | '.join(' '.join(cell.split()).replace('|', chr(92) + '|') for cell in cells)} |\n"
