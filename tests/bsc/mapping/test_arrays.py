"""The specification of arrays is the only one: complete, used by both validators, and told in the schema."""

import itertools
import json
from collections.abc import Callable
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bsc.errors import ModelError
from bsc.ir.graph import Graph
from bsc.ir.invariants import check_graph
from bsc.ir.mapped import mapping_of
from bsc.ir.stages import layer_record
from bsc.mapping.arrays import AXES, KINDS, SAVED, SPECS, LayerArrays, ResolutionTables, array_key, misfits
from bsc.mapping.layer import MappedLayer
from bsc.mapping.model import MappedModel, MappingRecord
from bsc.numeric.encoding import Encoding
from bsc.plan.folder import read_plan, write_plan
from passes.assign_adc import AssignAdc
from passes.budget_adc import BudgetAdc
from passes.eliminate import Eliminate
from passes.permute import Permute
from passes.slice_bits import SliceBits
from passes.tile import Tile
from tests.bsc.plans import coded, mapped, only_layer, plan_around, replace_arrays, slicings
from tests.passes.layers import compiled, network, the_layer
from tests.passes.observed import really_observed

ROOT = Path(__file__).parents[3]
CODES = np.random.default_rng(0).integers(-255, 256, (12, 5))
CODES[[2, 7]], CODES[:, 3] = 0, 0


def with_everything(encoding: Encoding, **slicing: Any) -> Graph:
    """A layer that was observed and priced, its lines permuted and its results corrected, with a bias."""
    layer = coded(CODES, bias="b")
    graph = network(layer.layer, arrays={**layer.arrays, "b": np.arange(5, dtype=np.float32)})
    step = BudgetAdc(correct="bias")
    graph = compiled(graph, SliceBits(encoding=encoding, **slicing), Eliminate(), Permute(), Tile(rows=4, cols=2))
    inputs = np.random.default_rng(1).integers(0, 256, (6, 12))
    return compiled(really_observed(graph, inputs, step.observes()), step)


GRAPHS = {
    "plain": compiled(network(coded(CODES).layer, arrays=coded(CODES).arrays), SliceBits(), Tile(), AssignAdc()),
    "pairs around centres": with_everything("centre", subtraction="analog"),
    "flipped": with_everything("offset", flip="yes"),
}


def test_every_array_that_there_is_has_a_row_and_every_row_an_array() -> None:
    found = set().union(*(graph.arrays_of("fc") for graph in GRAPHS.values()))
    assert found == SPECS.keys()
    assert SAVED.keys() == {field.name for field in fields(LayerArrays)}
    assert SPECS.keys() - SAVED == {field.name for field in fields(ResolutionTables)}


@pytest.mark.parametrize("name", SPECS)
def test_a_row_says_what_it_must(name: str) -> None:
    spec = SPECS[name]
    assert spec.doc
    assert spec.kind in KINDS
    assert set(spec.axes.split()) <= {*AXES, "B"}
    defaults = {field.name: field.default for kind in (LayerArrays, ResolutionTables) for field in fields(kind)}
    wanted = {spec.when(layer_record(MappedLayer, the_layer(graph), "test")) for graph in GRAPHS.values()}
    assert (wanted == {True}) == (name in SAVED and defaults[name] is MISSING)


def test_the_schema_tells_every_array_of_a_folder() -> None:
    schema = json.loads((ROOT / "bsc/plan/plan.schema.json").read_text())
    assert schema["arrays"] == {name: str(spec) for name, spec in SAVED.items()}
    assert schema["axes"].keys() == AXES.keys()


def test_a_key_is_of_an_array_with_a_row() -> None:
    assert array_key("fc", "sums") == "sums of fc"
    with pytest.raises(KeyError):
        array_key("fc", "totals")


def another_type(array: NDArray[Any]) -> NDArray[Any]:
    return array.astype(np.complex64)


def another_rank(array: NDArray[Any]) -> NDArray[Any]:
    return array[None]


def another_size(array: NDArray[Any]) -> NDArray[Any]:
    return np.concatenate([array, array, array[:1]])


def too_high(array: NDArray[Any]) -> NDArray[Any]:
    changed = array.astype(np.float64 if array.dtype.kind == "f" else np.dtype(f"{array.dtype.kind}8"))
    changed.flat[0] = np.inf if array.dtype.kind == "f" else np.iinfo(changed.dtype).max
    return changed


def too_low(array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype.kind == "f":
        changed = array.astype(np.float64)
        changed.flat[0] = -np.inf
        return changed
    whole = array.astype(np.int64)
    whole.flat[0] = np.iinfo(np.int64).min
    return whole


CHANGES: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    each.__name__: each for each in (another_type, another_rank, another_size, too_high, too_low)
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", SPECS)
def test_what_contradicts_a_row_is_refused_in_the_graph_and_in_the_folder(
    name: str, change: str, tmp_path: Path
) -> None:
    graph = next(graph for graph in GRAPHS.values() if name in graph.arrays_of("fc"))
    array = graph.arrays_of("fc")[name]
    if array.dtype.kind == "b" and change in {"too_high", "too_low"}:
        return  # a bool has no other values
    wrong = CHANGES[change](array)
    with pytest.raises(AssertionError, match=f"layer 'fc': array '{name}' "):
        check_graph(graph.with_layers({}, {array_key("fc", name): wrong}))
    if name in SAVED and change != "another_type":  # safetensors holds no complex numbers
        write_plan(plan_around(mapping_of(graph)), tmp_path / "p.bsc")
        replace_arrays(tmp_path / "p.bsc", "layers/0000.safetensors", **{name: wrong})
        plan = read_plan(tmp_path / "p.bsc")
        with pytest.raises(ModelError) as caught:
            plan.mapping.arrays(plan.mapping.layers[0])
        assert caught.value.seen.startswith(f"layer 'fc': array '{name}' ")


@pytest.mark.parametrize("name", SAVED)
def test_an_array_is_there_exactly_where_its_row_says(name: str) -> None:
    for graph in GRAPHS.values():
        layer, arrays = only_layer(mapping_of(graph))
        found = arrays.by_name()
        wanted = SAVED[name].when(layer)
        without = {key: values for key, values in found.items() if key != name}
        if wanted:
            assert (name, "is missing") in list(misfits(layer, without, {name: SAVED[name]}))
        if wanted is False:
            assert list(misfits(layer, found | {name: np.zeros(1)})) == [(name, "does not belong there")]


def assert_same(old: MappedModel, new: MappedModel) -> None:
    assert new.record == old.record
    assert new.program() == old.program()
    for layer in old.layers:
        before, after = old.arrays(layer).by_name(), new.arrays(layer).by_name()
        assert before.keys() == after.keys()
        for name, array in before.items():
            assert array.dtype == after[name].dtype
            np.testing.assert_array_equal(array, after[name])


@settings(deadline=None, max_examples=25)
@given(data=st.data(), seed=st.integers(0, 2**32 - 1), layers=st.integers(1, 3))
def test_a_mapping_survives_its_folder(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, seed: int, layers: int
) -> None:
    """Any layers, one behind the other, in any format."""
    random = np.random.default_rng(seed)
    sizes = random.integers(1, 12, layers + 1)
    tensors = ["x", *(f"t{index}" for index in range(1, layers)), "y"]
    made = []
    for index, (reads, writes) in enumerate(itertools.pairwise(tensors)):
        codes = random.integers(-15, 16, sizes[index : index + 2])
        made.append(coded(codes, weight_bits=4, name=str(index), input=reads, output=writes))
    mapping = mapped(
        *made,
        rows=8,
        cols=4,
        active_rows=data.draw(st.sampled_from([2, 8])),
        eliminate=data.draw(st.booleans()),
        adc=AssignAdc(policy=data.draw(st.sampled_from(["lossless", "isaac"]))),
        **data.draw(slicings(4, most=12)),
    )
    folder = tmp_path_factory.mktemp("plan") / "p.bsc"
    write_plan(plan_around(mapping), folder)
    assert_same(mapping, read_plan(folder).mapping)


def test_a_mapping_does_not_know_who_made_it() -> None:
    """And a plan is only ever made by the compiler, which does, or read from a folder, which says so."""
    assert set(MappingRecord.model_fields) == {"inputs", "outputs", "steps", "layers", "free_batch"}
    sources = {str(path.relative_to(ROOT)): path.read_text() for path in ROOT.glob("bsc/**/*.py")}
    assert {name for name, text in sources.items() if "make_plan(" in text} == {
        "bsc/plan/planner.py",
        "bsc/compiler/driver.py",
    }
    makers = {name for name, text in sources.items() if " Plan(" in text and not name.startswith("bsc/api/")}
    assert makers == {"bsc/plan/planner.py", "bsc/plan/folder.py"}  # the API's Plan is a wrapper of one


@pytest.mark.parametrize(("bits", "low", "accepted"), [(2, -3, True), (2, -4, False), (0, 0, True), (0, -1, False)])
def test_an_adc_of_pairs_has_a_code_for_0(bits: int, low: int, *, accepted: bool) -> None:
    """Otherwise a pair without cells would be read as something."""
    layer, arrays = only_layer(mapped(coded([[2, 0], [-1, 0]]), subtraction="analog"))
    shape = arrays.adc_bits.shape
    adc: dict[str, NDArray[Any]] = {
        "adc_bits": np.full(shape, bits, np.uint8),
        "adc_low": np.full(shape, low, np.int32),
    }
    expected = [] if accepted else [("adc_low", "does not fit the others")]
    assert list(misfits(layer, arrays.by_name() | adc)) == expected


@pytest.mark.parametrize(("nonzeros", "sums", "accepted"), [
    (0, 0, True), (0, 1, False), (1, 0, False), (1, 3, True), (1, 4, False), (2, 2, True), (2, 6, True), (3, 3, False),
])  # fmt: skip
def test_a_column_has_no_more_cells_than_rows_nor_another_sum_than_they_can_have(
    nonzeros: int, sums: int, *, accepted: bool
) -> None:
    """Rows are driven two at a time, and the last group has one; cells have 2 bits."""
    layer, arrays = only_layer(mapped(coded([[1, 0], [1, 0], [1, 0]]), active_rows=2))
    assert layer.row_groups == 2
    changed = {"nonzeros": arrays.nonzeros.copy(), "sums": arrays.sums.copy()}
    changed["nonzeros"][0, 0, 0, 0], changed["sums"][0, 0, 0, 0] = nonzeros, sums
    problems = list(misfits(layer, arrays.by_name() | changed))
    assert (problems == []) == accepted
    changed["nonzeros"][0, 0, 0, 0] = changed["sums"][0, 0, 0, 0] = 1
    changed["nonzeros"][1, 0, 0, 0] = changed["sums"][1, 0, 0, 0] = 2
    assert list(misfits(layer, arrays.by_name() | changed)) == [("nonzeros", "does not fit the others")]
