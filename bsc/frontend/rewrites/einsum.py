"""Einsum of an activation and a constant, as a matrix product.

The letters fall into four kinds, and every einsum of two operands is then one product, or a stack of them:

    in both operands and the result     one matrix of a stack each
    in both operands only               rows
    in the constant and the result      columns
    in the activation and the result    vectors
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir

from bsc.frontend.attributes import text
from bsc.frontend.builder import Builder
from bsc.frontend.constants import is_constant, known_shape, sizes_of
from bsc.frontend.rewrites.matmul import grouped_product
from bsc.ir.einsum import letters


@dataclass(frozen=True, kw_only=True)
class _Terms:
    """The letters of an equation: of the activation, the constant and the result, and the size of each."""

    ours: str
    theirs: str
    result: str
    sizes: Mapping[str, int]

    @property
    def stack(self) -> str:
        """Letters of all three."""
        return "".join(letter for letter in self.ours if letter in self.theirs and letter in self.result)

    @property
    def rows(self) -> str:
        """Letters that are summed over."""
        return "".join(letter for letter in self.ours if letter in self.theirs and letter not in self.result)

    @property
    def columns(self) -> str:
        """Letters of the constant that are left."""
        return "".join(letter for letter in self.theirs if letter not in self.ours and letter in self.result)

    @property
    def vectors(self) -> str:
        """Letters of the activation that are left."""
        return "".join(letter for letter in self.ours if letter not in self.theirs and letter in self.result)

    def size(self, letters: str) -> int:
        """Places that the letters have together."""
        return math.prod(self.sizes[letter] for letter in letters)

    def shape(self, letters: str) -> list[int]:
        """Sizes for a Reshape. The first axis may be a batch of any size, so that no other may be written -1."""
        batch = self.ours[0] if self.ours[0] in self.vectors else ""
        return [-1 if letter == batch else self.sizes[letter] for letter in letters]


def einsum(b: Builder) -> Sequence[ir.Value] | str | None:
    """Einsum of two operands, one of them constant, that is a matrix product around transpositions."""
    if len(b.node.inputs) != 2 or is_constant(b.node.inputs[0]) == is_constant(b.node.inputs[1]):
        return None
    at = 0 if is_constant(b.node.inputs[1]) else 1
    x, weight = b.node.inputs[at], b.node.inputs[1 - at]
    terms = _terms(text(b.node, "equation", ""), at, known_shape(x), sizes_of(weight))
    if isinstance(terms, str):
        return terms
    y, axes = _stack(b, terms, x, weight) if terms.stack else _product(b, terms, x, weight)
    return [b.transpose(y, [axes.index(letter) for letter in terms.result], "output")]


def _terms(equation: str, at: int, shape: tuple[int, ...] | None, weight: tuple[int, ...]) -> _Terms | str:
    """The letters of an equation whose operand `at` is the activation, or why it is not a matrix product.

    An ellipsis stands for letters of its own.
    """
    if shape is None:
        return "the shape of its input is unknown"
    ranks = (len(shape), len(weight))
    try:
        operands, result = letters(equation, ranks if at == 0 else ranks[::-1])
    except ValueError:
        return "its equation does not fit its operands"
    if any(len(set(term)) < len(term) for term in (*operands, result)):
        return "its equation repeats a letter within an operand"
    ours, theirs = operands[at], operands[1 - at]
    if any(shape[ours.index(letter)] != size for letter, size in zip(theirs, weight, strict=True) if letter in ours):
        return "its operands are spread over each other"
    sizes = dict(zip(theirs, weight, strict=True)) | dict(zip(ours, shape, strict=True))
    terms = _Terms(ours=ours, theirs=theirs, result=result, sizes=sizes)
    if not terms.rows or {*terms.stack, *terms.rows, *terms.columns, *terms.vectors} != {*ours, *theirs}:
        return "its equation sums over one operand alone, or over none"
    return terms


def _product(b: Builder, terms: _Terms, x: Any, weight: Any) -> tuple[Any, str]:
    """One product, and the letters of its axes."""
    order = [terms.theirs.index(letter) for letter in terms.rows + terms.columns]
    target = (terms.size(terms.rows), terms.size(terms.columns))
    constant = b.rearranged(weight, lambda w: w.transpose(order).reshape(target))
    moved = b.transpose(x, [terms.ours.index(letter) for letter in terms.vectors + terms.rows], "input")
    if len(terms.rows) > 1:
        moved = b.reshape(moved, [*terms.shape(terms.vectors), target[0]], "rows")
    y = b.op("MatMul", moved, constant)
    letters = terms.vectors + terms.columns
    return (y if len(terms.columns) == 1 else b.reshape(y, terms.shape(letters), "columns")), letters


def _stack(b: Builder, terms: _Terms, x: Any, weight: Any) -> tuple[Any, str]:
    """A stack of products, and the letters of its axes."""
    order = [terms.theirs.index(letter) for letter in terms.stack + terms.rows + terms.columns]
    target = (terms.size(terms.stack), terms.size(terms.rows), terms.size(terms.columns))
    constant = b.rearranged(weight, lambda w: w.transpose(order).reshape(target))
    batch = terms.ours[0] if terms.ours[0] in terms.vectors else ""
    others = terms.vectors.replace(batch, "") if batch else terms.vectors
    moved = b.transpose(x, [terms.ours.index(letter) for letter in batch + terms.stack + others + terms.rows], "input")
    vectors = terms.size(others)
    stacked = b.reshape(moved, [-1 if batch else 1, target[0], vectors, target[1]], "stack")
    letters = batch + terms.stack + others + terms.columns
    return b.reshape(grouped_product(b, stacked, constant, vectors), terms.shape(letters), "unstacked"), letters
