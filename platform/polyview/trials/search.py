"""A search: whether its space can be tried, which points it has tried, and what Optuna is to know of them."""

from __future__ import annotations

import itertools
import json
import math
import random
import warnings
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polyview.errors import UserError
from polyview.recipe import Experiment, Language, Parameter, Pruning, Search, Study, same, with_overrides
from polyview.recipe.objective import Alignment, Objective
from polyview.recipe.unread import why_unread
from polyview.storage.home import replacing
from polyview.storage.mirror import address
from polyview.trials.design import POINT, Trial, studied_experiment, vary
from polyview.trials.ledger import InterimScores, Ledger, Record, pruned_trials
from polyview.trials.space import (
    Point,
    Space,
    choices,
    combinations,
    contains,
    draw,
    ends,
    is_active,
    is_discrete,
    suggest,
)

if TYPE_CHECKING:
    import optuna

COSTS = ("views", "parameters", "seconds")
MOST_CORNERS, MOST_RENDERINGS = 256, 1024
MOST_COUNTED = 512  # points of a small space, each of which takes some milliseconds to see if it makes an experiment


@dataclass(frozen=True)
class Points:
    """The points that a study's searches have suggested, in order, kept in a file: the ledger has their results.

    Each is kept with the sampler and the seed that suggested it, which earlier versions did not note: a search with
    another sampler or seed has points of its own.
    """

    path: Path

    def read(self, search: Search) -> list[Point]:
        """Those that the search's sampler has suggested under its seed, of its space, and no more than its trials."""
        own = _suggested_by(search).items()
        found = [entry for entry in self._entries() if all(entry.get(key, value) == value for key, value in own)]
        points: list[Point] = [entry["point"] for entry in found]
        return [point for point in points if contains(search.space, point)][: search.trials]

    def add(self, search: Search, points: Sequence[Point]) -> None:
        """Put the file in its place whole, with these points of the search after all that it has."""
        entries = [*self._entries(), *({**_suggested_by(search), "point": point} for point in points)]
        with replacing(self.path) as temporary:
            temporary.write_text(json.dumps(entries, indent=1))

    def _entries(self) -> list[dict[str, Any]]:
        """Every point, with what suggested it where that was noted."""
        try:
            entries = json.loads(self.path.read_text()) if self.path.exists() else []
            return [entry if "point" in entry else {"point": entry} for entry in entries]
        except (ValueError, TypeError):
            raise UserError(
                f"{address(self.path)}: damaged; delete it, and run the search again, which suggests its points anew"
            ) from None


def _suggested_by(search: Search) -> dict[str, Any]:
    return {"sampler": search.sampler, "seed": search.seed}


def make_trial(study: Study, point: Point, number: int) -> Trial:
    """The trial of one point, scored on validation subjects; `number` counts from 1.

    Raises `UserError` if the point makes no valid experiment.
    """
    search = study.search
    assert search is not None
    varied = vary(study, point, f"{study.name}: search at {point}")
    evaluation = varied.evaluation.model_copy(update={"validation": search.validation})
    scored = varied.model_copy(update={"seed": search.seed, "evaluation": evaluation})
    return Trial(f"{POINT} {number}", search.seed, scored)


def own_point(study: Study) -> Point | None:
    """The recipe's own values as a point; None where the space has them not."""
    assert study.search is not None
    point = recipe_point(study)
    return point if contains(study.search.space, point) else None


def recipe_point(study: Study) -> Point:
    """The recipe's own values of the keys whose conditions they fulfil, whether or not the space has them."""
    assert study.search is not None
    recipe, point = studied_experiment(study), dict[str, Any]()
    for key, parameter in study.search.space.items():
        if is_active(parameter, point):
            point[key] = _value_at(recipe, key)
    return point


def make_trials(study: Study, points: Sequence[Point]) -> list[Trial]:
    """The trials of the suggested points."""
    return [make_trial(study, point, number) for number, point in enumerate(points, 1)]


def check_search(study: Study) -> None:
    """Raises `UserError` that lists what is wrong with the ends and choices of a search's space."""
    assert study.search is not None
    space = study.search.space
    for key, parameter in space.items():
        if reason := _unfit(key):
            raise UserError(f"{study.name}: search over {key}, which {reason}; drop it")
        if _renders(key) and not is_discrete(parameter):
            raise UserError(
                f"{study.name}: search over {key} would need endless pictures; give integer or categorical values"
            )
        if parameter.categorical is None and _is_no_number(value := _value_at(study.experiment, key)):
            raise UserError(
                f"{study.name}: search over {key}, which is {value!r} and no number; give categorical values"
            )
    errors = [error for key, parameter in space.items() for error in _errors_of(study, key, parameter)]
    if not errors:
        errors = _errors_together(study) or _never_tried(study) or _unread(study)
    if errors:
        lines = dict.fromkeys(f"  {error}" for error in errors)
        raise UserError("\n".join([f"{study.name}: search.space cannot be tried", *lines]))


def wanted(study: Study) -> int:
    """How many points the search will have tried in the end: its trials, or all that the space has if fewer."""
    search = study.search
    if search is None:
        return 0
    if not all(map(is_discrete, search.space.values())):
        return search.trials
    limit = max(MOST_COUNTED, 2 * search.trials)
    points = list(itertools.islice(_every_point(search), limit + 1))
    if len(points) > limit:
        return search.trials
    valid = (point for point in points if not _errors(study, point))
    return sum(1 for _ in itertools.islice(valid, search.trials))


def untried(study: Study, known: Container[str]) -> Point | None:
    """A point whose trial is none of the known ones; None if there is none, or the space has no end of them."""
    assert study.search is not None
    if not all(map(is_discrete, study.search.space.values())):
        return None
    valid = (point for point in _every_point(study.search) if not _errors(study, point))
    return next((point for point in valid if make_trial(study, point, 0).id not in known), None)


def _every_point(search: Search) -> Iterator[Point]:
    """The points of a space that has only so many, whether they make an experiment or not."""
    return combinations(search.space, {key: choices(parameter) for key, parameter in search.space.items()})


def samples(study: Study) -> list[Trial]:
    """Trials that show beforehand whether a search's can run: the recipe's own, and one of each choice by itself."""
    if study.search is None:
        return []
    alone = [{key: choice} for key, parameter in study.search.space.items() for choice in parameter.categorical or ()]
    return [make_trial(study, point, 0) for point in [{}, *alone] if not _errors(study, point)]


def possible_renderings(study: Study) -> list[Experiment]:
    """Experiments that together look through every camera, at all faces, that the search can ask for."""
    if study.search is None:
        return []
    space = {key: parameter for key, parameter in study.search.space.items() if _renders(key)}
    # Whether the other parts of the recipe fit is another question: here they must only not be in the way.
    plain = study.experiment.model_copy(update={"objective": Objective(alignment=Alignment()), "language": Language()})
    found: list[Experiment] = []
    for values in itertools.islice(itertools.product(*map(choices, space.values())), MOST_RENDERINGS + 1):
        if len(found) == MOST_RENDERINGS:
            raise UserError(f"{study.name}: search can ask for more than {MOST_RENDERINGS} renderings; narrow it")
        try:
            found.append(with_overrides(plain, dict(zip(space, values, strict=True))))
        except UserError:
            continue
    return found


def objectives(study: Study) -> tuple[str, ...]:
    """What the search is after, the study's metric if it does not say."""
    assert study.search is not None
    return study.search.objectives or (study.metric,)


def values(study: Study, record: Record) -> list[float] | None:
    """The objectives' values of a record; None if it lacks one."""
    costs = {
        "views": float(record.experiment.rendering.views.count),
        "parameters": float(record.parameters),
        "seconds": record.seconds.get("train", 0.0),
    }
    known = record.scores | costs
    names = objectives(study)
    return [known[name] for name in names] if all(name in known for name in names) else None


def interim_scores_of(study: Study, trials: Sequence[Trial], ledger: Ledger) -> dict[str, InterimScores]:
    """The interim scores of a search's trials, by trial id; none if it does not prune by that metric and rule."""
    if study.search is None or study.search.prune is None:
        return {}
    found, rules = ledger.read_interim_scores(trial.id for trial in trials), (study.search.prune, None)
    return {name: one for name, one in found.items() if one.metric == objectives(study)[0] and one.pruning in rules}


def make_study(
    study: Study,
    points: Sequence[Point],
    records: Mapping[str, Record],
    interim_scores: Mapping[str, InterimScores] | None = None,
) -> optuna.Study:
    """An Optuna study in memory that knows the points which have ended, and goes on from there.

    `interim_scores`, by trial id, are those that its pruner compares others with.
    """
    import optuna
    from optuna.trial import TrialState

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)  # of the QMC sampler
    search = study.search
    assert search is not None
    made = optuna.create_study(
        directions=["minimize" if name in COSTS else "maximize" for name in objectives(study)],
        sampler=_sampler(search, len(points)),
        pruner=_pruner(search.prune),
    )
    interim_scores = interim_scores or {}
    pruned = pruned_trials(interim_scores)
    for point, trial in zip(points, make_trials(study, points), strict=True):
        found = values(study, records[trial.id]) if trial.id in records else None
        if found is None and trial.id not in pruned:
            continue
        # Suggested anew, so that the sampler keeps its books: generations, and its place in a sequence.
        made.enqueue_trial(point)
        suggestion = made.ask()
        _ = suggestion.relative_params  # the sampler draws its own values only when they are read
        suggest(search.space, suggestion)
        for epoch, score in interim_scores[trial.id].scores.items() if trial.id in interim_scores else ():
            suggestion.report(score, epoch)
            suggestion.should_prune()  # successive halving remembers the scores for which it decides
        made.tell(suggestion, found, state=TrialState.PRUNED if found is None else None)
    return made


def _value_at(experiment: Experiment, key: str) -> Any:
    """The recipe's own value; None also where there is no such key, which `_errors_of` reports."""
    value: Any = experiment.model_dump(mode="json")
    for name in key.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _is_no_number(value: Any) -> bool:
    return isinstance(value, str | bool | list)


def _errors_of(study: Study, key: str, parameter: Parameter) -> list[str]:
    """What is wrong with a key, or with its values by themselves."""
    tried = list(ends(parameter))
    if not is_discrete(parameter):
        tried.append(tried[0] + (tried[1] - tried[0]) / math.pi)  # a key of whole numbers may take the ends alone
    found = []
    for value in tried:
        for line in _errors(study, {key: value}):
            path = line.partition(":")[0]
            if path == key or (key.startswith(f"{path}.") and "is not allowed" in line):
                found.append(line)
    return found


def _errors_together(study: Study) -> list[str]:
    """What is wrong with the first combination of ends and choices if none of them makes an experiment."""
    assert study.search is not None
    space, first = study.search.space, list[str]()
    for corner in itertools.islice(_corners(space), MOST_CORNERS):
        errors = _errors(study, corner)
        if not errors:
            return []
        first = first or errors
    return first


def _corners(space: Space) -> Iterator[Point]:
    """The combinations of the keys' ends and choices, and of the values between that others have in their `when`."""
    tried = {key: list(ends(parameter)) for key, parameter in space.items()}
    for key, values in itertools.chain.from_iterable(parameter.conditions.items() for parameter in space.values()):
        tried[key] += [value for value in values if not any(same(value, other) for other in tried[key])]
    return combinations(space, tried)


def _never_tried(study: Study) -> list[str]:
    """Which values make no experiment with any of the others: a search would pass over them, and nobody be told."""
    assert study.search is not None
    space = study.search.space
    asked = [(key, value) for key, parameter in space.items() if is_discrete(parameter) for value in ends(parameter)]
    reasons = [(key, value, _why_never_tried(study, key, value)) for key, value in asked]
    return [
        f"{key}: {value!r} makes no experiment, whatever the other keys are: {reason}; or leave this value out"
        for key, value, reason in reasons
        if reason
    ]


def _why_never_tried(study: Study, key: str, value: Any) -> str:
    """What is wrong with a value where no point that has it makes an experiment; empty where one does.

    That is said of the recipe with this value alone, if that is no experiment either: at a point much may be wrong.
    """
    assert study.search is not None
    points = _points_with(study.search.space, key, value)
    at_points = list(itertools.takewhile(bool, (_errors(study, point) for point in points)))
    if not points or len(at_points) < len(points):
        return ""
    return (_errors(study, {key: value}) or at_points[0])[0]


def _points_with(space: Space, key: str, value: Any) -> list[Point]:
    """The points that have this value, of numbers that are not whole the ends alone; drawn where they are many."""
    tried = {name: choices(parameter) or list(ends(parameter)) for name, parameter in space.items()} | {key: [value]}
    points = list(itertools.islice(combinations(space, tried), MOST_CORNERS + 1))
    if len(points) > MOST_CORNERS:
        # In order they would share the first keys' values, and all fail by one of these.
        chances = random.Random(0)
        points = [draw(space, tried, chances) for _ in range(MOST_CORNERS)]
    return [point for point in points if key in point]


def _unread(study: Study) -> list[str]:
    """Which keys nothing reads at any point: all values of such a one would train the same model."""
    assert study.search is not None
    reasons = {key: _why_unread(study, key, study.search.space) for key in study.search.space}
    return [f"{key}: nothing reads it, as {reason}; drop it" for key, reason in reasons.items() if reason]


def _why_unread(study: Study, key: str, space: Space) -> str:
    """Why nothing reads a key by itself, or at a corner of the space; empty where something does, or may."""
    reason = ""
    for tried, point in enumerate(itertools.chain([{key: ends(space[key])[0]}], _corners(space))):
        if tried > MOST_CORNERS:
            return ""
        if key not in point or _errors(study, point):
            continue
        reason = why_unread(with_overrides(study.experiment, study.files.settled(point)), key)
        if not reason:
            return ""
    return reason


def _errors(study: Study, point: Point) -> list[str]:
    try:
        with_overrides(study.experiment, study.files.settled(point))
    except UserError as error:
        return [line.strip() for line in str(error).splitlines()[1:]]
    return []


def _sampler(search: Search, suggested: int) -> optuna.samplers.BaseSampler:
    """A sampler that does not repeat itself where the search was interrupted after `suggested` points."""
    from optuna import samplers

    seed = search.seed + suggested
    match search.sampler:
        case "random":
            return samplers.RandomSampler(seed=seed)
        case "qmc":  # one sequence, in which it keeps its place
            return samplers.QMCSampler(seed=search.seed, scramble=True, warn_independent_sampling=False)
        case "cmaes":
            return samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False)
        case "nsga2":
            return samplers.NSGAIISampler(seed=seed, population_size=min(50, max(4, search.trials // 5)))
    return samplers.TPESampler(seed=seed, constant_liar=True)


def _pruner(prune: Pruning | None) -> optuna.pruners.BasePruner:
    from optuna import pruners

    if prune is None:
        return pruners.NopPruner()
    if prune.rule == "asha":
        return pruners.SuccessiveHalvingPruner(min_resource=prune.every)
    return pruners.MedianPruner()


def _unfit(key: str) -> str | None:
    """Why a search must leave this key alone."""
    if key in ("name", "seed", "corpus.max_rejected", "training.ingest", "training.sharding"):
        return "makes no other experiment"
    if key.startswith("corpus.") and key.split(".")[1] not in ("frames", "every", "geometry"):
        return "changes whose faces are trained and tested on"
    if key.split(".")[0] == "evaluation":
        return "changes what a score means"
    return "changes how many trials fit at once" if key == "training.workers" else None


def _renders(key: str) -> bool:
    """Whether other pictures are needed where this key changes."""
    return key.split(".")[0] in ("rendering", "corpus")
