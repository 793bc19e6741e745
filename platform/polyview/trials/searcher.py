"""A search on Ray Tune: Optuna suggests points by what the ledger knows, trials run in order, and some are pruned."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from optuna.trial import TrialState
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from polyview.errors import UserError
from polyview.recipe import Study
from polyview.trials.design import Trial
from polyview.trials.ledger import InterimScores, Ledger, Record, diverged_trials, pruned_trials
from polyview.trials.search import (
    Points,
    make_study,
    make_trial,
    make_trials,
    objectives,
    own_point,
    untried,
    values,
)
from polyview.trials.space import Point, suggest
from polyview.trials.spec import Workplace

ATTEMPTS = 100  # to find a point that makes an experiment and was not tried yet


class LedgerSearch(Searcher):
    """Takes suggestions from Optuna, and reports to it the records and the interim scores of their trials.

    Tune's own OptunaSearch knows neither what was found before where there are several objectives, nor points that
    make no experiment, nor that a point was tried already.
    """

    def __init__(
        self,
        study: Study,
        points: Points,
        records: Mapping[str, Record],
        interim_scores: Mapping[str, InterimScores],
        workplace: Workplace,
        known: dict[str, Trial],
    ) -> None:
        super().__init__()
        assert study.search is not None
        self.study, self.file, self.workplace, self.known = study, points, workplace, known
        self.ledger = Ledger(workplace.folder)
        self.points = points.read(study.search)
        trials = make_trials(study, self.points)
        known.update({trial.id: trial for trial in trials})
        suggested = zip(self.points, trials, strict=True)
        self.interim_scores = dict(interim_scores)
        failures = self.ledger.read_failures(trial.id for trial in trials)
        ended = {*records, *pruned_trials(interim_scores), *diverged_trials(failures)}
        self.halted = [(point, trial) for point, trial in suggested if trial.id not in ended]
        self.missing = study.search.trials - len(trials) + len(self.halted)
        self.optuna = make_study(study, self.points, records, self.interim_scores)
        self.running: dict[str, tuple[Any, Trial]] = {}
        # The recipe's own values come first, so that it is known what the search has found over them.
        if not self.points and (own := own_point(study)) is not None:
            self.optuna.enqueue_trial(own)

    def suggest(self, trial_id: str) -> dict[str, Any] | str:
        """A point that was suggested before and has no record, else a new one; FINISHED if none can be found."""
        if self.halted:
            point, trial = self.halted.pop(0)
            self.optuna.enqueue_trial(point)
            suggestion, _ = self._next()
            self.running[trial_id] = (suggestion, trial)
            return {"spec": self.workplace.spec(trial)}
        for _ in range(ATTEMPTS):
            suggestion, point = self._next()
            try:
                trial = make_trial(self.study, point, len(self.points) + 1)
            except UserError:
                self.optuna.tell(suggestion, state=TrialState.FAIL)
                continue
            if trial.id in self.known:
                self._report(suggestion, trial)
                continue
            return self._run(trial_id, suggestion, trial, point)
        # A sampler that breeds points from one another may come back to the same ones for ever.
        if (other := untried(self.study, self.known)) is None:
            return str(Searcher.FINISHED)
        self.optuna.enqueue_trial(other)
        suggestion, point = self._next()
        return self._run(trial_id, suggestion, make_trial(self.study, point, len(self.points) + 1), point)

    def _run(self, trial_id: str, suggestion: Any, trial: Trial, point: Point) -> dict[str, Any]:
        """Note a new point; returns what Tune runs its trial with."""
        assert self.study.search is not None
        self.points.append(point)
        self.file.add(self.study.search, [point])
        self.known[trial.id] = trial
        self.running[trial_id] = (suggestion, trial)
        return {"spec": self.workplace.spec(trial)}

    def prunes(self, trial_id: str, epoch: int, score: float, seconds: float) -> bool:
        """Whether to prune a trial whose model has this score after so many epochs; the score is kept in the ledger.

        `seconds` is how long it has run.
        """
        suggestion, trial = self.running[trial_id]
        suggestion.report(score, epoch)
        pruned = bool(suggestion.should_prune())
        before = self.interim_scores.get(trial.id)
        scored = InterimScores(
            id=trial.id,
            metric=objectives(self.study)[0],
            manifest=self.workplace.views.manifest_of(trial.experiment),
            started=before.started if before else time.time() - seconds,
            ended=time.time(),
            scores={**(before.scores if before else {}), epoch: score},
            pruning=self.study.search.prune if self.study.search else None,
            pruned=pruned,
        )
        self.interim_scores[trial.id] = scored
        self.ledger.write_interim_scores(scored)
        return pruned

    def on_trial_complete(self, trial_id: str, *_: Any, **__: Any) -> None:
        """Report to Optuna how the trial ended."""
        self._report(*self.running.pop(trial_id))

    def _report(self, suggestion: Any, trial: Trial) -> None:
        record = self.ledger.read(trial.id)
        found = values(self.study, record) if record else None
        if found is not None:
            self.optuna.tell(suggestion, found)
        else:
            pruned = trial.id in pruned_trials(self.interim_scores)
            self.optuna.tell(suggestion, state=TrialState.PRUNED if pruned else TrialState.FAIL)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Does nothing: an epoch says nothing of the objectives."""

    def _next(self) -> tuple[Any, Point]:
        assert self.study.search is not None
        suggestion = self.optuna.ask()
        _ = suggestion.relative_params  # also of a point that is given, as `make_study` does when it goes on
        return suggestion, suggest(self.study.search.space, suggestion)

    def save(self, checkpoint_path: str) -> None:
        """Saves nothing: the ledger and the points resume a search."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing was saved."""

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def __deepcopy__(self, memo: dict[int, Any]) -> LedgerSearch:
        return self  # Tune copies its searcher, and the callbacks would not see what the copy suggests


class QueueOrder(FIFOScheduler):
    """Leaves it to Tune's queue which trial is next.

    To choose one here would give a free actor to a trial whose own is about to start, which is then thrown away and
    started again for the trial after, and so on until the end, which waits for the last.
    """

    def choose_trial_to_run(self, tune_controller: Any) -> None:
        """None, so that trials get free actors in the order in which they were queued."""


class Pruner(QueueOrder):
    """Prunes trials of a search, as Optuna's pruner decides."""

    def __init__(self, searcher: LedgerSearch) -> None:
        super().__init__()
        self.searcher = searcher

    def on_trial_result(self, tune_controller: Any, trial: TuneTrial, result: dict[str, Any]) -> str:  # noqa: ARG002
        """Stop or continue after each epoch that has an interim score; Tune passes results on flat."""
        if "score" not in result:
            return str(TrialScheduler.CONTINUE)
        scored = result["epoch/epoch"], result["score"], result["time_total_s"]
        return str(TrialScheduler.STOP if self.searcher.prunes(trial.trial_id, *scored) else TrialScheduler.CONTINUE)

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def __deepcopy__(self, memo: dict[int, Any]) -> Pruner:
        return self  # as its searcher
