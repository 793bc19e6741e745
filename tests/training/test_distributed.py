from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch.distributed as dist

from polyview.errors import UserError
from polyview.training.checkpoint import latest_checkpoint
from polyview.training.distributed import Worker, WorkerGroup
from polyview.training.loop import TrainingJob

MakeJob = Callable[..., TrainingJob]


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_a_worker_group_leaves_a_job_that_is_closed_and_takes_up_the_next(make_job: MakeJob, tmp_path: Path) -> None:
    def complain() -> None:
        raise UserError("no such")

    group = WorkerGroup(2, Worker(1, 0, 0), tmp_path / "group")
    closed = make_job("closed", training__epochs=200)
    whole = make_job("whole", training__epochs=2, training__workers=2, training__sharding="fsdp")
    epochs = group.train(closed)
    assert next(epochs).epoch == 1
    epochs.close()
    assert [epoch.epoch for epoch in group.train(whole)] == [1, 2]
    left = latest_checkpoint(closed.folder)
    assert left is not None
    assert 1 <= len(left.history) < 200
    assert group.call(dist.get_rank) == 0
    with pytest.raises(UserError, match="no such"):
        group.call(complain)
    assert group.call(dist.get_world_size) == 2
    group.dismiss()
    assert not group.folder.exists()
