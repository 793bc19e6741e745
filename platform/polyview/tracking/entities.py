"""Params, tags, metrics and datasets as MLflow takes them."""

from __future__ import annotations

import contextlib
import getpass
import json
import posixpath
import re
from collections.abc import Mapping, Sequence
from typing import Any

from polyview.environment import git_commit
from polyview.tracking.runs import Faces, Point

TRIAL_TAG, STARTED_TAG = "polyview.trial", "polyview.started"
LONGEST_KEY, LONGEST_PARAM, LONGEST_TAG, LONGEST_DIGEST = 250, 6000, 5000, 36


def write(
    client: Any, run_id: str, params: Mapping[str, str], tags: Mapping[str, str], points: Sequence[Point]
) -> None:
    """One batch; MLflow drops points that it has, so that the same timestamps and steps add nothing."""
    from mlflow.entities import Metric, Param, RunTag

    client.log_batch(
        run_id,
        metrics=[
            Metric(legal(key), value, milliseconds(point.ended), point.step)
            for point in points
            for key, value in point.metrics.items()
        ],
        params=[Param(legal(key), value[:LONGEST_PARAM]) for key, value in params.items()],
        tags=[RunTag(legal(key), value[:LONGEST_TAG]) for key, value in tags.items()],
    )


def source_tags() -> dict[str, str]:
    """The program, its git commit, and who ran it."""
    found = {"mlflow.source.name": "polyview", "mlflow.source.type": "LOCAL"}
    with contextlib.suppress(OSError, KeyError):  # a container's user may have no name
        found["mlflow.user"] = getpass.getuser()
    return found | {"mlflow.source.git.commit": git_commit()}


def dataset(faces: Faces) -> Any:
    """One side's people as the input of a run."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    made = Dataset(
        f"{faces.corpus} {faces.side}",
        faces.fingerprint[:LONGEST_DIGEST],
        source_type="local",
        source=json.dumps({"root": faces.root, "manifest": faces.fingerprint}),
        profile=json.dumps(faces.profile),
    )
    return DatasetInput(made, [InputTag("mlflow.data.context", faces.side)])


def legal(key: str) -> str:
    """The key with what MLflow refuses replaced by underscores: it takes words, `.-:/`, spaces, and no path tricks."""
    words = re.sub(r"[^\w.\-: /]", "_", key)[:LONGEST_KEY]
    stays = posixpath.normpath(words) == words and not words.startswith((".", "/"))
    return words if stays else re.sub(r"[./]", "_", words)


def milliseconds(seconds: float) -> int:
    """MLflow's times."""
    return int(seconds * 1000)
