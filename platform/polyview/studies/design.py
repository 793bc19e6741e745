"""Which trials a study asks for: every variant, once per seed."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from polyview.errors import UserError
from polyview.recipe import Experiment, Study, with_overrides

UNTRAINED = "untrained"
RAW_PIXELS = "raw pixels"
REFERENCES: Mapping[str, Mapping[str, Any]] = {
    UNTRAINED: {"training.epochs": 0},
    RAW_PIXELS: {"training.epochs": 0, "model.tower": "pixels"},
}


@dataclass(frozen=True)
class Trial:
    """One variant under one seed."""

    variant: str
    seed: int
    experiment: Experiment

    @property
    def id(self) -> str:
        """The same recipe and seed have the same id in every study, so a trial is never run twice."""
        return self.experiment.digest

    @property
    def name(self) -> str:
        return f"{self.variant} · seed {self.seed}"


def variants(study: Study) -> dict[str, dict[str, Any]]:
    """The overrides of each variant, by name; the baseline comes first, and overrides nothing unless it is one of them.

    Raises `UserError` if a variant has the name of a reference row.
    """
    named = {study.baseline: {}} | {name: {key: None} for name, key in study.remove.items()} | dict(study.variants)
    keys = list(study.grid)
    for values in itertools.product(*study.grid.values()) if keys else ():
        named[", ".join(f"{key.rsplit('.', 1)[-1]}={value}" for key, value in zip(keys, values, strict=True))] = dict(
            zip(keys, values, strict=True)
        )
    if not study.references:
        return named
    if taken := sorted(REFERENCES.keys() & named):
        raise UserError(
            f"{study.name}: {taken[0]!r} is a reference row's name; rename the variant, or set references: false"
        )
    return named | {name: dict(overrides) for name, overrides in REFERENCES.items()}


def plan(study: Study) -> list[Trial]:
    """All trials of a study, seeds innermost.

    Raises `UserError` that names the variant if its overrides do not make a valid experiment, or if two
    variants make the same one.
    """
    trials = []
    owners: dict[str, str] = {}
    for name, overrides in variants(study).items():
        varied = with_overrides(study.experiment, overrides, f"{study.name}: variant {name!r}")
        seeded = [Trial(name, seed, varied.model_copy(update={"seed": seed})) for seed in study.seeds]
        if (owner := owners.setdefault(seeded[0].id, name)) != name:
            raise UserError(f"{study.name}: variants {owner!r} and {name!r} are the same experiment; drop one of them")
        trials += seeded
    return trials
