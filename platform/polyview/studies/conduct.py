"""Conducting a study: render what its trials need once, run what has no record, log and report what is known."""

from __future__ import annotations

import fcntl
import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from polyview.errors import UserError
from polyview.paths import Home, replacing
from polyview.recipe import Study, to_yaml
from polyview.rendering.sheet import contact_sheet
from polyview.rendering.store import ViewStore
from polyview.studies.design import Trial, plan
from polyview.studies.findings import supervision
from polyview.studies.ledger import Ledger, Record
from polyview.studies.report import Outcome, write
from polyview.studies.views import prepare_views
from polyview.studies.watcher import Watcher
from polyview.tracking import Point, Tracker, TrialRun

if TYPE_CHECKING:
    from polyview.studies.scheduler import Failure


@dataclass
class Stages:
    """The wall time of each stage, kept in a file: a stage that had nothing to do keeps its last time."""

    path: Path
    seconds: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.path.exists():
            self.seconds = json.loads(self.path.read_text())

    def record(self, name: str, seconds: float) -> None:
        """Note a stage's time."""
        self.seconds[name] = seconds
        with replacing(self.path) as temporary:
            temporary.write_text(json.dumps(self.seconds))


def study_folder(study: Study, home: Home) -> Path:
    """Where a study's report lies: by its name and its experiment, so that overridden ones keep apart."""
    return home.studies / f"{study.name}-{study.experiment.digest[:8]}"


def conduct(study: Study, home: Home, watcher: Watcher) -> tuple[Outcome, list[Failure]]:
    """Run what is missing of a study and write its report; returns what is known then, and what failed.

    Running it again is resuming: trials that have a record are not run, half-done ones go on from their last
    checkpoint. Raises `UserError` before anything is trained if the study cannot be run as it stands.
    """
    trials = plan(study)
    folder, ledger = study_folder(study, home), Ledger(home.trials)
    with _only_driver(folder):
        stages = Stages(folder / "stages.json")
        views = prepare_views([trial.experiment for trial in trials], home, watcher)
        if views.seconds:
            stages.record("render", views.seconds)
        stores = {trial.id: views.store_of(trial.experiment) for trial in trials}
        done = {
            trial.id: record
            for trial in trials
            # A record of faces that have changed since says nothing of those there are now.
            if (record := ledger.read(trial.id)) and record.manifest == views.manifest_of(trial.experiment)
        }
        missing = [trial for trial in trials if trial.id not in done]
        watcher.say(f"trials: {len(trials)} in the study, {len(done)} done before, {len(missing)} to run")
        _check(missing, stores, home)
        tracker = Tracker(home, study.name, watcher.say)
        tracker.open(study.experiment.digest, study.experiment.model_dump(mode="json"), _tags(study))
        failures: list[Failure] = []
        try:
            for trial in trials:
                if trial.id in done:
                    tracker.log(trial_run(trial, done[trial.id]))
            if missing:
                failures = _run(missing, stores, study, home, stages, watcher, tracker)
        finally:
            # Whatever stopped it, what is known is reported, and MLflow keeps no run that seems to go on.
            watcher.stage("report", 1)
            contact_sheet(*_one_of_each_expression(stores[trials[0].id]), folder / "views.png")
            outcome = known(study, home)
            write(outcome)
            watcher.advance(1)
            ended = max((record.ended for record in outcome.records.values()), default=time.time())
            whole = len(outcome.records) == len(trials)
            tracker.close(_summary(outcome), ended, folder / "report", failed=not whole)
    return outcome, failures


def known(study: Study, home: Home) -> Outcome:
    """What the ledger knows of a study; nothing is run."""
    trials, folder = plan(study), study_folder(study, home)
    sheet = folder / "views.png"
    return Outcome(
        study,
        trials,
        Ledger(home.trials).read_all(trial.id for trial in trials),
        Stages(folder / "stages.json").seconds,
        sheet if sheet.exists() else None,
        home.tracking_uri,
        folder,
    )


def _check(missing: Sequence[Trial], stores: Mapping[str, Path], home: Home) -> None:
    """Raises `UserError` that names the first trial which could not be run."""
    if not missing:
        return
    # torch takes seconds to import, which a study that finds all its trials done need not wait for.
    from polyview.studies.trial import Assignment, check

    for trial in missing:
        try:
            check(Assignment(trial.experiment, stores[trial.id], home.trials))
        except UserError as error:
            raise UserError(f"{trial.name}: {error}") from None


def _run(
    missing: Sequence[Trial],
    stores: Mapping[str, Path],
    study: Study,
    home: Home,
    stages: Stages,
    watcher: Watcher,
    tracker: Tracker,
) -> list[Failure]:
    ledger = Ledger(home.trials)
    # Ray takes seconds to import, which a study that finds all its trials done need not wait for.
    from polyview.studies.scheduler import run_trials

    watcher.stage("trials", len(missing))
    started, ended = time.perf_counter(), 0

    def on_end(trial: Trial) -> None:
        nonlocal ended
        ended += 1
        watcher.advance(ended)
        if record := ledger.read(trial.id):
            watcher.say(f"{trial.name}: {study.metric} {record.scores.get(study.metric, math.nan):.3f}")
            tracker.log(trial_run(trial, record))

    failures = run_trials(missing, stores, home.trials, study.resources, watcher.epoch, on_end)
    stages.record("trials", time.perf_counter() - started)
    return failures


def trial_run(trial: Trial, record: Record) -> TrialRun:
    """What MLflow is told of a trial."""
    experiment = trial.experiment
    return TrialRun(
        id=trial.id,
        name=trial.name,
        started=record.started,
        ended=record.ended,
        params=experiment.model_dump(mode="json"),
        tags={
            "variant": trial.variant,
            "seed": str(trial.seed),
            "manifest": record.manifest,
            "supervision": supervision(experiment),
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


@contextmanager
def _only_driver(folder: Path) -> Iterator[None]:
    """Hold the study for this process; raises `UserError` if another conducts it now."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"{folder.name}: another polyview is conducting this study; wait for it, or stop it"
            ) from None
        yield


def _tags(study: Study) -> dict[str, str]:
    asked = study.model_dump(mode="json", exclude={"experiment"})
    return {"supervision": supervision(study.experiment), "study": json.dumps(asked)}


def _summary(outcome: Outcome) -> dict[str, float]:
    """The mean of the study's metric over the seeds of each variant."""
    scores: dict[str, list[float]] = {}
    for trial in outcome.trials:
        if (record := outcome.records.get(trial.id)) and outcome.study.metric in record.scores:
            scores.setdefault(trial.variant, []).append(record.scores[outcome.study.metric])
    return {f"{variant}/{outcome.study.metric}": sum(values) / len(values) for variant, values in scores.items()}


def _one_of_each_expression(store: Path) -> tuple[ViewStore, list[int]]:
    views = ViewStore.open(store)
    first = {label: row for row, label in reversed(list(enumerate(views.labels("expression"))))}
    return views, [first[label] for label in sorted(first)]
