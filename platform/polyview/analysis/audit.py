"""Whether labels or test subjects leak: what must be at chance is, and what must not change does not."""

from __future__ import annotations

from statistics import fmean

from polyview.analysis.comparisons import scores
from polyview.analysis.findings import Finding, as_measured
from polyview.analysis.inference import for_other_people
from polyview.analysis.outcome import Outcome, confusions_of, finished, scored_people, shared_faces
from polyview.evaluation.metrics import guessing
from polyview.recipe import Experiment
from polyview.wording import counted


def audit(outcome: Outcome) -> list[Finding]:
    """What the variants with exchanged labels show, and whether any test subject's face was trained on."""
    experiments = {trial.variant: trial.experiment for trial in outcome.trials}
    found = []
    for variant, experiment in experiments.items():
        if experiment.language.shuffled == "all":
            found += [_at_chance(outcome, variant), _text_of_before(outcome, variant, experiment)]
        elif experiment.language.shuffled == "pretraining":
            found.append(_unchanged(outcome, variant, experiment))
    return [*(one for one in found if one), _no_shared_faces(outcome)] if found else []


def _at_chance(outcome: Outcome, variant: str) -> Finding | None:
    metric = outcome.study.metric
    probe, _, measure = metric.partition("/")
    estimate = for_other_people(list(scores(outcome, metric)[variant].values()))
    if estimate is None:
        return None
    chance, (low, high) = guessing(confusions_of(outcome, variant)[1][probe])[measure], estimate.interval()
    level = f"{100 * estimate.mean:.1f} % {metric}, 95 % interval {100 * low:.1f} to {100 * high:.1f}; "
    level += f"naming the most frequent class always gives {100 * chance:.1f}"
    if low <= chance:
        return Finding(
            f"“{variant}” is not told from chance, to which exchanged labels must bring it: {level}. What the interval "
            "reaches is not excluded.",
            False,
        )
    return Finding(f"“{variant}” is above chance from exchanged labels, so true ones leak: {level}.", True)


def _text_of_before(outcome: Outcome, variant: str, experiment: Experiment) -> Finding | None:
    """Why a variant whose labels were exchanged may know expressions by zero-shot."""
    metric = "zero_shot/accuracy"
    found = [one.score for one in scores(outcome, metric)[variant].values()]
    if not found or not experiment.model.start or metric == outcome.study.metric:
        return None
    return as_measured(
        f"“{variant}” has {100 * fmean(found):.1f} % {metric}, which need not be chance: its towers come with text, "
        "and training on exchanged labels undoes that in part."
    )


def _unchanged(outcome: Outcome, variant: str, experiment: Experiment) -> Finding | None:
    """Pretraining that reads no label must come to the same scores, to the last bit, whatever the labels are."""
    if experiment.supervision == "label":
        return as_measured(f"“{variant}” may read labels in pretraining, so exchanging them says nothing.")
    true = {
        _with_true_labels(trial.experiment): record
        for trial, record in finished(outcome)
        if trial.experiment.language.shuffled == "none"
    }
    pairs = [
        (record, true[same])
        for trial, record in finished(outcome, variant)
        if (same := _with_true_labels(trial.experiment)) in true
    ]
    if not pairs:
        return None
    trials = counted(len(pairs), "trial")
    changed = sum(one.scores != other.scores for one, other in pairs)
    if changed:
        text = f"“{variant}” changes in {changed} of {trials} where labels are exchanged: they leak."
    else:
        text = f"“{variant}” is unchanged in all {trials} by exchanged labels: pretraining reads none."
    return as_measured(text)


def _with_true_labels(experiment: Experiment) -> str:
    return experiment.model_dump_json(exclude={"language": {"shuffled"}, "name": True})


def _no_shared_faces(outcome: Outcome) -> Finding:
    people = scored_people(outcome)
    if shared := shared_faces(outcome):
        return as_measured(f"Faces of {people} were trained on under another name: {', '.join(shared[:5])}.")
    return as_measured(f"No picture of a {people.removesuffix('s')} is, bit for bit, among those that were trained on.")
