"""Optional dependencies: whether what needs one can be done."""

import importlib.util

from bsc.errors import UsageError


def require(package: str, problem: str, extra: str) -> None:
    """Refuse to go on without a package.

    Args:
        package: what is imported.
        problem: what needs it, in words.
        extra: of bsc, that installs it.

    Raises:
        UsageError: BSC208 when it is not installed.
    """
    if importlib.util.find_spec(package) is None:
        raise UsageError(
            "BSC208",
            problem,
            seen=f"no package '{package}'",
            fix=f"install it, in a checkout with: pip install -c constraints.txt -e '.[{extra}]'",
        )
