"""What each factor of a factorial design, and each pair of factors, does to a score."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyview.analysis.inference import CONFIDENCE, SeedScore, contrast, for_other_people, unpaired
from polyview.analysis.statistics import holm

Cell = tuple[Any, ...]  # a value for each factor


@dataclass(frozen=True)
class Effect:
    """What one factor, or several together, do to a score.

    For one factor, the mean over all else with the second value less that with the first. For two, half of what
    the second factor's second value adds to the first factor's effect. `low` and `high` are the 95 % interval for
    other people under other seeds, of the effect in each seed, None where the seeds allow none; `p_holm` is `p` after
    Holm (1979) over all effects of the design. `aliases` are effects that the design cannot tell from this one.
    """

    name: str
    size: float
    low: float | None = None
    high: float | None = None
    p: float | None = None
    p_holm: float | None = None
    aliases: tuple[str, ...] = ()

    @property
    def significant(self) -> bool:
        """Whether the effect may be claimed: where nothing matters, one design in twenty claims anything."""
        return self.p_holm is not None and self.p_holm <= 1 - CONFIDENCE


def effects(factors: Mapping[str, Sequence[Any]], scores: Mapping[Cell, Mapping[int, SeedScore]]) -> list[Effect]:
    """Main effects and interactions of pairs from `scores` (cell -> seed -> score), main effects first.

    A factor with more than two values has an effect for each value but the first. Effects whose cells are all equal
    in the design are listed once, as aliases. Cells without a seed in common, or that are scored on other people or
    faces, or between other classes, than one another, allow no effect at all: the list is empty.
    """
    names, levels = list(factors), {name: list(values) for name, values in factors.items()}
    tried, by_seed = list(scores), list(scores.values())
    if not tried or not set.intersection(*map(set, by_seed)) or unpaired(by_seed):
        return []
    contrasts: dict[str, NDArray[np.float64]] = {}
    for order in (1, 2):
        for chosen in itertools.combinations(range(len(names)), order):
            for values in itertools.product(*(levels[names[index]][1:] for index in chosen)):
                name = " × ".join(
                    _level_name(names[i], levels[names[i]], v) for i, v in zip(chosen, values, strict=True)
                )
                signs = [
                    [_sign(cell[i], levels[names[i]][0], v) for i, v in zip(chosen, values, strict=True)]
                    for cell in tried
                ]
                contrasts[name] = np.prod(np.array(signs, dtype=np.float64), axis=1)
    found = [_effect(names, signs, list(scores.values())) for names, signs in _without_aliases(contrasts).items()]
    # One without a p-value, as each seed has it alike, is one of the family all the same, as in `adjust_comparisons`.
    adjusted = holm([1.0 if effect.p is None else effect.p for effect in found])
    return [
        effect if effect.p is None else replace(effect, p_holm=p) for effect, p in zip(found, adjusted, strict=True)
    ]


def _level_name(factor: str, levels: Sequence[Any], value: Any) -> str:
    return factor if len(levels) == 2 else f"{factor}={value}"


def _sign(value: Any, first: Any, second: Any) -> int:
    """1 and -1 for the two values that are compared, 0 for all others; true is not one."""
    key = repr(value)
    return int(key == repr(second)) - int(key == repr(first))


def _without_aliases(contrasts: Mapping[str, NDArray[np.float64]]) -> dict[tuple[str, ...], NDArray[np.float64]]:
    """Contrasts that differ, each with all the names it has; of two opposite ones the first gives the sign."""
    groups: dict[bytes, list[str]] = {}
    kept: dict[bytes, NDArray[np.float64]] = {}
    for name, signs in contrasts.items():
        opposite = (-signs + 0.0).tobytes()
        key = opposite if opposite in kept else (signs + 0.0).tobytes()
        groups.setdefault(key, []).append(name if key != opposite else f"−{name}")
        kept.setdefault(key, signs)
    return {tuple(names): kept[key] for key, names in groups.items()}


def _effect(names: Sequence[str], signs: NDArray[np.float64], scores: Sequence[Mapping[int, SeedScore]]) -> Effect:
    """The mean of the cells of one sign less that of the other, in each seed.

    What a seed does to a factor is then part of the spread between seeds, and no residual is pooled that lacks it.
    """
    weights = np.where(signs > 0, 1 / max((signs > 0).sum(), 1), 0) - np.where(
        signs < 0, 1 / max((signs < 0).sum(), 1), 0
    )
    in_seeds = list(contrast(scores, weights.tolist()).values())
    effect = Effect(names[0], float(np.mean([one.score for one in in_seeds])), aliases=tuple(names[1:]))
    if (found := for_other_people(in_seeds)) is None:
        return effect
    low, high = found.interval()
    return replace(effect, low=low, high=high, p=found.p_zero())
