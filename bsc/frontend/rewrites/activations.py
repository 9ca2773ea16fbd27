"""Activation functions that other operators name in their attributes."""

from typing import Any

import numpy as np
import onnx_ir as ir

from bsc.frontend.builder import Builder

_PLAIN = frozenset({"Relu", "Sigmoid", "Softplus", "Softsign", "Tanh"})
_WITH_PARAMETERS = {
    "Elu": {"alpha": 1.0},
    "HardSigmoid": {"alpha": 0.2, "beta": 0.5},
    "LeakyRelu": {"alpha": 0.01},
    "ThresholdedRelu": {"alpha": 1.0},
}


_KNOWN = {name.lower(): name for name in (*_PLAIN, *_WITH_PARAMETERS, "Affine", "Clip", "Identity", "ScaledTanh")}
_NEEDS_TWO = frozenset({"Affine", "Clip", "ScaledTanh"})


def is_covered(name: str, parameters: tuple[float, ...]) -> bool:
    """Whether `activate` knows the function."""
    kind = _KNOWN.get(name.lower())
    return kind is not None and (kind not in _NEEDS_TWO or len(parameters) == 2)


def activate(b: Builder, x: ir.Value, name: str, parameters: tuple[float, ...], label: str) -> ir.Value:
    """The function of that name, any case.

    Args:
        b: builds it.
        x: float32.
        name: as ONNX spells it; covered.
        parameters: alpha and beta, as many as are given; bounds for Clip.
        label: of the result.
    """

    def op(op_type: str, *inputs: ir.Value, **attributes: Any) -> ir.Value:
        value: ir.Value = b.op(op_type, *inputs, label=label, **attributes)
        return value

    kind = _KNOWN[name.lower()]
    if kind == "Identity":
        return x
    if kind in _PLAIN:
        return op(kind, x)
    if kind in _WITH_PARAMETERS:
        attributes = _WITH_PARAMETERS[kind] | dict(zip(_WITH_PARAMETERS[kind], parameters, strict=False))
        return op(kind, x, **attributes)
    first, second = (b.constant(value, np.float32, f"{label}-parameter") for value in parameters)
    if kind == "Clip":
        return op("Clip", x, first, second)
    if kind == "Affine":
        return op("Add", op("Mul", x, first), second)
    return op("Mul", op("Tanh", op("Mul", x, second)), first)
