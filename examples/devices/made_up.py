"""Made-up measurements: cells drawn from a device that is known, as a lab would write down what it reads.

No cell of this was ever measured. What `bsc hw fit` finds in it can therefore be compared with what is true.
"""

import argparse
import csv
from pathlib import Path

import numpy as np

TARGETS_US = (2.0, 14.0, 27.0, 40.0)
"""Four levels of 2-bit cells."""
SHIFT_US = (0.2, 0.1, -0.3, -0.6)
SPREAD_US = (0.3, 1.1, 1.2, 0.9)
CHIP_US = (0.05, 0.3, 0.4, 0.5)
READ_US = (0.1, 0.2, 0.3, 0.4)
EXPONENT = (0.0, 0.006, 0.01, 0.004)
EXPONENT_SPREAD = (0.0, 0.004, 0.005, 0.003)
PER_KELVIN = (0.002, 0.001, 0.0005, -0.0005)
STUCK_ON, STUCK_OFF = 0.004, 0.012
READINGS = ((1, 300), (60, 300), (3600, 300), (86_400, 300), (86_460, 350))
"""Seconds after programming and kelvin."""


def measurements(chips: int, cells: int, seed: int) -> list[tuple[str, str, float, float, int, int]]:
    """Rows of the file: chip, cell, target_us, conductance_us, time_s, temperature_k.

    Args:
        chips: how many.
        cells: of each level on each chip.
        seed: of everything that is drawn.
    """
    random = np.random.default_rng(seed)
    rows = []
    for chip in range(chips):
        common = random.standard_normal()
        for number in range(cells * len(TARGETS_US)):
            level = number % len(TARGETS_US)
            start = TARGETS_US[level] + SHIFT_US[level] + CHIP_US[level] * common
            start = max(start + SPREAD_US[level] * random.standard_normal(), 0)
            exponent = EXPONENT[level] + EXPONENT_SPREAD[level] * random.standard_normal()
            chance = random.random()
            stuck = TARGETS_US[-1] if chance < STUCK_ON else TARGETS_US[0] if chance < STUCK_ON + STUCK_OFF else None
            for seconds, kelvin in READINGS:
                read = start * seconds**-exponent * (1 + PER_KELVIN[level] * (kelvin - 300))
                read = (read if stuck is None else stuck) + READ_US[level] * random.standard_normal()
                row = (f"chip{chip}", f"{number}", TARGETS_US[level], round(max(read, 0), 3), seconds, kelvin)
                rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path, nargs="?", default=Path(__file__).with_name("made_up.csv"))
    with parser.parse_args().output.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["chip", "cell", "target_us", "conductance_us", "time_s", "temperature_k"])
        writer.writerows(measurements(6, 25, 0))


if __name__ == "__main__":
    main()
