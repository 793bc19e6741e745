"""What a study would cost: counted from its plan and from how long comparable trials took, before anything runs."""

from __future__ import annotations

import statistics
from collections.abc import Container, Sequence
from dataclasses import dataclass

from polyview.analysis.outcome import Outcome
from polyview.recipe import Experiment, Study, digest
from polyview.storage.home import Home
from polyview.studies.checks import check_people, check_recipes, without_record
from polyview.studies.known_files import with_known_files
from polyview.studies.outcome import load_outcome, study_folder
from polyview.tracking.store import check_address
from polyview.trials.capacity import concurrent_trials, demand
from polyview.trials.design import BEST, Trial, plan
from polyview.trials.ledger import Ledger, Record, diverged_trials, pruned_trials
from polyview.trials.search import check_search, possible_renderings, samples, wanted
from polyview.trials.views import find_faces, views_to_render
from polyview.wording import agreeing, counted


@dataclass(frozen=True)
class Estimate:
    """What is done of a study, and what the rest would take.

    `trials` are the known ones with their state; `later` counts those that a search has yet to ask for, `undecided`
    those that are added at most while comparisons are open, which the cost leaves out. `timed` of the `missing` trials
    have comparable ones in the ledger, on which the seconds rest: `seconds` of all of them together, if each ran alone,
    of which `gpus` are occupied; `concurrent` run at once.
    """

    trials: Sequence[tuple[Trial, str]]
    later: int
    undecided: int
    missing: int
    views: int
    timed: int
    seconds: float
    gpus: float
    concurrent: int

    def lines(self) -> list[str]:
        """The estimate as lines of text."""
        done = sum(state == "done" for _, state in self.trials)
        found = [
            f"{done} of {counted(done + self.missing, 'trial')} {agreeing(done, 'is', 'are')} done",
            f"{counted(self.views, 'view has', 'views have')} to be rendered",
        ]
        if stale := sum(state.startswith("stale") for _, state in self.trials):
            found[0] += (
                f"; {counted(stale, 'has a result', 'have results')} of faces that have changed since, or that were "
                "read or drawn in another way, kept beside the new"
            )
        if self.later:
            are = agreeing(self.later, "is", "are")
            found[0] += f"; {self.later} of the others {are} of points that the search has yet to ask for"
        if self.undecided:
            further = counted(self.undecided, "further trial is", "further trials are")
            found.append(f"at most {further} added for comparisons that stay open")
        if not self.missing:
            return found
        if not self.timed:
            return [*found, "no timing yet: no comparable trial is in the ledger; the first that ends gives one"]
        hours = self.seconds / 3600
        wall = hours / self.concurrent
        cost = f"about {hours:.2g} trial-hours, {hours * self.gpus:.2g} GPU-hours, {wall:.2g} hours of wall time with "
        cost += f"{self.concurrent} at once"
        if guessed := max(self.missing - self.timed, 0):
            cost += f"; {counted(guessed, 'trial')} like none in the ledger counted as average"
        return [*found, cost]


def estimate(study: Study, home: Home) -> Estimate:
    """What a study would cost on the machines at hand; starts Ray to ask for these, and runs nothing.

    Raises `UserError` for what would stop the study: a trial that does not fit, too few people, a search's space.
    """
    from polyview.trials.scheduler import nodes

    check_address(home.tracking_uri)
    study = with_known_files(study, home, study_folder(study, home) / "report")
    if study.search:
        check_search(study)
    planned, ledger = plan(study), Ledger(home.trials)
    unrecorded = without_record([*planned, *samples(study)], ledger)
    check_recipes(unrecorded, study.resources)
    faces = find_faces([*(trial.experiment for trial in planned), *possible_renderings(study)])
    check_people(unrecorded, faces)
    views, fingerprints = views_to_render(faces, home)
    outcome = load_outcome(study, home, fingerprints)
    trials = [*outcome.trials, *outcome.searched.trials]
    searched = {trial.id for trial in outcome.searched.trials}
    ended = {
        *outcome.records,
        *pruned_trials(outcome.searched.interim_scores),
        *diverged_trials(outcome.failures) & searched,
    }
    states = [(trial, _state(trial, ended, outcome)) for trial in trials]
    missing = [trial.experiment for trial, state in states if state != "done"]
    later = _later(study, len(outcome.searched.trials), any(trial.variant == BEST for trial in trials))
    missing += [study.experiment] * later
    seconds = [one for one in _times(missing, ledger) if one is not None]
    resources = study.resources
    demands = [demand(experiment, resources) for experiment in missing or [study.experiment]]
    return Estimate(
        trials=states,
        later=later,
        undecided=max(len(planned) - len(outcome.trials), 0),
        missing=len(missing),
        views=views,
        timed=len(seconds),
        seconds=statistics.fmean(seconds) * len(missing) if seconds else 0.0,
        gpus=resources.gpus * study.experiment.training.workers,
        concurrent=min(concurrent_trials(nodes(), demands), max(len(missing), 1)),
    )


def _state(trial: Trial, ended: Container[str], outcome: Outcome) -> str:
    if trial.id in ended:
        return "done"
    if trial.id in outcome.stale:
        return "stale, to run again"
    return "failed, to run again" if trial.id in outcome.failures else "to run"


def _later(study: Study, searched: int, best_known: bool) -> int:
    if study.search is None:
        return 0
    return wanted(study) - searched + (0 if best_known else len(study.all_seeds))


def _times(experiments: Sequence[Experiment], ledger: Ledger) -> list[float | None]:
    """The seconds that each would take, from the median of comparable trials; None where there are none."""
    by_kind: dict[str, list[Record]] = {}
    for record in ledger.all():
        by_kind.setdefault(_kind(record.experiment), []).append(record)
    return [_time(experiment, by_kind.get(_kind(experiment), [])) for experiment in experiments]


def _time(experiment: Experiment, comparable: Sequence[Record]) -> float | None:
    """Training takes its time per view and epoch, or step, evaluation per view, and so does what reads the pixels."""
    views, training = experiment.rendering.views.count, experiment.training
    evaluation = [record.seconds["evaluate"] / record.experiment.rendering.views.count for record in comparable]
    each = [seconds for record in comparable if record.history for seconds in _repeated(record, bool(training.steps))]
    if not evaluation or (training.trains and not each):
        return None
    count = training.steps or training.epochs or 0
    return views * (statistics.median(evaluation) + (count * statistics.median(each) if count else 0.0))


def _repeated(record: Record, is_step: bool) -> list[float]:
    """The seconds per view that a record's epochs took in the mean, or that a step took in each of them."""
    views, batch_size = record.experiment.rendering.views.count, record.experiment.training.batch_size
    if is_step:
        return [batch_size / epoch.metrics["samples_per_second"] / views for epoch in record.history]
    return [record.seconds["train"] / (len(record.history) * views)]


def _kind(experiment: Experiment) -> str:
    """What comparable trials share: faces, size, tower, batch, workers, labels and probes."""
    training = experiment.training
    return digest(
        [
            experiment.corpus.model_dump(mode="json"),
            experiment.rendering.size,
            experiment.model.model_dump(mode="json"),
            [training.batch_size, training.workers, training.sharding, training.precision],
            experiment.language.labelled < 1,
            experiment.evaluation.model_dump(mode="json", exclude={"fold", "split_seed", "validation"}),
        ]
    )
