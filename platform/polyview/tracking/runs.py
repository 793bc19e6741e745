"""What MLflow is told of a study, of its variants and of its trials."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import polars as pl

from polyview.analysis.comparisons import comparisons
from polyview.analysis.outcome import Outcome, other_metrics
from polyview.analysis.statistics import Comparison, relation, signed
from polyview.analysis.supervision import labels_read
from polyview.recipe import Experiment, Study, flat, to_yaml
from polyview.recipe.study import DESCRIPTIVE
from polyview.trials.design import Trial, baselines
from polyview.trials.ledger import InterimScores, Record, TrialFailure

REMOVED = "removed"
RESULT_TAGS = ("seeds", "difference", "interval", "p", "verdict")
"""Tags that say what a variant's trials came to, beside that which is named as the study's metric."""


@dataclass(frozen=True)
class Point:
    """The metrics of one step, and when it ended (Unix seconds)."""

    step: int
    ended: float
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class Faces:
    """The people on one side of a trial, as a dataset: of which corpus, with which contents, and what they show."""

    side: Literal["training", "validation", "test"]
    corpus: str
    fingerprint: str
    root: str
    people: tuple[str, ...] = ()
    counts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TrialRun:
    """What MLflow is told of one trial.

    Times are Unix seconds; `params` may be nested; `artifacts` is file name -> text. `variant` is the one among whose
    runs it is found. `interim` has the interim scores of a trial that was pruned for them.
    """

    id: str
    name: str
    started: float
    ended: float = 0.0
    status: Literal["RUNNING", "FINISHED", "FAILED", "KILLED"] = "FINISHED"
    variant: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    epochs: Sequence[Point] = ()
    interim: Sequence[Point] = ()
    scores: Mapping[str, float] = field(default_factory=dict)
    artifacts: Mapping[str, str] = field(default_factory=dict)
    faces: Sequence[Faces] = ()


@dataclass(frozen=True)
class VariantRun:
    """What MLflow is told of one variant, and what its trials say together.

    `differences` are its settings that are not the baseline's; `params` are these, and its own values of what other
    variants vary, so that two variants that are compared both have a value.
    """

    name: str
    differences: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class StudyRun:
    """What MLflow is told of a study: its base experiment by `digest`, and its variants in their order.

    `views` are prepared pages of the user interface, by name; `lock` is the file that its driver holds.
    """

    digest: str
    params: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    variants: Sequence[VariantRun] = ()
    views: Mapping[str, str] = field(default_factory=dict)
    lock: str = ""
    started: float | None = None


def study_tags(study: Study) -> dict[str, str]:
    """What a study's run is found by: its supervision, and what the study asks beside its experiment."""
    asked = study.model_dump(mode="json", exclude={"experiment", "files", *DESCRIPTIVE})
    return {"supervision": study.experiment.supervision, "study": json.dumps(asked)}


def variant_runs(study: Study, trials: Sequence[Trial]) -> list[VariantRun]:
    """The variants of some trials, in order, with what each has in place of its baseline's settings."""
    first: dict[str, Trial] = {}
    for trial in trials:
        first.setdefault(trial.variant, trial)
    settings = {name: _settings(trial.experiment) for name, trial in first.items()}
    bases = {name: settings.get(baselines(study).get(name, study.baseline), own) for name, own in settings.items()}
    differences = {name: dict(_differences(bases[name], own)) for name, own in settings.items()}
    varied = dict.fromkeys(key for found in differences.values() for key in found)
    return [
        VariantRun(
            name,
            differences[name],
            _own_values(varied, settings[name], differences[name]),
            {"order": f"{place:04d}", "varied": _readable(differences[name], bases[name])},
        )
        for place, name in enumerate(first)
    ]


def _own_values(keys: Iterable[str], settings: Mapping[str, Any], differences: Mapping[str, str]) -> dict[str, str]:
    """A variant's values of some settings; one that it has not, as its component was removed, is left out."""
    known = {REMOVED: "nothing", **dict(flat(settings)), **differences}
    return {key: known[key] for key in keys if key in known}


def _readable(differences: Mapping[str, str], base: Mapping[str, Any]) -> str:
    before = {key: f" (not {value})" for key, value in flat(base)}
    words = (f"{key}: {value}{before.get(key, '')}" for key, value in differences.items())
    return "; ".join(words) or "baseline"


def _settings(experiment: Experiment) -> dict[str, Any]:
    """A recipe's settings, without those in which two repeats of one variant differ."""
    settings: dict[str, Any] = experiment.model_dump(mode="json", exclude={"name", "revision", "seed"})
    del settings["evaluation"]["fold"]
    return settings


def _differences(base: Mapping[str, Any], own: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """The settings that are others than the base's, by dotted key; what is left out has the key `removed`."""
    removed = [f"{prefix}{key}" for key, value in own.items() if value is None and isinstance(base.get(key), Mapping)]
    if removed:
        yield REMOVED, ", ".join(removed)
    for key, value in own.items():
        before = base.get(key)
        if value == before or f"{prefix}{key}" in removed:
            continue
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            yield from _differences(before, value, f"{prefix}{key}.")
        else:
            yield from flat({key: value}, prefix)


def variant_results(outcome: Outcome) -> list[VariantRun]:
    """What each variant's trials say together: every metric's mean and deviation, and how it compares, in points.

    Metrics are in the scores' own unit; tags say the study's metric in points, with the p-value that decides.
    """
    study = outcome.study
    by_metric = {name: _by_variant(outcome, name) for name in [study.metric, *other_metrics(outcome)]}
    own = set(baselines(study).values())
    found = []
    for name, one in by_metric[study.metric].items():
        metrics: dict[str, float] = {}  # MLflow's compare page opens on the first
        for metric, compared in by_metric.items():
            if name in compared:
                metrics |= _metrics(metric, compared[name])
        metrics["seeds"] = one.seeds
        found.append(VariantRun(name, tags=_verdict_tags(study.metric, one, name in own), metrics=metrics))
    return found


def _by_variant(outcome: Outcome, metric: str) -> dict[str, Comparison]:
    return {one.variant: one for family in comparisons(outcome, metric) for one in family if one.seeds}


def _metrics(metric: str, one: Comparison) -> dict[str, float]:
    numbers = {
        metric: one.mean,
        f"{metric} deviation": one.deviation if one.seeds > 1 else None,
        f"{metric} difference": one.difference,
        f"{metric} low": one.low,
        f"{metric} high": one.high,
        f"{metric} p": one.p_adjusted,
    }
    return {name: float(value) for name, value in numbers.items() if value is not None}


def _verdict_tags(metric: str, one: Comparison, is_baseline: bool) -> dict[str, str]:
    level = f"{100 * one.mean:.1f} %" + (f" ± {100 * one.deviation:.1f}" if one.seeds > 1 else "")
    tags = {metric: level, "seeds": str(one.seeds)}
    if is_baseline:
        return tags | {"verdict": "baseline"}
    if one.difference is not None:
        tags["difference"] = signed(one.difference)
    if one.low is not None and one.high is not None:
        tags["interval"] = f"{signed(one.low)} to {signed(one.high)}"
    if one.decisive_p is not None:
        tags["p"] = relation(one.decisive_p).lstrip("= ")
    return tags | {"verdict": f"{one.verdict} ({one.unpaired})" if one.unpaired else one.verdict}


def started_run(trial: Trial, started: float) -> TrialRun:
    """What MLflow is told of a trial that begins."""
    return TrialRun(
        id=trial.id,
        name=trial.name,
        variant=trial.variant,
        started=started,
        status="RUNNING",
        params=trial.experiment.model_dump(mode="json"),
        tags={**_names(trial), "supervision": trial.experiment.supervision},
    )


def finished_run(trial: Trial, record: Record, shown: Mapping[str, pl.DataFrame] | None = None) -> TrialRun:
    """What MLflow is told of a trial that has a record; `shown` is that of `PreparedViews`."""
    experiment = trial.experiment
    return TrialRun(
        id=trial.id,
        name=trial.name,
        variant=trial.variant,
        started=record.started,
        ended=record.ended,
        params=experiment.model_dump(mode="json"),
        tags={
            **_names(trial),
            "manifest": record.manifest,
            "supervision": experiment.supervision,
            "labels may be read of": labels_read(experiment, len(record.train_subjects) or None),
            "precision": record.precision,
            "mlflow.source.git.commit": record.environment.get("git_commit", "unknown"),
            **{f"environment.{name}": value for name, value in record.environment.items()},
        },
        epochs=[Point(epoch.epoch, epoch.ended, epoch.metrics) for epoch in record.history],
        scores=record.scores,
        artifacts={
            "experiment.yaml": to_yaml(experiment),
            "confusions.json": json.dumps({"classes": record.classes, **record.confusions}),
        },
        faces=_faces(experiment, record, shown or {}),
    )


def _faces(experiment: Experiment, record: Record, shown: Mapping[str, pl.DataFrame]) -> list[Faces]:
    """The sides of a trial; tested on another corpus, its test subjects are of the manifest's second half."""
    corpus, other = experiment.corpus, experiment.evaluation.other_corpus
    trained, _, tested = record.manifest.partition("+")
    sides: list[tuple[Literal["training", "validation", "test"], Sequence[str], Any, str]] = [
        ("training", record.train_subjects, corpus, trained),
        ("validation", record.validation_subjects, corpus, trained),
        ("test", record.test_subjects, other or corpus, tested or trained),
    ]
    return [
        Faces(
            side,
            source.dataset,
            manifest,
            str(source.root or source.dataset),
            tuple(people),
            _counts(shown[manifest], people) if manifest in shown else {},
        )
        for side, people, source, manifest in sides
        if people
    ]


def _counts(shown: pl.DataFrame, people: Sequence[str]) -> dict[str, Any]:
    """How many faces these people have, and how many of each expression."""
    own = shown.filter(pl.col("subject").is_in(people))
    return {"faces": len(own), "expressions": dict(own["expression"].value_counts(sort=True).iter_rows())}


def failed_run(trial: Trial, failure: TrialFailure) -> TrialRun:
    """What MLflow is told of a trial that failed."""
    run = _run_without_scores(trial, failure, "FAILED", {"failure": failure.reason})
    return replace(run, artifacts={"log.txt": "\n".join(failure.last_lines), **run.artifacts})


def pruned_run(trial: Trial, interim: InterimScores) -> TrialRun:
    """What MLflow is told of a point that its search has pruned."""
    told = {"manifest": interim.manifest, "pruned": f"after epoch {max(interim.scores)}"}
    run = _run_without_scores(trial, interim, "KILLED", told)
    points = [Point(epoch, interim.ended, {interim.metric: score}) for epoch, score in interim.scores.items()]
    return replace(run, interim=points)


def _run_without_scores(
    trial: Trial, known: TrialFailure | InterimScores, status: Literal["FAILED", "KILLED"], tags: Mapping[str, str]
) -> TrialRun:
    return TrialRun(
        id=trial.id,
        name=trial.name,
        variant=trial.variant,
        started=known.started,
        ended=known.ended,
        status=status,
        params=trial.experiment.model_dump(mode="json"),
        tags={**_names(trial), **tags},
        artifacts={"experiment.yaml": to_yaml(trial.experiment)},
    )


def _names(trial: Trial) -> dict[str, str]:
    return {"variant": trial.variant, "seed": str(trial.seed), "fold": str(trial.experiment.evaluation.fold)}
