"""examples/adc: the rows of the table on a tiny model."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from bsc.testing import mlp_model, save
from examples.adc import layout


@pytest.mark.parametrize("active_rows", [False, True])
def test_what_is_searched_is_no_worse_than_the_rest(tmp_path: Path, *, active_rows: bool) -> None:
    model = save(mlp_model(300, 40, 4), tmp_path / "tiny.onnx")
    cells = [cell.strip() for cell in layout.row(model, "tile", "saberi", active_rows=active_rows).split("|")[1:-1]]
    assert cells[:3] == ["tiny", "tile", "saberi"]
    totals = [float(cell.split("/")[1]) for cell in cells[4:]]
    assert totals[2] >= max(1.0, *totals[:2])


def test_pruned_weights(tmp_path: Path) -> None:
    path = save(mlp_model(20, 10), tmp_path / "tiny.onnx")
    (tmp_path / "pruned").mkdir()
    model = onnx.load(layout.pruned(path, 0.9, tmp_path / "pruned"))
    left = {tensor.name: np.count_nonzero(numpy_helper.to_array(tensor)) for tensor in model.graph.initializer}
    assert left == {"w0": 20, "b0": 10}
