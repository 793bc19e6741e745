"""A study from beginning to end: render what its trials need, run what has no record, search, report, close."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from polyview.errors import UserError
from polyview.parallel import stop_ray
from polyview.recipe import Experiment, Study
from polyview.recipe.prompts import how_many_are_read
from polyview.rendering.sheet import contact_sheet, one_of_each_expression
from polyview.reporting.report import Outcome, write
from polyview.storage.home import Home
from polyview.storage.mirror import CachedPath
from polyview.studies.checks import check_people, check_recipes, naming, only_driver, without_record
from polyview.studies.interruption import last_act
from polyview.studies.kept import save_study, variants_lost
from polyview.studies.known_files import with_known_files
from polyview.studies.known_people import known_people
from polyview.studies.outcome import (
    POINTS,
    SHEET,
    Stages,
    is_complete,
    load_outcome,
    refresh_folder,
    save_faces,
    save_links,
    stages_of,
    study_folder,
)
from polyview.studies.tracking import TrackedStudy
from polyview.tracking.store import SQLITE, check_address
from polyview.training.history import Epoch
from polyview.trials.capacity import concurrent_trials, demand
from polyview.trials.design import BEST, Trial, plan
from polyview.trials.ledger import InterimScores, Ledger, Record, TrialFailure, diverged_trials, pruned_trials
from polyview.trials.search import (
    Points,
    check_search,
    interim_scores_of,
    make_trials,
    possible_renderings,
    samples,
    wanted,
)
from polyview.trials.views import PreparedViews, find_faces, manifests_of, prepare_views
from polyview.trials.watcher import Watcher
from polyview.wording import counted

if TYPE_CHECKING:
    from polyview.trials.spec import Workplace

Known = TypeVar("Known", Record, InterimScores)


def run_stages(study: Study, home: Home, watcher: Watcher, force: str | None = None) -> tuple[Outcome, list[Failure]]:
    """Run what is missing of a study and write its report; returns what is known then, and what failed.

    Running it again is resuming: trials that have a record are not run, half-done ones go on from their last
    checkpoint. The records of the variant `force` are set aside first, so that it is run anew. Raises `UserError`
    before anything is trained if the study cannot be run as it stands. Whatever stops the trials, what is known is
    reported before it is raised again.
    """
    check_address(home.tracking_uri)
    study = with_known_files(study, home, study_folder(study, home) / "report")
    trials = plan(study)
    with ExitStack() as stack:
        stack.enter_context(only_driver(study_folder(study, home)))
        if force is not None and study.search is None:  # whose points are known only as it goes on
            _check_force(study, trials, force)
        driver = _prepare(study, trials, home, watcher)
        if force is not None:
            _set_aside(load_outcome(study, home), force, Ledger(home.trials))
        stack.enter_context(last_act(driver.tracked.tracker.abort))
        try:
            driver.tracked.open()
            driver.run_needed()
            driver.search()
            outcome = driver.report()
            driver.tracked.close(outcome)
        except BaseException as error:
            driver.end_after(error)
            raise
    return outcome, driver.failures


def _prepare(study: Study, trials: Sequence[Trial], home: Home, watcher: Watcher) -> Driver:
    """Render the study's views; raises `UserError` if the study cannot be run as it stands."""
    folder, tried = study_folder(study, home), [*trials, *samples(study)]
    refresh_folder(folder)
    if study.search:
        check_search(study)
    missing = without_record(tried, Ledger(home.trials))
    check_recipes(missing, study.resources)
    faces = find_faces([*(trial.experiment for trial in trials), *possible_renderings(study)])
    check_people(missing, faces)
    stages = stages_of(trials, folder)
    views = prepare_views(faces, home, watcher)
    if views.seconds:
        stages.record("render", views.seconds)
    if isinstance(home.root, CachedPath) and home.tracking_uri.startswith(SQLITE):
        watcher.say(
            "MLflow's store stays on this machine: SQLite cannot live in a bucket. MLFLOW_TRACKING_URI names one "
            "for all machines"
        )
    if lost := variants_lost(folder, study):
        named = ", ".join(f"“{variant}”" for variant in lost)
        watcher.say(
            f"the study {study.name} that ran before had {named} too: its report is replaced, its results "
            "stay; give one of the two another name to have both"
        )
    save_faces(folder, views.fingerprints)
    save_study(folder, study)
    driver = Driver(study, home, views, stages, watcher, TrackedStudy(study, home, views, watcher.say))
    driver.check(tried)
    driver.warn_of_emulation(tried)
    for line in _prompts_unread(trials):
        watcher.say(line)
    return driver


def _prompts_unread(trials: Sequence[Trial]) -> Iterator[str]:
    """Whose own prompts are not all read, a line for each number of them."""
    variants = dict.fromkeys((how_many_are_read(trial.experiment), trial.variant) for trial in trials)
    for told in dict.fromkeys(told for told, _ in variants if told):
        yield f"{told}: {'; '.join(variant for other, variant in variants if other == told)}"


@dataclass(frozen=True)
class Failure:
    """A trial that did not finish, the last line of its error, and where all of it is written."""

    trial: Trial
    reason: str
    log: str


@dataclass
class Driver:
    """The process that runs a study: it alone tells MLflow and the terminal what happens."""

    study: Study
    home: Home
    views: PreparedViews
    stages: Stages
    watcher: Watcher
    tracked: TrackedStudy
    failures: list[Failure] = field(default_factory=list)
    ended: int = 0

    def log_all(self, outcome: Outcome) -> None:
        """Tell MLflow of every trial that has a record, was pruned or has failed."""
        searched = outcome.searched
        interim_scores = self._of_these_faces(searched.trials, searched.interim_scores)
        for trial in [*self._log_ended(outcome.trials, {}), *self._log_ended(searched.trials, interim_scores)]:
            if trial.id in outcome.failures:
                self.tracked.failed(trial, outcome.failures[trial.id])

    def check(self, trials: Sequence[Trial]) -> None:
        """Raises `UserError` that names the first trial without a record for which the faces do not do."""
        records = self.records(trials)
        missing = [trial for trial in trials if trial.id not in records]
        if not missing:
            return
        from polyview.trials.trial import check_faces

        for trial in missing:
            with naming(trial):
                check_faces(self._workplace().spec(trial))

    def warn_of_emulation(self, trials: Sequence[Trial]) -> None:
        """Say that trials without a record ask for bf16 by name where they run on this processor, which emulates it."""
        asked = [trial for trial in trials if trial.experiment.training.precision == "bf16"]
        elsewhere = self.study.resources.gpus or os.environ.get("RAY_ADDRESS")
        if elsewhere or len(self.records(asked)) == len(asked):
            return
        from polyview.training.precision import emulation

        if slow := emulation():
            self.watcher.say(slow)

    def records(self, trials: Sequence[Trial]) -> dict[str, Record]:
        """What is known, by trial id; a record of faces that have changed since is left out."""
        return self._of_these_faces(trials, Ledger(self.home.trials).read_all(trial.id for trial in trials))

    def interim_scores(self, trials: Sequence[Trial]) -> dict[str, InterimScores]:
        """The interim scores of a search's trials, by trial id, if they are of today's faces."""
        return self._of_these_faces(trials, interim_scores_of(self.study, trials, Ledger(self.home.trials)))

    def _of_these_faces(self, trials: Sequence[Trial], found: Mapping[str, Known]) -> dict[str, Known]:
        manifests = {trial.id: manifests_of(trial.experiment, self.views.fingerprints) for trial in trials}
        return {trial_id: one for trial_id, one in found.items() if one.manifest in manifests[trial_id]}

    def run(self, trials: Sequence[Trial]) -> None:
        """Log the trials that have a record, and run the others."""
        missing = self._log_ended(trials, {})
        done = len(trials) - len(missing)
        self.watcher.say(f"trials: {len(trials)} in the study, {done} done before, {len(missing)} to run")
        if stale := Ledger(self.home.trials).read_all(trial.id for trial in missing):
            self.watcher.say(
                f"{counted(len(stale), 'result is', 'results are')} of faces that have changed since, or that were "
                "read or drawn in another way: kept, as ID.1 and so on beside what is made anew by running the trials "
                "again"
            )
        self._predict_again([trial for trial in trials if trial not in missing])
        if missing:
            # Ray takes seconds to import, which a study that finds all its trials done need not wait for.
            from polyview.trials.scheduler import run_trials

            for line in known_people(missing, self._workplace()):
                self.watcher.say(line)
            self._estimate([trial.experiment for trial in missing], missing)
            with self._stage("trials", len(missing)):
                run_trials(missing, self._workplace(), self)

    def run_needed(self) -> None:
        """Run what the study needs; if it goes on until it is decided, look after each step what it still needs."""
        tried: set[str] = set()
        while True:
            needed = [trial for trial in load_outcome(self.study, self.home).trials if trial.variant != BEST]
            further = [trial for trial in needed if trial.id not in tried]
            if not further:
                return
            if tried:
                names = ", ".join(dict.fromkeys(trial.variant for trial in further))
                seeds = min(trial.seed for trial in further)
                self.watcher.say(f"open after {counted(seeds, 'seed')}, so more are run: {names}")
            self.run(further)
            tried |= {trial.id for trial in further}

    def _predict_again(self, trials: Sequence[Trial]) -> None:
        """Make the predictions of finished trials that an earlier version did not keep, which intervals are made of."""
        kept = Ledger(self.home.trials).read_predictions(trial.id for trial in trials)
        without = [trial for trial in trials if trial.id not in kept]
        if not without:
            return
        from polyview.trials.trial import predict_again

        self.watcher.stage("predictions", len(without))
        self.watcher.say(f"predictions: {counted(len(without), 'trial')} of an earlier version, to be scored again")
        for done, trial in enumerate(without, 1):
            if reason := predict_again(self._workplace().spec(trial)):
                self.watcher.say(f"{trial.name}: no predictions could be made, as {reason}")
            self.watcher.advance(done)

    def search(self) -> None:
        """Run what the study's search lacks, if it has one, and then its best point on the study's own seeds."""
        if self.study.search is None:
            return
        self._run_points()
        best = [trial for trial in load_outcome(self.study, self.home).trials if trial.variant == BEST]
        self.run(best)

    def _run_points(self) -> None:
        """Log the points of the search that have a record or were pruned, and run the others."""
        assert self.study.search is not None
        points = Points(self._folder / POINTS)
        searched = make_trials(self.study, points.read(self.study.search))
        total, interim_scores = wanted(self.study), self.interim_scores(searched)
        diverged = diverged_trials(Ledger(self.home.trials).read_failures(trial.id for trial in searched))
        waiting = [trial for trial in self._log_ended(searched, interim_scores) if trial.id not in diverged]
        missing = total - len(searched) + len(waiting)
        self.watcher.say(f"search: {counted(total, 'point')}, {total - missing} done before, {missing} to run")
        if missing:
            from polyview.trials.scheduler import run_search

            self._estimate([self.study.experiment] * missing, samples(self.study))
            with self._stage("search", missing):
                run_search(self.study, points, self.records(searched), interim_scores, self._workplace(), self)
            if (tried := len(points.read(self.study.search))) < total:
                self.watcher.say(
                    f"search: no further point than these {tried} was found; set search.trials to {tried}, and "
                    "the best of them runs again"
                )

    def report(self) -> Outcome:
        """Write what is known: the contact sheet, MLflow's copy of it, the report; returns it."""
        self.watcher.stage("report", 1)
        store = self.views.store_of(plan(self.study)[0].experiment)
        contact_sheet(*one_of_each_expression(store), self._folder / SHEET)
        if self.tracked.tracker.returned():
            self.tracked.open()
            self.log_all(load_outcome(self.study, self.home))
        self.tracked.tracker.finish()
        save_links(self._folder, self.tracked.tracker.links)
        outcome = load_outcome(self.study, self.home)
        if is_complete(outcome):
            self.tracked.log_best_model(outcome)
        write(outcome)
        self.watcher.advance(1)
        return outcome

    def end_after(self, error: BaseException) -> None:
        """Report what is known though `error` has stopped the study, which a second error here must not hide.

        The runs in MLflow end first, and the workers: whoever ended this may not wait for the report. A terminal that
        is gone raises when something is said to it, so nothing depends on that.
        """
        failed = isinstance(error, Exception)
        self.tracked.tracker.abort("FAILED" if failed else "KILLED")
        if not failed:
            stop_ray()
            with suppress(Exception, SystemExit):
                self.watcher.say("stopping: the workers have ended, and what is known is reported")
        try:
            self.tracked.close(self.report())
        except (Exception, SystemExit) as second:
            reason = " ".join(f"{type(second).__name__}: {second}".split())
            with suppress(Exception, SystemExit):
                self.watcher.say(f"the report could not be written either: {reason}")

    @property
    def _folder(self) -> Path:
        return study_folder(self.study, self.home)

    def on_start(self, trial: Trial, started: float) -> None:
        """A trial has begun."""
        self.tracked.start(trial, started)

    def on_epoch(self, trial: Trial, epoch: Epoch) -> None:
        """A trial has trained an epoch."""
        self.watcher.epoch(trial, epoch)
        self.tracked.epoch(trial, epoch)

    def on_end(self, trial: Trial) -> None:
        """A trial has left its record."""
        self._advance(trial)
        if record := Ledger(self.home.trials).read(trial.id):
            score = record.scores.get(self.study.metric, math.nan)
            self.watcher.say(f"{trial.name}: {self.study.metric} {score:.3f}")
            self.tracked.finished(trial, record)
        elif interim := self.interim_scores([trial]).get(trial.id):
            epoch, score = max(interim.scores.items())
            self.watcher.say(f"{trial.name}: pruned after epoch {epoch}, {interim.metric} {score:.3f}")
            self.tracked.pruned(trial, interim)
        self.tracked.results_so_far()

    def on_failure(self, trial: Trial, failure: TrialFailure) -> None:
        """A trial has failed in every attempt."""
        self._advance(trial)
        Ledger(self.home.trials).write_failure(failure)
        self.failures.append(Failure(trial, failure.reason, failure.log))
        self.watcher.say(f"{trial.name}: failed {failure.tries}: {failure.reason}")
        self.tracked.failed(trial, failure)

    def on_wait(self, message: str) -> None:
        """No trial runs, for want of machines."""
        self.watcher.say(message)

    def _advance(self, trial: Trial) -> None:
        self.ended += 1
        self.watcher.advance(self.ended, trial)

    def _log_ended(self, trials: Sequence[Trial], interim_scores: Mapping[str, InterimScores]) -> list[Trial]:
        """Tell MLflow of the trials that have a record and of those pruned; returns the others."""
        records, pruned = self.records(trials), pruned_trials(interim_scores)
        for trial in trials:
            if trial.id in records:
                self.tracked.finished(trial, records[trial.id])
            elif trial.id in pruned:
                self.tracked.pruned(trial, interim_scores[trial.id])
        return [trial for trial in trials if trial.id not in records and trial.id not in pruned]

    def _estimate(self, experiments: Sequence[Experiment], examples: Sequence[Trial]) -> None:
        """Say what trials of these recipes will take, by a few steps of the first example that is trained.

        Nothing is said where trials run elsewhere or on GPUs: this process should occupy neither.
        """
        example = next((trial for trial in examples if trial.experiment.training.trains), None)
        if example is None or self.study.resources.gpus or os.environ.get("RAY_ADDRESS"):
            return
        from polyview.studies.timing import forecast
        from polyview.trials.scheduler import nodes

        self.watcher.stage("estimate", 0)
        concurrent = concurrent_trials(nodes(), [demand(one, self.study.resources) for one in experiments])
        spec = self._workplace().spec(example)
        # A recipe that fails here fails in its trial, which tells what and where, and lets the others go on.
        with suppress(Exception):
            self.watcher.say(f"estimate: {forecast(spec, experiments, self.study.resources.cpus, concurrent)}")

    def _workplace(self) -> Workplace:
        from polyview.trials.spec import Workplace

        return Workplace(self.views, self.home.trials, self.study.resources, self.study.retries)

    @contextmanager
    def _stage(self, name: str, steps: int) -> Iterator[None]:
        self.watcher.stage(name, steps)
        self.ended, started = 0, time.perf_counter()
        yield
        self.stages.record(name, time.perf_counter() - started)


def _check_force(study: Study, trials: Sequence[Trial], variant: str) -> None:
    """Raises `UserError` if none of the trials is of such a variant."""
    names = dict.fromkeys(trial.variant for trial in trials)
    if variant not in names:
        raise UserError(f"{study.name}: --force {variant!r} is no variant; there are {', '.join(names)}")


def _set_aside(outcome: Outcome, variant: str, ledger: Ledger) -> None:
    trials = [*outcome.trials, *outcome.searched.trials]
    _check_force(outcome.study, trials, variant)
    for trial in trials:
        if trial.variant == variant:
            ledger.set_aside(trial.id)
