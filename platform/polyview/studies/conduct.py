"""Conducting a study: render what its trials need once, run what has no record, log and report what is known."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, TypeVar

from polyview.errors import UserError
from polyview.mirror import Mirrored, refresh
from polyview.paths import Home, locked, replacing
from polyview.recipe import Experiment, Resources, Study
from polyview.rendering.pipeline import stop_ray
from polyview.rendering.sheet import contact_sheet
from polyview.rendering.store import ViewStore
from polyview.studies.capacity import concurrent_trials, demand
from polyview.studies.design import Trial, plan
from polyview.studies.findings import Searched, finished, scores
from polyview.studies.interruption import last_act
from polyview.studies.ledger import Fault, Ledger, Looks, Record, stopped_early
from polyview.studies.report import Outcome, write
from polyview.studies.runs import failed_run, finished_run, stopped_run, study_tags
from polyview.studies.search import (
    BEST,
    Points,
    best_trials,
    check_search,
    looks_of,
    make_trials,
    possible_renderings,
    samples,
    wanted,
)
from polyview.studies.views import PreparedViews, prepare_views
from polyview.studies.watcher import Watcher
from polyview.tracking import SQLITE, Tracker
from polyview.training.history import Epoch

if TYPE_CHECKING:
    from polyview.studies.scheduler import Workplace

Known = TypeVar("Known", Record, Looks)
POINTS, LINKS, STAGES, SHEET = "points.json", "links.json", "stages.json", "views.png"


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


def conduct(study: Study, home: Home, watcher: Watcher, force: str | None = None) -> tuple[Outcome, list[Failure]]:
    """Run what is missing of a study and write its report; returns what is known then, and what failed.

    Running it again is resuming: trials that have a record are not run, half-done ones go on from their last
    checkpoint. The records of the variant `force` are set aside first, so that it is run anew. Raises `UserError`
    before anything is trained if the study cannot be run as it stands.
    """
    trials = plan(study)
    folder, ledger = study_folder(study, home), Ledger(home.trials)
    with ExitStack() as stack:
        stack.enter_context(_only_driver(folder))
        _fetch(folder)
        if study.search:
            check_search(study)
        check_recipes([*trials, *samples(study)], ledger, study.resources)
        stages = Stages(folder / STAGES)
        views = prepare_views([*(trial.experiment for trial in trials), *possible_renderings(study)], home, watcher)
        if views.seconds:
            stages.record("render", views.seconds)
        if isinstance(home.root, Mirrored) and home.tracking_uri.startswith(SQLITE):
            watcher.say(
                "MLflow's store stays on this machine: SQLite cannot live in a bucket. MLFLOW_TRACKING_URI names one "
                "for all machines"
            )
        tracker = Tracker(home, study.name, watcher.say)
        driver = Driver(study, home, views, stages, watcher, tracker)
        driver.check([*trials, *samples(study)])
        if force is not None:
            _set_aside(known(study, home), force, ledger)
        driver.open()
        stack.enter_context(last_act(tracker.interrupt))
        try:
            driver.run(trials)
            if study.search:
                driver.search()
                driver.run([trial for trial in known(study, home).trials if trial.variant == BEST])
        except KeyboardInterrupt:
            # First of all, for who ended this may not wait until the report is written.
            watcher.say("stopping: the workers end, and what is known is reported")
            tracker.interrupt()
            stop_ray()
            raise
        finally:
            # Whatever stopped it, what is known is reported, and MLflow keeps no run that seems to go on.
            watcher.stage("report", 1)
            contact_sheet(*_one_of_each_expression(views.store_of(trials[0].experiment)), folder / SHEET)
            if tracker.returned():
                driver.open()
                driver.log_all(known(study, home))
            _keep_links(folder / LINKS, tracker.links)
            outcome = known(study, home)
            if _is_whole(outcome):
                driver.log_best_model(outcome)
            write(outcome)
            watcher.advance(1)
            ended = max((record.ended for record in outcome.records.values()), default=time.time())
            tracker.close(_summary(outcome), ended, folder / "report", failed=not _is_whole(outcome))
    return outcome, driver.failures


def known(study: Study, home: Home) -> Outcome:
    """What the ledger knows of a study; nothing is run."""
    trials, folder, ledger = plan(study), study_folder(study, home), Ledger(home.trials)
    _fetch(folder)
    sheet = folder / SHEET
    points = Points(folder / POINTS).read(study.search) if study.search else []
    searched = make_trials(study, points)
    records = ledger.read_all(trial.id for trial in [*trials, *searched])
    # Until the search is over, another point may yet be the best.
    again = best_trials(study, points, records) if len(points) >= wanted(study) else []
    records |= ledger.read_all(trial.id for trial in again)
    trials = [*trials, *again]
    embeddings = [ledger.embeddings(trial.id) for trial in trials if trial.variant == study.baseline]
    return Outcome(
        study,
        trials,
        records,
        Stages(folder / STAGES).seconds,
        sheet if sheet.exists() else None,
        home.tracking_uri,
        folder,
        ledger.read_faults(trial.id for trial in [*trials, *searched]),
        Searched(points, searched, looks_of(study, searched, ledger)),
        _first_there(embeddings),
        _links(folder / LINKS),
    )


@dataclass(frozen=True)
class Failure:
    """A trial that did not finish, the last line of its error, and where all of it is written."""

    trial: Trial
    reason: str
    log: str


@dataclass
class Driver:
    """The process that conducts a study: it alone tells MLflow and the terminal what happens."""

    study: Study
    home: Home
    views: PreparedViews
    stages: Stages
    watcher: Watcher
    tracker: Tracker
    failures: list[Failure] = field(default_factory=list)
    ended: int = 0

    def open(self) -> None:
        """Open the study's run in MLflow."""
        experiment = self.study.experiment
        self.tracker.open(experiment.digest, experiment.model_dump(mode="json"), study_tags(self.study))

    def log_all(self, outcome: Outcome) -> None:
        """Tell MLflow of every trial that has a record, was stopped early or has failed."""
        searched = outcome.searched
        looks = self._of_these_faces(searched.trials, searched.looks)
        for trial in [*self._log_ended(outcome.trials, {}), *self._log_ended(searched.trials, looks)]:
            if trial.id in outcome.faults:
                self.tracker.log(failed_run(trial, outcome.faults[trial.id]))

    def log_best_model(self, outcome: Outcome) -> None:
        """Keep, in MLflow, the model of the trial with the study's highest score, for open_clip to load."""
        metric = self.study.metric
        trained = [one for one in finished(outcome) if one[1].history and metric in one[1].scores]
        if not trained:
            return
        trial, record = max(trained, key=lambda one: one[1].scores[metric])
        try:
            self.tracker.log_model(finished_run(trial, record), partial(self._export, trial))
        except (UserError, OSError) as error:
            self.watcher.say(f"{trial.name}: its model is not kept in MLflow: {error}")

    def _export(self, trial: Trial, folder: Path) -> None:
        # torch and open_clip take seconds to import, which a study that has its model there need not wait for.
        from polyview.modeling.export import export_towers
        from polyview.training.checkpoint import open_checkpoint

        checkpoint = open_checkpoint(self.home.trials / trial.id)
        export_towers(checkpoint.load_model(), checkpoint.experiment, folder)

    def check(self, trials: Sequence[Trial]) -> None:
        """Raises `UserError` that names the first trial without a record for which the faces do not do."""
        records = self.records(trials)
        missing = [trial for trial in trials if trial.id not in records]
        if not missing:
            return
        from polyview.studies.trial import check_faces

        for trial in missing:
            with naming(trial):
                check_faces(self._workplace().assignment(trial))

    def records(self, trials: Sequence[Trial]) -> dict[str, Record]:
        """What is known, by trial id; a record of faces that have changed since says nothing of those there are now."""
        return self._of_these_faces(trials, Ledger(self.home.trials).read_all(trial.id for trial in trials))

    def looks(self, trials: Sequence[Trial]) -> dict[str, Looks]:
        """What was seen of a search's trials before their end, by trial id, of the faces that there are now."""
        return self._of_these_faces(trials, looks_of(self.study, trials, Ledger(self.home.trials)))

    def _of_these_faces(self, trials: Sequence[Trial], found: Mapping[str, Known]) -> dict[str, Known]:
        manifests = {trial.id: self.views.manifest_of(trial.experiment) for trial in trials}
        return {trial_id: one for trial_id, one in found.items() if one.manifest == manifests[trial_id]}

    def run(self, trials: Sequence[Trial]) -> None:
        """Log the trials that have a record, and run the others."""
        missing = self._log_ended(trials, {})
        done = len(trials) - len(missing)
        self.watcher.say(f"trials: {len(trials)} in the study, {done} done before, {len(missing)} to run")
        if missing:
            # Ray takes seconds to import, which a study that finds all its trials done need not wait for.
            from polyview.studies.scheduler import run_trials

            self._estimate([trial.experiment for trial in missing], missing)
            with self._stage("trials", len(missing)):
                run_trials(missing, self._workplace(), self)

    def search(self) -> None:
        """Log the points of the search that have a record or were stopped, and run what it lacks."""
        assert self.study.search is not None
        points = Points(study_folder(self.study, self.home) / POINTS)
        asked = make_trials(self.study, points.read(self.study.search))
        total, looks = wanted(self.study), self.looks(asked)
        missing = total - len(asked) + len(self._log_ended(asked, looks))
        self.watcher.say(f"search: {total} points, {total - missing} done before, {missing} to run")
        if missing:
            from polyview.studies.scheduler import run_search

            self._estimate([self.study.experiment] * missing, samples(self.study))
            with self._stage("search", missing):
                run_search(self.study, points, self.records(asked), looks, self._workplace(), self)

    def on_epoch(self, trial: Trial, epoch: Epoch) -> None:
        """A trial has trained an epoch."""
        self.watcher.epoch(trial, epoch)

    def on_end(self, trial: Trial) -> None:
        """A trial has left its record."""
        self._advance()
        if record := Ledger(self.home.trials).read(trial.id):
            score = record.scores.get(self.study.metric, math.nan)
            self.watcher.say(f"{trial.name}: {self.study.metric} {score:.3f}")
            self.tracker.log(finished_run(trial, record))
        elif seen := self.looks([trial]).get(trial.id):
            epoch, score = max(seen.scores.items())
            self.watcher.say(f"{trial.name}: stopped after {epoch} epochs, {seen.metric} {score:.3f}")
            self.tracker.log(stopped_run(trial, seen))

    def on_fault(self, trial: Trial, fault: Fault) -> None:
        """A trial has failed in every attempt."""
        self._advance()
        Ledger(self.home.trials).write_fault(fault)
        self.failures.append(Failure(trial, fault.reason, fault.log))
        self.watcher.say(f"{trial.name}: failed after {fault.attempts} attempts: {fault.reason}")
        self.tracker.log(failed_run(trial, fault))

    def _advance(self) -> None:
        self.ended += 1
        self.watcher.advance(self.ended)

    def _log_ended(self, trials: Sequence[Trial], looks: Mapping[str, Looks]) -> list[Trial]:
        """Tell MLflow of the trials that have a record and of those stopped early; returns the others."""
        records, stopped = self.records(trials), stopped_early(looks)
        for trial in trials:
            if trial.id in records:
                self.tracker.log(finished_run(trial, records[trial.id]))
            elif trial.id in stopped:
                self.tracker.log(stopped_run(trial, looks[trial.id]))
        return [trial for trial in trials if trial.id not in records and trial.id not in stopped]

    def _estimate(self, experiments: Sequence[Experiment], examples: Sequence[Trial]) -> None:
        """Say what trials of these recipes will take, by a few steps of the first example that is trained.

        Nothing is said where trials run elsewhere or on GPUs: this process should occupy neither.
        """
        example = next((trial for trial in examples if trial.experiment.training.epochs), None)
        if example is None or self.study.resources.gpus or os.environ.get("RAY_ADDRESS"):
            return
        from polyview.studies.scheduler import nodes
        from polyview.studies.timing import forecast
        from polyview.training.precision import emulation

        if slow := emulation(example.experiment.training.precision):
            self.watcher.say(slow)
        self.watcher.stage("estimate", 0)
        concurrent = concurrent_trials(nodes(), [demand(one, self.study.resources) for one in experiments])
        assignment = self._workplace().assignment(example)
        # A recipe that fails here fails in its trial, which tells what and where, and lets the others go on.
        with suppress(Exception):
            self.watcher.say(f"estimate: {forecast(assignment, experiments, self.study.resources.cpus, concurrent)}")

    def _workplace(self) -> Workplace:
        from polyview.studies.scheduler import Workplace

        return Workplace(self.views, self.home.trials, self.study.resources, self.study.retries)

    @contextmanager
    def _stage(self, name: str, steps: int) -> Iterator[None]:
        self.watcher.stage(name, steps)
        self.ended, started = 0, time.perf_counter()
        yield
        self.stages.record(name, time.perf_counter() - started)


def check_recipes(trials: Sequence[Trial], ledger: Ledger, resources: Resources) -> None:
    """Raises `UserError` that names the first trial without a record whose recipe no faces could make run here."""
    records = ledger.read_all(trial.id for trial in trials)
    missing = [trial for trial in trials if trial.id not in records]
    if not missing:
        return
    # torch and Ray take seconds to import, which a study that finds all its trials done need not wait for.
    from polyview.studies.scheduler import nodes
    from polyview.studies.trial import check_recipe

    for trial in missing:
        with naming(trial):
            check_recipe(trial.experiment)
    concurrent_trials(nodes(), [demand(trial.experiment, resources) for trial in missing])


@contextmanager
def naming(trial: Trial) -> Iterator[None]:
    """Says in a `UserError` which trial it is about."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{trial.name}: {error}") from None


def _fetch(folder: Path) -> None:
    """Have here what a study remembers beside its records."""
    refresh(folder / name for name in (POINTS, LINKS, STAGES, SHEET))


def _first_there(paths: Iterable[Path]) -> Path | None:
    for path in paths:
        refresh([path])
        if path.exists():
            return path
    return None


def _links(path: Path) -> dict[str, str]:
    found: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    return found


def _keep_links(path: Path, links: dict[str, str]) -> None:
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(_links(path) | links))


def _set_aside(outcome: Outcome, variant: str, ledger: Ledger) -> None:
    trials = [*outcome.trials, *outcome.searched.trials]
    names = dict.fromkeys(trial.variant for trial in trials)
    if variant not in names:
        raise UserError(f"{outcome.study.name}: --force {variant!r} is no variant; there are {', '.join(names)}")
    for trial in trials:
        if trial.variant == variant:
            ledger.set_aside(trial.id)


@contextmanager
def _only_driver(folder: Path) -> Iterator[None]:
    """Hold the study for this process; raises `UserError` if another conducts it now."""
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(folder / "lock", wait=False))
        except BlockingIOError:
            raise UserError(
                f"{folder.name}: another polyview is conducting this study; wait for it, or stop it"
            ) from None
        yield


def _summary(outcome: Outcome) -> dict[str, float]:
    """The mean of the study's metric over the seeds of each variant."""
    metric = outcome.study.metric
    by_variant = scores(outcome, metric)
    return {f"{name}/{metric}": fmean(by_seed.values()) for name, by_seed in by_variant.items() if by_seed}


def _is_whole(outcome: Outcome) -> bool:
    """Whether every trial that the study asks for, those of its search included, has a record."""
    searched = outcome.searched
    ended = {*outcome.records, *stopped_early(searched.looks)}
    trials = [*outcome.trials, *searched.trials]
    return len(searched.trials) == wanted(outcome.study) and all(trial.id in ended for trial in trials)


def _one_of_each_expression(store: Path) -> tuple[ViewStore, list[int]]:
    views = ViewStore.open(store)
    first = {label: row for row, label in reversed(list(enumerate(views.labels("expression"))))}
    return views, [first[label] for label in sorted(first)]
