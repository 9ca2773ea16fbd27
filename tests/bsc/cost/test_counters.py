"""Every counter against plain loops over a mapping, and the words for targets that cannot be counted."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hw_models
from bsc.cost.compare import compare
from bsc.cost.counters import (
    ALL_COUNTERS,
    COUNTERS,
    MISSING,
    conversion_actions,
    counted,
    not_modelled,
    require_counters,
)
from bsc.cost.counts import count_mapping
from bsc.errors import UsageError
from bsc.mapping.arrays import LayerArrays
from bsc.mapping.layer import MappedLayer
from passes.assign_adc import AssignAdc
from tests.bsc.plans import ISAAC, coded, mapped
from tests.bsc.targets import with_action, without_price

LAWS = hw_models.laws()


def looped(layer: MappedLayer, arrays: LayerArrays) -> Counter[str]:
    """What happens in one inference, one vector, cycle, crossbar, row group and column after another."""
    done: Counter[str] = Counter(dict.fromkeys(COUNTERS, 0))
    bits = layer.input_bits - layer.input_signed
    cycles = len(range(0, bits, layer.dac_bits)) + layer.input_signed  # digits, then the sign
    unit = layer.encoding != "differential"
    for _ in range(layer.vectors):
        done["moved_bits"] += layer.input_bits * (layer.mapped_rows + layer.columns)
        done["buffer_bits"] += layer.input_bits * (layer.mapped_rows + layer.columns)
        for kept, lines in ((arrays.kept_rows, layer.rows), (arrays.kept_columns, layer.columns)):
            for _ in kept if kept is not None else ():
                done["buffer_bits"] += len(f"{lines - 1:b}") if lines > 1 else 0
        for _ in range(cycles):
            for row_tile, column_tile, part, sign in np.argwhere(arrays.allocated).tolist():
                rows = range(row_tile * layer.tile_rows, min((row_tile + 1) * layer.tile_rows, layer.mapped_rows))
                columns = range(
                    column_tile * layer.tile_cols, min((column_tile + 1) * layer.tile_cols, layer.mapped_columns)
                )
                done["cells_read"] += layer.tile_rows * layer.tile_cols
                for first in range(0, len(rows), layer.active_rows):
                    group = row_tile * layer.groups_per_tile + first // layer.active_rows
                    for _ in rows[first : first + layer.active_rows]:
                        done["rows_driven"] += 1
                        done["driver_bits"] += layer.dac_bits
                    for column in columns:
                        done["columns_sampled"] += 1
                        converted = arrays.adc_bits[group, part, sign, column] > 0
                        done["conversions"] += int(converted)
                        done["partial_results"] += int(converted)
                    for name in ("columns_sampled", "conversions", "partial_results") if unit else ():
                        done[name] += 1
    return done


@settings(deadline=None, max_examples=40)
@given(
    shape=st.tuples(st.integers(1, 9), st.integers(1, 5)),
    options=st.fixed_dictionaries(
        {
            "encoding": st.sampled_from(["differential", "offset", "centre"]),
            "bits_per_cell": st.integers(1, 3),
            "dac_bits": st.integers(1, 3),
            "rows": st.sampled_from([2, 4]),
            "cols": st.sampled_from([1, 2, 8]),
            "active_rows": st.sampled_from([0, 1, 2]),
            "eliminate": st.booleans(),
        }
    ),
    inputs=st.fixed_dictionaries(
        {"input_bits": st.integers(2, 6), "input_signed": st.booleans(), "vectors": st.integers(1, 3)}
    ),
    seed=st.integers(0, 99),
)
def test_every_counter_is_what_loops_find(
    shape: tuple[int, int], options: dict[str, Any], inputs: dict[str, Any], seed: int
) -> None:
    # Columns that are their centre are left out, but the sum of their inputs is not: that is in test_counts.
    options["eliminate"] &= options["encoding"] != "centre"
    codes = np.random.default_rng(seed).integers(-7, 8, shape) | 1
    mapping = mapped(coded(codes, weight_bits=3, **inputs), adc=AssignAdc(granularity="column"), **options)
    (counts,), (layer,) = count_mapping(mapping), mapping.layers
    assert dict(counts.counters) == looped(layer, mapping.arrays(layer))


def test_every_counter_says_in_one_line_what_it_counts() -> None:
    lines = [counted(name) for name in ALL_COUNTERS]
    assert all(line and len(line) < 100 for line in lines)
    assert len(set(lines)) == len(ALL_COUNTERS)


@pytest.mark.parametrize(
    ("name", "hint"),
    [("conversion", "did you mean 'conversions'? "), ("moved_bit", "did you mean 'moved_bits'? "), ("x", "")],
)
def test_words_for_an_unknown_counter(name: str, hint: str) -> None:
    target = with_action(ISAAC, "bus_bit", lambda action: action.model_copy(update={"counter": name}))
    words = (
        "[BSC206] target 'isaac': action 'bus_bit' names a counter that there is none of\n"
        f"  seen: '{name}'\n"
        f"  fix:  {hint}counters: {', '.join(ALL_COUNTERS)}"
    )
    with pytest.raises(UsageError) as caught:
        require_counters(target)
    assert str(caught.value) == words
    mapping = mapped(coded([[1]]))
    with pytest.raises(UsageError) as caught:
        compare(mapping, target, LAWS["isaac"], LAWS)
    assert str(caught.value) == words


def test_words_for_a_target_that_counts_no_conversions() -> None:
    target = with_action(ISAAC, "adc_conversion", lambda _: None)
    with pytest.raises(UsageError) as caught:
        require_counters(target)
    assert str(caught.value) == (
        "[BSC206] target 'isaac' has no action that counts conversions\n"
        f"  seen: counters {', '.join(sorted({*ALL_COUNTERS} - {'conversions'}))}\n"
        "  fix:  add an action with counter = 'conversions', without energy_j if nobody published it"
    )


def test_conversions_of_several_actions_add_up() -> None:
    """A converter in two parts, each with half the price: the same ADC energy."""

    def halved(action: Any) -> Any:
        half = action.energy_j.model_copy(update={"value": action.energy_j.value / 2})
        return action.model_copy(update={"energy_j": half, "component": None, "at_full_rate": None})

    half = with_action(ISAAC, "adc_conversion", halved)
    first, *others = half.level
    both = first.model_copy(update={"action": {**first.action, "reference": first.action["adc_conversion"]}})
    split = half.model_copy(update={"level": (both, *others)})
    assert conversion_actions(split) == ("adc_conversion", "reference")
    mapping = mapped(coded([[1, -2], [3, 4]]))
    ours, theirs = (compare(mapping, target, LAWS["isaac"], LAWS).plan for target in (split, ISAAC))
    assert ours.total_adc_energy_j == theirs.total_adc_energy_j
    assert ours.total_energy_j == pytest.approx(theirs.total_energy_j)


def test_what_a_target_leaves_out_is_named() -> None:
    assert not_modelled(ISAAC) == MISSING
    assert not_modelled(without_price(ISAAC, "bus_bit")) == (*MISSING, "the tile's bus")
    without = not_modelled(with_action(ISAAC, "router_bit", lambda _: None))
    assert without == (*MISSING, "the tile's router", "bits through routers, once for each router on their way")
