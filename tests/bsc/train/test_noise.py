"""Noise in training: the moments of what `bsc simulate` draws, none without effects, and models that learn."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import hw_models
from bsc.cli import main
from bsc.hardware.device import Device
from bsc.ir.graph import Graph
from bsc.replay.noisy import NoisyLayer
from bsc.testing import imported, mlp_model, save
from bsc.train.noise import CodeNoise
from bsc.train.options import FinetuneOptions
from bsc.train.trainer import Trainer
from passes.assign_adc import AssignAdc
from tests.bsc.plans import coded, mapped, only_layer
from tests.bsc.train.test_trainer import SIZES, samples, settings

GENERIC = hw_models.load_device("generic")
WAN = hw_models.load_device("reram-wan22")


def number(value: float) -> dict[str, Any]:
    return {"value": value, "kind": "assumed", "source": "made up"}


def device(**effects: Any) -> Device:
    return Device.model_validate({"name": "test", "description": "made up", "citation": "none", **effects})


CELLS = {
    "programming_error": {"independent": number(0.03), "proportional": number(0.04)},
    "drift": {"nu": number(0.01), "nu_spread": number(0.005), "start_s": number(1), "read_s": number(1e4)},
    "stuck_at": {"on": number(0.002), "off": number(0.01)},
}
CONVERTERS = {"adc_noise": {"sigma_cells": number(0.6)}, "adc_offset": {"sigma_cells": number(0.3)}}


@pytest.mark.parametrize(
    ("effects", "mean_tolerance"),
    [(CELLS, 0.02), (CONVERTERS, 0.02), ({**CELLS, **CONVERTERS}, 0.02)],
    ids=["cells", "converters", "both"],
)
def test_moments_are_those_of_simulated_results(effects: dict[str, Any], mean_tolerance: float) -> None:
    """One layer, one input vector and 160 chips, beside codes and results that training draws."""
    random = np.random.default_rng(0)
    codes = random.integers(-255, 256, (24, 40))
    inputs = random.integers(100, 256, (1, 1, 24))
    layer, arrays = only_layer(mapped(coded(codes), rows=16, cols=64, adc=AssignAdc(policy="fixed", bits=8)))
    noisy = device(**effects)
    exact = (inputs[0, 0] @ codes).astype(float)
    simulated = np.array([NoisyLayer(layer, arrays, noisy, 0, (trial,)).results(inputs)[0] for trial in range(160)])

    options = FinetuneOptions(rows=16)
    noise = CodeNoise.of(noisy, options)
    generator = torch.Generator().manual_seed(0)
    values = torch.from_numpy(codes).double()
    x = torch.from_numpy(inputs[0, 0]).double()
    drawn = np.array([(x @ noise.codes(values, generator)).numpy() for _ in range(160)])
    deviation = math.sqrt(noise.conversions * 2)  # two row tiles

    variance = np.square(simulated - simulated.mean(axis=0)).sum() / (159 * 40)
    trained = np.square(drawn - drawn.mean(axis=0)).sum() / (159 * 40) + deviation**2
    # 40 columns of 160 chips. Conversions end at 0, and cells do, which makes the true variance a little smaller.
    assert trained / variance == pytest.approx(1, abs=0.08)
    scale = np.abs(exact).mean()
    assert np.abs(simulated.mean(axis=0) - drawn.mean(axis=0)).mean() < mean_tolerance * scale + 3 * math.sqrt(
        2 * variance / 160
    )


def test_a_known_cell_by_hand() -> None:
    """A shift of level 3 by 0.1 of the on conductance: 0.3 cell units of each slice that holds 3."""
    shift = {"points": ((0.0, 0.0), (2 / 3, 0.0), (1.0, 0.1)), "kind": "assumed", "source": "made up"}
    noise = CodeNoise.of(device(programming_error={"shift": shift}), FinetuneOptions())
    assert noise.mean[3].item() == pytest.approx(0.3, abs=1e-3)
    assert noise.mean[0b11_00_00_10].item() == pytest.approx(0.3 * 64, rel=1e-3)
    assert noise.mean[0b10_01_00_10].item() == 0
    assert noise.deviation.max().item() == 0
    codes = torch.tensor([[3.0, -3.0, 0.0]])
    assert noise.codes(codes, torch.Generator()).tolist() == [pytest.approx([3.3, -3.3, 0.0], abs=1e-3)]


def test_without_effects_training_is_what_it_was(tmp_path: Path) -> None:
    graph = imported(mlp_model(*SIZES), tmp_path)
    plain, ideal = (
        Trainer(graph, samples(), None, settings(epochs=2), noise=noise)
        for noise in (None, hw_models.load_device("ideal"))
    )
    found = [trainer.run() for trainer in (plain, ideal)]
    for name, values in found[0].items():
        np.testing.assert_array_equal(values, found[1][name])
    assert "noise_accuracy" not in plain.history[-1]
    assert ideal.history[-1]["noise_accuracy"] == ideal.history[-1]["accuracy"]


def noisy_accuracy(graph: Graph, parameters: dict[str, Any], noise: Device) -> float:
    """Of a trained network under training's noise, mean of 5 draws."""
    judge = Trainer(graph, samples(seed=2), None, settings(epochs=1), noise=noise)
    with torch.no_grad():
        for name, value in parameters.items():
            judge._network.parameters[name].copy_(torch.from_numpy(np.array(value)))
    judge._calibrate()
    found = judge.noise_accuracy()
    assert found is not None
    return found


def test_training_with_noise_learns_and_goes_on_as_if_never_stopped(tmp_path: Path) -> None:
    """It learns from what noise leaves of the forward pass; that it stands more than plain training is not shown."""
    graph = imported(mlp_model(*SIZES), tmp_path)
    strong = device(**CELLS, **CONVERTERS)
    options = settings(epochs=30, objective="none")
    trainer = Trainer(graph, samples(), None, options, noise=strong)
    trained = trainer.run(checkpoint=tmp_path / "c")
    assert noisy_accuracy(graph, trained, strong) > noisy_accuracy(graph, {}, strong) + 0.2
    assert [set(record) >= {"noise_accuracy", "accuracy"} for record in trainer.history] == [True] * 30

    class StopError(Exception):
        pass

    def stop(record: Any) -> None:
        if record["epoch"] == 15:
            raise StopError

    stopped = Trainer(graph, samples(), None, options, noise=strong)
    with pytest.raises(StopError):
        stopped.run(checkpoint=tmp_path / "again", on_epoch=stop)
    resumed = Trainer(graph, samples(), None, options, noise=strong).run(checkpoint=tmp_path / "again", resume=True)
    for name, values in trained.items():
        np.testing.assert_array_equal(values, resumed[name])


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save(mlp_model(*SIZES), tmp_path / "mlp.onnx")
    data = samples()
    assert data.labels is not None
    np.savez("data.npz", x=data.inputs["x"], label=data.labels)
    arguments = ["finetune", "mlp.onnx", "--data", "data.npz", "--epochs", "1", "--threads", "1"]
    result = CliRunner().invoke(main, [*arguments, "--noise", "pcm-nandakumar19", "--read-at", "3600"])
    assert result.exit_code == 0, result.output
    assert "% with noise\n" in result.stdout
    refused = CliRunner().invoke(main, [*arguments, "--force", "--read-at", "3600"])
    assert "[BSC201] --read-at means nothing without --noise\n" in refused.stderr
    refused = CliRunner().invoke(main, [*arguments, "--force", "--noise", "none-such"])
    assert "[BSC206] " in refused.stderr
