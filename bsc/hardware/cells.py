"""What a device description says of reading and writing its cells, beside the effects: voltages, pulses, energies."""

from bsc.hardware.target import Quantity
from bsc.toml_record import Record


class Reading(Record):
    """How a cell is read. Level 0 conducts as `off_current` of the device says, or nothing.

    Attributes:
        on_ohm: resistance of a cell at the highest level.
        read_v: voltage over it, for the highest digit of a row.
        pulse_s: for how long; None where nobody says, and it is then the whole read of the hardware.
    """

    on_ohm: Quantity
    read_v: Quantity
    pulse_s: Quantity | None = None


class Writing(Record):
    """How a cell is programmed: pulses, each followed by a read that verifies it.

    Attributes:
        pulses: that set or reset a cell, on average.
        pulse_s: duration of one.
        pulse_j: energy of one.
        verify_s: duration of the read behind a pulse; None is unknown, and so is the time of writing.
        verify_j: energy of that read.
        passes: times that the whole array is gone over; all after the first read every cell once and write few again.
        at_once: cells of a crossbar that are written at the same time.
        endurance: pulses until a cell wears out.
    """

    pulses: Quantity
    pulse_s: Quantity
    pulse_j: Quantity
    verify_s: Quantity | None = None
    verify_j: Quantity
    passes: Quantity | None = None
    at_once: Quantity | None = None
    endurance: Quantity | None = None
