"""Einsum of an activation and a constant, as a matrix product."""

from collections.abc import Sequence

import onnx_ir as ir

from bsc.frontend.attributes import text
from bsc.frontend.builder import Builder
from bsc.frontend.constants import is_constant, known_shape, sizes_of
from bsc.frontend.rewrites.matmul import grouped_product


def einsum(b: Builder) -> Sequence[ir.Value] | str | None:
    """The letters fall into four kinds, and every einsum of two operands is then one (stack of) matrix product.

    shared by both and the result: a stack; by both only: rows; by the constant and the result: columns;
    by the input and the result: vectors.
    """
    if len(b.node.inputs) != 2 or is_constant(b.node.inputs[0]) == is_constant(b.node.inputs[1]):
        return None
    terms = _terms(text(b.node, "equation", ""))
    at = 0 if is_constant(b.node.inputs[1]) else 1
    x, weight = b.node.inputs[at], b.node.inputs[1 - at]
    shape = known_shape(x)
    if shape is None:
        return "the shape of its input is unknown"
    if terms is None or len(terms) != 3:
        return "its equation has an ellipsis or repeats a letter within an operand"
    ours, theirs, result = terms[at], terms[1 - at], terms[2]
    if (len(ours), len(theirs)) != (len(shape), len(sizes_of(weight))):
        return "its equation does not fit its operands"
    size = dict(zip(theirs, sizes_of(weight), strict=True)) | dict(zip(ours, shape, strict=True))
    stack = [letter for letter in ours if letter in theirs and letter in result]
    rows = [letter for letter in ours if letter in theirs and letter not in result]
    columns = [letter for letter in theirs if letter not in ours and letter in result]
    vectors = [letter for letter in ours if letter not in theirs and letter in result]
    kinds = [*stack, *rows, *columns, *vectors]
    if not rows or set(kinds) != {*ours, *theirs}:
        return "its equation sums over one operand alone, or over none"
    if ours[0] in stack + rows and size[ours[0]] == 1:
        return "its first axis is free, and in the constant as well"

    def product(letters: list[str]) -> int:
        total = 1
        for letter in letters:
            total *= size[letter]
        return total

    order = [theirs.index(letter) for letter in (*stack, *rows, *columns)]
    sizes = [product(stack), product(rows), product(columns)]
    # The first axis may be a batch of any size, so that no other may be written -1.
    known = {letter: (-1 if letter == ours[0] and letter in vectors else size[letter]) for letter in kinds}
    if not stack:
        constant = b.rearranged(weight, lambda w: w.transpose(order).reshape(sizes[1:]))
        moved = b.transpose(x, [ours.index(letter) for letter in (*vectors, *rows)], "input")
        if len(rows) > 1:
            moved = b.reshape(moved, [*(known[letter] for letter in vectors), sizes[1]], "rows")
        y = b.op("MatMul", moved, constant)
        if len(columns) != 1:
            y = b.reshape(y, [*(known[letter] for letter in (*vectors, *columns))], "columns")
        made = [*vectors, *columns]
    else:
        first = [letter for letter in vectors if letter == ours[0]]
        others = [letter for letter in vectors if letter not in first]
        constant = b.rearranged(weight, lambda w: w.transpose(order).reshape(sizes))
        moved = b.transpose(x, [ours.index(letter) for letter in (*first, *stack, *others, *rows)], "input")
        batch = -1 if first else 1
        stacked = b.reshape(moved, [batch, sizes[0], product(others), sizes[1]], "stack")
        y = grouped_product(b, stacked, constant, product(others))
        made = [*first, *stack, *others, *columns]
        y = b.reshape(y, [known[letter] for letter in made], "unstacked")
    return [b.transpose(y, [made.index(letter) for letter in result], "output")]


def _terms(equation: str) -> list[str] | None:
    """The letters of the operands and of the result; None for what is not covered."""
    plain = equation.replace(" ", "")
    if "." in plain:
        return None
    operands, arrow, result = plain.partition("->")
    terms = operands.split(",")
    if not arrow:
        joined = "".join(terms)
        result = "".join(sorted(letter for letter in set(joined) if joined.count(letter) == 1))
    terms.append(result)
    return terms if all(len(set(term)) == len(term) for term in terms) else None
