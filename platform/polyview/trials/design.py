"""Which trials a study asks for: every variant, once per seed and fold."""

from __future__ import annotations

import difflib
import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from polyview.errors import UserError
from polyview.recipe import Experiment, Study, with_overrides
from polyview.recipe.prompts import with_prompts_read
from polyview.recipe.unread import why_unread
from polyview.rendering.renderer import backend_of
from polyview.trials.factorial import fractional_factorial

MANY = 500  # trials: more than this are asked for by accident
NEAR = 0.8  # as difflib has it: names that are more alike than this are one, misspelt
UNTRAINED = "untrained"
RAW_PIXELS = "raw pixels"
BEST = "best found"
"""The best point of a search, run again on the study's own seeds."""
PIXELS = "pixels"  # stands in for a tower where the probes read the pixels themselves
POINT = "search"
"""What the rows of a search's points are called, each with its number."""
_OF_SEARCH = re.compile(rf"{BEST}|{POINT} \d+")
NOTHING_TRAINED: Mapping[str, Any] = {"training.epochs": 0, "training.steps": None}
REFERENCES: Mapping[str, Mapping[str, Any]] = {
    UNTRAINED: NOTHING_TRAINED,
    RAW_PIXELS: {**NOTHING_TRAINED, "model.tower": PIXELS},
}


@dataclass(frozen=True)
class Trial:
    """One variant under one seed, with one fold of the subjects as test subjects."""

    variant: str
    seed: int
    experiment: Experiment

    @property
    def id(self) -> str:
        """The same recipe and seed have the same id in every study, so a trial is never run twice."""
        return self.experiment.digest

    @property
    def name(self) -> str:
        return f"{self.variant} · {self.repeat}"

    @property
    def place(self) -> tuple[str, int, int]:
        """Which of a study's trials it is, whatever its recipe has become: variant, seed and fold."""
        return self.variant, self.seed, self.experiment.evaluation.fold

    @property
    def repeat(self) -> str:
        """Which of the variant's trials it is: its seed, and its fold where there are several."""
        evaluation = self.experiment.evaluation
        return f"seed {self.seed}" + (f" · fold {evaluation.fold}" if evaluation.repeats > 1 else "")


def variants(study: Study) -> dict[str, dict[str, Any]]:
    """The overrides of each variant, by name: those of `methods`, at each point of `across` if the study has any."""
    points = cells(study.across) or {"": {}}
    return {
        crossed_name(name, point): {**overrides, **cell}
        for point, cell in points.items()
        for name, overrides in methods(study).items()
    }


def crossed_name(variant: str, point: str) -> str:
    """What a variant is called at a point of `across`."""
    return f"{variant}, {point}" if point else variant


def baselines(study: Study) -> dict[str, str]:
    """The baseline that each variant is compared with, by name: that at the same point of `across`."""
    points = cells(study.across) or [""]
    return {
        crossed_name(name, point): crossed_name(study.baseline, point) for point in points for name in methods(study)
    }


def methods(study: Study) -> dict[str, dict[str, Any]]:
    """The overrides of what is compared, by name; the baseline comes first, and overrides nothing unless it is listed.

    Raises `UserError` if two variants have one name, or the baseline looks like a variant misspelt.
    """
    own = study.variants.get(study.baseline, {})
    references = {name: {**own, **overrides} for name, overrides in REFERENCES.items()} if study.references else {}
    families: list[Mapping[str, Mapping[str, Any]]] = [
        {name: dict.fromkeys([keys] if isinstance(keys, str) else keys) for name, keys in study.remove.items()},
        study.variants,
        cells(study.grid),
        fraction_cells(study.fraction),
        references,
    ]
    named: dict[str, dict[str, Any]] = {study.baseline: {}}
    for family in families:
        if taken := sorted((named.keys() - {study.baseline}) & family.keys()):
            raise UserError(f"{study.name}: two variants are named {taken[0]!r}; rename one, or set references: false")
        named |= {name: dict(overrides) for name, overrides in family.items()}
    if not named[study.baseline] and (close := _nearly(study.baseline, named)):
        raise UserError(f"{study.name}: baseline {study.baseline!r} is no variant; the nearest is {close!r}")
    return named


def cells(grid: Mapping[str, Sequence[Any]]) -> dict[str, dict[str, Any]]:
    """Every combination of a grid's values, by name."""
    crossed = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())] if grid else []
    return {point_name(cell): cell for cell in crossed}


def fraction_cells(levels: Mapping[str, tuple[Any, Any]]) -> dict[str, dict[str, Any]]:
    """The combinations of two-level factors that a fractional factorial of resolution IV tries, by name."""
    runs = fractional_factorial(len(levels)).tolist() if levels else []
    chosen = [{key: pair[sign > 0] for (key, pair), sign in zip(levels.items(), signs, strict=True)} for signs in runs]
    return {point_name(cell): cell for cell in chosen}


def point_name(point: Mapping[str, Any]) -> str:
    """Keys and values as a variant's name, as in `count=3, fusion=mean`."""
    keys = short_names(list(point))
    return ", ".join(f"{keys[key]}={_written(value)}" for key, value in point.items())


def _written(value: Any) -> str:
    """A value as a recipe would have it on one line."""
    nested = isinstance(value, dict | list)
    return yaml.safe_dump(value, default_flow_style=True, width=math.inf).strip() if nested else str(value)


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """Each dotted key's shortest ending that no other of them has."""
    names = {}
    for key in keys:
        parts = key.split(".")
        endings = [".".join(parts[-length:]) for length in range(1, len(parts) + 1)]
        others = [f".{other}" for other in keys if other != key]
        names[key] = next((end for end in endings if not any(other.endswith(f".{end}") for other in others)), key)
    return names


def size(study: Study) -> int:
    """How many trials a study asks for, its search's and the re-run of the best included; nothing is checked."""
    designed = len(study.remove) + len(study.variants) + len(study.fraction and fraction_cells(study.fraction))
    designed += math.prod(map(len, study.grid.values())) if study.grid else 0
    designed += 1 + len(REFERENCES) * study.references + (study.search is not None)
    designed *= math.prod(map(len, study.across.values()))
    repeats = len(study.all_seeds) * study.experiment.evaluation.repeats
    return designed * repeats + (study.search.trials if study.search else 0)


def studied_experiment(study: Study) -> Experiment:
    """The experiment that a study varies; if it searches, all seeds have the same test subjects.

    Otherwise the test subjects of one seed would be among those by whom another's point was chosen.
    """
    experiment, evaluation = study.experiment, study.experiment.evaluation
    if study.search is None or evaluation.protocol != "holdout" or evaluation.split_seed is not None:
        return experiment
    fixed = evaluation.model_copy(update={"split_seed": study.all_seeds[0]})
    return experiment.model_copy(update={"evaluation": fixed})


def vary(study: Study, overrides: Mapping[str, Any], place: str = "overrides") -> Experiment:
    """The experiment that a study varies with overrides, whose files are those that were there as it was read.

    Raises `UserError` that lists every error, with `place` said first.
    """
    return with_overrides(studied_experiment(study), study.files.settled(overrides), place)


def plan(study: Study) -> list[Trial]:
    """All trials of a study, variant by variant; a point of a factorial that is the baseline is not run beside it.

    Raises `UserError` that lists every variant whose overrides do not make a valid experiment, or make that of
    another variant.
    """
    trials: list[Trial] = []
    owners: dict[str, str] = {}
    errors = _idle_factors(study)
    if errors:
        raise UserError("\n".join(errors))
    points = cells(study.grid) | fraction_cells(study.fraction)
    for name, overrides in variants(study).items():
        try:
            varied = vary(study, overrides, f"{study.name}: variant {name!r}")
        except UserError as error:
            errors.append(str(error))
            continue
        own = repeated(name, varied, study.all_seeds)
        owner = owners.setdefault(own[0].id, name)
        if owner == name:
            trials += own
        elif not (owner == study.baseline and name in points):
            remedy = (
                f"{name!r} is a reference row, so change {owner!r} or set references: false"
                if study.references and name in REFERENCES
                else "drop one of them"
            )
            errors.append(f"{study.name}: variants {owner!r} and {name!r} are the same experiment; {remedy}")
    if errors:
        raise UserError("\n".join(errors))
    return trials


def check_keys_are_read(study: Study, keys: Sequence[str] = ()) -> None:
    """Raises `UserError` where a key that variants change, or one of `keys`, which were set, is read by no trial."""
    experiments = {trial.variant: trial.experiment for trial in plan(study)}
    varied: dict[str, list[str]] = {}
    for name, overrides in variants(study).items():
        for key in overrides if name in experiments else ():
            varied.setdefault(key, []).append(why_unread(experiments[name], key))
    if idle := [f"{key} is varied, and nothing reads it, as {found[0]}" for key, found in varied.items() if all(found)]:
        raise UserError("\n".join(f"{study.name}: {one}; drop it" for one in idle))
    if study.search is not None:  # of whose points some may read what is set
        return
    for key in keys:
        reasons = [why_unread(experiment, key.removeprefix("experiment.")) for experiment in experiments.values()]
        if all(reasons):
            raise UserError(f"{key} is set, and nothing reads it, as {reasons[0]}; leave it out")


def check_variants_are_meant(study: Study) -> None:
    """Raises `UserError` where a name is that of a row of polyview's own, or of another variant but for its letters.

    So it does where variants differ in nothing read. It is asked of a study that is to run: what has run under such
    names is reported as it was.
    """
    _check_names(study)
    _check_baseline(study)
    _check_what_is_read_differs({trial.variant: trial.experiment for trial in plan(study)}, study.name)


def _check_names(study: Study) -> None:
    """Rows are told apart by their names alone, and reports say what the references are by theirs."""
    named = methods(study)
    if study.search is not None and (taken := [name for name in named if _OF_SEARCH.fullmatch(name)]):
        raise UserError(
            f"{study.name}: variant {taken[0]!r} has the name of a row that the search makes; give it another name"
        )
    if study.baseline in REFERENCES:
        raise UserError(
            f"{study.name}: baseline {study.baseline!r} is the name of a reference row, which is compared with the "
            "baseline; list it in variants under another name, make that the baseline, and set references: false"
        )
    for name, reference in REFERENCES.items():
        overrides = named.get(name)
        if overrides is not None and vary(study, overrides) != vary(study, {**overrides, **reference}):
            raise UserError(
                f"{study.name}: variant {name!r} has the name of a reference row and is another experiment; give it "
                "another name"
            )


def _check_baseline(study: Study) -> None:
    named = methods(study)
    others = {name.casefold(): name for name in named if name != study.baseline}
    close = difflib.get_close_matches(study.baseline.casefold(), others, 1, cutoff=NEAR)
    if close and not named[study.baseline]:
        meant = others[close[0]]
        raise UserError(
            f"{study.name}: baseline {study.baseline!r} is no variant, and would be the experiment as it stands beside "
            f"{meant!r}; did you mean baseline: {meant}? If not, give one of them another name"
        )


def _check_what_is_read_differs(experiments: Mapping[str, Experiment], place: str) -> None:
    owners: dict[str, str] = {}
    for name, experiment in experiments.items():
        drawn = experiment.rendering
        rendering = drawn.model_copy(update={"outputs": (), "backend": backend_of(drawn)})
        read = with_prompts_read(experiment).model_copy(update={"rendering": rendering})
        owner = owners.setdefault(read.digest, name)
        if owner != name and experiments[owner].rendering.outputs != drawn.outputs:
            raise UserError(
                f"{place}: variants {owner!r} and {name!r} differ in rendering.outputs alone, which no training and no "
                "probe reads; drop one of them"
            )
        if owner != name and experiments[owner].rendering != drawn:
            raise UserError(
                f"{place}: variants {owner!r} and {name!r} differ in rendering.backend alone, and auto is "
                f"{backend_of(drawn)}, so that their pictures are the same; drop one of them"
            )
        if owner != name:
            raise UserError(
                f"{place}: variants {owner!r} and {name!r} differ in prompts alone that are not read, as "
                f"language.ensemble is {experiment.language.ensemble}; raise it, or drop one of them"
            )


def _idle_factors(study: Study) -> list[str]:
    """What is wrong with keys of a grid or a fraction whose values all make one and the same experiment."""
    found = []
    for name, factors in (("grid", study.grid), ("fraction", study.fraction)):
        for key, values in factors.items():
            try:
                made = {repeated(key, vary(study, {key: value}), (0,))[0].id for value in values}
            except UserError:  # a value that needs another key's beside it makes another experiment with it
                continue
            if len(values) > 1 and len(made) == 1:
                found.append(f"{study.name}: {name} over {key} makes no other experiment; drop it")
    return found


def repeated(variant: str, experiment: Experiment, seeds: Sequence[int]) -> list[Trial]:
    """A variant's trials: every seed with every fold of its protocol, folds innermost."""
    evaluation = experiment.evaluation
    return [
        Trial(variant, seed, experiment.model_copy(update={"seed": seed, "evaluation": folded}))
        for seed in seeds
        for folded in (evaluation.model_copy(update={"fold": fold}) for fold in range(evaluation.repeats))
    ]


def _nearly(name: str, others: Mapping[str, Any]) -> str | None:
    """The other name that this one looks like a slip of."""
    return next(iter(difflib.get_close_matches(name, others.keys() - {name}, 1, cutoff=NEAR)), None)
