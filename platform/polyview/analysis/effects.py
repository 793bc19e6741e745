"""What each factor of a factorial design, and each pair of factors, does to a score."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyview.analysis.statistics import CONFIDENCE, SAME, holm

Cell = tuple[Any, ...]  # a value for each factor


@dataclass(frozen=True)
class Effect:
    """What one factor, or several together, do to a score.

    For one factor, the mean over all else with the second value less that with the first. For two, half of what
    the second factor's second value adds to the first factor's effect. `low` and `high` are the 95 % t interval
    of a least-squares fit with a mean per seed, None where the seeds leave no residual; `p_holm` is `p` after
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


def effects(factors: Mapping[str, Sequence[Any]], scores: Mapping[Cell, Mapping[int, float]]) -> list[Effect]:
    """Main effects and interactions of pairs from `scores` (cell -> seed -> score), main effects first.

    A factor with more than two values has an effect for each value but the first. Effects whose cells are all equal
    in the design are listed once, as aliases. Cells without a score allow no effect at all: the list is empty.
    """
    names, levels = list(factors), {name: list(values) for name, values in factors.items()}
    tried = [cell for cell in scores if scores[cell]]
    if len(tried) < len(scores) or not tried:
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
    return _with_holm(_fitted(_without_aliases(contrasts), tried, scores))


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


def _fitted(
    contrasts: Mapping[tuple[str, ...], NDArray[np.float64]],
    tried: Sequence[Cell],
    scores: Mapping[Cell, Mapping[int, float]],
) -> list[Effect]:
    """A mean per cell and a shift per seed, by least squares; each effect is a contrast of the cells' means."""
    # statsmodels takes seconds to import, which a study without a factorial need not wait for.
    import statsmodels.api as sm

    seeds = sorted({seed for cell in tried for seed in scores[cell]})
    rows = [(row, seeds.index(seed), score) for row, cell in enumerate(tried) for seed, score in scores[cell].items()]
    design = np.zeros((len(rows), len(tried) + len(seeds) - 1))
    for at, (cell, seed, _) in enumerate(rows):
        design[at, cell] = 1
        if seed:
            design[at, len(tried) + seed - 1] = 1
    fit = sm.OLS(np.array([score for *_, score in rows]), design).fit()
    spread = fit.df_resid > 0 and float(np.sqrt(fit.ssr / fit.df_resid)) > SAME
    found = []
    for (name, *aliases), signs in contrasts.items():
        weights = np.zeros(design.shape[1])
        weights[: len(tried)] = np.where(signs > 0, 1 / max((signs > 0).sum(), 1), 0)
        weights[: len(tried)] -= np.where(signs < 0, 1 / max((signs < 0).sum(), 1), 0)
        effect = Effect(name, float(weights @ fit.params), aliases=tuple(aliases))
        if spread:
            tested = fit.t_test(weights)
            low, high = np.ravel(tested.conf_int(alpha=1 - CONFIDENCE))
            effect = replace(effect, low=float(low), high=float(high), p=float(np.ravel(tested.pvalue)[0]))
        found.append(effect)
    return found


def _with_holm(found: Sequence[Effect]) -> list[Effect]:
    tested = [effect.p for effect in found if effect.p is not None and not math.isnan(effect.p)]
    adjusted = iter(holm(tested))
    return [replace(effect, p_holm=next(adjusted)) if effect.p is not None else effect for effect in found]
