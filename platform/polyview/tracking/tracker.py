"""MLflow: a run per study, a run per variant in it, and a run per trial in that, written by the driver alone.

The ledger is the truth and MLflow a copy of it: all that is written here can be written again without leaving a trace
of the repetition, and a server that is away stops nothing. A thread of its own writes, so that nothing waits for it.
"""

from __future__ import annotations

import functools
import hashlib
import json
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar

from polyview.analysis.outcome import CURVES, RESULTS
from polyview.recipe import flat
from polyview.storage.home import Home
from polyview.tracking import pages
from polyview.tracking.entities import (
    LONGEST_TAG,
    STARTED_TAG,
    TRIAL_TAG,
    dataset,
    milliseconds,
    overwrite,
    source_tags,
    write,
)
from polyview.tracking.experiment import all_runs, find_experiment
from polyview.tracking.former import interrupt, retire, take_over
from polyview.tracking.logged import (
    INTERRUPTED_TAG,
    LOCK_TAG,
    PARENT_TAG,
    POINT,
    STUDY,
    TRIAL,
    VARIANT,
    has_ended,
    missing_params,
    started_at,
)
from polyview.tracking.models import lacks_model, log_model, register
from polyview.tracking.pages import EXPERIMENT_KIND_TAG, KIND_TAG, MODEL_TRAINING, NOTE_TAG, VIEW_TAG
from polyview.tracking.runs import Point, StudyRun, TrialRun, VariantRun
from polyview.tracking.store import SERVERS, connect, is_of_store, is_refusal, is_unauthorised, reachable, reason
from polyview.tracking.writer import Writer

P = ParamSpec("P")
R = TypeVar("R")
LONGEST_REASON = 300
EXPERIMENT_TAG, VARIANT_TAG = "polyview.experiment", "polyview.variant"
LAST_SECONDS = 3.0


def _survives(method: Callable[Concatenate[Tracker, P], R]) -> Callable[Concatenate[Tracker, P], R | None]:
    """Makes a method of Tracker say what the store refuses, and do nothing before `open` or after a failure."""

    @functools.wraps(method)
    def attempt(tracker: Tracker, /, *args: P.args, **kwargs: P.kwargs) -> R | None:
        if not tracker.online or (tracker._client is None and method.__name__ != "open"):
            return None
        try:
            return method(tracker, *args, **kwargs)
        except Exception as error:
            if not is_of_store(error):
                raise
            tracker.fail(error)
            return None

    return attempt


class Tracker:
    """Writes one study to MLflow: `open`, then `start`, `epoch` and `log` of each trial, then `close`.

    The first failure of the store is told to `warn`, once; every later call then returns at once, until `returned`
    finds that it answers again. What the store refuses is told once too, and stops that call alone. `links` has where
    the user interface has each trial that was logged, and under RESULTS and CURVES the pages prepared for the study.
    """

    def __init__(self, home: Home, study: str, warn: Callable[[str], None] = warnings.warn) -> None:
        self.uri, self.address = home.tracking_uri, home.tracking_address
        self.warn = warn
        self.online = True
        self.links: dict[str, str] = {}
        self._study = study
        self._artifacts = home.artifacts
        self._source = source_tags()
        self._client: Any = None
        self._experiment = ""
        self._parent = ""
        self._variants: dict[str, str] = {}  # the variant runs' ids by name
        self._runs: dict[str, Any] = {}  # the trials' runs by trial id
        self._points: dict[str, list[Point]] = {}  # the epochs that wait to be written, by trial id
        self._steps: dict[str, set[int]] = {}  # the epochs that a trial's run has, by trial id
        self._refused: set[str] = set()
        self._writer = Writer()
        self._aborted: Literal["KILLED", "FAILED"] | None = None

    def fail(self, error: Exception) -> None:
        """Say what the store refuses, or that it is away."""
        why = reason(error, self.uri)[:LONGEST_REASON]
        if is_refusal(error) and self._parent:
            if why not in self._refused:
                self._refused.add(why)
                self.warn(f"MLflow at {self.address} refuses what it was told: {why}")
            return
        self.online = False
        if is_unauthorised(error):
            remedy = "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
            self.warn(f"MLflow at {self.address} lets nobody in without a right to: {why}; {remedy}. The study goes on")
            return
        self.warn(
            f"MLflow at {self.address} cannot be written ({why}); the study goes on without it, "
            "and running it again catches up"
        )

    @_survives
    def open(self, study: StudyRun) -> None:
        """Open the run of this study and base experiment, last time's if there is one, and those of its variants.

        Runs that a driver left running which is no more are ended. Those of variants that are not asked for any more
        stay, and the prepared pages leave them out.
        """
        self._writer.finish()
        self._client = connect(self.uri)
        local = None if self.uri.startswith(SERVERS) else self._artifacts
        self._experiment = find_experiment(self._client, self._study, local, self.warn)
        runs = all_runs(self._client, self._experiment)
        run = next((one for one in runs if one.data.tags.get(EXPERIMENT_TAG) == study.digest), None)
        if run is None:
            begun = milliseconds(time.time() if study.started is None else study.started)
            identity = {EXPERIMENT_TAG: study.digest, KIND_TAG: STUDY}
            run = self._client.create_run(self._experiment, start_time=begun, tags=identity, run_name=self._study)
        self._parent = run.info.run_id  # first of all: who ends this process now ends the run too
        self._client.update_run(self._parent, status="RUNNING")
        new = missing_params(dict(flat(study.params)), run)
        tags = {KIND_TAG: STUDY, LOCK_TAG: study.lock, **self._source, **study.tags}
        write(self._client, self._parent, new, tags, ())
        self._prepare_pages(study.views)
        self._open_variants(study.variants, runs)
        self._runs = take_over(self._client, runs, self._parent)

    def start(self, trial: TrialRun) -> None:
        """A trial begins, or goes on: its run is there from now on."""
        self._writer.put(lambda: self._start(trial))

    def epoch(self, trial_id: str, point: Point) -> None:
        """A trial that has started has trained an epoch."""
        waiting = self._points.setdefault(trial_id, [])
        waiting.append(point)
        if len(waiting) == 1:
            self._writer.put(lambda: self._write_points(trial_id))

    def log(self, trial: TrialRun) -> None:
        """Write one trial that has ended; nothing happens if it is there already.

        A run that was begun, or that a killed driver left unfinished, is completed; the run of an earlier execution of
        the same trial gives way to the new one.
        """
        self._writer.put(lambda: self._log(trial))

    def results(self, variants: Sequence[VariantRun]) -> None:
        """Write what the trials of each variant say together."""
        self._writer.put(lambda: self._write_results(variants))

    def finish(self) -> None:
        """Wait until all is written."""
        self._writer.finish()

    def log_model(self, trial: TrialRun, export: Callable[[Path], None]) -> None:
        """Keep the model of a trial that was logged as a logged model of its run, once, and register it.

        `export` writes an MLflow model to a folder that is not there yet; it is called only if MLflow has not got the
        model. Raises what `export` raises.
        """
        self._writer.finish()
        if self._lacks_model(trial):
            with tempfile.TemporaryDirectory() as place:
                export(Path(place) / "model")
                self._log_model(trial, Path(place) / "model")

    @_survives
    def _lacks_model(self, trial: TrialRun) -> bool:
        run = self._runs.get(trial.id)
        return run is not None and lacks_model(self._client, self._experiment, run.info.run_id, trial)

    @_survives
    def _log_model(self, trial: TrialRun, folder: Path) -> None:
        run_id = self._runs[trial.id].info.run_id
        model = log_model(self._client, self._experiment, run_id, trial, folder)
        register(self._client, self._study, model, trial.name)

    def returned(self) -> bool:
        """Whether the store had failed and answers again; if so, `open` and `log` have all to tell anew."""
        self._writer.finish()
        if self.online or reachable(self.uri) is not None:
            return False
        self.online = True
        self.warn(f"MLflow at {self.address} answers again, and is told what it missed")
        return True

    @_survives
    def close(
        self,
        metrics: Mapping[str, float],
        ended: float,
        artifacts: Path | None = None,
        failed: bool = False,
        description: str = "",
    ) -> None:
        """End the study's run and its variants', with the study's own metrics and every file in the folder `artifacts`.

        `failed` says that not all of the study's trials have a result. `ended` is when its last trial ended (Unix
        seconds). `description` is markdown.
        """
        self._writer.finish()
        overwrite(self._client, self._parent, {}, metrics)
        if artifacts is not None:
            self._client.log_artifacts(self._parent, str(artifacts))
        if description:
            self._describe(description)
        for trial_id, run in self._runs.items():
            if trial_id not in self.links:
                retire(self._client, run)
        status = self._aborted or ("FAILED" if failed else "FINISHED")
        for run_id in (*self._variants.values(), self._parent):
            begun = self._client.get_run(run_id).info.start_time
            self._client.set_terminated(run_id, status=status, end_time=max(begun, milliseconds(ended)))

    @_survives
    def abort(self, status: Literal["KILLED", "FAILED"] = "KILLED") -> None:
        """End the study's run, its variants', and those of its trials that are half written, before all is done.

        `close` may still tell what is known; the status stays. A later `log` completes the trials' runs.
        """
        self._aborted = status
        self._writer.finish(LAST_SECONDS)
        if not self._parent:
            return
        for trial_id, run in self._runs.items():
            if run.info.status == "RUNNING":
                self._runs[trial_id] = interrupt(self._client, run)
        for run_id in (*self._variants.values(), self._parent):
            self._client.set_terminated(run_id, status=status)

    def _prepare_pages(self, views: Mapping[str, str]) -> None:
        tags = {EXPERIMENT_KIND_TAG: MODEL_TRAINING, **{f"{VIEW_TAG}{name}": state for name, state in views.items()}}
        for key, value in tags.items():
            self._client.set_experiment_tag(self._experiment, key, value)
        self.links |= {name: pages.link(self._experiment, name) for name in views}

    def _open_variants(self, variants: Sequence[VariantRun], runs: Sequence[Any]) -> None:
        """Have a run of each variant; one whose settings are others now, or that is not asked for, is a former one."""
        known = {run.data.tags[VARIANT_TAG]: run for run in runs if VARIANT_TAG in run.data.tags}
        self._variants = {}
        for variant in variants:
            identity = self._identity(variant)
            run = known.pop(identity, None)
            if run is None:
                tags = {VARIANT_TAG: identity, PARENT_TAG: self._parent}
                run = self._client.create_run(self._experiment, tags=tags, run_name=variant.name)
            self._variants[variant.name] = run.info.run_id
            self._client.update_run(run.info.run_id, status="RUNNING")
            new = missing_params(variant.params, run)
            write(self._client, run.info.run_id, new, {KIND_TAG: VARIANT, **self._source, **variant.tags}, ())
        for run in known.values():
            retire(self._client, run)

    def _identity(self, variant: VariantRun) -> str:
        told = json.dumps([self._parent, variant.name, dict(variant.differences)], sort_keys=True)
        return hashlib.blake2b(told.encode(), digest_size=8).hexdigest()

    @_survives
    def _start(self, trial: TrialRun) -> None:
        run = self._runs.get(trial.id)
        if run is not None and run.info.status == "FINISHED":
            self._client.delete_run(run.info.run_id)
            run = None
        if run is None:
            run = self._create(trial)
            write(self._client, run.info.run_id, dict(flat(trial.params)), self._source | dict(trial.tags), ())
        self._place(run, trial)
        self._client.update_run(run.info.run_id, status="RUNNING")
        self._runs[trial.id] = self._client.get_run(run.info.run_id)

    def _create(self, trial: TrialRun) -> Any:
        self._steps[trial.id] = set()
        return self._client.create_run(
            self._experiment,
            start_time=milliseconds(trial.started),
            tags={
                TRIAL_TAG: trial.id,
                STARTED_TAG: str(milliseconds(trial.started)),
                PARENT_TAG: self._parent_of(trial),
            },
            run_name=trial.name,
        )

    def _parent_of(self, trial: TrialRun) -> str:
        """The run of the trial's variant; points of a search lie in the study's own."""
        return self._variants.get(trial.variant, self._parent)

    def _place(self, run: Any, trial: TrialRun) -> None:
        """Put a run where its study has it today, by its name of today, on the prepared pages.

        A trial that is of two variants, as where a search finds nothing better than the baseline, is with the first.
        """
        link = f"#/experiments/{self._experiment}/runs/{run.info.run_id}"
        if self.links.get(trial.id) == link:
            return
        self.links[trial.id] = link
        if run.info.run_name != trial.name:
            self._client.update_run(run.info.run_id, name=trial.name)
        kind = TRIAL if trial.variant in self._variants else POINT
        for key, value in {KIND_TAG: kind, PARENT_TAG: self._parent_of(trial), "variant": trial.variant}.items():
            if run.data.tags.get(key) != value:
                self._client.set_tag(run.info.run_id, key, value)

    @_survives
    def _write_points(self, trial_id: str) -> None:
        points = self._points.pop(trial_id, [])
        if run := self._runs.get(trial_id):
            fresh = self._fresh(trial_id, run.info.run_id, points)
            write(self._client, run.info.run_id, {}, {}, fresh)
            self._steps[trial_id] |= {point.step for point in fresh}

    def _fresh(self, trial_id: str, run_id: str, points: Sequence[Point]) -> list[Point]:
        """The epochs that a run has not: one that goes on from its checkpoint trains the last ones once more."""
        if trial_id not in self._steps:
            self._steps[trial_id] = {point.step for point in self._client.get_metric_history(run_id, "loss")}
        by_step = {point.step: point for point in reversed(points)}  # the first of each, as the others add nothing
        return [point for step, point in sorted(by_step.items()) if step not in self._steps[trial_id]]

    @_survives
    def _log(self, trial: TrialRun) -> None:
        run = self._runs.get(trial.id)
        if run is not None and has_ended(run) and started_at(run) != milliseconds(trial.started):
            self._client.delete_run(run.info.run_id)
            run = None
        if run is None:
            run = self._create(trial)
        self._place(run, trial)
        if not has_ended(run):
            self._complete(run.info.run_id, trial)
            run = self._client.get_run(run.info.run_id)
        self._runs[trial.id] = run

    @_survives
    def _write_results(self, variants: Sequence[VariantRun]) -> None:
        for variant in variants:
            if run_id := self._variants.get(variant.name):
                overwrite(self._client, run_id, variant.tags, variant.metrics)

    @_survives
    def _describe(self, text: str) -> None:
        described = pages.note(text, {name: self.links[name] for name in (RESULTS, CURVES)})
        self._client.set_tag(self._parent, NOTE_TAG, described[:LONGEST_TAG])
        self._client.set_experiment_tag(self._experiment, NOTE_TAG, described)

    def _complete(self, run_id: str, trial: TrialRun) -> None:
        scores = Point(len(trial.epochs), trial.ended, trial.scores)
        tags = self._source | {STARTED_TAG: str(milliseconds(trial.started))} | dict(trial.tags)
        fresh = self._fresh(trial.id, run_id, trial.epochs)
        write(self._client, run_id, dict(flat(trial.params)), tags, [*fresh, *trial.interim, scores])
        self._client.log_inputs(run_id, [dataset(faces) for faces in trial.faces])
        for name, text in trial.artifacts.items():
            self._client.log_text(run_id, text, name)
        if INTERRUPTED_TAG in self._client.get_run(run_id).data.tags:
            self._client.delete_tag(run_id, INTERRUPTED_TAG)
        self._client.set_terminated(run_id, status=trial.status, end_time=milliseconds(trial.ended))
