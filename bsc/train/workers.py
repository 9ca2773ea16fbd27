"""Data parallel training: the processes that `torchrun` starts share every batch and add up their gradients."""

import os
from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True)
class Workers:
    """This process among those of one run.

    Attributes:
        rank: its number, 0 for the one that writes files and prints.
        count: how many there are.
    """

    rank: int = 0
    count: int = 1

    def share(self, samples: Tensor) -> Tensor:
        """This process's part of a batch's samples."""
        return samples[self.rank :: self.count]

    def add_up(self, tensors: Iterable[Tensor]) -> None:
        """Replace each tensor by the sum over all processes."""
        parts = list(tensors)
        if self.count == 1:
            return
        flat = torch.cat([part.reshape(-1) for part in parts])
        dist.all_reduce(flat)
        for part, total in zip(parts, torch.split(flat, [part.numel() for part in parts]), strict=True):
            part.copy_(total.reshape(part.shape))


def join(device: str) -> tuple[Workers, str]:
    """Join the run of `torchrun`, or be the only process.

    Args:
        device: as given by the user; with several processes on "cuda" each takes the GPU of its local rank.

    Returns:
        This process and the device it computes on.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        return Workers(), device
    if device == "cuda":
        device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    return Workers(dist.get_rank(), count), device


def leave(workers: Workers) -> None:
    """End what `join` began."""
    if workers.count > 1:
        dist.destroy_process_group()
