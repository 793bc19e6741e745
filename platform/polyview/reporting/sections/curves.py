"""How a score goes with a number: that which the study goes across, or that of the views."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np

from polyview.analysis.comparisons import scores
from polyview.analysis.findings import Finding, as_measured
from polyview.analysis.inference import SeedScore, contrast, unpaired
from polyview.analysis.outcome import Outcome, finished
from polyview.analysis.statistics import interval, signed
from polyview.corpus.splits import count_labelled
from polyview.recipe import Experiment, digest
from polyview.reporting.figures.curves import draw_across, draw_view_counts
from polyview.reporting.rows import NONE
from polyview.reporting.sections.section import Section
from polyview.trials.design import cells, crossed_name, methods, short_names


def across(outcome: Outcome) -> list[Section]:
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


def view_counts(outcome: Outcome) -> list[Section]:
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
