"""The letters of an Einsum equation."""

from collections.abc import Sequence


def letters(equation: str, ranks: Sequence[int]) -> tuple[list[str], str]:
    """The letters of every operand and of the result, an ellipsis written out.

    Axes under an ellipsis are counted from the last one on, as broadcasting does.

    Args:
        equation: such as "...i,ij->...j"; without an arrow, the result has the ellipsis and then every letter that
            occurs once, in alphabetical order.
        ranks: the number of axes of each operand.

    Raises:
        ValueError: if the equation does not fit the operands.
    """
    left, arrow, result = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(ranks):
        raise ValueError("the equation has another number of operands")
    hidden = [rank - len(term.replace("...", "")) for term, rank in zip(terms, ranks, strict=True)]
    if any(axes < 0 or (axes and "..." not in term) for term, axes in zip(terms, hidden, strict=True)):
        raise ValueError("the equation has another number of axes")
    if not arrow:
        named = "".join(terms).replace(".", "")
        once = sorted(letter for letter in set(named) if named.count(letter) == 1)
        result = ("..." if "..." in left else "") + "".join(once)
    free = [letter for letter in _ALPHABET if letter not in equation]
    dots = "".join(free[: max(hidden, default=0)])
    if len(dots) < max(hidden, default=0):
        raise ValueError("the equation has more axes than there are letters")
    written = [term.replace("...", dots[len(dots) - axes :]) for term, axes in zip(terms, hidden, strict=True)]
    result = result.replace("...", dots)
    if not all(letter in _ALPHABET for letter in "".join((*written, result))):
        raise ValueError("the equation has other signs than letters")
    return written, result


_ALPHABET = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
