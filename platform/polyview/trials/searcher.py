"""A search on Ray Tune: Optuna asked for points by what the ledger knows, and the order and the end of trials."""

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
from polyview.trials.ledger import Ledger, Looks, Record, stopped_early
from polyview.trials.search import Points, make_study, make_trial, make_trials, objectives, values
from polyview.trials.space import Point, suggest
from polyview.trials.trial import Workplace

ATTEMPTS = 100  # to find a point that makes an experiment and was not tried yet


class LedgerSearch(Searcher):
    """Asks Optuna for points, and tells it what the ledger says of them, and what was seen of them half-way.

    Tune's own OptunaSearch knows neither what was found before where there are several objectives, nor points that
    make no experiment, nor that a point was tried already.
    """

    def __init__(
        self,
        study: Study,
        points: Points,
        records: Mapping[str, Record],
        looks: Mapping[str, Looks],
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
        asked = zip(self.points, trials, strict=True)
        self.looks = dict(looks)
        ended = {*records, *stopped_early(looks)}
        self.halted = [(point, trial) for point, trial in asked if trial.id not in ended]
        self.missing = study.search.trials - len(trials) + len(self.halted)
        self.optuna = make_study(study, self.points, records, self.looks)
        self.asked: dict[str, tuple[Any, Trial]] = {}

    def suggest(self, trial_id: str) -> dict[str, Any] | str:
        """A point that was asked for before and has no record, else a new one; FINISHED if none can be found."""
        if self.halted:
            point, trial = self.halted.pop(0)
            self.optuna.enqueue_trial(point)
            asked, _ = self._ask()
            self.asked[trial_id] = (asked, trial)
            return {"assignment": self.workplace.assignment(trial)}
        for _ in range(ATTEMPTS):
            asked, point = self._ask()
            try:
                trial = make_trial(self.study, point, len(self.points) + 1)
            except UserError:
                self.optuna.tell(asked, state=TrialState.FAIL)
                continue
            if trial.id in self.known:
                self._tell(asked, trial)
                continue
            self.points.append(point)
            self.file.write(self.points)
            self.known[trial.id] = trial
            self.asked[trial_id] = (asked, trial)
            return {"assignment": self.workplace.assignment(trial)}
        return str(Searcher.FINISHED)

    def stops(self, trial_id: str, epoch: int, score: float, seconds: float) -> bool:
        """Whether a trial whose model has this score after so many epochs should go no further; notes it.

        `seconds` is how long it has run.
        """
        asked, trial = self.asked[trial_id]
        asked.report(score, epoch)
        stopped = bool(asked.should_prune())
        before = self.looks.get(trial.id)
        seen = Looks(
            id=trial.id,
            metric=objectives(self.study)[0],
            manifest=self.workplace.views.manifest_of(trial.experiment),
            started=before.started if before else time.time() - seconds,
            ended=time.time(),
            scores={**(before.scores if before else {}), epoch: score},
            stopped=stopped,
        )
        self.looks[trial.id] = seen
        self.ledger.write_looks(seen)
        return stopped

    def on_trial_complete(self, trial_id: str, *_: Any, **__: Any) -> None:
        """Tell Optuna what has become of the trial."""
        self._tell(*self.asked.pop(trial_id))

    def _tell(self, asked: Any, trial: Trial) -> None:
        record = self.ledger.read(trial.id)
        found = values(self.study, record) if record else None
        if found is not None:
            self.optuna.tell(asked, found)
        else:
            stopped = trial.id in stopped_early(self.looks)
            self.optuna.tell(asked, state=TrialState.PRUNED if stopped else TrialState.FAIL)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """An epoch says nothing of the objectives."""

    def _ask(self) -> tuple[Any, Point]:
        assert self.study.search is not None
        asked = self.optuna.ask()
        return asked, suggest(self.study.search.space, asked)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the ledger and the points resume a search."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing was saved."""

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def __deepcopy__(self, memo: dict[int, Any]) -> LedgerSearch:
        return self  # Tune copies its searcher, and the callbacks would not see what the copy asks for


class InTurn(FIFOScheduler):
    """Leaves it to Tune's queue which trial is next.

    To choose one here would give a free actor to a trial whose own is about to start, which is then thrown away and
    started again for the trial after, and so on until the end, which waits for the last.
    """

    def choose_trial_to_run(self, tune_controller: Any) -> None:
        """None: what is asked for an actor first gets the first that is free."""


class Pruner(InTurn):
    """Stops the trials of a search that promise nothing, as its pruner says."""

    def __init__(self, searcher: LedgerSearch) -> None:
        super().__init__()
        self.searcher = searcher

    def on_trial_result(self, tune_controller: Any, trial: TuneTrial, result: dict[str, Any]) -> str:  # noqa: ARG002
        """Stop or go on, at each epoch after which the model was looked at; Tune hands results on flat."""
        if "score" not in result:
            return str(TrialScheduler.CONTINUE)
        seen = result["epoch/epoch"], result["score"], result["time_total_s"]
        return str(TrialScheduler.STOP if self.searcher.stops(trial.trial_id, *seen) else TrialScheduler.CONTINUE)

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def __deepcopy__(self, memo: dict[int, Any]) -> Pruner:
        return self  # as its searcher
