"""PyTorch is an optional part of bsc: ask here before importing any other module of this package."""

from bsc.optional import require


def require_torch() -> None:
    """Refuse to fine-tune without PyTorch.

    Raises:
        UsageError: BSC208 when it is not installed.
    """
    require("torch", "fine-tuning needs PyTorch", "train")
