"""What a report says beside the comparison, each part where the study has it: sentences, a table, a figure."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from polyview.analysis.audit import audit
from polyview.analysis.comparisons import comparisons, scores
from polyview.analysis.effects import Effect, effects
from polyview.analysis.findings import Finding, against_baseline, as_measured
from polyview.analysis.inference import SeedScore, contrast, unpaired
from polyview.analysis.outcome import Outcome, confusions_of, finished, scored_people
from polyview.analysis.searches import best, importance, pareto
from polyview.analysis.statistics import interval, relation, signed
from polyview.corpus.splits import count_labelled
from polyview.recipe import Experiment, digest, flat
from polyview.reporting.figures.curves import draw_across, draw_view_counts
from polyview.reporting.figures.intervals import draw_effects
from polyview.reporting.figures.maps import UNASKED, draw_parallel
from polyview.reporting.figures.style import Drawing
from polyview.reporting.rows import NONE, comparison_cells, comparison_heads
from polyview.trials.design import (
    BEST,
    cells,
    crossed_name,
    fraction_cells,
    methods,
    point_name,
    short_names,
    studied_experiment,
)
from polyview.trials.ledger import pruned_trials
from polyview.trials.search import COSTS, objectives, own_point, values, wanted

READING = (
    "An effect is the mean with a factor's second value less that with its first, over all else; of two factors, half "
    "of what one adds to the other's effect. Each is taken in every seed and test subject by itself; intervals are for "
    "other people under other seeds, each for itself, and p is after Holm over all effects."
)


@dataclass(frozen=True)
class Section:
    """A part of a report. `rows` begin with their heads; `log` is shown as it is.

    `caption` says what the figure shows, and `basis` of how many, if that is not of all seeds and test subjects.
    """

    title: str
    key: str
    sentences: Sequence[Finding] = ()
    rows: Sequence[Sequence[str]] = ()
    figure: Drawing | None = None
    caption: str = ""
    basis: str = ""
    log: str = ""


def sections(outcome: Outcome) -> list[Section]:
    """The parts that this study needs."""
    study = outcome.study
    found = []
    for title, levels, chosen in (
        ("Full factorial", study.grid, cells(study.grid)),
        ("Fractional factorial", study.fraction, fraction_cells(study.fraction)),
    ):
        if levels:
            found.append(_factorial(outcome, title, levels, chosen))
    if study.search:
        found.append(_search(outcome))
    found += [_further_metric(outcome, metric) for metric in study.metrics]
    if audited := audit(outcome):
        found.append(Section("Whether anything leaks", "audit", audited))
    return [*found, *_across(outcome), *_view_counts(outcome), *_classes(outcome), *_failures(outcome)]


def _further_metric(outcome: Outcome, metric: str) -> Section:
    """The comparisons in a metric that the study compares in beside its own."""
    variants, _ = comparisons(outcome, metric)
    sentences = [
        against_baseline(outcome, one, metric) for one in variants if one.difference is not None or one.unpaired
    ]
    rows = [comparison_heads(outcome, metric), *(comparison_cells(one, outcome) for one in variants)]
    return Section(f"In {metric}", f"metric-{metric.replace('/', '-')}", sentences, rows)


def _factorial(
    outcome: Outcome, title: str, levels: Mapping[str, Sequence[Any]], chosen: Mapping[str, Mapping[str, Any]]
) -> Section:
    metric, by_variant, names = outcome.study.metric, scores(outcome, outcome.study.metric), short_names(list(levels))
    factors = {names[key]: [str(value) for value in values] for key, values in levels.items()}
    # A combination that is the baseline's own is not run beside it.
    scored = {name: by_variant.get(name, by_variant.get(outcome.study.baseline, {})) for name in chosen}
    found = effects(factors, {tuple(map(str, cell.values())): scored[name] for name, cell in chosen.items()})
    key = title.lower().replace(" ", "-")
    if not found:
        return Section(title, key, [as_measured(_without_effects(list(scored.values()), metric))])
    heads = ["effect", f"points of {metric}", "95 % interval", "p", "Holm", "cannot be told from"]
    sentences = [Finding(_effect_sentence(effect, metric, factors), True) for effect in found if effect.significant]
    untested = sum(effect.p is None for effect in found)
    if insignificant := sum(not effect.significant for effect in found) - untested:
        sentences.append(Finding(f"{insignificant} of {len(found)} effects are not significant.", False))
    if untested:
        text = f"{untested} of {len(found)} effects have no test, for want of seeds or of any spread of them."
        sentences.append(as_measured(text))
    sentences.append(as_measured(READING))
    return Section(
        title,
        key,
        sentences,
        [heads, *map(_effect_row, found)],
        partial(draw_effects, found, metric),
        "Main effects and interactions of pairs with 95 % interval; hollow where nothing can be claimed",
    )


def _without_effects(scored: Sequence[Mapping[int, SeedScore]], metric: str) -> str:
    """Why combinations with these scores have no effects."""
    if reason := unpaired(scored):
        return f"Its combinations are scored on {reason} than one another, so that no effect of a factor can be told."
    waiting = sum(not by_seed for by_seed in scored)
    return f"{waiting} of {len(scored)} combinations have no {metric} yet: no effect can be estimated."


def _effect_row(effect: Effect) -> list[str]:
    span = NONE if effect.low is None or effect.high is None else f"{signed(effect.low)} to {signed(effect.high)}"
    tests = [NONE if p is None else relation(p).lstrip("= ") for p in (effect.p, effect.p_holm)]
    return [effect.name, signed(effect.size), span, *tests, ", ".join(effect.aliases) or NONE]


def _effect_sentence(effect: Effect, metric: str, factors: Mapping[str, Sequence[Any]]) -> str:
    assert effect.low is not None
    assert effect.high is not None
    assert effect.p_holm is not None
    step = ""
    if "×" not in effect.name:
        factor = effect.name.partition("=")[0]
        step = f" ({factors[factor][0]} to {effect.name.partition('=')[2] or factors[factor][1]})"
    alias = f", or {', '.join(effect.aliases)}, which this fraction cannot tell apart" if effect.aliases else ""
    return (
        f"{effect.name}{step}{alias}: {signed(effect.size)} points of {metric}, 95 % interval "
        f"{signed(effect.low)} to {signed(effect.high)}, p {relation(effect.p_holm)} after Holm."
    )


def _across(outcome: Outcome) -> list[Section]:
    """Each method's score by the one number that the study goes across; of labels, by the people they are read of."""
    study, metric = outcome.study, outcome.study.metric
    values = next(iter(study.across.values()), ())
    if len(study.across) != 1 or not all(type(value) in (int, float) for value in values):
        return []
    ((key, _),), by_variant = study.across.items(), scores(outcome, metric)
    people = max((len(record.train_subjects) for _, record in finished(outcome)), default=0)
    of_labels = key == "language.labelled" and people > 0
    places = [count_labelled(people, value) if of_labels else value for value in values]
    curves = {
        method: {
            place: found
            for place, point in zip(places, cells(study.across), strict=True)
            if (found := by_variant.get(crossed_name(method, point)))
        }
        for method in methods(study)
    }
    axis = f"people whose labels are read, of {people}" if of_labels else short_names([key])[key]
    rows = [[axis, *curves]]
    for place in sorted(set(places)):
        at_place = [[one.score for one in curve.get(place, {}).values()] for curve in curves.values()]
        rows.append([f"{place:g}", *(f"{100 * np.mean(one):.1f}" if one else NONE for one in at_place)])
    drawn = {method: curve for method, curve in curves.items() if curve}
    if not drawn:
        return []
    return [
        Section(
            "With how many labels" if of_labels else f"Across {axis}",
            "label-efficiency" if of_labels else "across",
            [
                as_measured(f"Mean percent {metric} of each method, by {axis}."),
                *_from_end_to_end(drawn, metric),
            ],
            rows,
            partial(draw_across, drawn, study.baseline, axis, metric, of_labels),
            "Mean and 95 % interval of each method",
        )
    ]


def _from_end_to_end(curves: Mapping[str, Mapping[float, Mapping[int, SeedScore]]], metric: str) -> list[Finding]:
    """What each method gains from the first place on the axis to the last, on the same seeds and people."""
    found = []
    for method, curve in curves.items():
        first, last = min(curve), max(curve)
        gains = [*contrast([curve[last], curve[first]], [1, -1]).values()]
        if reason := unpaired([curve[last], curve[first]]):
            text = f"“{method}” is scored on {reason} at {last:g} than at {first:g}: what it gains cannot be told."
            found.append(as_measured(text))
        elif first < last and gains and (span := interval(gains)):
            gain = signed(float(np.mean([one.score for one in gains])))
            low, high = map(signed, span)
            text = f"“{method}” from {first:g} to {last:g}: {gain} points of {metric} (95 % interval {low} to {high}, "
            found.append(as_measured(f"{text}for itself; no test)."))
    return found


def _view_counts(outcome: Outcome) -> list[Section]:
    """The score by the number of views, where three variants or more differ from the baseline in nothing else."""
    metric, by_variant = outcome.study.metric, scores(outcome, outcome.study.metric)
    baseline = {_but_for_views(trial.experiment) for trial in outcome.trials if trial.variant == outcome.study.baseline}
    named: dict[int, str] = {}
    for trial, _ in finished(outcome):
        if by_variant[trial.variant] and _but_for_views(trial.experiment) in baseline:
            named.setdefault(trial.experiment.rendering.views.count, trial.variant)
    if len(named) < 3:
        return []
    curve = {count: by_variant[named[count]] for count in sorted(named)}
    rows = [["views", "variant", f"{metric}, %", "training, seconds, as it ran"]]
    for count, by_seed in curve.items():
        seconds = [record.seconds.get("train", 0.0) for _, record in finished(outcome, named[count])]
        mean = 100 * float(np.mean([one.score for one in by_seed.values()]))
        rows.append([str(count), named[count], f"{mean:.1f}", f"{np.mean(seconds):.1f}"])
    text = ", ".join(f"{row[2]} with {row[0]}" for row in rows[1:])
    shown = [trial.experiment for trial, _ in finished(outcome) if trial.variant in named.values()]
    augmented = {bool(experiment.objective.augmented_terms) for experiment in shown}
    but = ", but that with one view the second of each pair is an altered copy" if len(augmented) > 1 else ""
    return [
        Section(
            "How many views",
            "view-counts",
            [as_measured(f"Percent {metric} by the number of views, all else equal{but}: {text}.")],
            rows,
            partial(draw_view_counts, curve, metric),
            f"Mean and 95 % interval by the number of views{but}; small dots are single seeds",
        )
    ]


def _but_for_views(experiment: Experiment) -> str:
    """What two trials share that differ in seed, fold and number of views alone.

    One view makes no pairs, so whether a second is made of it goes with the number.
    """
    content = experiment.model_dump(mode="json", exclude={"name": True, "seed": True, "evaluation": {"fold"}})
    del content["rendering"]["views"]["count"]
    (content["objective"]["decorrelation"] or {}).pop("augment", None)
    return digest(content)


def _classes(outcome: Outcome) -> list[Section]:
    """How many of each class are recognised, by variant."""
    probe = outcome.study.metric.partition("/")[0]
    recalls: dict[str, dict[str, float]] = {}
    for variant in scores(outcome, outcome.study.metric):
        classes, counted = confusions_of(outcome, variant)
        if probe in counted:
            recalls[variant] = dict(zip(classes, _recalls(counted[probe]), strict=True))
    baseline = np.array([*recalls.get(outcome.study.baseline, {}).values()])
    if np.isnan(baseline).all():
        return []
    every = list(dict.fromkeys(name for shares in recalls.values() for name in shares))
    rows = [["variant", *every]]
    for variant, shares in recalls.items():
        rows.append([variant, *(f"{100 * shares[name]:.1f}" if shares.get(name, -1) >= 0 else NONE for name in every)])
    least, most = np.nanmin(baseline), np.nanmax(baseline)
    hardest, easiest = (_listed([*recalls[outcome.study.baseline]], baseline == level) for level in (least, most))
    text = (
        f"Percent of each class that {probe} recognises (recall), seeds summed: on these {scored_people(outcome)} "
        f"“{outcome.study.baseline}” knows {easiest} best ({100 * most:.1f}) and {hardest} least ({100 * least:.1f})."
    )
    return [Section("Class by class", "classes", [as_measured(text)], rows)]


def _recalls(counts: NDArray[np.int64]) -> list[float]:
    """Of each class the share that is recognised, nan where nobody shows it; counts: (K, K), rows true."""
    true = counts.sum(axis=1)
    return np.divide(counts.diagonal(), true, out=np.full(len(true), np.nan), where=true > 0).tolist()


def _listed(names: Sequence[str], chosen: NDArray[np.bool_]) -> str:
    *some, last = itertools.compress(names, chosen)
    return f"{', '.join(some)} and {last}" if some else last


def _search(outcome: Outcome) -> Section:
    study, points, records = outcome.study, outcome.searched.points, outcome.records
    assert study.search is not None
    found = best(study, points, records)
    done = sum(trial.id in records for trial in outcome.searched.trials)
    sentences = [as_measured(f"{done} of {wanted(study)} points of the search ({study.search.sampler}) have a result.")]
    if study.search.prune:
        rule, pruned = study.search.prune.rule, pruned_trials(outcome.searched.interim_scores)
        text = f"{len(pruned)} were pruned ({rule}), and so are in none of the figures."
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
        f"{len(_valued(outcome))} points, each under one seed",
    )


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
    """What the recipe has at the keys of the search, null where it lacks the part, and on the validation subjects."""
    study, own = outcome.study, own_point(outcome.study)
    assert study.search is not None
    leaves = dict(flat(studied_experiment(study).model_dump(mode="json")))
    named = point_name(_rounded({key: yaml.safe_load(leaves.get(key, "null")) for key in study.search.space}))
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


def _failures(outcome: Outcome) -> list[Section]:
    """Each trial that failed, with the end of its log."""
    trials = {trial.id: trial for trial in (*outcome.trials, *outcome.searched.trials)}
    sentences = [
        as_measured(f"{trials[trial_id].name} failed {failure.tries}: {failure.reason}")
        for trial_id, failure in outcome.failures.items()
    ]
    logs = [
        "\n".join([f"{trials[trial_id].name} ({trial_id}), {failure.log}", *failure.last_lines])
        for trial_id, failure in outcome.failures.items()
    ]
    return [Section("What failed", "failures", sentences, log="\n\n".join(logs))] if sentences else []
