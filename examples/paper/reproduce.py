"""The paper's experiment on one network: train, prune, fine-tune with each objective, compile, replay.

    python -m examples.paper.reproduce examples/paper/configs/mlp.toml DATA_DIR --out results

DATA_DIR is the folder of MNIST IDX files (mlp) or of CIFAR-10 binary files (vgg11, resnet20). For every stage of
the configuration it writes the model, the plan and the training curve; then results.json, table.md, density.svg
and bits.svg. Stages whose model is there already are not trained again, so a stopped run goes on.
"""

import json
import tomllib
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnx
import torch
from numpy.typing import NDArray

import hw_models
from bsc.compiler import CompileOptions, compile_model, default_pipeline
from bsc.cost.compare import compare
from bsc.frontend.onnx_import import import_model
from bsc.plan.document import Plan
from bsc.plan.folder import read_plan, write_plan
from bsc.plan.summary import summarise, total
from bsc.replay.dataset import load_dataset
from bsc.replay.verification import verify
from bsc.train.curves import bar_charts, training_curve
from bsc.train.data import Samples, load_samples
from bsc.train.export import with_parameters, write_model
from bsc.train.options import FinetuneOptions
from bsc.train.trainer import Trainer
from examples.paper.networks import NETWORKS, pretrain, to_onnx

CALIBRATION = 1000
"""Training images that input ranges and observed column sums are taken from."""


@click.command()
@click.argument("config", type=click.Path(path_type=Path, exists=True))
@click.argument("data_dir", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for everything that is made.")
@click.option("--device", default="cpu", show_default=True)
@click.option("--threads", default=1, show_default=True, help="Of PyTorch on the CPU.")
@click.option("--epochs-factor", default=1.0, show_default=True, help="Shorten every schedule, such as 0.1.")
@click.option("--samples", type=int, help="Use only the first so many training images.")
@click.option("--only", multiple=True, metavar="STAGE", help="Train only these stages, and judge nothing.")
@click.option("--replay", default=2000, show_default=True, help="Test images to replay through the plan's ADCs.")
def main(config: Path, data_dir: Path, out: Path, **flags: Any) -> None:
    """Run every stage of CONFIG on the images in DATA_DIR."""
    settings = tomllib.loads(config.read_text(encoding="utf-8"))
    network, stages = settings["network"], settings["stage"]
    factor, replay, only = flags["epochs_factor"], flags["replay"], flags["only"]
    place = {"device": flags["device"], "threads": flags["threads"]}
    torch.set_num_threads(flags["threads"])
    out.mkdir(parents=True, exist_ok=True)
    test = _split(data_dir, network, "test", None)
    _save(out / "calibration.npz", _split(data_dir, network, "train", CALIBRATION))
    _save(out / "test.npz", _head(test, replay))
    train = _split(data_dir, network, "train", flags["samples"])
    pretraining = settings["pretrain"] if "model" in settings["pretrain"] else _shortened(settings["pretrain"], factor)
    _pretrain(out / "float.onnx", network, pretraining, train, place["device"])
    rows = []
    for name, stage in stages.items():
        model = out / f"{name}.onnx"
        if not model.exists() and (not only or name in only):
            start = out / f"{stage.get('from', 'float')}.onnx"
            _finetune(start, model, train, test, _options(_shortened(stage, factor) | place))
    if only:
        return
    for name in ("float", *stages):
        rows.append({"stage": name, **_judge(out, name, test)})
        click.echo(_line(rows[-1]))
    record = {
        "network": network,
        "config": settings,
        "epochs_factor": factor,
        "samples": len(train),
        "rows": rows,
    }
    (out / "results.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    (out / "table.md").write_text("\n".join([HEAD, *map(_line, rows)]) + "\n", encoding="utf-8")
    slices = [f"slice {number}" for number in range(3, -1, -1)]
    density = {row["stage"]: [100 * value for value in row["density"]] for row in rows}
    (out / "density.svg").write_text(bar_charts([("cells above 0", slices, density)], unit="%"), encoding="utf-8")
    bits = [str(number) for number in range(10)]
    panels = [
        (label, bits, {row["stage"]: [float(count) for count in row["histogram"][position][:10]] for row in rows[1:]})
        for position, label in enumerate(slices)
    ]
    (out / "bits.svg").write_text(bar_charts(panels, unit="columns by proved bits"), encoding="utf-8")


def _split(folder: Path, network: str, split: Any, limit: int | None) -> Samples:
    shape = (1, *NETWORKS[network]().shape)

    class Spec:
        name, dtype = "image", "float32"

        def __init__(self) -> None:
            self.shape = shape

    return _head(load_samples(str(folder), [Spec()], split), limit)


def _head(samples: Samples, limit: int | None) -> Samples:
    labels = samples.labels
    assert labels is not None
    inputs = {name: values[:limit] for name, values in samples.inputs.items()}
    return Samples(inputs=inputs, labels=labels[:limit], source=samples.source)


def _save(path: Path, samples: Samples) -> None:
    assert samples.labels is not None
    np.savez_compressed(path, allow_pickle=False, label=samples.labels, **dict(samples.inputs))


def _shortened(settings: dict[str, Any], factor: float) -> dict[str, Any]:
    """Settings with shorter schedules, for a first try."""
    epochs = max(1, round(settings["epochs"] * factor))
    pruning = {"prune_epochs": min(round(settings.get("prune_epochs", 0) * factor), epochs - 1)}
    return settings | {"epochs": epochs} | (pruning if "prune_epochs" in settings else {})


def _options(settings: dict[str, Any]) -> FinetuneOptions:
    return FinetuneOptions.model_validate({key: value for key, value in settings.items() if key != "from"})


def _pretrain(path: Path, name: str, settings: dict[str, Any], train: Samples, device: str) -> None:
    if path.exists():
        return
    if "model" in settings:
        onnx.save(onnx.load(Path(__file__).parents[2] / settings["model"]), path)
        return
    assert train.labels is not None
    images, labels = torch.from_numpy(train.inputs["image"]).to(device), torch.from_numpy(train.labels).to(device)
    write_model(to_onnx(pretrain(name, images, labels, **settings)), path)


def _finetune(start: Path, end: Path, train: Samples, test: Samples, options: FinetuneOptions) -> None:
    graph = import_model(start, as_written=True)
    trainer = Trainer(graph, train, test, options)
    with click.progressbar(length=options.epochs, label=f"{end.stem:14}") as bar:
        checkpoint = end.with_suffix(".checkpoint")
        parameters = trainer.run(checkpoint=checkpoint, resume=checkpoint.exists(), on_epoch=lambda _: bar.update(1))
    write_model(with_parameters(start, graph, parameters), end)
    checkpoint.unlink()
    end.with_suffix(".svg").write_text(training_curve(trainer.history), encoding="utf-8")
    end.with_suffix(".json").write_text(json.dumps(trainer.history, indent=1) + "\n", encoding="utf-8")


def _judge(out: Path, name: str, test: Samples) -> dict[str, Any]:
    """Compile, replay and price one model."""
    target = hw_models.load("isaac")
    pipeline = default_pipeline(target, rows=128, cols=128, policy="lossless", granularity="column")
    model = out / f"{name}.onnx"
    compiled = compile_model(model, target, CompileOptions(pipeline=pipeline, calibration=out / "calibration.npz"))
    assert compiled.plan is not None
    write_plan(compiled.plan, out / f"{name}.bsc", extra={}, force=True)
    plan = read_plan(out / f"{name}.bsc")
    document = plan.document
    data = load_dataset(out / "test.npz", document.inputs, dynamic_batch=document.model.dynamic_batch)
    found = verify(plan, data, "test.npz", model)
    assert found.exact
    assert found.accuracy is not None
    laws = hw_models.laws()
    spread = {each.law.name: each for each in compare(plan, target, laws["isaac"], laws).spread}
    float_accuracy, quantised = _accuracies(model, test)
    return {
        "float": float_accuracy,
        "quantised": quantised,
        "replayed": found.accuracy.replayed,
        "replayed_samples": found.samples,
        **_slices(plan),
        "adc_saberi": spread["saberi"].adc,
        "adc_isaac": spread["isaac"].adc,
        "total_saberi": spread["saberi"].total,
        "total_isaac": spread["isaac"].total,
    }


def _accuracies(model: Path, test: Samples) -> tuple[float, float]:
    """(float, quantised) on the whole test split."""
    graph = import_model(model, as_written=True)
    trainer = Trainer(graph, test, None, FinetuneOptions(objective="none"))
    assert trainer.float_accuracy is not None
    quantised = trainer.quantised_accuracy()
    assert quantised is not None
    return trainer.float_accuracy, quantised


def _slices(plan: Plan) -> dict[str, Any]:
    """Non-zero ratio and proved bits of every slice, all layers together, top slice first."""
    summaries = summarise(plan)
    weights = [summary.layer.rows * summary.layer.columns for summary in summaries]
    density, highest, mean, histograms = [], [], [], []
    for position in range(3, -1, -1):
        parts = [summary.slices[position] for summary in summaries]
        cells = sum(part.density * count for part, count in zip(parts, weights, strict=True))
        histogram: NDArray[np.int64] = total(part.proved for part in parts)
        density.append(cells / sum(weights))
        highest.append(int(np.flatnonzero(histogram).max(initial=0)))
        mean.append(float(histogram @ np.arange(len(histogram)) / max(histogram.sum(), 1)))
        histograms.append(histogram.tolist())
    return {"density": density, "bits_max": highest, "bits_mean": mean, "histogram": histograms}


HEAD = (
    "| stage | float % | quantised % | replayed % | % non-zero, slice 3..0 | mean | proved bits, max | mean | "
    "ADC × (paper's law) | ADC × (isaac) | total × (isaac) |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
)


def _line(row: dict[str, Any]) -> str:
    density = " / ".join(f"{100 * value:.2f}" for value in row["density"])
    cells = [
        row["stage"],
        f"{100 * row['float']:.2f}",
        f"{100 * row['quantised']:.2f}",
        f"{100 * row['replayed']:.2f}",
        density,
        f"{100 * float(np.mean(row['density'])):.2f}",
        " / ".join(map(str, row["bits_max"])),
        " / ".join(f"{value:.2f}" for value in row["bits_mean"]),
        *(f"{row[key]:.1f}" for key in ("adc_saberi", "adc_isaac")),
        f"{row['total_isaac']:.2f}",
    ]
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
