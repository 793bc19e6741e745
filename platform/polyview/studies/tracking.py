"""What MLflow is told of a study, and when."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from polyview.analysis.outcome import finished
from polyview.errors import UserError
from polyview.recipe import Study
from polyview.reporting.report import Outcome, markdown
from polyview.storage.home import Home
from polyview.studies.outcome import is_complete, load_outcome, mean_scores, study_folder
from polyview.tracking import pages
from polyview.tracking.runs import (
    Point,
    StudyRun,
    VariantRun,
    failed_run,
    finished_run,
    pruned_run,
    started_run,
    study_tags,
    variant_results,
    variant_runs,
)
from polyview.tracking.tracker import Tracker
from polyview.training.history import Epoch
from polyview.trials.design import BEST, Trial, baselines, plan
from polyview.trials.ledger import InterimScores, Record, TrialFailure
from polyview.trials.views import PreparedViews

BUSY = 0.02  # the share of a study's time that may go into what its variants say so far


class TrackedStudy:
    """Tells MLflow of one study as it runs; nothing here waits for MLflow but `open`, `log_best_model` and `close`."""

    def __init__(self, study: Study, home: Home, views: PreparedViews, say: Callable[[str], None]) -> None:
        self.study, self.home, self.views, self.say = study, home, views, say
        self.tracker = Tracker(home, study.name, say)
        self._next_results = 0.0

    def open(self) -> None:
        """Open the study's run, and those of its variants."""
        experiment = self.study.experiment
        variants = variant_runs(self.study, plan(self.study))
        if self.study.search:
            tags = {"order": f"{len(variants):04d}", "varied": "the best point of the search"}
            variants.append(VariantRun(BEST, tags=tags))
        self.tracker.open(
            StudyRun(
                digest=experiment.digest,
                params=experiment.model_dump(mode="json"),
                tags=study_tags(self.study),
                variants=variants,
                views=pages.views(self.study.metric, experiment.objective.terms),
                lock=str(study_folder(self.study, self.home) / "lock"),
            )
        )

    def start(self, trial: Trial, started: float) -> None:
        """A trial begins."""
        self.tracker.start(started_run(trial, started))

    def epoch(self, trial: Trial, epoch: Epoch) -> None:
        """A trial has trained an epoch."""
        self.tracker.epoch(trial.id, Point(epoch.epoch, epoch.ended, epoch.metrics))

    def finished(self, trial: Trial, record: Record) -> None:
        """A trial has left its record."""
        self.tracker.log(finished_run(trial, record, self.views.shown))

    def pruned(self, trial: Trial, interim: InterimScores) -> None:
        """A search has pruned a point."""
        self.tracker.log(pruned_run(trial, interim))

    def failed(self, trial: Trial, failure: TrialFailure) -> None:
        """A trial has failed."""
        self.tracker.log(failed_run(trial, failure))

    def results_so_far(self) -> None:
        """What the variants say so far, if it does not take too much of the study's time."""
        started = time.monotonic()
        if started < self._next_results:
            return
        self.tracker.results(variant_results(load_outcome(self.study, self.home)))
        ended = time.monotonic()
        self._next_results = ended + (ended - started) / BUSY

    def log_best_model(self, outcome: Outcome) -> None:
        """Keep a model in MLflow: the search's best, else the baseline, of the first seed.

        To take the trial with the highest test score would be a choice made on the test subjects.
        """
        baseline = next(iter(baselines(self.study).values()))
        trained = [one for one in finished(outcome, BEST) or finished(outcome, baseline) if one[1].history]
        if not trained:
            return
        trial, record = trained[0]
        try:
            self.tracker.log_model(finished_run(trial, record), partial(self._export, trial))
        except (UserError, OSError) as error:
            self.say(f"{trial.name}: its model is not kept in MLflow: {error}")

    def _export(self, trial: Trial, folder: Path) -> None:
        # torch and open_clip take seconds to import, which a study that has its model there need not wait for.
        from polyview.tracking.served import save_model
        from polyview.trials.spec import TrialSpec

        other = self.views.test_store_of(trial.experiment)
        save_model(TrialSpec(trial.experiment, self.views.store_of(trial.experiment), self.home.trials, other), folder)

    def close(self, outcome: Outcome) -> None:
        """Tell what the variants say, and end the study's run, which would seem to go on for ever."""
        ended = max((record.ended for record in outcome.records.values()), default=time.time())
        self.tracker.results(variant_results(outcome))
        report = study_folder(self.study, self.home) / "report"
        self.tracker.close(mean_scores(outcome), ended, report, not is_complete(outcome), markdown(outcome))
