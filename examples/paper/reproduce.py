"""The paper's experiment on one network: train, prune, fine-tune with each objective, compile, replay.

    python -m examples.paper.reproduce examples/paper/configs/mlp.toml DATA_DIR --out results

DATA_DIR is the folder of MNIST IDX files (mlp) or of CIFAR-10 binary files (vgg11, resnet20). For every stage of
the configuration it writes the model, the plan and the training curve; then results.json, table.md, density.svg
and bits.svg. In a configuration, `samples` is how many training images the stages use ([pretrain] has its own) and
`watch` how many test images epochs are judged by; the table is of all of them.

Stages whose model is there already are not trained again, nor judged again if they were; a stage or a pretraining
that was stopped goes on after its last whole epoch.
"""

import datetime
import json
import shlex
import sys
import tomllib
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnx
import torch

from bsc.frontend.onnx_import import import_model
from bsc.ir.graph import TensorType
from bsc.limits import cores
from bsc.train.curves import training_curve
from bsc.train.data import Samples, load_samples
from bsc.train.export import with_parameters, write_model
from bsc.train.options import FinetuneOptions
from bsc.train.trainer import Trainer
from examples.paper.judge import judge, pictures, table
from examples.paper.networks import NETWORKS, pretrain, to_onnx

CALIBRATION = 1000
"""Training images that input ranges are taken from."""


@click.command()
@click.argument("config", type=click.Path(path_type=Path, exists=True))
@click.argument("data_dir", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for everything that is made.")
@click.option("--device", default="cpu", show_default=True)
@click.option(
    "--threads", type=int, default=cores, help="Of PyTorch on the CPU.  [default: as many as there are cores]"
)
@click.option("--epochs-factor", default=1.0, show_default=True, help="Shorten every schedule, such as 0.1.")
@click.option("--samples", type=int, help="Use only the first so many training images.")
@click.option("--validate", type=int, metavar="N", help="Judge by the last N training images, kept out of training.")
@click.option("--only", multiple=True, metavar="STAGE", help="Train only these stages; 'float' trains none.")
@click.option("--judging/--no-judging", default=True, help="Compile and replay every stage whose model is there.")
@click.option("--replay", default=2000, show_default=True, help="Test images to replay through the plan's ADCs.")
@click.option("--observe", default=CALIBRATION, show_default=True, help="Training images to observe column sums on.")
def main(config: Path, data_dir: Path, out: Path, **flags: Any) -> None:
    """Run every stage of CONFIG on the images in DATA_DIR."""
    settings = tomllib.loads(config.read_text(encoding="utf-8"))
    network, stages = settings["network"], settings["stage"]
    factor, only = flags["epochs_factor"], flags["only"]
    place = {"device": flags["device"], "threads": flags["threads"]}
    torch.set_num_threads(flags["threads"])
    out.mkdir(parents=True, exist_ok=True)
    everything, test = _data(data_dir, network, flags["samples"], flags["validate"])
    train, watched = _cut(everything, slice(settings.get("samples"))), _cut(test, slice(settings.get("watch")))
    pretraining = settings["pretrain"] if "model" in settings["pretrain"] else _shortened(settings["pretrain"], factor)
    _pretrain(out / "float.onnx", network, pretraining, everything, place["device"])
    for name, stage in stages.items():
        model = out / f"{name}.onnx"
        if not model.exists() and (not only or name in only):
            start = out / f"{stage.get('from', 'float')}.onnx"
            _finetune(start, model, train, watched, _options(_shortened(stage, factor) | place))
    if not flags["judging"]:
        return
    _save(out / "calibration.npz", _split(data_dir, network, "train", CALIBRATION))
    _save(out / "test.npz", _cut(test, slice(flags["replay"])))
    rows = [_judged(out, name, test, flags["observe"]) for name in ("float", *stages) if _exists(out, name)]
    record = {
        "network": network,
        "command": shlex.join(["python", "-m", "examples.paper.reproduce", *sys.argv[1:]]),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "torch": torch.__version__,
        "config": settings,
        "epochs_factor": factor,
        "samples": len(train),
        "rows": rows,
    }
    (out / "results.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    (out / "table.md").write_text(table(rows, settings.get("note")), encoding="utf-8")
    for name, content in pictures(rows).items():
        (out / name).write_text(content, encoding="utf-8")


def _exists(out: Path, name: str) -> bool:
    return (out / f"{name}.onnx").exists()


def _judged(out: Path, name: str, test: Samples, observe: int) -> dict[str, Any]:
    path = out / f"{name}.row.json"
    if not path.exists():
        row = {"stage": name, **judge(out, name, test, observe)}
        path.write_text(json.dumps(row) + "\n", encoding="utf-8")
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    click.echo(table([found], None).splitlines()[-1])
    return found


def _data(folder: Path, network: str, samples: int | None, validate: int | None) -> tuple[Samples, Samples]:
    """What to train on and what to judge by."""
    train = _split(folder, network, "train", None)
    if not validate:
        return _cut(train, slice(samples)), _split(folder, network, "test", None)
    return _cut(train, slice(min(samples or len(train), len(train) - validate))), _cut(train, slice(-validate, None))


def _split(folder: Path, network: str, split: Any, limit: int | None) -> Samples:
    image = TensorType(name="image", shape=(1, *NETWORKS[network]().shape), dtype="float32", batch_axis=0)
    return _cut(load_samples(str(folder), [image], split), slice(limit))


def _cut(samples: Samples, part: slice) -> Samples:
    labels = samples.labels
    assert labels is not None
    inputs = {name: values[part] for name, values in samples.inputs.items()}
    return Samples(inputs=inputs, labels=labels[part], source=samples.source)


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
    train = _cut(train, slice(settings.get("samples")))
    settings = {key: value for key, value in settings.items() if key != "samples"}
    assert train.labels is not None
    images, labels = torch.from_numpy(train.inputs["image"]).to(device), torch.from_numpy(train.labels).to(device)
    checkpoint = path.with_suffix(".checkpoint")
    write_model(to_onnx(pretrain(name, images, labels, **settings, checkpoint=checkpoint)), path)
    checkpoint.unlink()


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


if __name__ == "__main__":
    main()
