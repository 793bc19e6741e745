from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from polyview.training.checkpoint import latest_checkpoint
from polyview.training.distributed import Crew, Worker
from polyview.training.loop import Job

MakeJob = Callable[..., Job]


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_a_crew_leaves_a_job_that_is_closed_and_takes_up_the_next(make_job: MakeJob, tmp_path: Path) -> None:
    crew = Crew(2, Worker(1, 0, 0), tmp_path / "crew")
    closed, whole = make_job("closed", training__epochs=200), make_job("whole", training__epochs=2)
    epochs = crew.train(closed)
    assert next(epochs).epoch == 1
    epochs.close()
    assert [epoch.epoch for epoch in crew.train(whole)] == [1, 2]
    left = latest_checkpoint(closed.folder)
    assert left is not None
    assert 1 <= len(left.history) < 200
    crew.dismiss()
    assert not crew.folder.exists()
