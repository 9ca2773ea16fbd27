"""How weights are held in cells, and what that does to each ADC policy.

    python -m examples.adc.encodings DATA_DIR MODEL.onnx... --out DIR

The data are cut as by `examples.adc.policies`. Writes encodings.json and encodings-table.md; encodings.md says what was
found.
"""

from pathlib import Path
from typing import Any

import click

from examples.adc.policies import BASE, Policy, measure, save

CELLS: dict[str, dict[str, Any]] = {
    "": {},
    "offset": {"encoding": "offset"},
    "offset, flipped": {"encoding": "offset", "flip": True},
    "pairs": {"subtraction": "analog"},
    "pairs, 4-2-2": {"subtraction": "analog", "cut": "4-2-2"},
    "pairs, centre, 4-2-2": {"subtraction": "analog", "encoding": "centre", "cut": "4-2-2"},
}
RAELLA = {"subtraction": "analog", "encoding": "centre"}


def policies() -> list[Policy]:
    """Lossless with every way to hold weights, and data-driven policies with those that are worth it."""
    chosen = [
        Policy(BASE if not name else f"lossless, {name}", "lossless", cells=cells) for name, cells in CELLS.items()
    ]
    for name, cells in CELLS.items():
        if not name.startswith("offset"):
            end = f", {name}" if name else ""
            chosen.append(Policy(f"calibrated{end}", "calibrated", cells=cells))
            chosen.append(Policy(f"budgeted 0.5{end}", "budgeted", max_drop=0.5, cells=cells))
    return [*chosen, Policy("raella", "fixed=7", cells=RAELLA, adaptive=True)]


@click.command()
@click.argument("data_dir", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("models", type=click.Path(path_type=Path, exists=True), nargs=-1, required=True)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for everything that is made.")
@click.option("--held-out", type=click.IntRange(min=1), default=1 << 30, help="Images held out.  [default: all]")
def main(data_dir: Path, models: tuple[Path, ...], out: Path, held_out: int) -> None:
    """Measure every way to hold weights on every MODEL, seed 0."""
    for results in measure(data_dir, models, out, held_out, policies()):
        save(results, out / "encodings.json", out / "encodings-table.md")


if __name__ == "__main__":
    main()
