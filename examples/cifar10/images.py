"""Cut the images that ship here out of the official CIFAR-10 files.

    python -m examples.cifar10.images DATA_DIR

DATA_DIR holds the six `.bin` files of the binary version. Writes test_images.npz and calibration_images.npz beside this
file: every 20th test image with its label, and every 500th training image.
"""

from pathlib import Path

import click
import numpy as np

from bsc.ir.graph import TensorType
from bsc.train.data import Samples, load_samples

HERE = Path(__file__).parent
IMAGE = TensorType(name="image", shape=(1, 3, 32, 32), dtype="float32", batch_axis=0)


@click.command()
@click.argument("data_dir", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--out", type=click.Path(path_type=Path), default=HERE, help="Folder to write to.")
def main(data_dir: Path, out: Path) -> None:
    """Write test_images.npz and calibration_images.npz."""
    test = load_samples(str(data_dir), [IMAGE], "test")
    assert test.labels is not None
    np.savez_compressed(
        out / "test_images.npz", allow_pickle=False, image=_every(test, 20), label=test.labels[::20].astype(np.int64)
    )
    train = load_samples(str(data_dir), [IMAGE], "train")
    np.savez_compressed(out / "calibration_images.npz", allow_pickle=False, image=_every(train, 500))


def _every(samples: Samples, step: int) -> np.ndarray:
    return samples.inputs["image"][::step]


if __name__ == "__main__":
    main()
