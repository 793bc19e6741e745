from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import ray
import torch
from ray.cluster_utils import Cluster

from polyview.recipe import Experiment, Resources, with_overrides
from polyview.rendering.store import ViewStore
from polyview.trials.design import Trial
from polyview.trials.ledger import Ledger
from polyview.trials.scheduler import run_trials
from polyview.trials.spec import TrialSpec, Workplace
from polyview.trials.trial import run_trial, train_alone
from polyview.trials.views import PreparedViews


@pytest.fixture
def wider_ray(local_ray: None, wait_for: Any) -> Iterator[None]:
    """This machine's Ray with a second node, which says that it has four CPUs."""
    cluster = Cluster()
    cluster.head_node = ray._private.worker._global_node
    cpus = ray.cluster_resources()["CPU"]
    node = cluster.add_node(wait=False, num_cpus=4)
    wait_for(lambda: ray.cluster_resources()["CPU"] == cpus + 4)
    yield local_ray
    node.kill_all_processes(check_alive=False, allow_graceful=True)


@pytest.mark.slow
@pytest.mark.usefixtures("wider_ray")
def test_trials_of_two_workers_beside_each_other_learn_as_one_does_and_take_up_what_one_has_begun(
    tiny: Experiment, tiny_store: ViewStore, tmp_path: Path, told: Any, killed_after: Any
) -> None:
    one = Trial("one worker", 0, tiny)
    two = Trial("two workers", 0, with_overrides(tiny, {"training.workers": 2}))
    other = Trial("one worker", 1, with_overrides(tiny, {"seed": 1}))
    begun = Trial("two workers", 1, with_overrides(tiny, {"training.workers": 2, "seed": 1}))
    folder, views = tmp_path / "trials", PreparedViews(defaultdict(lambda: tiny_store.folder))
    torch.set_num_threads(1)
    # The first of its two epochs, and half of the second, are trained here, by one.
    training = run_trial(
        TrialSpec(begun.experiment, tiny_store.folder, folder), partial(train_alone, warned=killed_after(4))
    )
    first = next(training)
    with pytest.raises(RuntimeError, match="killed"):
        next(training)

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
