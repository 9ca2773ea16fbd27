"""What is provable of single channels: which are never negative, never positive or always zero, and which nobody reads.

A channel is one column of a crossbar layer and all that operators without mixing make of it. Behind a ReLU a column
without positive weights and with a bias of at most 0 is always zero, whatever the input: it is *dead*. Signs are
carried forwards from layer to layer, reads backwards. Operators that `bsc.analysis.channel_signs` does not know end
both: nothing is known of their results, and everything they are given is read.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bsc.analysis.channel_signs import Flags, Link, Signs, carry
from bsc.ir.graph import DigitalOp, Graph
from bsc.ir.layer import CrossbarLayer
from bsc.mapping.layer import Quantised


@dataclass(frozen=True, eq=False)
class ChannelFacts:
    """What `analyse` found, by layer name.

    Attributes:
        dead_rows: rows whose input code is always 0, (G, K).
        unread: columns whose result makes no difference, (N,): what the layer's bias alone gives does as well.
    """

    dead_rows: Mapping[str, Flags]
    unread: Mapping[str, Flags]


@dataclass
class _State:
    reused: frozenset[str]  # layers that further operators drive
    signs: dict[str, Signs] = field(default_factory=dict)
    links: dict[str, list[Link]] = field(default_factory=dict)  # by operator
    dead_rows: dict[str, Flags] = field(default_factory=dict)


def analyse(graph: Graph) -> ChannelFacts:
    """Find the dead rows and the unread columns of every layer; all must be quantised.

    Both are exact for the quantised integer model: with those rows and columns left out, every output of the model has
    the same bits. A value that is unread where input steps are set at run time still counts as read, since it may be
    the largest of its vector, unless it is always zero. Nothing is found of layers that have `kept` already.
    """
    state = _State(reused=frozenset(use.layer for use in graph.uses()))
    for op in graph.ops():
        if isinstance(op, CrossbarLayer):
            state.dead_rows[op.name] = _dead_rows(op, _input_signs(graph, op, state))
            if op.name in state.reused:  # of the other operators that drive it nothing is known
                state.dead_rows[op.name][:] = False
            if op.kept is None and (axis := _channel_axis(graph, op, op.output)) is not None:
                state.signs[op.output] = _layer_signs(graph, op, state.dead_rows[op.name], axis)
        elif (
            isinstance(op, DigitalOp)
            and (carried := carry(graph, op, [state.signs.get(name) for name in op.inputs])) is not None
        ):
            state.signs[op.outputs[0]], state.links[op.name] = carried
    return ChannelFacts(dead_rows=state.dead_rows, unread=_unread(graph, state))


# --- forwards: signs ---


def _dead_rows(layer: CrossbarLayer, signs: Signs | None) -> Flags:
    """(G, K): an unsigned input code is 0 wherever the value is not above 0."""
    assert layer.quant is not None
    if signs is None:
        return np.zeros((layer.groups, layer.rows), np.bool_)
    dead = signs.high if _from_zero_on(layer.quant) else signs.zero
    return _by_row(layer, dead)


def _from_zero_on(quant: Quantised) -> bool:
    """Whether input codes are those of values of 0 or more, 0 being code 0."""
    return not quant.input_signed and quant.input_zero_point == 0


def _by_row(layer: CrossbarLayer, channels: Flags) -> Flags:
    """Flags of the input's channels, (C,), as those of the layer's rows, (G, K): channels of the group, then taps."""
    return np.repeat(channels, layer.groups * layer.rows // len(channels)).reshape(layer.groups, layer.rows)


def _channel_axis(graph: Graph, layer: CrossbarLayer, tensor: str) -> int | None:
    """Where the channels of a layer's input or output lie; None where that is not known."""
    shape = graph.tensors[tensor].shape
    return 1 if layer.conv is not None else None if shape is None else len(shape) - 1


def _input_signs(graph: Graph, layer: CrossbarLayer, state: _State) -> Signs | None:
    """Signs of the channels that become the layer's rows."""
    signs = state.signs.get(layer.input)
    fits = layer.kept is None and signs is not None and signs.axis == _channel_axis(graph, layer, layer.input)
    return signs if fits else None


def _layer_signs(graph: Graph, layer: CrossbarLayer, dead_rows: Flags, axis: int) -> Signs:
    """From the signs of codes on rows that are not dead, and of the bias; only codes of unsigned inputs have signs."""
    assert layer.quant is not None
    codes = graph.arrays_of(layer.name)["codes"]
    width = layer.columns // layer.groups
    lowest, highest = np.empty(layer.columns, np.int64), np.empty(layer.columns, np.int64)
    for group, dead in enumerate(dead_rows):
        columns = np.s_[group * width : (group + 1) * width]
        alive = codes[:, columns] if not dead.any() else codes[~dead, columns]
        lowest[columns], highest[columns] = alive.min(axis=0, initial=0), alive.max(axis=0, initial=0)
    bias = graph.arrays_of(layer.name).get("bias", np.zeros(1))
    if not _from_zero_on(layer.quant):
        lowest, highest = np.where((lowest == 0) & (highest == 0), 0, [[-1], [1]])
    return Signs(axis, low=(lowest >= 0) & (bias >= 0), high=(highest <= 0) & (bias <= 0))


# --- backwards: reads ---


def _unread(graph: Graph, state: _State) -> dict[str, Flags]:
    read = {name: np.zeros(len(signs.low), np.bool_) for name, signs in state.signs.items()}

    def mark(tensor: str, channels: Any) -> None:
        if tensor in read:
            read[tensor] |= channels

    for name in graph.outputs:
        mark(name, True)
    unread: dict[str, Flags] = {}
    for op in reversed(list(graph.ops())):
        if isinstance(op, CrossbarLayer):
            known = op.output in read and op.groups == 1 and op.name not in state.reused
            unread[op.name] = ~read[op.output] if known else np.zeros(op.columns, np.bool_)
            signs = _input_signs(graph, op, state)
            mark(op.input, True if signs is None else _channels_read(graph, op, state, signs, unread[op.name]))
        elif isinstance(op, DigitalOp) and op.name in state.links:
            result = op.outputs[0]
            # A channel that is always zero stays so as long as the signs of what it is made of do.
            wanted = read[result] & ~state.signs[result].zero
            for link in state.links[op.name]:
                if link.tensor in read:
                    read[link.tensor][link.source[wanted & (link.source >= 0)]] = True
        else:
            for name in op.inputs:
                mark(name, True)
    return unread


def _channels_read(graph: Graph, layer: CrossbarLayer, state: _State, signs: Signs, unread: Flags) -> Flags:
    """Channels of a layer's input that its result, or the step of its input codes, depends on, (C,)."""
    assert layer.quant is not None
    if layer.quant.input_scale is None:
        return ~signs.zero
    codes = graph.arrays_of(layer.name)["codes"]
    width = layer.columns // layer.groups
    used = np.empty((layer.groups, layer.rows), np.bool_)
    for group in range(layer.groups):
        columns = np.s_[group * width : (group + 1) * width]
        wanted = codes[:, columns] if not unread.any() else codes[:, columns][:, ~unread[columns]]
        used[group] = wanted.any(axis=1)
    used &= ~state.dead_rows[layer.name]
    return np.asarray(used.reshape(len(signs.low), -1).any(axis=1))
