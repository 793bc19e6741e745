from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from polyview.recipe import Experiment, Resources, with_overrides
from polyview.rendering.store import ViewStore
from polyview.studies.design import Trial
from polyview.studies.ledger import Ledger
from polyview.studies.scheduler import run_trials
from polyview.studies.trial import Assignment, run_trial


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_two_workers_under_ray_train_learn_as_one_does_and_take_up_what_one_has_begun(
    tiny: Experiment, tiny_store: ViewStore, tmp_path: Path, listener: Any
) -> None:
    one = Trial("one worker", 0, tiny)
    two = Trial("two workers", 0, with_overrides(tiny, {"training.workers": 2}))
    begun = Trial("two workers", 1, with_overrides(tiny, {"training.workers": 2, "seed": 1}))
    trials = [one, two, begun]
    folder = tmp_path / "trials"
    torch.set_num_threads(1)
    # The first of its two epochs is trained here, by one.
    first = next(run_trial(Assignment(begun.experiment, tiny_store.folder, folder)))

    ended: list[str] = []
    stores = {trial.id: tiny_store.folder for trial in trials}
    failures = run_trials(trials, stores, folder, Resources(), listener.epoch, lambda trial: ended.append(trial.name))
    assert failures == []
    assert sorted(ended) == sorted(trial.name for trial in trials)
    ledger = Ledger(folder)
    alone, together, resumed = (ledger.read(trial.id) for trial in trials)
    assert alone is not None
    assert together is not None
    assert resumed is not None
    assert [epoch.epoch for epoch in together.history] == [1, 2]
    for term in ("loss", "decorrelation", "alignment", "redundancy"):
        expected = alone.history[0].metrics[term]
        assert together.history[0].metrics[term] == pytest.approx(expected, rel=1e-3)
    assert set(together.scores) == set(alone.scores)
    assert resumed.history[0] == first
    assert [epoch.epoch for epoch in resumed.history] == [1, 2]
    assert sorted(listener.epochs) == [
        ("one worker · seed 0", 1),
        ("one worker · seed 0", 2),
        ("two workers · seed 0", 1),
        ("two workers · seed 0", 2),
        ("two workers · seed 1", 2),
    ]
