"""PyTorch is an optional part of bsc: ask here before importing any other module of this package."""

import importlib.util

from bsc.errors import UsageError


def require_torch() -> None:
    """Refuse to fine-tune without PyTorch.

    Raises:
        UsageError: BSC208 when it is not installed.
    """
    if importlib.util.find_spec("torch") is None:
        raise UsageError(
            "BSC208",
            "fine-tuning needs PyTorch",
            seen="no package 'torch'",
            fix="install it, in a checkout with: pip install -c constraints.txt -e '.[train]'",
        )
