"""Random changes of training images that keep their class."""

from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

SHIFTS = {"flip-crop": 4, "crop": 2}
"""Most pixels an image is shifted by, along each axis."""


def augment(images: Tensor, kind: Literal["none", "flip-crop", "crop"], generator: torch.Generator) -> Tensor:
    """Shift every image by its own random offset, and mirror half of them if asked.

    Args:
        images: (B, channels, height, width); other tensors are returned as they are.
        kind: `FinetuneOptions.augment`.
        generator: on the CPU, so that every device sees the same changes.
    """
    if kind == "none" or images.ndim != 4:
        return images
    count, _, height, width = images.shape
    most = SHIFTS[kind]
    offsets = torch.randint(0, 2 * most + 1, (2, count, 1), generator=generator).to(images.device)
    mirrored = (torch.rand(count, 1, generator=generator) < (kind == "flip-crop") / 2).to(images.device)
    rows = torch.arange(height, device=images.device) + offsets[0]
    columns = torch.arange(width, device=images.device).expand(count, width)
    columns = torch.where(mirrored, width - 1 - columns, columns) + offsets[1]
    padded = F.pad(images, (most, most, most, most))
    picked = padded.movedim(1, -1)[
        torch.arange(count, device=images.device)[:, None, None], rows[:, :, None], columns[:, None]
    ]
    return picked.movedim(-1, 1)
