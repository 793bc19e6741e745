"""In which number format the towers compute: what a recipe asks for, and what the device computes natively."""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn

from polyview.errors import UserError
from polyview.training.collectives import pool, world_size

Precision = Literal["fp32", "tf32", "bf16", "fp16"]
DTYPES: dict[Precision, torch.dtype] = {
    "fp32": torch.float32,
    "tf32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}
SMALLEST_IN_BF16 = 32
"""Pixels of a picture on a CPU. Towers halve a picture five times; where a single place is left for the last halving,
oneDNN's bfloat16 gradient of a 3 x 3 convolution's weights is random memory (torch 2.13, AVX512)."""


@contextmanager
def float32_products(precision: Precision) -> Iterator[None]:
    """Have a GPU round the factors of float32 products to TensorFloat-32 if `precision` is tf32, and not otherwise.

    torch rounds those of convolutions unless it is told not to, and then no score is the same to 1e-5 on a CPU.
    """
    places = (torch.backends.cuda.matmul, torch.backends.cudnn.conv)  # type: ignore[attr-defined]
    before = [place.fp32_precision for place in places]
    try:
        for place in places:
            place.fp32_precision = "tf32" if precision == "tf32" else "ieee"
        yield
    finally:
        for place, was in zip(places, before, strict=True):
            place.fp32_precision = was


def choose_precision(
    asked: Literal["auto", "fp32", "tf32", "bf16", "fp16"], device: torch.device, size: int = SMALLEST_IN_BF16
) -> Precision:
    """The format that is asked for; for `auto`, bf16 where every worker's device computes it natively, else fp32.

    Raises `UserError` where bf16 would train pictures of `size` pixels by wrong gradients.
    """
    garbled = device.type == "cpu" and size < SMALLEST_IN_BF16
    if asked == "bf16" and garbled:
        raise UserError(
            f"training.precision: bf16 has wrong gradients for pictures below {SMALLEST_IN_BF16} pixels on a CPU, and "
            f"rendering.size is {size}; set training.precision: fp32"
        )
    if asked != "auto":
        return asked
    native = pool(torch.tensor(int(computes_bf16(device) and not garbled), device=device))
    return "bf16" if int(native) == world_size() else "fp32"


def computes_bf16(device: torch.device) -> bool:
    """Whether a device multiplies bfloat16 numbers itself, and does not emulate it several times slower.

    GPUs do from Ampere on, x86 processors with AVX512-BF16 or AMX, unless oneDNN or torch is told to leave these out.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return False
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return True  # oneDNN answers for Arm's own instructions, and there is no emulation
    instructions = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return instructions and torch.backends.cpu.get_cpu_capability().startswith("AVX512")


def emulation() -> str | None:
    """A warning for who asks for bf16 by name where this processor emulates it; None where it does not."""
    device = torch.device("cpu")
    if computes_bf16(device):
        return None
    return (
        f"training.precision: this processor emulates bf16, {bf16_slowdown(device):.0f} times slower than fp32; "
        "auto takes what it computes natively"
    )


def bf16_slowdown(device: torch.device) -> float:
    """How many times longer bf16 takes than fp32 here, for a small convolution forward and backward."""
    torch.manual_seed(0)
    pictures = torch.rand(16, 32, 16, 16, device=device)
    layer = nn.Conv2d(32, 32, 3, padding=1).to(device)
    return _seconds(layer, pictures, torch.bfloat16) / _seconds(layer, pictures, torch.float32)


def _seconds(layer: nn.Module, pictures: Tensor, dtype: torch.dtype) -> float:
    """The quickest of three passes; the first ones prepare the kernels."""
    layer, pictures = layer.to(dtype), pictures.to(dtype)
    times = []
    for _ in range(3):
        started = time.perf_counter()
        layer(pictures).float().sum().backward()
        times.append(time.perf_counter() - started)
    return min(times)
