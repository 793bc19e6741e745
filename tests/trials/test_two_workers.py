from __future__ import annotations

import os
import signal
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from polyview.recipe import Experiment, Resources, with_overrides
from polyview.rendering.store import ViewStore
from polyview.trials.design import Trial
from polyview.trials.ledger import Ledger
from polyview.trials.scheduler import run_trials
from polyview.trials.spec import Workplace
from polyview.trials.views import PreparedViews


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_a_trial_whose_process_is_killed_is_tried_again(
    tiny: Experiment, tiny_store: ViewStore, tmp_path: Path, told: Any, wait_for: Any, holder_of: Any
) -> None:
    trial = Trial("killed", 0, with_overrides(tiny, {"training.epochs": 40}))
    views = PreparedViews(defaultdict(lambda: tiny_store.folder))
    with ThreadPoolExecutor(1) as pool:
        pid = pool.submit(wait_for, lambda: holder_of(tmp_path / trial.id / "lock"))
        killed = pool.submit(lambda: os.kill(pid.result(), signal.SIGKILL))
        run_trials([trial], Workplace(views, tmp_path, Resources()), told)
    killed.result()
    assert told.failures == []
    record = Ledger(tmp_path).read(trial.id)
    assert record is not None
    assert [epoch.epoch for epoch in record.history] == list(range(1, 41))
