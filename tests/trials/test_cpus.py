from __future__ import annotations

import subprocess
import sys
import threading
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from polyview.recipe import Experiment, Resources
from polyview.rendering.store import ViewStore
from polyview.storage.home import locked
from polyview.trials.cpus import CpuShare, count_held
from polyview.trials.design import Trial
from polyview.trials.ledger import LOCK
from polyview.trials.scheduler import run_trials
from polyview.trials.spec import TrialSpec, Workplace
from polyview.trials.trainable import TRIAL, TrialActor
from polyview.trials.trial import run_trial
from polyview.trials.views import PreparedViews


def test_a_cpu_is_one_trials_at_a_time(tmp_path: Path) -> None:
    one, other = CpuShare(2, 3, tmp_path), CpuShare(2, 3, tmp_path)
    assert one.acquire(0)
    assert count_held(tmp_path) == 2
    assert not other.acquire(0)
    one.release()
    assert other.acquire(0)
    assert count_held(tmp_path) == 2
    other.release()
    assert count_held(tmp_path) == 0


def test_who_waits_longest_is_next_though_others_ask_for_less(tmp_path: Path) -> None:
    held = [CpuShare(1, 2, tmp_path) for _ in range(2)]
    assert all(one.acquire(0) for one in held)
    large, small = CpuShare(2, 2, tmp_path), CpuShare(1, 2, tmp_path)
    assert not large.acquire(0)
    held[0].release()
    assert not small.acquire(0)
    assert not large.acquire(0)
    held[1].release()
    assert not small.acquire(0)
    assert large.acquire(0)
    large.release()
    assert small.acquire(0)


def test_more_than_there_are_is_all_of_them(tmp_path: Path) -> None:
    greedy = CpuShare(16, 2, tmp_path)
    assert greedy.acquire(0)
    assert count_held(tmp_path) == 2


def test_where_no_file_can_be_made_nobody_waits(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "led").symlink_to(tmp_path / "other")
    assert CpuShare(1, 1, tmp_path / "led").acquire(0)
    assert [*(tmp_path / "other").iterdir()] == []
    (tmp_path / "taken").write_text("")
    assert CpuShare(1, 1, tmp_path / "taken").acquire(0)
    assert CpuShare(1, 1, tmp_path / "taken").acquire(0)


def test_a_process_that_dies_lets_go(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from polyview.trials.cpus import CpuShare; "
        "share = CpuShare(2, 2, Path(sys.argv[1])); print(share.acquire(0), flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "True\n"
    waiting = CpuShare(1, 2, tmp_path)
    assert not waiting.acquire(0)
    holder.kill()
    holder.communicate()
    assert waiting.acquire(0)


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_a_study_says_that_it_waits_for_the_trials_of_another_and_runs_after_them(
    tiny: Experiment, tiny_store: ViewStore, tmp_path: Path, told: Any, wait_for: Any
) -> None:
    import ray

    total = int(ray.cluster_resources()["CPU"])
    another = CpuShare(total, total)
    assert another.acquire(300)  # other tests may hold them
    workplace = Workplace(PreparedViews(defaultdict(lambda: tiny_store.folder)), tmp_path / "trials", Resources())
    study = threading.Thread(target=run_trials, args=([Trial("full", 0, tiny)], workplace, told))
    study.start()
    try:
        wait_for(lambda: told.waits)
        assert told.epochs == []
    finally:
        another.release()
        study.join()
    assert told.failures == []
    assert told.ended == ["full · seed 0"]
    assert told.waits == [
        "waiting for CPUs: other studies of yours on this machine have them; they are shared trial by trial"
    ]


def test_a_trial_that_another_study_took_up_while_cpus_were_awaited_holds_none(
    tiny: Experiment, tmp_path: Path
) -> None:
    lock = tmp_path / tiny.digest / LOCK
    with ExitStack() as another:

        class Awaited(CpuShare):
            def acquire(self, patience: float) -> bool:
                another.enter_context(locked(lock))
                return super().acquire(patience)

        actor = TrialActor.__new__(TrialActor)
        actor.spec = TrialSpec(tiny, tmp_path, tmp_path)
        actor.cpus = Awaited(1, 1, tmp_path / "cpus")
        assert actor._waits() == TRIAL
        assert CpuShare(1, 1, tmp_path / "cpus").acquire(0)
    actor.cpus = CpuShare(1, 1, tmp_path / "others")
    assert actor._waits() is None
    assert actor.cpus.held


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_a_study_says_that_another_runs_its_trial_and_takes_the_result(
    tiny: Experiment, tiny_store: ViewStore, tmp_path: Path, told: Any, wait_for: Any
) -> None:
    workplace = Workplace(PreparedViews(defaultdict(lambda: tiny_store.folder)), tmp_path / "trials", Resources())
    trial = Trial("full", 0, tiny)
    study = threading.Thread(target=run_trials, args=([trial], workplace, told))
    another = run_trial(workplace.spec(trial))
    next(another)
    study.start()
    try:
        wait_for(lambda: told.waits)
    finally:
        assert [epoch.epoch for epoch in another] != []
        study.join()
    assert told.waits == [
        "waiting for full · seed 0: another study runs it, or a lost machine holds it still; what it leaves is taken up"
    ]
    assert (told.failures, told.epochs, told.ended) == ([], [], ["full · seed 0"])
