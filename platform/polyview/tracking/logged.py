"""What MLflow's runs say of themselves: whether they have ended, what they lie in, whose they are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from polyview.storage.home import locked
from polyview.tracking.entities import STARTED_TAG, legal

PARENT_TAG = "mlflow.parentRunId"
INTERRUPTED_TAG = "polyview.interrupted"
LOCK_TAG = "polyview.lock"
STUDY, VARIANT, TRIAL, POINT = "study", "variant", "trial", "search point"
"""What a run is of, by its kind."""


def missing_params(params: Mapping[str, str], run: Any) -> dict[str, str]:
    """The params that a run has not yet; MLflow lets none change."""
    return {key: value for key, value in params.items() if legal(key) not in run.data.params}


def has_ended(run: Any) -> bool:
    """Whether a run was ended, and not by the next driver for one that was lost."""
    return run.info.status not in ("RUNNING", "SCHEDULED") and INTERRUPTED_TAG not in run.data.tags


def root_of(run: Any, by_id: Mapping[str, Any]) -> Any:
    """The study's run that a run lies in, or the highest that there is."""
    while (parent := by_id.get(run.data.tags.get(PARENT_TAG))) is not None:
        run = parent
    return run


def started_at(run: Any) -> int:
    """When the execution began that a run is of; earlier versions began the run itself then."""
    return int(run.data.tags.get(STARTED_TAG, run.info.start_time))


def is_free(lock: str | None) -> bool:
    """Whether the file that a driver holds is here, and nobody holds it."""
    if not lock or not Path(lock).exists():
        return False
    try:
        with locked(Path(lock), wait=False):
            return True
    except BlockingIOError:
        return False
