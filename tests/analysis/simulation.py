"""Studies whose truth is known: how often does the analysis claim what is not, and how often does an interval cover?

    python tests/analysis/simulation.py --studies 10000

prints a table, a row per kind of study, then one with the worst of each design, and writes the first as JSON with `-o`.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from polyview.analysis.effects import effects
from polyview.analysis.inference import SeedScore, for_other_people, for_these_people
from polyview.analysis.sequential import looks
from polyview.analysis.statistics import Comparison, compare

SHARE, SAMPLES, FOLDS = 0.3, 7, 5
VARIANTS = ("full", "a", "b", "c", "d")


@dataclass(frozen=True)
class Noise:
    """Standard deviations of what makes two variants differ: in a person, in a seed, and in a person under one seed."""

    person: float
    seed: float
    rest: float


# As measured, three extremes, and two between them.
NOISES = {
    "as measured": Noise(0.06, 0.02, 0.2),
    "seeds alone": Noise(0.0, 0.05, 0.0),
    "rest alone": Noise(0.0, 0.0, 0.2),
    "people alone": Noise(0.1, 0.0, 0.02),
    "people and rest": Noise(0.1, 0.0, 0.1),
    "all": Noise(0.1, 0.02, 0.1),
}


def test_subjects(design: str, seeds: int, people: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Who is a test subject of which seed, (J, P): a hold-out drawn by each, the same one for all, or folds."""
    tested = np.ones((seeds, people), dtype=bool)
    if design == "holdout":
        count = round(SHARE * people)
        tested[:] = np.argsort(np.argsort(rng.random((seeds, people)), axis=1), axis=1) < count
    return tested


def values(
    design: str, tested: NDArray[np.bool_], noise: Noise, truth: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """What a variant has in each seed and person, (J, P), nan where untested; of folds, each trains a model."""
    seeds, people = tested.shape
    table = truth + noise.person * rng.standard_normal(people) + noise.rest * rng.standard_normal(tested.shape)
    if design == "folds":
        places = np.argsort(rng.random(tested.shape), axis=1) % FOLDS
        models = math.sqrt(FOLDS) * noise.seed * rng.standard_normal((seeds, FOLDS))
        table += np.take_along_axis(models, places, axis=1)
    else:
        table += noise.seed * rng.standard_normal((seeds, 1))
    return np.where(tested, table, np.nan)


def seed_scores(table: NDArray[np.float64], ratio: float | None = None) -> dict[int, SeedScore]:
    """A score per seed with its people's values."""
    return {
        seed: SeedScore(
            float(np.nanmean(row)), {str(person): float(one) for person, one in enumerate(row) if one == one}, ratio
        )
        for seed, row in enumerate(table)
    }


def study(
    design: str, seeds: int, people: int, noise: Noise, truths: Sequence[float], rng: np.random.Generator
) -> dict[str, dict[int, SeedScore]]:
    """Variants by name; the first is the baseline, and truths are of the others, as differences to it."""
    tested = test_subjects(design, seeds, people, rng)
    half = Noise(*(one / math.sqrt(2) for one in asdict(noise).values()))  # of a difference, a half is each variant's
    tables = [values(design, tested, half, truth, rng) for truth in (0.0, *truths)]
    return {name: seed_scores(table) for name, table in zip(VARIANTS, tables, strict=False)}


@dataclass(frozen=True)
class Rates:
    """Of so many studies of a kind, the percent that claimed what is not, and of intervals that covered the truth."""

    group: str
    kind: str
    studies: int
    false_claims: float
    covered: float
    paired_t: float | None = None

    def row(self) -> str:
        plain = "" if self.paired_t is None else f"{self.paired_t:.1f}"
        return f"| {self.group}, {self.kind} | {self.false_claims:.1f} | {self.covered:.1f} | {plain} |"


def comparisons(design: str, seeds: int, people: int, noise: str, studies: int) -> Rates:
    """Studies of four variants that do not differ from the baseline, for other people."""
    rng = np.random.default_rng([seeds, people, len(noise)])
    claims, plain, covered, intervals = 0, 0, 0, 0
    for _ in range(studies):
        scores = study(design, seeds, people, NOISES[noise], [0.0] * 4, rng)
        found = compare(scores, "full")[1:]
        claims += any(one.significant for one in found)
        own = [one.seeds_low > 0 or one.seeds_high < 0 for one in found if one.seeds_low is not None]  # type: ignore[operator]
        plain += own[0]
        spans = [(one.low, one.high) for one in found if one.low is not None and one.high is not None]
        covered += sum(low <= 0 <= high for low, high in spans)
        intervals += len(spans)
    group, kind = f"{design}, {seeds} seeds", f"{people} people, {noise}"
    return Rates(group, kind, studies, 100 * claims / studies, 100 * covered / intervals, 100 * plain / studies)


def factorials(seeds: int, people: int, studies: int) -> Rates:
    """2 x 2 x 2 designs whose factors do nothing in the mean, and something in each seed and each person."""
    rng = np.random.default_rng([seeds, people])
    factors = {"a": (0, 1), "b": (0, 1), "c": (0, 1)}
    cells = list(itertools.product((0, 1), repeat=3))
    claims, covered, intervals = 0, 0, 0
    for _ in range(studies):
        tested = test_subjects("holdout", seeds, people, rng)
        by_factor = [values("holdout", tested, Noise(0.03, 0.04, 0.02), 0.0, rng) for _ in factors]
        scores = {
            cell: seed_scores(
                sum((one * (2 * level - 1) / 2 for one, level in zip(by_factor, cell, strict=True)), np.zeros(()))
                + 0.02 * rng.standard_normal((seeds, 1))
                + 0.1 * rng.standard_normal(tested.shape)
            )
            for cell in cells
        }
        found = effects(factors, scores)
        claims += any(effect.significant for effect in found)
        covered += sum(
            effect.low <= 0 <= effect.high for effect in found if effect.low is not None and effect.high is not None
        )
        intervals += len(found)
    return Rates(
        f"factorial 2³, {seeds} seeds", f"{people} people", studies, 100 * claims / studies, 100 * covered / intervals
    )


def until_decided(most: int, people: int, truth: float, studies: int, margin: float | None = None) -> Rates:
    """Studies that add seeds until each of four variants is decided; the last two differ by `truth`."""
    rng = np.random.default_rng([most, people, round(1000 * truth)])
    planned, truths = looks(3, most), [0.0, 0.0, truth, truth]
    wrong, covered, intervals = 0, 0, 0
    for _ in range(studies):
        scores = study("holdout", most, people, NOISES["as measured"], truths, rng)
        found = run_until_decided(scores, planned, margin)
        wrong += any(_is_wrong(one, true, margin) for one, true in zip(found, truths, strict=True))
        spans = [(one.low, one.high, t) for one, t in zip(found, truths, strict=True) if one.low is not None]
        covered += sum(low <= true <= high for low, high, true in spans)  # type: ignore[operator]
        intervals += len(spans)
    group = f"until decided, at most {most} seeds" + (f", margin {100 * margin:g}" if margin else "")
    return Rates(
        group,
        f"{people} people, two variants differ by {100 * truth:g} points",
        studies,
        100 * wrong / studies,
        100 * covered / intervals,
    )


def run_until_decided(
    scores: dict[str, dict[int, SeedScore]], planned: Sequence[int], margin: float | None = None
) -> list[Comparison]:
    """What a study says that runs each variant until it is decided, as the driver does."""
    stopped: dict[str, int] = {}
    for count in planned:
        there = {
            name: {seed: one for seed, one in by_seed.items() if seed < stopped.get(name, count)}
            for name, by_seed in scores.items()
        }
        found = compare(there, "full", margin=margin, looked_at=planned)[1:]
        for one in found:
            if one.verdict != "open":
                stopped.setdefault(one.variant, count)
    return found


def _is_wrong(one: Comparison, truth: float, margin: float | None) -> bool:
    if one.verdict == "same":
        return margin is None or abs(truth) >= margin
    return one.significant and (truth == 0 or (one.difference or 0) * truth < 0)


def near_nothing(design: str, seeds: int, people: int, discordant: float, studies: int, gained: float = 0.5) -> Rates:
    """Studies of four variants whose predictions are the baseline's but for so many of each seed's, at random.

    `gained` is the share of these that are right instead of wrong: with a half of them, nothing differs in truth.
    """
    rng = np.random.default_rng([seeds, people, round(100 * discordant)])
    wrong, covered, intervals = 0, 0, 0
    for _ in range(studies):
        tested = test_subjects(design, seeds, people, rng)
        rate = discordant / (SAMPLES * tested.sum(axis=1).mean())
        truth = (2 * gained - 1) * rate
        scores = {"full": discrete_scores(tested, np.zeros(tested.shape))}
        for name in VARIANTS[1:]:
            right = rng.binomial(SAMPLES, gained * rate, tested.shape)
            scores[name] = discrete_scores(tested, right - rng.binomial(SAMPLES, (1 - gained) * rate, tested.shape))
        found = compare(scores, "full")[1:]
        wrong += any(_is_wrong(one, truth, None) for one in found)
        spans = [(one.low, one.high) for one in found if one.low is not None and one.high is not None]
        covered += sum(low <= truth <= high for low, high in spans)
        intervals += len(spans)
    group = f"{design}, {seeds} seeds"
    kind = f"{people} people, {discordant:g} other predictions a seed, {gained:.0%} of them gained"
    return Rates(group, kind, studies, 100 * wrong / studies, 100 * covered / max(intervals, 1))


def discrete_scores(tested: NDArray[np.bool_], right: NDArray[np.int64]) -> dict[int, SeedScore]:
    """Scores of so many right predictions of SAMPLES by each person in each seed, (J, P); others are untested."""
    scores = seed_scores(np.where(tested, right / SAMPLES, np.nan))
    return {seed: replace(one, step=1 / (SAMPLES * len(one.people))) for seed, one in scores.items()}


def power(seeds: int, people: int, studies: int) -> tuple[float, float]:
    """How often a true difference is found for other people, and by a paired t-test, where people do not matter."""
    rng = np.random.default_rng([seeds, people])
    noise, tests = Noise(0.0, 0.05, 0.05), ([], [])  # type: tuple[list[bool], list[bool]]
    truth = 0.05 * float(stats.t.ppf(0.95, seeds - 1)) * 1.4 / math.sqrt(seeds)
    for _ in range(studies):
        tested = test_subjects("holdout", seeds, people, rng)
        scores = list(seed_scores(values("holdout", tested, noise, truth, rng)).values())
        for found, said in zip((for_other_people(scores), for_these_people(scores)), tests, strict=True):
            said.append(found is not None and found.p_zero() <= 0.05)
    return float(np.mean(tests[0])), float(np.mean(tests[1]))


def worst(found: Sequence[Rates]) -> list[str]:
    """Of each design the mean and largest rate of false claims, and the range of the coverage, as rows of a table."""
    groups: dict[str, list[Rates]] = {}
    for rates in found:
        groups.setdefault(rates.group, []).append(rates)
    rows = ["| studies | false claims, % | most | intervals that cover, % |", "|---|---:|---:|---:|"]
    for group, own in groups.items():
        claims, covered = [one.false_claims for one in own], [one.covered for one in own]
        rows.append(
            f"| {group} | {np.mean(claims):.1f} | {max(claims):.1f} | {min(covered):.1f} to {max(covered):.1f} |"
        )
    return rows


SEEDS, PEOPLE = (3, 5, 10, 20), (20, 50, 100)


def table(studies: int) -> Iterable[Rates]:
    """Every kind of study."""
    jobs: list[Callable[[], Rates]] = []
    for design, seeds, people, noise in itertools.product(("holdout", "fixed", "folds"), SEEDS, PEOPLE, NOISES):
        jobs.append(lambda d=design, s=seeds, p=people, n=noise: comparisons(d, s, p, n, studies))  # type: ignore[misc]
    jobs += [lambda s=seeds, p=people: factorials(s, p, studies) for seeds in SEEDS for people in PEOPLE]  # type: ignore[misc]
    for most, people, truth, margin in itertools.product((10, 20), PEOPLE, (0.0, 0.05), (None, 0.05)):
        jobs.append(lambda m=most, p=people, t=truth, g=margin: until_decided(m, p, t, studies, g))  # type: ignore[misc]
    return (job() for job in jobs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=1000)
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    found: list[Rates] = []
    print("| studies | false claims, % | intervals that cover, % | one paired t-test, % |\n|---|---:|---:|---:|")
    for rates in table(arguments.studies):
        found.append(rates)
        print(rates.row(), flush=True)
    print(*worst(found), sep="\n")
    if arguments.output:
        arguments.output.write_text(json.dumps([asdict(rates) for rates in found], indent=1))


if __name__ == "__main__":
    main()
