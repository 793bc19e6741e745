"""Losses are sums over large batches and matrices: they are computed in float32 whatever the towers ran in."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec

import torch
from torch import Tensor

P = ParamSpec("P")


def in_float32(loss: Callable[P, Tensor]) -> Callable[P, Tensor]:
    """Run `loss` with autocast off and its half-precision inputs widened to float32; float64 stays float64."""

    @functools.wraps(loss)
    def widened(*args: P.args, **kwargs: P.kwargs) -> Tensor:
        values: list[Any] = [*args, *kwargs.values()]
        device = next(value.device.type for value in values if isinstance(value, Tensor))
        with torch.autocast(device, enabled=False):
            return loss(*map(_widen, args), **{name: _widen(value) for name, value in kwargs.items()})

    return widened


def _widen(value: Any) -> Any:
    if isinstance(value, Tensor) and value.is_floating_point():
        return value.to(torch.promote_types(value.dtype, torch.float32))
    return value
