"""Trials on Ray Tune: single-worker trials inside Tune's own reused actors, others with Ray Train nested."""

from __future__ import annotations

import logging
import os
import secrets
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import ray
import torch
import yaml
from optuna.trial import TrialState
from ray import tune
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from polyview.errors import UserError
from polyview.mirror import expanded
from polyview.modeling.towers import load_open_clip
from polyview.recipe import Pruning, Resources, Study
from polyview.rendering.pipeline import start_ray
from polyview.studies.capacity import GIB, Node, concurrent_trials, demand, launchable
from polyview.studies.design import Trial
from polyview.studies.ledger import Fault, Ledger, Looks, Record, stopped_early
from polyview.studies.search import Points, make_study, make_trial, make_trials, objectives, values
from polyview.studies.space import Point, suggest
from polyview.studies.trial import Assignment, look, run_trial, train_alone
from polyview.studies.views import PreparedViews
from polyview.training.distributed import Crew, Notices, Worker
from polyview.training.history import Epoch
from polyview.training.loop import Job

# A trial with workers of its own occupies their CPUs: were a share of one taken by what waits for them, the last
# worker would never find its place. Tune wants some resource, so it is a little memory.
WAITING = {"CPU": 0, "memory": 2**20}
LAUNCHED = Path("~/ray_bootstrap_config.yaml")  # where Ray's launcher leaves its file on a cluster's head
ATTEMPTS = 100  # to find a point that makes an experiment and was not tried yet
LAST_LINES = 12

# Relative paths stay those of the user, the records are the ledger's and the terminal is polyview's: Tune writes
# no results, prints no tables (its older output is the one that can be silenced) and leaves Ctrl-C to polyview.
os.environ.setdefault("RAY_CHDIR_TO_TRIAL_DIR", "0")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS", "0")


@dataclass(frozen=True)
class Workplace:
    """Where trials find their views and leave their records, what each may occupy, and how often it is tried again."""

    views: PreparedViews
    folder: Path
    resources: Resources
    retries: int = 1

    def assignment(self, trial: Trial) -> Assignment:
        """What a worker is told of a trial."""
        experiment = trial.experiment
        return Assignment(
            experiment, self.views.store_of(experiment), self.folder, self.views.test_store_of(experiment)
        )


class Listener(Protocol):
    """Somebody who is told, in the driver's process, how trials go."""

    def on_epoch(self, trial: Trial, epoch: Epoch) -> None:
        """A trial has trained an epoch."""

    def on_end(self, trial: Trial) -> None:
        """A trial has left its record."""

    def on_fault(self, trial: Trial, fault: Fault) -> None:
        """A trial has failed in every attempt."""


def run_trials(trials: Sequence[Trial], workplace: Workplace, listener: Listener) -> None:
    """Run trials, as many at once as fit.

    A trial that raises, or whose actor dies, is tried again from its last checkpoint, then given up; the others go
    on. Raises `UserError` before anything starts if a trial cannot fit the cluster.
    """
    concurrent = concurrent_trials(nodes(), [demand(trial.experiment, workplace.resources) for trial in trials])
    for nested in (False, True):
        chosen = [trial for trial in trials if (trial.experiment.training.workers > 1) == nested]
        if chosen:
            assignments = [workplace.assignment(trial) for trial in chosen]
            callbacks = _Callbacks({trial.id: trial for trial in chosen}, listener)
            config = tune.TuneConfig(scheduler=InTurn(), max_concurrent_trials=concurrent, reuse_actors=True)
            _fit(workplace, nested, config, callbacks, {"assignment": tune.grid_search(assignments)})


def run_search(
    study: Study,
    points: Points,
    records: Mapping[str, Record],
    looks: Mapping[str, Looks],
    workplace: Workplace,
    listener: Listener,
) -> None:
    """Run what is missing of a study's search, as many points at once as fit.

    `points` keeps what was asked for, `records` and `looks` have what is known of it by trial id.
    """
    assert study.search is not None
    concurrent = concurrent_trials(nodes(), [demand(study.experiment, workplace.resources)])
    known: dict[str, Trial] = {}
    searcher = LedgerSearch(study, points, records, looks, workplace, known)
    if not searcher.missing:
        return
    config = tune.TuneConfig(
        search_alg=searcher,
        scheduler=Pruner(searcher) if study.search.prune else InTurn(),
        num_samples=searcher.missing,
        max_concurrent_trials=concurrent,
        reuse_actors=True,
    )
    nested = study.experiment.training.workers > 1
    looking = Looking(objectives(study)[0], study.search.prune) if study.search.prune else None
    _fit(workplace, nested, config, _Callbacks(known, listener), {}, looking)


def nodes() -> list[Node]:
    """What the machines of the cluster offer, those included that it starts once they are asked for; starts Ray."""
    start_ray()
    if os.environ.get("RAY_ADDRESS") and (launched := expanded(LAUNCHED)).is_file():
        cluster = yaml.safe_load(launched.read_text())
        # Hosts that are there already are listed by address alone: what each has is known once it has joined.
        if all(kind["resources"] for kind in cluster["available_node_types"].values()):
            return launchable(cluster)
    return [Node.of(node["Resources"]) for node in ray.nodes() if node["Alive"]]


def _fit(
    workplace: Workplace,
    nested: bool,
    config: tune.TuneConfig,
    callbacks: _Callbacks,
    space: dict[str, Any],
    looking: Looking | None = None,
) -> None:
    # What fails is told by `Fault`, in a line and not in Tune's traceback.
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    resources = workplace.resources
    actor = tune.with_parameters(TrialActor, resources=resources, looking=looking)
    alone = {"CPU": resources.cpus, "GPU": resources.gpus, "memory": (resources.memory or 0) * GIB}
    tuner = tune.Tuner(
        tune.with_resources(actor, WAITING if nested else alone),
        param_space=space,
        tune_config=config,
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(workplace.folder.parent / "ray"),
            failure_config=tune.FailureConfig(max_failures=workplace.retries),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            callbacks=[callbacks],
            verbose=0,
        ),
    )
    tuner.fit()


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


@dataclass(frozen=True)
class Looking:
    """When a half-trained model is asked for its score, and for which."""

    metric: str
    prune: Pruning

    def score(self, epoch: Epoch, assignment: Assignment) -> dict[str, float]:
        """The score, if this is an epoch to look after and the recipe makes such a score."""
        last = assignment.experiment.training.epochs
        if epoch.epoch % self.prune.every or epoch.epoch == last:
            return {}
        found = look(assignment, self.metric)
        return {} if found is None else {"score": found}


class TrialActor(tune.Trainable):
    """Runs one trial after another, with a crew of workers if it needs several; a step of Tune is one epoch."""

    def setup(self, config: dict[str, Any], resources: Resources, looking: Looking | None) -> None:
        self.resources, self.looking = resources, looking
        self.crew: Crew | None = None
        torch.set_num_threads(resources.cpus)
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.assignment: Assignment = new_config["assignment"]
        nested = self.assignment.experiment.training.workers > 1
        train = (
            partial(self._train_with_crew, folder=self.assignment.trials.parent / "ray")
            if nested
            else partial(train_alone, warned=Notices({ray.get_runtime_context().get_node_id()}))
        )
        self.epochs: Generator[Epoch] = run_trial(self.assignment, train)
        return True

    def cleanup(self) -> None:
        """Let the crew go, from a job that was stopped early as well."""
        self.epochs.close()
        self._dismiss()

    def _dismiss(self) -> None:
        if self.crew is not None:
            self.crew.dismiss()
            self.crew = None

    def _train_with_crew(self, job: Job, folder: Path) -> Iterator[Epoch]:
        size = job.experiment.training.workers
        if self.crew is None or self.crew.size != size:
            self._dismiss()
            worker = Worker(self.resources.cpus, self.resources.gpus, (self.resources.memory or 0) * GIB)
            self.crew = Crew(size, worker, folder / f"crew-{secrets.token_hex(4)}")
            load_open_clip()  # which takes a second, while the workers start
        yield from self.crew.train(job)

    def step(self) -> dict[str, Any]:
        epoch = next(self.epochs, None)
        if epoch is None:
            return {"done": True}
        seen = self.looking.score(epoch, self.assignment) if self.looking else {}
        return {"epoch": epoch.model_dump(), "done": False, **seen}


class _Callbacks(tune.Callback):
    def __init__(self, trials: Mapping[str, Trial], listener: Listener) -> None:
        self.trials, self.listener = trials, listener
        self.started: dict[str, float] = {}

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles its callbacks to resume by itself; here the ledger does that, and a terminal has no pickle.
        return {}

    def on_trial_start(self, *, trial: TuneTrial, **_: Any) -> None:
        self.started.setdefault(trial.trial_id, time.time())

    def on_trial_result(self, *, trial: TuneTrial, result: dict[str, Any], **_: Any) -> None:
        if "epoch" in result:
            self.listener.on_epoch(self._ours(trial), Epoch.model_validate(result["epoch"]))

    def on_trial_complete(self, *, trial: TuneTrial, **_: Any) -> None:
        self.listener.on_end(self._ours(trial))

    def on_trial_error(self, *, trial: TuneTrial, **_: Any) -> None:
        # Not `trial.get_error()`: it looks where the file is copied to later, which is where a user finds it then.
        file, ours, now = Path(trial.error_file), self._ours(trial), time.time()
        lines = [line for line in file.read_text().splitlines() if line.strip()]
        fault = Fault(
            id=ours.id,
            started=self.started.get(trial.trial_id, now),
            ended=now,
            attempts=trial.num_failures,
            reason=lines[-1],
            log=str(Path(trial.path, file.name)),
            last_lines=tuple(lines[-LAST_LINES:]),
        )
        self.listener.on_fault(ours, fault)

    def _ours(self, trial: TuneTrial) -> Trial:
        return self.trials[trial.config["assignment"].experiment.digest]
