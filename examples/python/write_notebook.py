"""first_plan.ipynb from first_plan.py: runs its cells and writes them with what they print.

    python examples/python/write_notebook.py

A cell begins with `# %%`, or `# %% [markdown]` for text behind comment signs. What the last expression of a cell gives
is shown as Jupyter would show it.
"""

import ast
import contextlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
SOURCE = HERE / "first_plan.py"
NOTEBOOK = HERE / "first_plan.ipynb"
MARKDOWN = " [markdown]\n"


def notebook(source: str) -> str:
    """The notebook of a source, run."""
    names: dict[str, Any] = {}
    cells: list[dict[str, Any]] = []
    for number, (markdown, text) in enumerate(cells_of(source)):
        cell: dict[str, Any] = {"id": f"cell-{number}", "metadata": {}, "source": text.splitlines(keepends=True)}
        if markdown:
            cell |= {"cell_type": "markdown"}
        else:
            count = sum(each["cell_type"] == "code" for each in cells) + 1
            cell |= {"cell_type": "code", "execution_count": count, "outputs": run(text, names, count)}
        cells.append(cell)
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    document = {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def cells_of(source: str) -> Iterator[tuple[bool, str]]:
    """Whether a cell is text, and what is in it."""
    for part in source.split("# %%")[1:]:
        if part.startswith(MARKDOWN):
            lines = part.removeprefix(MARKDOWN).strip().splitlines()
            yield True, "\n".join(line.removeprefix("#").removeprefix(" ") for line in lines)
        else:
            yield False, part.strip()


def run(code: str, names: dict[str, Any], count: int) -> list[dict[str, Any]]:
    """What a cell shows."""
    tree = ast.parse(code)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    outputs: list[dict[str, Any]] = []
    value = None
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(tree, SOURCE.name, "exec"), names)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), SOURCE.name, "eval"), names)
    if text := printed.getvalue():
        outputs.append({"name": "stdout", "output_type": "stream", "text": text.splitlines(keepends=True)})
    if value is not None:
        data = {"text/plain": [repr(value)]}
        if hasattr(value, "_repr_html_"):
            data["text/html"] = value._repr_html_().splitlines(keepends=True)
        outputs.append({"data": data, "execution_count": count, "metadata": {}, "output_type": "execute_result"})
    return outputs


if __name__ == "__main__":
    NOTEBOOK.write_text(notebook(SOURCE.read_text(encoding="utf-8")), encoding="utf-8")
