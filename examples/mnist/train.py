"""Train the paper's MNIST network (arXiv 1909.08496) and write the three files `bsc` starts from.

    python examples/mnist/train.py DATA_DIR

`model.onnx` is the float network: Flatten, Gemm `fc1`, Relu, Gemm `fc2`. `test_images.npz` holds every fifth test
image (`image`, float32 in [0, 1]) with its `label`, `train_images.npz` every tenth training image without label, for
`bsc finetune`. Architecture, batch size, optimiser and epochs are the paper's pre-training; its l1 penalty and its
quantiser are left out, so the weights are those of an ordinary trained model.
"""

import time
from collections import OrderedDict
from math import prod
from pathlib import Path

import click
import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import nn

BATCH_SIZE = 64
LEARNING_RATE = 0.01
MOMENTUM = 0.5
SHIPPED_STEP = 5  # every fifth test image goes into test_images.npz
UNLABELLED_STEP = 10  # every tenth training image goes into train_images.npz


def read_idx(path: Path, *, axes: int) -> NDArray[np.uint8]:
    """Read one unpacked IDX file of unsigned bytes.

    Args:
        path: the file.
        axes: number of dimensions it must have.

    Raises:
        click.UsageError: the file is missing, is of another type, or is not as long as its header says.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise click.UsageError(f"cannot read {path}: {error.strerror}") from error
    start = 4 + 4 * axes
    if len(content) < start or content[:4] != bytes([0, 0, 8, axes]):
        raise click.UsageError(f"{path} is not an unpacked IDX file of unsigned bytes with {axes} dimensions")
    shape = np.frombuffer(content[4:start], ">u4").tolist()
    if len(content) - start != prod(shape):
        raise click.UsageError(f"{path} holds {len(content) - start} values, its header says {shape}: fetch it again")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def load_split(folder: Path, prefix: str) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Read the images and labels of one split, `train` or `t10k`.

    Returns:
        Images (N, 1, 28, 28) in [0, 1] and labels (N,) in 0..9.

    Raises:
        click.UsageError: a file cannot be used, or the two do not belong together.
    """
    images = read_idx(folder / f"{prefix}-images-idx3-ubyte", axes=3)
    labels = read_idx(folder / f"{prefix}-labels-idx1-ubyte", axes=1)
    if not labels.size or labels.max() > 9 or images.shape != (labels.size, 28, 28):
        raise click.UsageError(f"the {prefix} files in {folder} are not 28x28 images with one label 0..9 each")
    return images[:, None].astype(np.float32) / np.float32(255), labels.astype(np.int64)


def build_network() -> nn.Sequential:
    """784-100-10 with ReLU, PyTorch's default initialisation."""
    layers = OrderedDict(flatten=nn.Flatten(), fc1=nn.Linear(784, 100), relu=nn.ReLU(), fc2=nn.Linear(100, 10))
    return nn.Sequential(layers)


def train(images: torch.Tensor, labels: torch.Tensor, *, epochs: int, seed: int) -> nn.Sequential:
    """Train from scratch; the same arguments give the same weights on the same machine."""
    torch.set_num_threads(1)  # more would change the order of sums with the number of cores, and gain no time here
    torch.manual_seed(seed)
    network = build_network()
    optimizer = torch.optim.SGD(network.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM)
    with click.progressbar(range(epochs), label="training") as bar:
        for _ in bar:
            order = torch.randperm(len(labels))
            for start in range(0, len(labels), BATCH_SIZE):
                batch = order[start : start + BATCH_SIZE]
                optimizer.zero_grad()
                torch.autograd.backward(nn.functional.cross_entropy(network(images[batch]), labels[batch]))
                optimizer.step()
    return network


def to_onnx(network: nn.Sequential) -> onnx.ModelProto:
    """Write the network down as four ONNX nodes.

    `torch.onnx.export` turns Flatten into a Reshape and adds stack traces with paths of this machine.
    """
    nodes = [
        helper.make_node("Flatten", ["image"], ["pixels"], "flatten"),
        helper.make_node("Gemm", ["pixels", "fc1.weight", "fc1.bias"], ["fc1_out"], "fc1", transB=1),
        helper.make_node("Relu", ["fc1_out"], ["hidden"], "relu"),
        helper.make_node("Gemm", ["hidden", "fc2.weight", "fc2.bias"], ["logits"], "fc2", transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "mnist",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 1, 28, 28])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 10])],
        [numpy_helper.from_array(value.numpy(), name) for name, value in network.state_dict().items()],
    )
    opset = helper.make_opsetid("", 20)
    return helper.make_model(graph, ir_version=10, opset_imports=[opset], producer_name="bsc examples/mnist/train.py")


def accuracy(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Share of rows whose largest logit is the label."""
    return float((logits.argmax(axis=1) == labels).mean())


@click.command()
@click.argument("data_dir", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), default=Path(__file__).parent, help="Default: this folder.")
@click.option("--epochs", type=click.IntRange(min=1), default=100, show_default=True)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
def main(data_dir: Path, out: Path, epochs: int, seed: int) -> None:
    """Train on the four MNIST IDX files in DATA_DIR; write model.onnx, test_images.npz and train_images.npz."""
    train_images, train_labels = load_split(data_dir, "train")
    images, labels = load_split(data_dir, "t10k")

    started = time.perf_counter()
    network = train(torch.from_numpy(train_images), torch.from_numpy(train_labels), epochs=epochs, seed=seed)
    click.echo(f"{len(train_labels)} images, {epochs} epochs, {time.perf_counter() - started:.0f} s")

    out.mkdir(parents=True, exist_ok=True)
    onnx.save(to_onnx(network), out / "model.onnx")
    shipped_labels = labels[::SHIPPED_STEP]
    np.savez_compressed(out / "test_images.npz", image=images[::SHIPPED_STEP], label=shipped_labels)
    np.savez_compressed(out / "train_images.npz", image=train_images[::UNLABELLED_STEP])

    with torch.no_grad():
        torch_logits = network(torch.from_numpy(images)).numpy()
    (logits,) = onnxruntime.InferenceSession(out / "model.onnx").run(["logits"], {"image": images})
    click.echo(f"torch        {accuracy(torch_logits, labels):.2%} of {len(labels)} test images")
    click.echo(f"onnxruntime  {accuracy(logits, labels):.2%} of {len(labels)} test images")
    click.echo(f"onnxruntime  {accuracy(logits[::SHIPPED_STEP], shipped_labels):.2%} of {len(shipped_labels)} shipped")


if __name__ == "__main__":
    main()
