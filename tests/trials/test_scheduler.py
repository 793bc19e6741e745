from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from polyview.recipe import Experiment, Resources, with_overrides
from polyview.rendering.store import ViewStore
from polyview.training.history import Epoch
from polyview.trials.design import Trial
from polyview.trials.ledger import Ledger, TrialFailure
from polyview.trials.scheduler import run_trials
from polyview.trials.trial import TrialSpec, Workplace, run_trial, train_alone
from polyview.trials.views import PreparedViews


@dataclass
class Told:
    """Remembers how trials went."""

    epochs: list[tuple[str, int]] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def on_epoch(self, trial: Trial, epoch: Epoch) -> None:
        """Note the trial's epoch."""
        self.epochs.append((trial.name, epoch.epoch))

    def on_end(self, trial: Trial) -> None:
        """Note the trial."""
        self.ended.append(trial.name)

    def on_failure(self, trial: Trial, failure: TrialFailure) -> None:
        """Note the failure."""
        self.failures.append(f"{trial.name}: {failure.reason}")


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_two_workers_under_ray_train_learn_as_one_does_and_take_up_what_one_has_begun(
    tiny: Experiment, tiny_store: ViewStore, tmp_path: Path, killed_after: Any
) -> None:
    one = Trial("one worker", 0, tiny)
    two = Trial("two workers", 0, with_overrides(tiny, {"training.workers": 2}))
    other = Trial("one worker", 1, with_overrides(tiny, {"seed": 1}))
    begun = Trial("two workers", 1, with_overrides(tiny, {"training.workers": 2, "seed": 1}))
    folder, views = tmp_path / "trials", PreparedViews(defaultdict(lambda: tiny_store.folder))
    torch.set_num_threads(1)
    # The first of its two epochs, and half of the second, are trained here, by one.
    training = run_trial(
        TrialSpec(begun.experiment, tiny_store.folder, folder), partial(train_alone, warned=killed_after(3))
    )
    first = next(training)
    with pytest.raises(RuntimeError, match="killed"):
        next(training)

    told = Told()
    # By any number of workers it is the same trial, so that of one needs a ledger of its own.
    run_trials([one, other], Workplace(views, tmp_path / "alone", Resources()), told)
    run_trials([two, begun], Workplace(views, folder, Resources()), told)
    assert told.failures == []
    assert sorted(told.ended) == sorted(trial.name for trial in (one, other, two, begun))
    alone, undisturbed = (Ledger(tmp_path / "alone").read(trial.id) for trial in (one, other))
    together, resumed = (Ledger(folder).read(trial.id) for trial in (two, begun))
    assert alone is not None
    assert together is not None
    assert undisturbed is not None
    assert resumed is not None
    assert [epoch.epoch for epoch in together.history] == [1, 2]
    for term in ("loss", "decorrelation", "alignment", "redundancy"):
        expected = alone.history[0].metrics[term]
        assert together.history[0].metrics[term] == pytest.approx(expected, rel=1e-3)
        expected = undisturbed.history[1].metrics[term]
        assert resumed.history[1].metrics[term] == pytest.approx(expected, rel=1e-3)
    assert set(together.scores) == set(alone.scores)
    assert resumed.history[0] == first
    assert [epoch.epoch for epoch in resumed.history] == [1, 2]
    assert sorted(told.epochs) == [
        ("one worker · seed 0", 1),
        ("one worker · seed 0", 2),
        ("one worker · seed 1", 1),
        ("one worker · seed 1", 2),
        ("two workers · seed 0", 1),
        ("two workers · seed 0", 2),
        ("two workers · seed 1", 2),
    ]
