"""Dask and optuna are optional parts of bsc: ask here before importing what uses them."""

import importlib.util

from bsc.errors import UsageError


def require(package: str, what: str) -> None:
    """Refuse to do something without a package.

    Args:
        package: what is imported.
        what: what needs it.

    Raises:
        UsageError: BSC208 when it is not installed.
    """
    if importlib.util.find_spec(package) is None:
        raise UsageError(
            "BSC208",
            f"{what} needs the package '{package}'",
            seen=f"no package '{package}'",
            fix="install it, in a checkout with: pip install -c constraints.txt -e '.[explore]'",
        )
