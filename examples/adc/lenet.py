"""An untrained convolutional network for MNIST, to be trained by `bsc finetune`.

    python -m examples.adc.lenet lenet.onnx

Two convolutions of 8 and 16 filters, each with pooling, and one fully connected layer; random weights of seed 0.
"""

from pathlib import Path

import click
import numpy as np

from bsc.testing import random_weights, save, tiny_model

LENET = """(float[N,1,28,28] image) => (float[N,10] logits) {
    [conv1] a = Conv <kernel_shape = [5, 5]> (image, conv1_weight, conv1_bias)
    [relu1] b = Relu (a)
    [pool1] c = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (b)
    [conv2] d = Conv <kernel_shape = [5, 5]> (c, conv2_weight, conv2_bias)
    [relu2] e = Relu (d)
    [pool2] f = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (e)
    [flatten] g = Flatten (f)
    [fc] logits = Gemm <transB = 1> (g, fc_weight, fc_bias)
}"""


@click.command()
@click.argument("output", type=click.Path(path_type=Path))
def main(output: Path) -> None:
    """Write the network to OUTPUT."""
    weights = {
        "conv1_weight": random_weights(8, 1, 5, 5),
        "conv1_bias": np.zeros(8, np.float32),
        "conv2_weight": random_weights(16, 8, 5, 5, seed=1),
        "conv2_bias": np.zeros(16, np.float32),
        "fc_weight": random_weights(10, 256, seed=2),
        "fc_bias": np.zeros(10, np.float32),
    }
    save(tiny_model(LENET, weights), output)


if __name__ == "__main__":
    main()
