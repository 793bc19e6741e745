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

    Raises `UserError` if two variants have one name.
    """
    families = [
        {name: {key: None} for name, key in study.remove.items()},
        study.variants,
        grid_points(study),
        REFERENCES if study.references else {},
    ]
    named: dict[str, dict[str, Any]] = {study.baseline: {}}
    for family in families:
        if taken := sorted((named.keys() - {study.baseline}) & family.keys()):
            raise UserError(f"{study.name}: two variants are named {taken[0]!r}; rename one, or set references: false")
        named |= {name: dict(overrides) for name, overrides in family.items()}
    return named


def grid_points(study: Study) -> dict[str, dict[str, Any]]:
    """The overrides of each point of the full factorial, named by what sets it apart, as `lr=0.001, count=3`."""
    if not study.grid:
        return {}
    points = (dict(zip(study.grid, values, strict=True)) for values in itertools.product(*study.grid.values()))
    return {", ".join(f"{key.rsplit('.', 1)[-1]}={value}" for key, value in point.items()): point for point in points}


def plan(study: Study) -> list[Trial]:
    """All trials of a study, seeds innermost; a point of the grid that is the baseline is not run beside it.

    Raises `UserError` that lists every variant whose overrides do not make a valid experiment, or make that of
    another variant.
    """
    trials: list[Trial] = []
    owners: dict[str, str] = {}
    faults: list[str] = []
    points = grid_points(study)
    for name, overrides in variants(study).items():
        try:
            varied = with_overrides(study.experiment, overrides, f"{study.name}: variant {name!r}")
        except UserError as error:
            faults.append(str(error))
            continue
        seeded = [Trial(name, seed, varied.model_copy(update={"seed": seed})) for seed in study.seeds]
        owner = owners.setdefault(seeded[0].id, name)
        if owner == name:
            trials += seeded
        elif not (owner == study.baseline and name in points):
            faults.append(f"{study.name}: variants {owner!r} and {name!r} are the same experiment; drop one of them")
    if faults:
        raise UserError("\n".join(faults))
    return trials
