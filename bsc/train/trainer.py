"""The training loop: task loss plus objective, quantised forward, masks, projection, checkpoints.

A run has two parts. In the first `prune_epochs` epochs weights are pruned step by step; in the rest masks are
fixed, and with `project` the caps of slice columns tighten to the budget; once they have, weights that got no
cell are pruned after every epoch. Each part has its own learning-rate
schedule. The order of samples depends on seed and epoch only, so a run that goes on from a checkpoint ends at
the same weights.
"""

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor

from bsc.errors import GateError, ModelError, UsageError
from bsc.hardware.device import Device
from bsc.ir.graph import Graph
from bsc.limits import cores
from bsc.train.augment import augment
from bsc.train.checkpoint import Checkpoint, read_checkpoint
from bsc.train.data import Samples
from bsc.train.measure import TrainingSlices, measure
from bsc.train.network import Network
from bsc.train.noise import CodeNoise
from bsc.train.objectives import penalty
from bsc.train.options import FinetuneOptions
from bsc.train.precision import resolved
from bsc.train.quantised import QuantisedLayers
from bsc.train.workers import Workers

CALIBRATION_SAMPLES = 1024
EVALUATION_BATCH = 1000
NOISE_DRAWS = 5
LOOSE_CAP = 16
"""Where the caps of slice columns start from; tighter ones tighten from there."""

OnStep = Callable[[int, int], None]
OnEpoch = Callable[[Mapping[str, Any]], None]


class Trainer:
    """One fine-tuning run.

    Args:
        graph: the imported model.
        train: training data.
        test: data to judge by; the training data where None.
        options: settings.
        workers: this process among those of the run.
        noise: device on which training steps run; None for exact steps.

    Attributes:
        history: one JSON record an epoch: loss, objective, accuracy, and the figures of `measure` for all layers.
        float_accuracy: of the given model on `test`, None without labels.
        precision: of training steps, "fp32" or "bf16".

    Raises:
        UsageError: BSC201 for settings that contradict each other or the model, BSC202 for a device that is not there.
        ModelError: BSC308 for labels that do not fit the model, BSC310 for an operator that cannot be trained.
    """

    def __init__(
        self,
        graph: Graph,
        train: Samples,
        test: Samples | None,
        options: FinetuneOptions,
        workers: Workers = Workers(),  # noqa: B008 - frozen
        *,
        noise: Device | None = None,
    ) -> None:
        _check(graph, options)
        _check_device(options.device)
        options = options.model_copy(update={"precision": resolved(options.precision, options.device)})
        torch.set_num_threads(options.threads or max(1, cores() // workers.count))
        self.history: list[dict[str, Any]] = []
        self.precision = options.precision
        self._graph, self._options, self._workers = graph, options, workers
        self._network = Network(graph, options.device)
        self._teacher = Network(graph, options.device) if train.labels is None else None
        self._layers = QuantisedLayers(self._network, options)
        self._noise = None if noise is None else CodeNoise.of(noise, options)
        self._inputs, self._labels = self._on_device(train)
        judged = train if test is None else test
        self._test_inputs, self._test_labels = (self._inputs, self._labels) if test is None else self._on_device(test)
        self._classes_fit(judged)
        self._classes_fit(train)
        # A weight that is zero was pruned before, and stays so.
        self._masks = {layer.weight: (self._network.parameters[layer.weight] != 0).float() for layer in graph.layers()}
        self._optimizer = self._make_optimizer()
        self._run = _identity(graph, train, options, noise)
        self._epoch = 0
        fixed = 0 if graph.info.dynamic_batch else (graph.tensors[graph.inputs[0]].shape or (1,))[0]
        self._batch = fixed * workers.count or options.batch
        self._fixed = fixed
        self._samples = len(train) // self._batch * self._batch if fixed else len(train)
        self._steps = -(-self._samples // self._batch)
        self.float_accuracy = self._accuracy(quantised=False)

    # --- the run

    def run(
        self,
        *,
        checkpoint: Path | None = None,
        resume: bool = False,
        on_step: OnStep | None = None,
        on_epoch: OnEpoch | None = None,
    ) -> dict[str, NDArray[Any]]:
        """Train to the end.

        Args:
            checkpoint: file that is written after every epoch, or None.
            resume: go on from that file.
            on_step: called with steps done and steps in all.
            on_epoch: called with each new record of `history`.

        Returns:
            The trained parameters by initialiser.

        Raises:
            UsageError: BSC202 or BSC204 for a checkpoint that cannot be opened or written.
            ModelError: BSC311 for a checkpoint of another run.
            GateError: BSC503 when the loss is no longer a finite number.
        """
        if resume and checkpoint is not None:
            self._restore(read_checkpoint(checkpoint, self._run))
        elif self._options.prune_below:
            self._prune_below(self._options.prune_below)
        while self._epoch < self._options.epochs:
            record = self._train_epoch(on_step)
            self._epoch += 1
            self.history.append(record)
            if checkpoint is not None and self._workers.rank == 0:
                self._checkpoint().write(checkpoint)
            if on_epoch is not None:
                on_epoch(record)
        if self._options.project:
            self._drop_empty_rows()
            self._layers.store()
        return self.parameters()

    def parameters(self) -> dict[str, NDArray[Any]]:
        """The parameters by initialiser, as they are now."""
        return {name: value.detach().cpu().numpy() for name, value in self._network.parameters.items()}

    def _train_epoch(self, on_step: OnStep | None) -> dict[str, Any]:
        options = self._options
        self._enter(self._epoch * self._steps)
        self._calibrate()
        generator = torch.Generator().manual_seed(options.seed * 1_000_003 + self._epoch)
        self._layers.random.manual_seed((options.seed * 1_000_003 + self._epoch) * 1009 + self._workers.rank)
        order = torch.randperm(len(self._inputs[self._graph.inputs[0]]), generator=generator)[: self._samples]
        task_sum = extra_sum = 0.0
        for number, start in enumerate(range(0, self._samples, self._batch)):
            self._enter(self._epoch * self._steps + number)
            task, extra = self._step(order[start : start + self._batch], generator)
            task_sum, extra_sum = task_sum + task, extra_sum + extra
            if on_step is not None:
                on_step(self._epoch * self._steps + number + 1, options.epochs * self._steps)
        if self._layers.caps is not None and self._tightness(self._epoch * self._steps + self._steps - 1) == 1:
            self._settle()
        return {
            "epoch": self._epoch + 1,
            "loss": task_sum / self._steps,
            "objective": extra_sum / self._steps,
            "accuracy": self.quantised_accuracy(),
            **({} if self._noise is None else {"noise_accuracy": self.noise_accuracy()}),
            **self.figures().to_json(),
        }

    def _step(self, chosen: Tensor, generator: torch.Generator) -> tuple[float, float]:
        first = self._graph.inputs[0]
        batch = {name: values[chosen.to(values.device)] for name, values in self._inputs.items()}
        batch[first] = augment(batch[first], self._options.augment, generator)
        mine = self._workers.share(torch.arange(len(chosen)))
        self._optimizer.zero_grad(set_to_none=False)
        task = self._task_loss({name: values[mine] for name, values in batch.items()}, chosen[mine]) / len(chosen)
        extra = self._objective() if self._workers.rank == 0 else torch.zeros_like(task)
        torch.autograd.backward(task + extra)
        losses = torch.stack([task.detach(), extra.detach()])
        gradients = [value.grad for value in self._network.parameters.values() if value.grad is not None]
        self._workers.add_up([*gradients, losses])
        found = (float(losses[0]), float(losses[1]))
        if not math.isfinite(sum(found)):
            raise GateError(
                "BSC503",
                f"fine-tuning diverged in epoch {self._epoch + 1}",
                seen=f"loss {found[0]:g}, objective {found[1]:g}",
                fix="lower --lr or --alpha, or check the model's own outputs on the data",
            )
        self._optimizer.step()
        with torch.no_grad():
            torch._foreach_mul_([self._network.parameters[name] for name in self._masks], list(self._masks.values()))
        return found

    def _task_loss(self, feeds: dict[str, Tensor], chosen: Tensor) -> Tensor:
        """Summed over the samples."""
        if not len(chosen):  # a last batch of fewer samples than processes
            return torch.stack([value.sum() for value in self._network.parameters.values()]).sum() * 0
        options = self._options
        with torch.autocast(torch.device(options.device).type, torch.bfloat16, enabled=options.precision == "bf16"):
            self._layers.noise = self._noise
            results = self._network.run(feeds, self._layers.prepare, self._layers.disturb)
            self._layers.noise = None
        outputs = {name: value.float() for name, value in results.items()}
        first = outputs[self._graph.outputs[0]]
        if self._labels is not None:
            return F.cross_entropy(first, self._labels[chosen.to(first.device)], reduction="sum")
        assert self._teacher is not None
        with torch.no_grad():
            wanted = self._teacher.run(feeds)
        parts = [
            F.mse_loss(outputs[name], wanted[name]) / wanted[name].square().mean().clamp(min=1e-12)
            for name in self._graph.outputs
        ]
        return torch.stack(parts).sum() * len(chosen)

    def _objective(self) -> Tensor:
        if self._options.weight_of_objective == 0:
            return torch.zeros((), device=self._options.device)
        caps, self._layers.caps = self._layers.caps, None  # the penalty is on what the projection would drop
        codes = {layer.name: self._layers.codes(layer) for layer in self._graph.layers()}
        self._layers.caps = caps
        biases = [self._network.constants[layer.bias] for layer in self._graph.layers() if layer.bias is not None]
        return penalty(codes, biases, self._options)

    # --- schedules, masks and caps

    def _enter(self, step: int) -> None:
        """Set learning rate, masks and caps for a step."""
        options = self._options
        for group in self._optimizer.param_groups:
            group["lr"] = options.lr * self._rate(step)
        pruning = max(options.prune_epochs * self._steps, 1)
        if (options.sparsity or options.layer_sparsity) and (step == 0 or step < pruning):
            done = 1.0 if options.prune_epochs == 0 else min(1.0, 1.25 * (step + 1) / pruning)
            self._prune(1 - (1 - done) ** 3)
        if options.project and step >= options.prune_epochs * self._steps:
            self._layers.freeze_steps()
            tight = self._tightness(step)
            self._layers.caps = {
                layer: tuple(round(max(cap, LOOSE_CAP) ** (1 - tight) * cap**tight) for cap in options.caps(layer))
                for layer in self._layers.layers
            }

    def _rate(self, step: int) -> float:
        options, epoch = self._options, step // self._steps
        if options.schedule == "constant":
            return 1.0
        if options.schedule == "halve":
            return 0.5 ** (epoch // options.halve_every)
        return 0.5 * (1 + math.cos(math.pi * self._part(step)))

    def _part(self, step: int) -> float:
        """How much of the present part of the run is done, 0 to 1."""
        border = self._options.prune_epochs * self._steps
        end = self._options.epochs * self._steps
        return step / border if step < border else (step - border) / max(end - border, 1)

    def _tightness(self, step: int) -> float:
        """0 where caps are loose, 1 where they are the budget's."""
        last = self._options.project_from
        return min(1.0, self._part(step) / last) if last else 1.0

    def _prune(self, done: float) -> None:
        """Drop the smallest weights of every layer, up to that part of its sparsity."""
        options = self._options
        with torch.no_grad():
            for layer in self._graph.layers():
                weight, mask = self._network.parameters[layer.weight], self._masks[layer.weight]
                share = done * options.layer_sparsity.get(layer.name, options.sparsity)
                dropped = round(share * weight.numel())
                if dropped:
                    limit = (weight * mask).abs().reshape(-1).kthvalue(dropped).values
                    mask.mul_(weight.abs() > limit)
                    weight.mul_(mask)

    def _prune_below(self, limit: float) -> None:
        with torch.no_grad():
            for name, mask in self._masks.items():
                weight = self._network.parameters[name]
                mask.mul_(weight.abs() >= limit)
                weight.mul_(mask)

    def _settle(self) -> None:
        """Prune what the budget has no room for, so that the choice of weights comes to rest."""
        with torch.no_grad():
            for layer in self._graph.layers():
                weight, mask = self._network.parameters[layer.weight], self._masks[layer.weight]
                used = self._layers.codes(layer).values != 0
                mask.mul_((used.T if layer.transposed else used).reshape(mask.shape))
                weight.mul_(mask)
        self._drop_empty_rows()

    def _drop_empty_rows(self) -> None:
        """Rows that no code is left in are not built, so tiles are filled without them; until none is left over."""
        for layer in self._graph.layers():
            while layer.groups == 1:
                codes = self._layers.codes(layer).values
                kept = self._layers.kept.get(layer.name, torch.ones_like(codes[:, 0], dtype=torch.bool))
                rows = codes.any(dim=1)
                if bool((rows == kept).all()):
                    break
                self._layers.kept[layer.name] = rows

    # --- evaluation

    def quantised_accuracy(self) -> float | None:
        """Share of test samples that the quantised network gets right, inputs calibrated on the training data."""
        self._calibrate()
        return self._accuracy(quantised=True)

    def noise_accuracy(self) -> float | None:
        """The same under the noise of training, mean of a few draws; `bsc simulate` has the last word."""
        self._layers.noise = self._noise
        drawn = [self._accuracy(quantised=True) for _ in range(NOISE_DRAWS)]
        self._layers.noise = None
        known = [each for each in drawn if each is not None]
        return sum(known) / len(known) if known else None

    def figures(self) -> TrainingSlices:
        """Slices and proved bits of all layers together, as the weights are now."""
        parts = [
            measure(
                self._layers.codes(layer).values.cpu().numpy().astype(np.int32), self._options, grouped=layer.groups > 1
            )
            for layer in self._graph.layers()
        ]
        return sum(parts[1:], parts[0])

    def _calibrate(self) -> None:
        """Fix the ranges of layer inputs, on the same samples in every process."""
        count = min(CALIBRATION_SAMPLES, self._samples)
        self._layers.ranges = {}
        with torch.no_grad():
            for feeds in self._batches(self._inputs, count):
                self._network.run(feeds, self._layers.watch)

    def _accuracy(self, *, quantised: bool) -> float | None:
        """Share of test samples that get their label; without labels, the float model's choice. None for no classes."""
        hits = seen = 0
        first = self._graph.outputs[0]
        reference = self._teacher if self._test_labels is None else None
        if self._test_labels is None and reference is None:
            return None
        with torch.no_grad():
            for feeds in self._batches(self._test_inputs, len(self._test_inputs[self._graph.inputs[0]])):
                hooks = (self._layers.prepare, self._layers.disturb) if quantised else (None, None)
                scores = self._network.run(feeds, *hooks)[first]
                if scores.ndim != 2:
                    return None
                if reference is not None:
                    wanted = reference.run(feeds)[first].argmax(dim=1)
                else:
                    assert self._test_labels is not None
                    wanted = self._test_labels[seen : seen + len(scores)]
                hits += int((scores.argmax(dim=1) == wanted).sum())
                seen += len(scores)
        return hits / seen

    def _batches(self, inputs: Mapping[str, Tensor], count: int) -> Iterator[dict[str, Tensor]]:
        size = self._fixed or EVALUATION_BATCH
        for start in range(0, count - count % size if self._fixed else count, size):
            yield {name: values[start : min(start + size, count)] for name, values in inputs.items()}

    # --- data, optimiser, checkpoints

    def _on_device(self, samples: Samples) -> tuple[dict[str, Tensor], Tensor | None]:
        inputs = {
            name: _images(torch.from_numpy(np.array(value)).to(self._options.device))
            for name, value in samples.inputs.items()
        }
        labels = None if samples.labels is None else torch.from_numpy(samples.labels).to(self._options.device)
        return inputs, labels

    def _classes_fit(self, samples: Samples) -> None:
        if samples.labels is None:
            return
        name = self._graph.inputs[0]
        shape = self._graph.tensors[name].shape or (1,)
        feeds = {
            key: torch.from_numpy(np.array(value[: max(shape[0], 1)])).to(self._options.device)
            for key, value in samples.inputs.items()
        }
        with torch.no_grad():
            output = self._network.run(feeds)[self._graph.outputs[0]]
        low, high = int(samples.labels.min()), int(samples.labels.max())
        if output.ndim != 2 or len(output) != len(feeds[name]) or low < 0 or high >= output.shape[1]:
            raise ModelError(
                "BSC308",
                f"the labels of '{samples.source}' do not fit the model's first output",
                seen=f"labels {low}..{high}, output of shape {tuple(output.shape)} for {len(feeds[name])} samples",
                fix="give class numbers below the number of outputs, or leave the labels out",
            )

    def _make_optimizer(self) -> torch.optim.Optimizer:
        parameters = list(self._network.parameters.values())
        for parameter in parameters:
            parameter.grad = torch.zeros_like(parameter)
        fused = all(value.device.type in ("cpu", "cuda") and value.is_floating_point() for value in parameters)
        if self._options.optimizer == "adam":
            return torch.optim.Adam(parameters, lr=self._options.lr, fused=fused)
        return torch.optim.SGD(parameters, lr=self._options.lr, momentum=self._options.momentum, fused=fused)

    def _checkpoint(self) -> Checkpoint:
        arrays = {f"parameter/{name}": value for name, value in self._network.parameters.items()}
        arrays |= {f"mask/{name}": value for name, value in self._masks.items()}
        arrays |= {f"kept/{name}": value for name, value in self._layers.kept.items()}
        arrays |= self._layers.frozen_arrays()
        for index, state in self._optimizer.state_dict()["state"].items():
            arrays |= {f"state/{index}/{key}": value for key, value in state.items() if isinstance(value, Tensor)}
        return Checkpoint(
            run=self._run,
            epoch=self._epoch,
            history=self.history,
            arrays={name: value.detach().cpu().numpy() for name, value in arrays.items()},
        )

    def _restore(self, checkpoint: Checkpoint) -> None:
        self._epoch, self.history = checkpoint.epoch, checkpoint.history
        state: dict[int, dict[str, Tensor]] = {}
        for key, array in checkpoint.arrays.items():
            kind, _, name = key.partition("/")
            value = torch.from_numpy(np.array(array)).to(self._options.device)
            if kind == "parameter":
                with torch.no_grad():
                    self._network.parameters[name].copy_(value)
            elif kind == "mask":
                self._masks[name] = value
            elif kind == "kept":
                self._layers.kept[name] = value
            elif kind == "frozen":
                self._layers.restore_frozen(name, value)
            else:
                index, _, entry = name.partition("/")
                state.setdefault(int(index), {})[entry] = value
        self._optimizer.load_state_dict({**self._optimizer.state_dict(), "state": state})


def _images(values: Tensor) -> Tensor:
    """In the memory order that convolutions are fastest in."""
    return values.contiguous(memory_format=torch.channels_last) if values.ndim == 4 else values


def _check(graph: Graph, options: FinetuneOptions) -> None:
    names = [layer.name for layer in graph.layers()]
    for option, given in (("budget", options.layer_budgets), ("sparsity", options.layer_sparsity)):
        for name in given:
            if name not in names:
                raise _contradiction(
                    f"--{option} names no layer of the model: '{name}'",
                    f"layers {', '.join(names)}",
                    "use one of these",
                )
    budgets = [("budget", budget) for budget in (options.budget, *options.layer_budgets.values())]
    for what, numbers in (*budgets, ("slice-weights", options.slice_weights)):
        if numbers and len(numbers) != options.slices:
            raise _contradiction(
                f"--{what} has the wrong number of slices",
                f"{len(numbers)} numbers for {options.slices} slices",
                f"give {options.slices}, top slice first",
            )
    if options.project and (options.objective != "adc" or options.scale != "power-of-two"):
        raise _contradiction(
            "--project needs the objective 'adc' and power-of-two steps",
            f"objective '{options.objective}', scale '{options.scale}'",
            "add --objective adc, or leave --project out",
        )
    if options.prune_epochs >= options.epochs:
        raise _contradiction(
            "--prune-epochs leaves no epoch to fine-tune",
            f"{options.prune_epochs} of {options.epochs} epochs",
            "raise --epochs",
        )


def _contradiction(problem: str, seen: str, fix: str) -> UsageError:
    return UsageError("BSC201", problem, seen=seen, fix=fix)


def _check_device(device: str) -> None:
    try:
        (torch.ones(1, device=device) + 1).cpu()
    except (RuntimeError, AssertionError, TypeError, ImportError) as error:  # a build without CUDA asserts
        raise UsageError(
            "BSC202",
            f"device '{device}' cannot be used",
            seen=str(error).splitlines()[0][:200],
            fix="give --device cpu, cuda or cuda:N",
        ) from None


def _identity(graph: Graph, train: Samples, options: FinetuneOptions, noise: Device | None) -> str:
    """Digest of all that the result follows from."""
    digest = hashlib.sha256(graph.info.sha256.encode())
    digest.update(options.model_dump_json(exclude={"device", "threads"}).encode())
    if noise is not None:
        digest.update(noise.model_dump_json().encode())
    for name, values in sorted(train.inputs.items()):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(values).tobytes())
    if train.labels is not None:
        digest.update(train.labels.tobytes())
    return digest.hexdigest()
