"""The paper's three networks in PyTorch, trained from scratch, and written down as ONNX node by node.

mlp         784-100-10 with ReLU (MNIST)
vgg11       convolutions 64, 128, 256, 256, 512, 512, 512, 512 without BatchNorm, then 512, 512, 10 (CIFAR-10)
resnet20    three stages of three blocks with 16, 32, 64 channels and BatchNorm (CIFAR-10)
"""

import io
import itertools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import onnx
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from bsc.numeric.im2col import ConvGeometry
from bsc.output_files import write_file
from bsc.train.augment import augment
from bsc.train.network import convolve
from bsc.train.precision import resolved

VGG = (64, 0, 128, 0, 256, 256, 0, 512, 512, 0, 512, 512, 0)
"""Filters of each convolution; 0 is a max pool."""
SAME = ConvGeometry(kernel=(3, 3), strides=(1, 1), dilations=(1, 1), pads=((1, 1), (1, 1)))


class Writer:
    """Collects the ONNX nodes and initialisers of a network."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: dict[str, NDArray[Any]] = {}

    def node(self, op_type: str, name: str, inputs: list[str], **attributes: Any) -> str:
        """Add a node; returns the name of its result."""
        self.nodes.append(helper.make_node(op_type, inputs, [f"{name}_out"], name, **attributes))
        return f"{name}_out"

    def constants(self, name: str, **tensors: Tensor | None) -> list[str]:
        """Add initialisers `name.key`; returns their names."""
        found = {f"{name}.{key}": value for key, value in tensors.items() if value is not None}
        self.weights |= {key: value.detach().cpu().numpy() for key, value in found.items()}
        return list(found)

    def conv(self, name: str, conv: nn.Conv2d, x: str) -> str:
        """Add a convolution."""
        side = int(conv.padding[0])
        constants = self.constants(name, weight=conv.weight, bias=conv.bias)
        return self.node("Conv", name, [x, *constants], strides=list(conv.stride), pads=[side] * 4)

    def linear(self, name: str, linear: nn.Linear, x: str) -> str:
        """Add a matrix."""
        return self.node("Gemm", name, [x, *self.constants(name, weight=linear.weight, bias=linear.bias)], transB=1)

    def norm(self, name: str, norm: nn.BatchNorm2d, x: str) -> str:
        """Add a batch normalisation."""
        names = self.constants(
            name, weight=norm.weight, bias=norm.bias, mean=norm.running_mean, variance=norm.running_var
        )
        return self.node("BatchNormalization", name, [x, *names], epsilon=norm.eps)

    def model(self, result: str, shape: tuple[int, ...]) -> onnx.ModelProto:
        """The model from `image` to `logits`."""
        self.nodes[-1].output[0] = "logits"
        assert result == f"{self.nodes[-1].name}_out"
        graph = helper.make_graph(
            self.nodes,
            "network",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", *shape])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 10])],
            [numpy_helper.from_array(value, name) for name, value in self.weights.items()],
        )
        return helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 20)])


class Mlp(nn.Module):
    """784-100-10."""

    shape = (1, 28, 28)

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(784, 100), nn.Linear(100, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        result: Tensor = self.fc2(F.relu(self.fc1(x.flatten(1))))
        return result

    def write(self, to: Writer) -> str:
        """Write down the nodes."""
        x = to.node("Flatten", "flatten", ["image"])
        x = to.node("Relu", "relu", [to.linear("fc1", self.fc1, x)])
        return to.linear("fc2", self.fc2, x)


class Vgg11(nn.Module):
    """VGG-11 without BatchNorm."""

    shape = (3, 32, 32)

    def __init__(self) -> None:
        super().__init__()
        widths = [3, *(width for width in VGG if width)]
        self.convs = nn.ModuleList(
            nn.Conv2d(before, after, 3, padding=1) for before, after in itertools.pairwise(widths)
        )
        self.fcs = nn.ModuleList([nn.Linear(512, 512), nn.Linear(512, 512), nn.Linear(512, 10)])
        for module in self.modules():
            if isinstance(module, nn.Conv2d):  # without normalisation, PyTorch's default dies out in depth
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias if module.bias is not None else torch.empty(0))

    def forward(self, x: Tensor) -> Tensor:
        """Logits; dropout before the hidden matrices while training."""
        convs = iter(self.convs)
        for width in VGG:
            if width:
                conv = next(convs)
                assert isinstance(conv, nn.Conv2d)
                x = F.relu(convolve(x, conv.weight, conv.bias, SAME))
            else:
                x = F.max_pool2d(x, 2)
        x = x.flatten(1)
        for matrix in list(self.fcs)[:-1]:
            x = F.relu(matrix(F.dropout(x, 0.5, self.training)))
        result: Tensor = self.fcs[2](x)
        return result

    def write(self, to: Writer) -> str:
        """Write down the nodes."""
        x, count = "image", 0
        for position, width in enumerate(VGG):
            if width:
                conv = self.convs[count]
                assert isinstance(conv, nn.Conv2d)
                count += 1
                x = to.node("Relu", f"relu{count}", [to.conv(f"conv{count}", conv, x)])
            else:
                x = to.node("MaxPool", f"pool{position}", [x], kernel_shape=[2, 2], strides=[2, 2])
        x = to.node("Flatten", "flatten", [x])
        for number, matrix in enumerate(self.fcs, 1):
            assert isinstance(matrix, nn.Linear)
            x = to.linear(f"fc{number}", matrix, x)
            x = x if number == len(self.fcs) else to.node("Relu", f"fc{number}_relu", [x])
        return x


class Block(nn.Module):
    """Two 3x3 convolutions around a shortcut; where channels double, the shortcut is a 1x1 convolution."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.norm1, self.norm2 = nn.BatchNorm2d(after), nn.BatchNorm2d(after)
        self.shortcut = nn.Conv2d(before, after, 1, stride, bias=False) if before != after else None
        self.norm3 = nn.BatchNorm2d(after) if before != after else None

    def forward(self, x: Tensor) -> Tensor:
        """Same size, or half of it."""
        y = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        if self.shortcut is not None and self.norm3 is not None:
            x = self.norm3(self.shortcut(x))
        return F.relu(y + x)

    def write(self, to: Writer, name: str, x: str) -> str:
        """Write down the nodes."""
        y = to.norm(f"{name}_norm1", self.norm1, to.conv(f"{name}_conv1", self.conv1, x))
        y = to.conv(f"{name}_conv2", self.conv2, to.node("Relu", f"{name}_relu1", [y]))
        y = to.norm(f"{name}_norm2", self.norm2, y)
        if self.shortcut is not None and self.norm3 is not None:
            x = to.norm(f"{name}_norm3", self.norm3, to.conv(f"{name}_shortcut", self.shortcut, x))
        return to.node("Relu", f"{name}_relu2", [to.node("Add", f"{name}_add", [y, x])])


class ResNet20(nn.Module):
    """ResNet-20 for 32x32 images."""

    shape = (3, 32, 32)

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        sizes = [(16, 16, 1)] * 3 + [(16, 32, 2), (32, 32, 1), (32, 32, 1), (32, 64, 2), (64, 64, 1), (64, 64, 1)]
        self.blocks = nn.ModuleList(Block(*size) for size in sizes)
        self.fc = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        x = F.relu(self.norm(self.conv(x)))
        for block in self.blocks:
            x = block(x)
        result: Tensor = self.fc(x.mean(dim=(2, 3)))
        return result

    def write(self, to: Writer) -> str:
        """Write down the nodes."""
        x = to.node("Relu", "relu", [to.norm("norm", self.norm, to.conv("conv", self.conv, "image"))])
        for number, block in enumerate(self.blocks, 1):
            assert isinstance(block, Block)
            x = block.write(to, f"block{number}", x)
        x = to.node("Flatten", "flatten", [to.node("GlobalAveragePool", "pool", [x])])
        return to.linear("fc", self.fc, x)


Network = Mlp | Vgg11 | ResNet20
NETWORKS: Mapping[str, Callable[[], Network]] = {"mlp": Mlp, "vgg11": Vgg11, "resnet20": ResNet20}


def to_onnx(network: Network) -> onnx.ModelProto:
    """The trained network as an ONNX model."""
    writer = Writer()
    return writer.model(network.write(writer), network.shape)


def pretrain(
    name: str,
    images: Tensor,
    labels: Tensor,
    *,
    epochs: int,
    lr: float,
    batch: int,
    flips: bool,
    seed: int,
    optimizer: Literal["sgd", "adam"] = "sgd",
    precision: Literal["fp32", "bf16", "auto"] = "fp32",
    smoothing: float = 0.0,
    checkpoint: Path | None = None,
) -> Network:
    """Train from scratch: one-cycle schedule, cross-entropy; on the device the images are on.

    Args:
        name: one of `NETWORKS`.
        images: (samples, *shape).
        labels: (samples,).
        epochs: passes over the images.
        lr: learning rate at its highest, after a tenth of the steps.
        batch: images a step.
        flips: mirror and shift images.
        seed: of weights, order and augmentation.
        optimizer: "sgd" with Nesterov's momentum of 0.9, or "adam", which gets a deep network without normalisation off
            the ground in fewer epochs.
        precision: "fp32", "bf16" or "auto", as in `bsc.train.options.FinetuneOptions`.
        smoothing: share of a label that is spread over all classes.
        checkpoint: written after every epoch; a run that was stopped goes on from it (on the CPU to the same weights).
    """
    torch.manual_seed(seed)
    # The memory order that convolutions are fastest in.
    network = NETWORKS[name]()
    network.to(images.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    decay = 5e-4
    steepest = (
        torch.optim.Adam(network.parameters(), lr=lr, weight_decay=decay)
        if optimizer == "adam"
        else torch.optim.SGD(network.parameters(), lr=lr, momentum=0.9, nesterov=True, weight_decay=decay)
    )
    steps = -(-len(images) // batch) * epochs
    schedule = torch.optim.lr_scheduler.OneCycleLR(steepest, lr, steps, pct_start=0.1)
    generator = torch.Generator().manual_seed(seed)
    parts = {"network": network, "optimizer": steepest, "schedule": schedule}
    first = 0
    if checkpoint is not None and checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        for key, part in parts.items():
            part.load_state_dict(saved[key])
        first = saved["epoch"]
        generator.set_state(saved["order"])
        torch.set_rng_state(saved["random"])
    network.train()
    coarse = resolved(precision, images.device.type) == "bf16"
    for epoch in range(first, epochs):
        for chosen in torch.split(torch.randperm(len(images), generator=generator), batch):
            x = augment(images[chosen.to(images.device)], "flip-crop" if flips else "none", generator)
            steepest.zero_grad()
            with torch.autocast(images.device.type, torch.bfloat16, enabled=coarse):
                logits = network(x)
            wanted = labels[chosen.to(labels.device)]
            torch.autograd.backward(F.cross_entropy(logits.float(), wanted, label_smoothing=smoothing))
            steepest.step()
            schedule.step()
        if checkpoint is not None:
            content = io.BytesIO()
            states = {key: part.state_dict() for key, part in parts.items()}
            randomness = {"order": generator.get_state(), "random": torch.get_rng_state()}
            torch.save({"epoch": epoch + 1, **states, **randomness}, content)
            write_file(checkpoint, content.getvalue())
    return network.eval()
