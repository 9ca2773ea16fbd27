"""Dask and optuna are optional parts of bsc: ask here before importing what uses them."""

from bsc import optional


def require(package: str, what: str) -> None:
    """Refuse to do something without a package.

    Args:
        package: what is imported.
        what: what needs it.

    Raises:
        UsageError: BSC208 when it is not installed.
    """
    optional.require(package, f"{what} needs the package '{package}'", "explore")
