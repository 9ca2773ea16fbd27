"""Hardware descriptions, devices and ADC laws, by name or from the user's own files."""

import difflib
from collections.abc import Iterable
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from bsc.cost.counters import require_counters
from bsc.errors import UsageError
from bsc.hardware.adc_law import AdcLaw
from bsc.hardware.device import Device
from bsc.hardware.target import Target
from hw_models.adc import LAWS, law_from_toml


def names() -> list[str]:
    """Names of the shipped descriptions, sorted."""
    return _descriptions(files(__name__))


def load(name_or_path: str) -> Target:
    """Load a shipped description by name, or the user's own by a path that ends in `.toml`.

    Raises:
        UsageError: BSC202 for a file that cannot be read, BSC206 for an unknown name or a bad description.
    """
    if name_or_path in names():
        file = f"{name_or_path}.toml"
        target = Target.from_toml(files(__name__).joinpath(file).read_text(encoding="utf-8"), f"{__name__}/{file}")
    elif name_or_path.endswith(".toml"):
        target = Target.from_toml(_read(name_or_path), name_or_path)
    else:
        raise _unknown("BSC206", "hardware description", name_or_path, names())
    require_counters(target)
    return target


def device_names() -> list[str]:
    """Names of the shipped devices, sorted."""
    return _descriptions(_devices())


def load_device(name_or_path: str) -> Device:
    """Load a shipped device by name, or the user's own by a path that ends in `.toml`.

    Raises:
        UsageError: BSC202 for a file that cannot be read, BSC206 for an unknown name or a bad description.
    """
    if name_or_path in device_names():
        file = f"{name_or_path}.toml"
        text = _devices().joinpath(file).read_text(encoding="utf-8")
        return Device.from_toml(text, f"{__name__}/devices/{file}")
    if name_or_path.endswith(".toml"):
        return Device.from_toml(_read(name_or_path), name_or_path)
    raise _unknown("BSC206", "device", name_or_path, device_names())


def laws() -> dict[str, AdcLaw]:
    """The shipped ADC laws by name."""
    return dict(LAWS)


def load_law(name_or_path: str) -> AdcLaw:
    """Load a shipped ADC law by name, or a table of the user's by a path that ends in `.toml`.

    Raises:
        UsageError: BSC202 for a file that cannot be read, BSC207 for an unknown name or a bad table.
    """
    if name_or_path in LAWS:
        return LAWS[name_or_path]
    if name_or_path.endswith(".toml"):
        return law_from_toml(_read(name_or_path), name_or_path)
    raise _unknown("BSC207", "ADC law", name_or_path, LAWS)


def _devices() -> Traversable:
    return files(__name__).joinpath("devices")


def _descriptions(folder: Traversable) -> list[str]:
    return sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:  # not UTF-8, or a zero byte in the path
        raise UsageError(
            "BSC202", f"{path}: cannot be read", seen=str(error), fix="give the path of a UTF-8 text file"
        ) from error


def _unknown(code: str, what: str, name: str, known: Iterable[str]) -> UsageError:
    listing = ", ".join(known)
    nearest = difflib.get_close_matches(name, known, n=1)
    suggestion = f"did you mean '{nearest[0]}'? " if nearest else ""
    return UsageError(
        code,
        f"no {what} of that name",
        seen=repr(name),
        fix=f"{suggestion}shipped: {listing}; for your own give a path that ends in .toml",
    )
