"""How large a difference of scores is: under other seeds for these people, and for other people too."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import special

from polyview.recipe.evaluation import Side

CONFIDENCE = 0.95
SAME = 1e-12  # differences of scores closer than this differ by rounding alone
FEW = 0.1
"""Share of the people or faces of one score that another may lack, and both still be of the same."""
SEED_FACTOR = 2.0
"""The variance between seeds has a share of the degrees of freedom as if it were so many times as large.

Where it comes out small by chance, Satterthwaite's degrees of freedom, into which estimates are put, are too many. The
factor and Welch's addition below were chosen by simulation, on the sorts of noise of tests/analysis/simulation.py.
"""


@dataclass(frozen=True)
class Scored:
    """Of whom a score is, and between which classes: what two scores must share to be compared as a pair.

    `side` is that of `subjects`, who are whatever their names are in one `corpus`: a dataset, and the seed of its
    generator. `classes` are those that the recipe lists, and `faces` counts what was scored of each that occurs. Early
    records have neither subjects nor classes nor counts, and are taken at their word.
    """

    side: Side
    corpus: tuple[str, ...]
    subjects: frozenset[str] = frozenset()
    classes: frozenset[str] = frozenset()
    faces: Mapping[str, int] = field(default_factory=dict)

    def is_of_the_people_of(self, other: Scored) -> bool:
        """Whether both are of the same people but for a few, whose faces one of them could not use, as far as known."""
        most = max(len(self.subjects), len(other.subjects))
        alike = len(self.subjects & other.subjects) >= (1 - FEW) * most
        known = bool(self.subjects and other.subjects)
        return (alike or not known) and (self.side, self.corpus) == (other.side, other.corpus)

    def is_between_the_classes_of(self, other: Scored) -> bool:
        """Whether both tell the same classes apart, listed and there, as far as that is known."""
        listed = not self.classes or not other.classes or self.classes == other.classes
        return listed and (not self.faces or not other.faces or self.faces.keys() == other.faces.keys())

    def is_of_as_many_faces_as(self, other: Scored) -> bool:
        """Whether both are of as many faces of each class but for a few, as far as that is known."""
        if not self.faces or not other.faces:
            return True
        unlike = sum(abs(self.faces.get(name, 0) - other.faces.get(name, 0)) for name in {*self.faces, *other.faces})
        return unlike <= FEW * max(sum(self.faces.values()), sum(other.faces.values()))


@dataclass(frozen=True)
class SeedScore:
    """A score under one seed, and what each test subject contributes to it.

    `people` has a value per test subject, whose mean is the score but for the bias of the jackknife; it is empty where
    predictions were not kept. `ratio` is that of test subjects to training subjects if each seed draws its own, else
    None. `scored` says of whom the score is; None where that is not known. `step` is what one prediction more or less
    makes of the score; 0 where that is not known.
    """

    score: float
    people: Mapping[str, float] = field(default_factory=dict)
    ratio: float | None = None
    scored: Scored | None = None
    step: float = 0.0


@dataclass(frozen=True)
class Estimate:
    """The mean of one number over seeds, and its uncertainty.

    `error` is the standard error of `mean`, with so many `degrees` of freedom. `seed_variance` is the variance of one
    seed's number, and `people_variance` what is left of the squared error however many seeds there are.
    `sampling_variance` is what the sampling of test subjects lets expect of the former at least; 0 if not known.
    """

    mean: float
    seeds: int
    seed_variance: float
    people_variance: float
    degrees: float
    sampling_variance: float = 0.0

    @property
    def is_narrow(self) -> bool:
        """Whether the seeds are so alike that the error is less than half of what their test subjects let expect."""
        return self.error**2 < (self.sampling_variance / self.seeds + self.people_variance) / 4

    @cached_property
    def error(self) -> float:
        return math.sqrt(self.seed_variance / self.seeds + self.people_variance)

    def interval(self, confidence: float = CONFIDENCE) -> tuple[float, float]:
        """The two-sided Student t interval of the mean."""
        half = -float(special.stdtrit(self.degrees, (1 - confidence) / 2)) * self.error
        return self.mean - half, self.mean + half

    def p_zero(self) -> float:
        """The two-sided p-value of a true mean of zero."""
        return float(2 * special.stdtr(self.degrees, -abs(self.mean) / self.error))

    def p_outside(self, margin: float) -> float:
        """The p-value of a true mean `margin` or more from zero, the larger of two one-sided ones (Schuirmann 1987)."""
        return float(special.stdtr(self.degrees, (abs(self.mean) - margin) / self.error))


def unpaired(scores: Sequence[Mapping[int, SeedScore]]) -> str:
    """Why several variants' scores (variant, then seed) are no pairs: `other people`, `other classes`, `other faces`.

    Of people who differ the faces do, which is not said besides. Empty where every seed that all have scores the same
    people, between the same classes, by as many faces, in all of them.
    """
    shared = set.intersection(*(set(one) for one in scores))
    pairs = [
        (first, other)
        for seed in shared
        for first, other in itertools.combinations([one[seed].scored for one in scores], 2)
        if first and other
    ]
    people = all(first.is_of_the_people_of(other) for first, other in pairs)
    classes = all(first.is_between_the_classes_of(other) for first, other in pairs)
    faces = all(first.is_of_as_many_faces_as(other) for first, other in pairs)
    return " and ".join(
        ["other people"] * (not people)
        + ["other classes"] * (not classes)
        + ["other faces"] * (people and classes and not faces)
    )


def contrast(scores: Sequence[Mapping[int, SeedScore]], weights: Sequence[float]) -> dict[int, SeedScore]:
    """The weighted sum of several variants' scores (variant, then seed), over the seeds and people that all have.

    It says nothing of variants that are `unpaired`.
    """
    shared = sorted(set.intersection(*(set(one) for one in scores)))
    return {seed: _weighted([one[seed] for one in scores], weights) for seed in shared}


def _weighted(scores: Sequence[SeedScore], weights: Sequence[float]) -> SeedScore:
    people = set.intersection(*(set(one.people) for one in scores))
    pairs = list(zip(scores, weights, strict=True))
    return SeedScore(
        sum(weight * one.score for one, weight in pairs),
        {name: sum(weight * one.people[name] for one, weight in pairs) for name in sorted(people)},
        scores[0].ratio if all(one.ratio is not None for one in scores) else None,
        scores[0].scored,
        max(abs(weight) * one.step for one, weight in pairs),
    )


def for_these_people(scores: Sequence[SeedScore]) -> Estimate | None:
    """The mean score under other seeds, for the same people; None where the seeds are fewer than two, or too alike.

    They are too alike where the error of their mean is below its `resolution`.
    """
    values = np.array([one.score for one in scores])
    if len(values) < 2 or _is_unresolved(values.var(ddof=1) / len(values), scores):
        return None
    seed_variance = float(values.var(ddof=1))
    return Estimate(float(values.mean()), len(values), seed_variance, 0.0, len(values) - 1)


def resolution(scores: Sequence[SeedScore]) -> float:
    """What one prediction more or less, in one of the seeds, makes of the mean over seeds.

    An error that is no larger has not been measured. Scores are counts of right predictions: where few predictions
    differ, seeds have the same count by chance now and then, their spread is nothing or next to it, and a t-test takes
    that for certainty.
    """
    return max(SAME, max(one.step for one in scores) / len(scores))


def _is_unresolved(variance: float, scores: Sequence[SeedScore]) -> bool:
    """Whether the squared error of the mean is no more than its resolution, but for rounding."""
    return variance <= (1 + 1e-9) * resolution(scores) ** 2


def for_other_people(scores: Sequence[SeedScore]) -> Estimate | None:
    """The mean score where both the seeds and the test subjects are others, drawn as these were.

    People and seeds are crossed random effects: a person who is a test subject of several seeds makes their scores
    alike, which the spread between seeds does not show. The covariance of two seeds' scores through the people they
    share is estimated by the products of those people's deviations, by moments, and added to the variance of the
    mean of independent seeds. Degrees of freedom are as Satterthwaite (1946) has them but for three things: the seeds'
    part is reckoned with `SEED_FACTOR`, and with what the sampling of people alone makes seeds differ if they differ by
    less; the covariance has two more, as Welch (1947) adds to each part, without taking two from the sum as he does;
    and they are never below those of the paired t-test.
    Without people, a hold-out drawn anew by every seed is corrected by its `ratio` (Nadeau and Bengio 2003). None
    where neither can be had, or the error is below the `resolution`.
    """
    if not all(one.people for one in scores):
        return _corrected(scores)
    values = np.array([one.score for one in scores])
    if len(values) < 2:
        return None
    if (shared := _shared(_table(scores))) is None:
        return _corrected(scores)
    seed_variance, degrees = float(values.var(ddof=1)), len(values) - 1
    variance = seed_variance / len(values) + shared.covariance
    if _is_unresolved(variance, scores):
        return None
    alone = max(shared.sampling_variance - shared.covariance, 0.0)
    expected, most = (max(factor * seed_variance, alone) / len(values) for factor in (1.0, SEED_FACTOR))
    spread = most**2 / degrees + shared.squared_per_degree
    effective = (expected + shared.covariance) ** 2 / spread if spread else math.inf
    return Estimate(
        float(values.mean()),
        len(values),
        seed_variance,
        shared.covariance,
        max(effective, degrees),
        alone,
    )


def _corrected(scores: Sequence[SeedScore]) -> Estimate | None:
    """The mean of hold-outs drawn anew by every seed, of whose people nothing is known (Nadeau and Bengio 2003)."""
    within, ratio = for_these_people(scores), scores[0].ratio
    if within is None or ratio is None:
        return None
    return replace(within, people_variance=within.seed_variance * ratio)


@dataclass(frozen=True)
class _Shared:
    """The covariance of two seeds' scores through the people that both have, and the variance of that estimate.

    `sampling_variance` is that of a seed's score through which people it happens to have.
    """

    covariance: float
    uncertainty: float
    sampling_variance: float

    @property
    def squared_per_degree(self) -> float:
        """The covariance squared, over its degrees of freedom and two."""
        square = self.covariance**2
        return self.uncertainty / 2 * square / (square + self.uncertainty) if square else 0.0


def _table(scores: Sequence[SeedScore]) -> NDArray[np.float64]:
    """The people's values, (J seeds, P people), nan where a person is no test subject of the seed."""
    names = sorted({name for one in scores for name in one.people})
    return np.array([[one.people.get(name, math.nan) for name in names] for one in scores])


def _shared(table: NDArray[np.float64]) -> _Shared | None:  # (J, P)
    """None where too few people are shared by seeds to tell what they have in common."""
    tested = ~np.isnan(table)
    counts = tested.sum(axis=1)  # (J,)
    centred = np.where(tested, table - np.nanmean(table, axis=1, keepdims=True), 0.0)
    pairs = ~np.eye(len(table), dtype=bool)
    both = (tested.astype(np.float64) @ tested.T)[pairs]
    one, other = (np.broadcast_to(side, pairs.shape)[pairs] for side in (counts[:, None], counts[None, :]))
    # Deviations from a seed's own mean vary less than the people do, and less together.
    expected = (both * (1 - 1 / one - 1 / other + both / (one * other))).sum()
    squares = centred**2
    within = float(squares.sum() / max((counts - 1).sum(), 1))
    sampling = within * float((1 / counts).mean())
    if expected < 1:
        return None if both.any() else _Shared(0.0, 0.0, sampling)
    products = float((centred.sum(axis=0) ** 2 - squares.sum(axis=0)).sum())
    # Less than so much is what rounding leaves of products that cancel out.
    person = float(products / expected) if products > SAME * squares.sum() else 0.0
    rest = max(within - person, 0.0)
    overlap = float((both / (one * other)).mean())
    # Of normal values: twice the trace of (A Sigma)^2, where A adds the products of a person's different seeds.
    times = tested.sum(axis=0)  # (P,)
    together = (times - 1) * person + rest
    variance = 2 * (together**2 * times**2 - 2 * together * rest * times + rest**2 * times).sum()
    return _Shared(overlap * person, float((overlap / expected) ** 2 * variance), sampling)
