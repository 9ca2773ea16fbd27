import numpy as np

from bsc.numeric.sharing import group_sums, shared, sharing_groups


def test_numbers_by_hand() -> None:
    """Three row groups, two to a tile; two slices, one polarity; three columns, two to a crossbar."""
    shape = (3, 2, 1, 3)
    assert sharing_groups("column", shape, (0, 2), 2) is None
    slices = sharing_groups("slice", shape, (0, 2), 2)
    assert slices is not None
    assert slices[:, :, 0].tolist() == [[[0, 0, 0], [1, 1, 1]]] * 3
    tiles = sharing_groups("tile", shape, (0, 2), 2)
    assert tiles is not None
    first, last = [[0, 0, 2], [1, 1, 3]], [[4, 4, 6], [5, 5, 7]]
    assert tiles[:, :, 0].tolist() == [first, first, last]


def test_shared_values_by_hand() -> None:
    groups = np.array([0, 1, 0, 1]).reshape(1, 1, 1, 4)
    values = np.array([4, 3, 6, 5]).reshape(1, 1, 1, 4)
    assert shared(np.maximum, values, groups).ravel().tolist() == [6, 5, 6, 5]
    assert shared(np.gcd, values, groups).ravel().tolist() == [2, 1, 2, 1]
    assert shared(np.gcd, values, None) is values
    assert group_sums(values, groups).tolist() == [10, 8]


def test_a_layer_without_columns() -> None:
    groups = sharing_groups("tile", (0, 4, 2, 0), (), 1)
    assert groups is not None
    assert shared(np.maximum, np.zeros((0, 4, 2, 0)), groups).shape == (0, 4, 2, 0)
