"""Which precision training steps have where none is asked for: bfloat16 pays only where the hardware multiplies it.

Without such instructions PyTorch computes every product of bfloat16 in its slowest way: a step of ResNet-20 or VGG-11
takes ten to twenty times as long as in float32 on an AVX2 processor. The choice follows from the hardware and not from
a measurement, so that a run on the same machine is always the same run.
"""

from typing import Literal

import torch

Precision = Literal["fp32", "bf16"]


def resolved(precision: Literal["fp32", "bf16", "auto"], device: str) -> Precision:
    """The precision of training steps; for "auto", bfloat16 where the device multiplies it."""
    if precision != "auto":
        return precision
    return "bf16" if multiplies_bfloat16(device) else "fp32"


def multiplies_bfloat16(device: str) -> bool:
    """Whether a device has instructions for products of bfloat16; no for those that cannot be asked."""
    if torch.device(device).type == "cuda":
        return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    if torch.device(device).type != "cpu":
        return False
    known = torch.cpu.get_capabilities()
    return any(known.get(name, False) for name in ("avx512_bf16", "amx_bf16"))
