"""What a search has found: its best point or its front, and which keys mattered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from polyview.analysis.findings import as_measured
from polyview.analysis.outcome import Outcome
from polyview.analysis.searches import best, importance, pareto
from polyview.recipe import Study
from polyview.reporting.figures.maps import UNASKED, draw_parallel
from polyview.reporting.figures.style import Drawing
from polyview.reporting.sections.section import Section
from polyview.trials.design import BEST, point_name, short_names
from polyview.trials.ledger import pruned_trials
from polyview.trials.search import COSTS, objectives, own_point, recipe_point, values, wanted
from polyview.wording import agreeing, counted


def search(outcome: Outcome) -> Section:
    """How far the search is, its best points, and what is known of its keys."""
    study, points, records = outcome.study, outcome.searched.points, outcome.records
    assert study.search is not None
    found = best(study, points, records)
    done = sum(trial.id in records for trial in outcome.searched.trials)
    sentences = [as_measured(_how_far(done, study))]
    if study.search.prune:
        # One that was pruned once may have been trained to its end since, as without pruning.
        pruned = pruned_trials(outcome.searched.interim_scores) - records.keys()
        were, are = agreeing(len(pruned), "was", "were"), agreeing(len(pruned), "is", "are")
        text = f"{len(pruned)} {were} pruned ({study.search.prune.rule}), and so {are} in none of the figures."
        sentences.append(as_measured(text))
    if found is None:
        return Section("Search", "search", sentences)
    point, record = found
    level = f"{100 * record.scores[study.metric]:.1f} % {study.metric}"
    sentences.append(
        as_measured(
            f"The best of them, {point_name(_rounded(point))}, has {level} on {len(record.validation_subjects)} "
            "validation subjects, whom no point was trained on. That is the highest of many and so flatters it: "
            + " ".join([_of_the_best(outcome), _of_the_recipe(outcome)]),
        )
    )
    shares = importance(study, points, records)
    if shares:
        shown = short_names(list(shares))
        text = ", ".join(f"{shown[key]} {100 * share:.0f} %" for key, share in shares.items())
        sentences.append(as_measured(f"Of the variance of {objectives(study)[0]} over the space (fANOVA): {text}."))
        if len(shares) < len(study.search.space):
            sentences.append(as_measured("Keys that not every point has are not weighed there."))
    return Section(
        "Search",
        "search",
        sentences,
        _front_rows(outcome) if len(objectives(study)) > 1 else _top_rows(outcome),
        _parallel(outcome),
        f"Every point with a result, a line each; the darker, the higher {objectives(study)[0]}",
        f"{counted(len(_valued(outcome)), 'point')}, each under one seed",
    )


def _how_far(done: int, study: Study) -> str:
    assert study.search is not None
    points, have = counted(wanted(study), "point"), agreeing(done, "has", "have")
    return f"{done} of {points} of the search ({study.search.sampler}) {have} a result."


def _of_the_best(outcome: Outcome) -> str:
    """Where the best point is scored on test subjects: in a row of its own, in the baseline's, or not yet."""
    again = {trial.id for trial in outcome.trials if trial.variant == BEST}
    baseline = {trial.id for trial in outcome.trials if trial.variant == outcome.study.baseline}
    if not again:
        return f"once the search is over, a row “{BEST}” is scored on the test subjects, whom it never sees."
    if again == baseline:
        return (
            f"the row “{BEST}” is scored on the test subjects, and is that of “{outcome.study.baseline}” itself, as "
            "the search found nothing better."
        )
    return f"the row “{BEST}” is scored on the test subjects, whom the search never saw, under the study's seeds."


def _of_the_recipe(outcome: Outcome) -> str:
    """What the recipe has at the keys that it has, null where it lacks the part, and on the validation subjects."""
    study, own = outcome.study, own_point(outcome.study)
    named = point_name(_rounded(recipe_point(study)))
    pairs = zip(outcome.searched.points, outcome.searched.trials, strict=True)
    records = [outcome.records[trial.id] for point, trial in pairs if point == own and trial.id in outcome.records]
    score = next((record.scores[study.metric] for record in records if study.metric in record.scores), None)
    if score is None:
        return f"The recipe itself has {named}, and no score on the validation subjects."
    return f"The recipe itself has {named}, and {100 * score:.1f} % {study.metric} on them."


def _front_rows(outcome: Outcome) -> list[list[str]]:
    study = outcome.study
    front = pareto(study, outcome.searched.points, outcome.records)
    rows = [[point_name(_rounded(point)), *_objective_cells(outcome, found)] for point, found in front]
    return [["Pareto front: beaten by none in all", *objectives(study)], *rows]


def _top_rows(outcome: Outcome, most: int = 10) -> list[list[str]]:
    study = outcome.study
    sign = 1 if objectives(study)[0] in COSTS else -1
    order = sorted(_valued(outcome), key=lambda one: sign * one[2][0])[:most]
    rows = [[name, point_name(_rounded(point)), *_objective_cells(outcome, found)] for name, point, found in order]
    return [["trial", "point", *objectives(study)], *rows]


def _objective_cells(outcome: Outcome, found: Sequence[float]) -> list[str]:
    names = objectives(outcome.study)
    return [f"{value:g}" if name in COSTS else f"{100 * value:.1f}" for name, value in zip(names, found, strict=True)]


def _valued(outcome: Outcome) -> list[tuple[str, Mapping[str, Any], list[float]]]:
    """The points with a result: trial's name, point, objectives."""
    pairs = zip(outcome.searched.trials, outcome.searched.points, strict=True)
    found = [
        (trial.variant, point, values(outcome.study, outcome.records[trial.id]))
        for trial, point in pairs
        if trial.id in outcome.records
    ]
    return [(name, point, value) for name, point, value in found if value is not None]


def _parallel(outcome: Outcome) -> Drawing | None:
    study, valued = outcome.study, _valued(outcome)
    assert study.search is not None
    if len(valued) < 2:
        return None
    names = short_names(list(study.search.space))
    columns = {names[key]: [point.get(key, UNASKED) for _, point, _ in valued] for key in study.search.space}
    for index, name in enumerate(objectives(study)):
        columns[name] = [value[index] * (1 if name in COSTS else 100) for *_, value in valued]
    logarithmic = {names[key] for key, parameter in study.search.space.items() if parameter.log_uniform}
    return partial(draw_parallel, columns, logarithmic, objectives(study)[0])


def _rounded(point: Mapping[str, Any]) -> dict[str, Any]:
    return {key: float(f"{value:.3g}") if isinstance(value, float) else value for key, value in point.items()}
