"""From a record, a failure or interim scores to the `TrialRun` that `tracker.py` writes."""

from __future__ import annotations

import json

from polyview.analysis.supervision import labels_read, supervision
from polyview.recipe import Study, to_yaml
from polyview.tracking.tracker import Point, TrialRun
from polyview.trials.design import Trial
from polyview.trials.ledger import InterimScores, Record, TrialFailure


def study_tags(study: Study) -> dict[str, str]:
    """What a study's run is found by: its supervision, and what the study asks beside its experiment."""
    asked = study.model_dump(mode="json", exclude={"experiment"})
    return {"supervision": supervision(study.experiment), "study": json.dumps(asked)}


def finished_run(trial: Trial, record: Record) -> TrialRun:
    """What MLflow is told of a trial that has a record."""
    experiment = trial.experiment
    return TrialRun(
        id=trial.id,
        name=trial.name,
        started=record.started,
        ended=record.ended,
        params=experiment.model_dump(mode="json"),
        tags={
            **_names(trial),
            "manifest": record.manifest,
            "supervision": supervision(experiment),
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
        dataset=experiment.corpus.dataset,
        fingerprint=record.manifest,
    )


def failed_run(trial: Trial, failure: TrialFailure) -> TrialRun:
    """What MLflow is told of a trial that failed."""
    return TrialRun(
        id=trial.id,
        name=trial.name,
        started=failure.started,
        ended=failure.ended,
        status="FAILED",
        params=trial.experiment.model_dump(mode="json"),
        tags={**_names(trial), "fault": failure.reason},
        artifacts={"log.txt": "\n".join(failure.last_lines), "experiment.yaml": to_yaml(trial.experiment)},
    )


def pruned_run(trial: Trial, interim: InterimScores) -> TrialRun:
    """What MLflow is told of a point that its search has pruned."""
    return TrialRun(
        id=trial.id,
        name=trial.name,
        started=interim.started,
        ended=interim.ended,
        status="KILLED",
        params=trial.experiment.model_dump(mode="json"),
        tags={**_names(trial), "manifest": interim.manifest, "stopped": f"after {max(interim.scores)} epochs"},
        epochs=[Point(epoch, interim.ended, {interim.metric: score}) for epoch, score in interim.scores.items()],
        artifacts={"experiment.yaml": to_yaml(trial.experiment)},
    )


def _names(trial: Trial) -> dict[str, str]:
    return {"variant": trial.variant, "seed": str(trial.seed), "fold": str(trial.experiment.evaluation.fold)}
