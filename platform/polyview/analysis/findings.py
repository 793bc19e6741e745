"""What a study found, in words and numbers: the part of a report that does not depend on its format."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyview.analysis.statistics import Comparison, compare, sentence, signed, smallest_p
from polyview.analysis.supervision import describe_supervision
from polyview.evaluation import metrics
from polyview.recipe import Study
from polyview.recipe.objective import Objective
from polyview.trials.design import RAW_PIXELS, REFERENCES, UNTRAINED, Trial, baselines
from polyview.trials.ledger import InterimScores, Record, TrialFailure

LARGEST_CONVINCING_P = 0.05
LEAST_SHARE = 0.02
"""A term with less of the gradient than this has hardly taken part in training."""
TERMS = tuple(Objective.model_fields)


@dataclass(frozen=True)
class Searched:
    """The points that a study's search has tried, the trial of each, and their interim scores."""

    points: Sequence[dict[str, Any]] = ()
    trials: Sequence[Trial] = ()
    interim_scores: Mapping[str, InterimScores] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """A study and all that is known of it.

    `trials` are those that it asks for, `records` the finished ones by trial id, `stages` the wall seconds of each
    stage, `sheet` a PNG with some of the views, `folder` the study's own, `failures` how trials failed by trial id,
    `searched` its search's trials, which are in none of the others' comparisons, `embeddings` the table that the
    baseline's first trial left of the test subjects, `links` where each trial is found in MLflow's user interface.
    """

    study: Study
    trials: list[Trial]
    records: dict[str, Record]
    stages: dict[str, float]
    sheet: Path | None
    tracking_uri: str
    folder: Path
    failures: Mapping[str, TrialFailure] = field(default_factory=dict)
    searched: Searched = Searched()
    embeddings: Path | None = None
    links: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Finding:
    """One sentence, and whether it stands: a measured level, or a significant difference."""

    text: str
    settled: bool


def finished(outcome: Outcome, variant: str | None = None) -> list[tuple[Trial, Record]]:
    """The trials that have a record, of one variant or of all."""
    return [
        (trial, outcome.records[trial.id])
        for trial in outcome.trials
        if trial.id in outcome.records and variant in (None, trial.variant)
    ]


def absent(outcome: Outcome) -> list[str]:
    """The trials without a record (not run yet, or failed), a line per variant."""
    missing: dict[str, list[str]] = {}
    for trial in outcome.trials:
        if trial.id not in outcome.records:
            missing.setdefault(trial.variant, []).append(trial.repeat)
    return [f"{variant}: {', '.join(repeats)}" for variant, repeats in missing.items()]


def scores(outcome: Outcome, metric: str) -> dict[str, dict[int, float]]:
    """Variant -> seed -> score, references last; a variant without scores has an empty entry.

    A seed whose protocol has folds is scored once all are done, on the sum of their confusion matrices: each person
    counts once, and a fold of one person needs no F1 of its own. Folds are not paired one by one, as they share the
    people that are trained on, and intervals of such pairs would be too narrow (Bengio and Grandvalet 2004).
    """
    names = sorted(dict.fromkeys(trial.variant for trial in outcome.trials), key=lambda name: name in REFERENCES)
    found: dict[str, dict[int, float]] = {name: {} for name in names}
    seeds: dict[tuple[str, int], list[Record]] = {}
    for trial, record in finished(outcome):
        if metric in record.scores:
            seeds.setdefault((trial.variant, trial.seed), []).append(record)
    for (variant, seed), records in seeds.items():
        if len(records) == records[0].experiment.evaluation.repeats:
            found[variant][seed] = _pooled(records, metric)
    return found


def _pooled(folds: Sequence[Record], metric: str) -> float:
    if len(folds) == 1:
        return folds[0].scores[metric]
    probe, _, kind = metric.partition("/")
    return metrics.scores(np.sum([fold.confusions[probe] for fold in folds], axis=0))[kind]


def comparisons(outcome: Outcome, metric: str) -> tuple[list[Comparison], list[Comparison]]:
    """The variants, baseline included, and the references; each a family of its own, against the baseline."""
    study, baseline = outcome.study, outcome.study.baseline
    found = scores(outcome, metric)
    variants = {name: by_seed for name, by_seed in found.items() if name not in REFERENCES}
    references = {name: by_seed for name, by_seed in found.items() if name in REFERENCES or name == baseline}
    against_references = [one for one in compare(references, baseline) if one.variant != baseline]
    return compare(variants, baseline, baselines(study) if study.across else {}), against_references


def other_metrics(outcome: Outcome) -> list[str]:
    """Every metric that some trial has, but for the study's own."""
    names = dict.fromkeys(name for _, record in finished(outcome) for name in record.scores)
    return [name for name in names if name != outcome.study.metric]


def verdicts(outcome: Outcome) -> list[Finding]:
    """What the study says: the baseline's level, the baseline against the references, each variant against it."""
    study, against = outcome.study, baselines(outcome.study)
    variants, references = comparisons(outcome, study.metric)
    own = [one for one in variants if against.get(one.variant) == one.variant]
    if not any(one.seeds for one in own):
        return [
            Finding(f"“{study.baseline}”, the baseline, has no {study.metric} yet: nothing can be compared.", False)
        ]
    beside = [_against_reference(one, study) for one in references if one.difference is not None]
    said = {one.variant: _level(outcome, one) for one in own if one.seeds}
    for one in variants:
        baseline = against.get(one.variant, study.baseline)
        if one.variant != baseline and baseline in said:
            said[one.variant] = Finding(sentence(one, study.metric, baseline), one.significant)
    ordered = [said[one.variant] for one in variants if one.variant in said]
    return [ordered[0], *beside, *ordered[1:]]


def learned_from(outcome: Outcome) -> list[str]:
    """What the towers were allowed to see: the faces, the source of the text, and who the test subjects were."""
    study = outcome.study
    corpus, views = study.experiment.corpus, study.experiment.rendering.views
    prints = sorted({record.manifest for _, record in finished(outcome) if record.manifest})
    faces = f"Faces: {corpus.dataset}, {len(corpus.expressions)} expressions, {views.count} views of "
    faces += f"{study.experiment.rendering.size} pixels" + (f"; manifest {', '.join(prints)}." if prints else ".")
    return [faces, _supervision(outcome), *_people(outcome)]


def notes(outcome: Outcome) -> list[str]:
    """How to read the numbers, and what they cannot say."""
    variants, references = comparisons(outcome, outcome.study.metric)
    pairs = max((one.pairs for one in [*variants, *references]), default=0)
    if not finished(outcome):
        return []
    if pairs < 2:
        return ["One seed has no spread: neither an interval nor a test is possible. Add seeds to the study."]
    tested = sum(one.p is not None for one in variants)
    holm = f", after Holm over the {tested} variants compared" if tested else ""
    reading = [
        "± is the standard deviation over seeds. Differences are to the baseline, paired by seed, in points; their "
        "95 % intervals are Student's t, each for itself and not widened for the number of variants. A difference is "
        f"claimed where the p of its paired t-test is at most 0.05{holm}.",
        "d is the effect size, the mean difference over its standard deviation (d_z); p is the exact two-sided "
        "sign-flip permutation test, which takes nothing to be normal; “Holm” adjusts it for the variants compared.",
    ]
    if smallest_p(pairs) > LARGEST_CONVINCING_P:
        reading[1] += (
            f" With {pairs} seeds p cannot fall below {smallest_p(pairs):.2g} whatever the data, "
            "so the t-test is the evidence here; it takes the differences to be about normal."
        )
    reading.append(
        "A seed changes the test subjects, the weights and the batches. Every seed draws on the same people, so "
        "the intervals speak of another seed on these faces, not of other faces."
    )
    if len(trained := _precisions(outcome)) > 1:
        counts = ", ".join(f"{count} in {precision}" for precision, count in sorted(trained.items()))
        reading.append(
            f"The trials were not all trained in one precision ({counts}): differences between them may come from "
            "that. Set training.precision to compare like with like."
        )
    reading += [
        f"In {outcome.study.baseline} {term} had {share:.1%} of the gradient at most: leaving it out says nothing of "
        f"what it could earn. Raise objective.{term}.weight."
        for term, share in idle_terms(outcome).items()
    ]
    return reading


def _precisions(outcome: Outcome) -> Counter[str]:
    """How many finished trials were trained in each precision."""
    return Counter(record.precision for _, record in finished(outcome) if record.precision)


def loss_curves(outcome: Outcome) -> dict[str, dict[str, list[dict[int, float]]]]:
    """Term -> variant -> one curve (epoch -> value) per seed, for the loss and each term of the objective."""
    return _curves(outcome, ["loss", *TERMS])


def share_curves(outcome: Outcome) -> dict[str, dict[str, list[dict[int, float]]]]:
    """The same of each term's share of the gradient, `share/…`, and of its cosine with the others', `cosine/…`."""
    return _curves(outcome, [f"{kind}/{term}" for term in TERMS for kind in ("share", "cosine")])


def idle_terms(outcome: Outcome) -> dict[str, float]:
    """The terms that a variant leaves out though they had hardly any gradient in the baseline: the largest share."""
    return {
        term: share
        for term in _removed_terms(outcome.study)
        if (share := _largest_share(outcome, term)) is not None and share < LEAST_SHARE
    }


def _removed_terms(study: Study) -> list[str]:
    keys = [key for removed in study.remove.values() for key in ([removed] if isinstance(removed, str) else removed)]
    return [term for term in TERMS if f"objective.{term}" in keys]


def _largest_share(outcome: Outcome, term: str) -> float | None:
    """The mean over the baseline's seeds of the largest share that a term had in any epoch; None if not recorded."""
    shares = [
        max(epoch.metrics.get(f"share/{term}", -1.0) for epoch in record.history)
        for _, record in finished(outcome, outcome.study.baseline)
        if record.history
    ]
    recorded = [share for share in shares if share >= 0]
    return float(np.mean(recorded)) if recorded else None


def _curves(outcome: Outcome, metrics: Sequence[str]) -> dict[str, dict[str, list[dict[int, float]]]]:
    found: dict[str, dict[str, list[dict[int, float]]]] = {}
    for term in metrics:
        for trial, record in finished(outcome):
            curve = {epoch.epoch: epoch.metrics[term] for epoch in record.history if term in epoch.metrics}
            if curve:
                found.setdefault(term, {}).setdefault(trial.variant, []).append(curve)
    return found


def confusions_of(outcome: Outcome, variant: str) -> tuple[Sequence[str], dict[str, NDArray[np.int64]]]:
    """The classes, and each probe's confusion counts of a variant summed over its seeds."""
    found = [record for _, record in finished(outcome, variant)]
    probes = dict.fromkeys(probe for record in found for probe in record.confusions)
    summed = {
        probe: np.sum([record.confusions[probe] for record in found if probe in record.confusions], axis=0)
        for probe in probes
    }
    return (found[0].classes if found else ()), summed


def cost(outcome: Outcome) -> tuple[float, float]:
    """The trial-hours and GPU-hours that the finished trials took, those of the search included."""
    records = outcome.records.values()
    seconds = {record.id: sum(record.seconds.values()) for record in records}
    workers = {record.id: record.experiment.training.workers for record in records}
    gpu_seconds = sum(seconds[trial_id] * workers[trial_id] for trial_id in seconds) * outcome.study.resources.gpus
    return sum(seconds.values()) / 3600, gpu_seconds / 3600


def environment(outcome: Outcome) -> dict[str, str]:
    """What the trials ran with; values that differ between trials are all listed."""
    values: dict[str, dict[str, None]] = {}
    for _, record in finished(outcome):
        precision = {"precision": record.precision} if record.precision else {}
        for name, value in (record.environment | precision).items():
            values.setdefault(name, {})[value] = None
    return {name: "; ".join(found) for name, found in values.items()}


def _level(outcome: Outcome, baseline: Comparison) -> Finding:
    metric, name = outcome.study.metric, baseline.variant
    spread = f" ± {100 * baseline.deviation:.1f}" if baseline.seeds > 1 else ""
    count = "1 seed" if baseline.seeds == 1 else f"{baseline.seeds} seeds"
    text = f"“{name}” reaches {100 * baseline.mean:.1f}{spread} % {metric} over {count}"
    classes = len(finished(outcome, name)[0][1].classes)
    guessing = metric.endswith(("/accuracy", "/uar")) and classes > 1
    return Finding(text + (f"; guessing gives {100 / classes:.1f} %." if guessing else "."), True)


def _against_reference(found: Comparison, study: Study) -> Finding:
    """The baseline against a reference: `found` is the reference's difference, so all signs turn round."""
    assert found.difference is not None
    gain, name = -found.difference, f"“{study.baseline}”"
    start = "the pretrained tower it starts from" if study.experiment.model.pretrained else "the untrained tower"
    other = {UNTRAINED: start, RAW_PIXELS: "the same probe on raw pixels"}[found.variant]
    size = f"{signed(gain)} points of {study.metric}"
    if found.low is None or found.high is None:
        return Finding(f"{name} against {other}: {size}, without an interval (seeds in common: {found.pairs}).", False)
    span = f"{size}, 95 % interval {signed(-found.high)} to {signed(-found.low)}, {found.pairs} seeds"
    if not found.significant:
        return Finding(f"Whether {name} beats {other} is open: {span}.", False)
    return Finding(f"{name} {'beats' if gain > 0 else 'does not beat'} {other}: {span}.", True)


def _supervision(outcome: Outcome) -> str:
    people = {trial.id: len(record.train_subjects) or None for trial, record in finished(outcome)}
    largest = max((count for count in people.values() if count), default=None)
    variants: dict[str, dict[str, None]] = {}
    for trial in outcome.trials:
        if trial.variant not in REFERENCES:
            text = describe_supervision(trial.experiment, people.get(trial.id, largest))
            variants.setdefault(text, {})[trial.variant] = None
    said = [
        text + (f" ({', '.join(f'“{name}”' for name in names)})" if len(variants) > 1 else "")
        for text, names in variants.items()
    ]
    return f"Supervision in pretraining: {'; '.join(said)}."


def _people(outcome: Outcome) -> list[str]:
    sides = {
        (len(record.train_subjects), len(record.test_subjects))
        for _, record in finished(outcome)
        if record.test_subjects
    }
    evaluation = outcome.study.experiment.evaluation
    if evaluation.test:
        return [
            f"People: pretraining and probes saw the {train} of {outcome.study.experiment.corpus.dataset}, and scores "
            f"are of the {test} of {evaluation.test.dataset}, whom neither saw."
            for train, test in sorted(sides)
        ]
    fewer = any(trial.experiment.language.labelled < 1 for trial in outcome.trials)
    probed = "those of the other {} whose labels may be read" if fewer else "the other {}"
    each = f"each of {evaluation.repeats} folds" if evaluation.repeats > 1 else "every seed"
    return [
        f"People: {each} has {test} of {train + test} as test subjects, drawn before pretraining. Probes are "
        f"fitted on {probed.format(train)} and scored on the test subjects, whom pretraining never saw."
        for train, test in sorted(sides)
    ]
