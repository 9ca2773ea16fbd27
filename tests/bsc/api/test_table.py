"""Tables for programs."""

import sys

import numpy as np
import pytest

import bsc
from bsc.api.table import MOST_ROWS

TABLE = bsc.Table(
    {"name": ["a", "=b"], "count": [1, 2], "energy_j": [0.5, None], "on": [True, False], "unknown": [None, None]},
    {"energy_j": "J"},
)


def test_rows_and_columns() -> None:
    assert len(TABLE) == 2
    assert TABLE[1] == {"name": "=b", "count": 2, "energy_j": None, "on": False, "unknown": None}
    assert TABLE[-1] == list(TABLE)[1]
    assert TABLE[:1]["name"].tolist() == ["a"]
    assert TABLE[:1].units == {"energy_j": "J"}
    with pytest.raises(KeyError):
        TABLE["energy"]
    with pytest.raises(IndexError):
        TABLE[2]


def test_types_of_columns() -> None:
    assert {name: TABLE[name].dtype for name in TABLE.columns} == {
        "name": np.dtype(object),
        "count": np.dtype(np.int64),
        "energy_j": np.dtype(np.float64),
        "on": np.dtype(bool),
        "unknown": np.dtype(object),
    }
    assert np.isnan(TABLE["energy_j"]).tolist() == [False, True]


def test_texts() -> None:
    assert TABLE.to_csv() == "name,count,energy_j,on,unknown\na,1,0.5,True,\n'=b,2,,False,\n"
    assert repr(TABLE) == "<bsc.Table 2 rows, 5 columns: name, count, energy_j, on, unknown>"
    assert "<td>0.5</td>" in TABLE._repr_html_()
    long = bsc.Table({"n": list(range(MOST_ROWS + 1))})
    assert long._repr_html_().endswith(f"<p>{MOST_ROWS + 1} rows, of which {MOST_ROWS} are shown</p>")
    assert f"<td>{MOST_ROWS}</td>" not in long._repr_html_()
    assert "are shown" not in long[:MOST_ROWS]._repr_html_()


def test_empty() -> None:
    assert list(bsc.Table({})) == []
    assert bsc.Table({"a": []})["a"].tolist() == []


def test_without_pandas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(bsc.BscError) as caught:
        TABLE.to_pandas()
    assert caught.value.code == "BSC208"


def test_pandas() -> None:
    pandas = pytest.importorskip("pandas")
    frame = TABLE.to_pandas()
    assert list(frame.columns) == list(TABLE.columns)
    assert frame["energy_j"].sum() == 0.5
    assert pandas.DataFrame(TABLE)["count"].tolist() == [1, 2]
