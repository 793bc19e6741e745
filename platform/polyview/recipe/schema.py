"""What every part of a recipe is made of: a strict, frozen model, and numbers with bounds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

STORED = "stored"
"""The validation context of a recipe that was read before: its weights are those that they were then."""


def _rising(interval: tuple[float, float]) -> tuple[float, float]:
    if interval[0] > interval[1]:
        raise ValueError("the lower end comes first")
    return interval


def _one_line(name: str) -> str:
    if not name.strip() or not name.isprintable():
        raise ValueError(f"{name!r} is not one line that can be printed")
    return name


Positive = Annotated[int, Field(gt=0)]
PositiveFloat = Annotated[float, Field(gt=0)]
Natural = Annotated[int, Field(ge=0)]
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=100)]
Line = Annotated[str, AfterValidator(_one_line)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Share = Annotated[float, Field(gt=0, lt=1)]
Weight = Annotated[float, Field(ge=0)]
Unit = Annotated[float, Field(ge=0, le=1)]
Cosine = Annotated[float, Field(ge=-1, le=1)]
Interval = Annotated[tuple[Unit, Unit], AfterValidator(_rising)]


def equals(default: object) -> Callable[[object], bool]:
    """For `exclude_if`: a setting that came later is not part of recipes that do not use it, and their hashes stay."""
    return lambda setting: setting == default


class Model(BaseModel):
    """A strict, frozen piece of a recipe."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)
