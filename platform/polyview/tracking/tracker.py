"""MLflow: a parent run per study, a nested run per trial, written by the driver alone.

The ledger is the truth and MLflow a copy of it: all that is written here can be written again without
leaving a trace of the repetition, and a server that is away stops nothing.
"""

from __future__ import annotations

import contextlib
import functools
import getpass
import json
import logging
import os
import posixpath
import re
import socket
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Concatenate, Literal, NoReturn, ParamSpec, TypeVar

from polyview.environment import git_commit
from polyview.errors import UserError
from polyview.recipe import flat
from polyview.storage.home import Home, locked, replacing

P = ParamSpec("P")
R = TypeVar("R")
SQLITE = "sqlite:///"
LONGEST_KEY, LONGEST_PARAM, LONGEST_TAG = 250, 6000, 5000
EXPERIMENT_TAG, TRIAL_TAG, PARENT_TAG = "polyview.experiment", "polyview.trial", "mlflow.parentRunId"
INTERRUPTED_TAG = "polyview.interrupted"
SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}


@dataclass(frozen=True)
class Point:
    """The metrics of one epoch, and when it ended (Unix seconds)."""

    step: int
    ended: float
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class TrialRun:
    """What MLflow is told of one trial that has ended.

    Times are Unix seconds; `params` may be nested; `artifacts` is file name -> text; `dataset` and `fingerprint`
    name the faces that the trial read.
    """

    id: str
    name: str
    started: float
    ended: float
    status: Literal["FINISHED", "FAILED", "KILLED"] = "FINISHED"
    params: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    epochs: Sequence[Point] = ()
    scores: Mapping[str, float] = field(default_factory=dict)
    artifacts: Mapping[str, str] = field(default_factory=dict)
    dataset: str = ""
    fingerprint: str = ""


def _outage_is_survived(
    method: Callable[Concatenate[Tracker, P], R],
) -> Callable[Concatenate[Tracker, P], R | None]:
    """Makes a method of Tracker do nothing once the store has failed, and say so at the first failure."""

    @functools.wraps(method)
    def attempt(tracker: Tracker, /, *args: P.args, **kwargs: P.kwargs) -> R | None:
        if not tracker.online:
            return None
        try:
            return method(tracker, *args, **kwargs)
        except Exception as error:
            if not isinstance(error, _outages()):
                raise
            tracker.online = False
            reason = " ".join(str(error).split())[:200]
            tracker.warn(
                f"MLflow at {tracker.uri} cannot be written ({reason}); the study goes on without it, "
                "and running it again catches up"
            )
            return None

    return attempt


class Tracker:
    """Writes one study to MLflow: `open`, then `log` each trial that has ended, then `close`.

    The first failure of the store is told to `warn`, once; every later call then returns at once, until `returned`
    finds that it answers again. `links` has where each trial that was logged is found in the user interface.
    """

    def __init__(self, home: Home, study: str, warn: Callable[[str], None] = warnings.warn) -> None:
        self.uri = home.tracking_uri
        self.warn = warn
        self.online = True
        self.links: dict[str, str] = {}
        self._study = study
        self._artifacts = home.artifacts
        self._source = _source()
        self._client: Any = None
        self._experiment = ""
        self._parent = ""
        self._interrupted = False

    @_outage_is_survived
    def open(
        self, digest: str, params: Mapping[str, Any], tags: Mapping[str, str], started: float | None = None
    ) -> None:
        """Open the parent run of this study and the base experiment of this `digest`, last time's if there is one."""
        self._client = _connect(self.uri)
        self._experiment = self._find_experiment()
        run = self._find(f"tags.`{EXPERIMENT_TAG}` = '{digest}'")
        if run is None:
            begun = _milliseconds(time.time() if started is None else started)
            identity = {EXPERIMENT_TAG: digest}
            run = self._client.create_run(self._experiment, start_time=begun, tags=identity, run_name=self._study)
        else:
            self._client.update_run(run.info.run_id, status="RUNNING")
        self._parent = run.info.run_id
        new = {key: value for key, value in flat(params) if _legal(key) not in run.data.params}
        self._write(self._parent, new, self._source | dict(tags), ())

    @_outage_is_survived
    def log(self, trial: TrialRun) -> None:
        """Write one trial as a nested run that has ended; nothing happens if it is there already.

        A run that a killed driver left unfinished is completed; the run of an earlier execution of the same
        trial gives way to the new one.
        """
        run = self._run_of(trial)
        if run is not None and run.info.start_time != _milliseconds(trial.started):
            self._client.delete_run(run.info.run_id)
            run = None
        if run is None:
            run = self._client.create_run(
                self._experiment,
                start_time=_milliseconds(trial.started),
                tags={TRIAL_TAG: trial.id, PARENT_TAG: self._parent},
                run_name=trial.name,
            )
        if run.info.status == "RUNNING" or INTERRUPTED_TAG in run.data.tags:
            self._complete(run.info.run_id, trial)
        self.links[trial.id] = f"#/experiments/{self._experiment}/runs/{run.info.run_id}"

    def log_model(self, trial: TrialRun, export: Callable[[Path], None]) -> None:
        """Keep the model of a trial that was logged as a logged model of its run, once.

        `export` writes it to a folder that is not there yet; it is called only if MLflow has not got the model.
        Raises what `export` raises.
        """
        if run_id := self._run_without_model(trial):
            with tempfile.TemporaryDirectory() as place:
                export(Path(place) / "model")
                self._log_model(trial, run_id, Path(place) / "model")

    @_outage_is_survived
    def _run_without_model(self, trial: TrialRun) -> str | None:
        """The trial's run if it has no model; models that are half written or of a run that is gone are deleted."""
        run, kept = self._run_of(trial), set[str]()
        for model in self._client.search_logged_models([self._experiment], f"tags.`{TRIAL_TAG}` = '{trial.id}'"):
            source = self._client.get_run(model.source_run_id).info
            if model.status == "READY" and source.lifecycle_stage == "active":
                kept.add(source.run_id)
            else:
                self._client.delete_logged_model(model.model_id)
        return None if run is None or run.info.run_id in kept else str(run.info.run_id)

    @_outage_is_survived
    def _log_model(self, trial: TrialRun, run_id: str, folder: Path) -> None:
        from mlflow.entities import LoggedModelOutput, Metric

        model = self._client.create_logged_model(
            self._experiment,
            re.sub(r"[/:.%\"']", "_", trial.name),
            source_run_id=run_id,
            tags={TRIAL_TAG: trial.id, "load": 'open_clip.create_model_and_transforms("local-dir:FOLDER")'},
            model_type="open_clip",
        )
        self._client.log_model_artifacts(model.model_id, str(folder))
        step, when = len(trial.epochs), _milliseconds(trial.ended)
        scores = [Metric(_legal(key), value, when, step, model.model_id) for key, value in trial.scores.items()]
        self._client.log_batch(run_id, scores)
        self._client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step)])
        self._client.finalize_logged_model(model.model_id, "READY")

    def returned(self) -> bool:
        """Whether the store had failed and answers again; if so, `open` and `log` have all to tell anew."""
        if self.online or reachable(self.uri) is not None:
            return False
        self.online = True
        self.warn(f"MLflow at {self.uri} answers again, and is told what it missed")
        return True

    @_outage_is_survived
    def close(
        self, metrics: Mapping[str, float], ended: float, artifacts: Path | None = None, failed: bool = False
    ) -> None:
        """End the parent run with the study's own metrics and every file in the folder `artifacts`.

        `failed` says that not all of the study's trials have a result.

        `ended` is when its last trial ended (Unix seconds), so that closing twice writes the same points.
        """
        self._write(self._parent, {}, {}, [Point(0, ended, metrics)])
        if artifacts is not None:
            self._client.log_artifacts(self._parent, str(artifacts))
        begun = self._client.get_run(self._parent).info.start_time
        status = "KILLED" if self._interrupted else "FAILED" if failed else "FINISHED"
        self._client.set_terminated(self._parent, status=status, end_time=max(begun, _milliseconds(ended)))

    @_outage_is_survived
    def interrupt(self) -> None:
        """End the study's run, and those of its trials that are half written, as KILLED; `log` completes them later."""
        self._interrupted = True
        if not self._parent:
            return
        half_written = f"tags.`{PARENT_TAG}` = '{self._parent}' and attributes.status = 'RUNNING'"
        for run in self._client.search_runs([self._experiment], half_written):
            self._client.set_tag(run.info.run_id, INTERRUPTED_TAG, "true")
            self._client.set_terminated(run.info.run_id, status="KILLED")
        self._client.set_terminated(self._parent, status="KILLED")

    def _find_experiment(self) -> str:
        found = self._client.get_experiment_by_name(self._study)
        if found is None:
            local = self._artifacts.as_uri() if self.uri.startswith("sqlite:") else None
            return str(self._client.create_experiment(self._study, artifact_location=local))
        if found.lifecycle_stage == "deleted":
            self._client.restore_experiment(found.experiment_id)
        return str(found.experiment_id)

    def _find(self, condition: str) -> Any | None:
        runs = self._client.search_runs([self._experiment], condition, max_results=1)
        return runs[0] if runs else None

    def _run_of(self, trial: TrialRun) -> Any | None:
        return self._find(f"tags.`{TRIAL_TAG}` = '{trial.id}' and tags.`{PARENT_TAG}` = '{self._parent}'")

    def _complete(self, run_id: str, trial: TrialRun) -> None:
        scores = Point(len(trial.epochs), trial.ended, trial.scores)
        self._write(run_id, dict(flat(trial.params)), self._source | dict(trial.tags), [*trial.epochs, scores])
        self._client.log_inputs(run_id, [_dataset(trial.dataset, trial.fingerprint)] if trial.dataset else [])
        for name, text in trial.artifacts.items():
            self._client.log_text(run_id, text, name)
        if INTERRUPTED_TAG in self._client.get_run(run_id).data.tags:
            self._client.delete_tag(run_id, INTERRUPTED_TAG)
        self._client.set_terminated(run_id, status=trial.status, end_time=_milliseconds(trial.ended))

    def _write(self, run_id: str, params: Mapping[str, str], tags: Mapping[str, str], points: Sequence[Point]) -> None:
        """One batch; MLflow drops points that it has, so that the same timestamps and steps add nothing."""
        from mlflow.entities import Metric, Param, RunTag

        self._client.log_batch(
            run_id,
            metrics=[
                Metric(_legal(key), value, _milliseconds(point.ended), point.step)
                for point in points
                for key, value in point.metrics.items()
            ],
            params=[Param(_legal(key), value[:LONGEST_PARAM]) for key, value in params.items()],
            tags=[RunTag(_legal(key), value[:LONGEST_TAG]) for key, value in tags.items()],
        )


def reachable(uri: str) -> str | None:
    """None if the MLflow store at `uri` answers, else why it does not, in one line."""
    try:
        _connect(uri).search_experiments(max_results=1)
    except Exception as error:
        if not isinstance(error, _outages()):
            raise
        return " ".join(str(error).split())
    return None


def serve(home: Home, host: str, port: int) -> NoReturn:
    """Become MLflow's own server, its user interface included, on this home's store.

    Raises `UserError` if the port is taken, or if the store is a server already.
    """
    if home.tracking_uri.startswith(("http://", "https://")):
        raise UserError(f"MLFLOW_TRACKING_URI is a server already: open {home.tracking_uri} in a browser")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise UserError(f"{host}:{port} cannot be used ({error.strerror}); choose another with --port") from None
    os.environ.update(SETTINGS | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"})
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", home.tracking_uri]
    command += ["--artifacts-destination", str(home.artifacts), "--host", host, "--port", str(port), "--workers", "1"]
    os.execv(sys.executable, command)


def _connect(uri: str) -> Any:
    """A client of the store at `uri`: quiet, quick to give up, and without telemetry.

    MLflow takes more than a second to import, so it is imported here.
    """
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    from mlflow.tracking import MlflowClient

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    if uri.startswith(SQLITE):
        _make_store(Path(uri.removeprefix(SQLITE)))
    return MlflowClient(uri)


def _make_store(path: Path) -> None:
    """Make an SQLite store whole or not at all: MLflow cannot use one whose making was cut short."""
    if path.exists():
        return
    from mlflow.tracking import MlflowClient

    with locked(path.with_name(f".{path.name}.lock")):
        if not path.exists():
            with replacing(path) as temporary:
                MlflowClient(f"{SQLITE}{temporary}").search_experiments(max_results=1)


def _outages() -> tuple[type[Exception], ...]:
    from mlflow.exceptions import MlflowException
    from requests.exceptions import RequestException
    from sqlalchemy.exc import SQLAlchemyError

    return MlflowException, RequestException, SQLAlchemyError, OSError


def _dataset(name: str, fingerprint: str) -> Any:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    dataset = Dataset(name, fingerprint, source_type="local", source=json.dumps({"manifest": fingerprint}))
    return DatasetInput(dataset, [InputTag("mlflow.data.context", "pretraining and probes")])


def _source() -> dict[str, str]:
    """The program, its git commit, and who ran it."""
    found = {"mlflow.source.name": "polyview", "mlflow.source.type": "LOCAL"}
    with contextlib.suppress(OSError, KeyError):  # a container's user may have no name
        found["mlflow.user"] = getpass.getuser()
    return found | {"mlflow.source.git.commit": git_commit()}


def _legal(key: str) -> str:
    """The key with what MLflow refuses replaced by underscores: it takes words, `.-:/`, spaces, and no path tricks."""
    words = re.sub(r"[^\w.\-: /]", "_", key)[:LONGEST_KEY]
    stays = posixpath.normpath(words) == words and not words.startswith((".", "/"))
    return words if stays else re.sub(r"[./]", "_", words)


def _milliseconds(seconds: float) -> int:
    return int(seconds * 1000)
