from collections.abc import Callable
from xml.etree import ElementTree

from bsc.train.curves import bar_charts, line_charts, training_curve


def record(epoch: int, accuracy: float | None) -> dict[str, object]:
    return {
        "epoch": epoch,
        "loss": 1.0 / epoch,
        "accuracy": accuracy,
        "density": [0.1 / epoch, 0.5],
        "bits_mean": [1.0, 2.5],
    }


def texts(svg: str) -> list[str]:
    return [
        str(element.text) for element in ElementTree.fromstring(svg).iter() if element.text and element.text.strip()
    ]


def test_the_picture_of_a_run(golden: Callable[[str, str], None]) -> None:
    svg = training_curve([record(1, 0.8), record(2, 0.9)])
    assert {"accuracy, %", "cells above 0, %", "proved ADC bits, mean", "slice 1", "slice 0", "epoch"} <= set(
        texts(svg)
    )
    golden("training-curve.svg", svg)


def test_without_labels_the_loss_is_drawn() -> None:
    assert "loss" in texts(training_curve([record(1, None)]))


def test_names_are_escaped() -> None:
    assert "a < b" in texts(line_charts([("a < b", "", {"x": [(0, 1), (1, 1)]})], x_label="&"))


def test_bars_are_as_tall_as_their_values() -> None:
    svg = bar_charts([("bits", ["1", "2"], {"a": [1, 2], "b": [0, 4]})], unit="columns")
    rects = [element for element in ElementTree.fromstring(svg).iter() if element.tag.endswith("rect")]
    tall = [float(rect.attrib["height"]) for rect in rects if rect.attrib["width"] not in ("9", "420")]
    assert [height / max(tall) for height in tall] == [0.25, 0.5, 0, 1]
