"""Params, tags, metrics and datasets as MLflow takes them."""

from __future__ import annotations

import contextlib
import getpass
import hashlib
import json
import math
import posixpath
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

from polyview.environment import git_commit
from polyview.tracking.runs import RESULT_TAGS, Faces, Point

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


def overwrite(client: Any, run_id: str, tags: Mapping[str, str], metrics: Mapping[str, float]) -> None:
    """Make these the results of a run that has no others: a tag that it had is deleted, a metric becomes nan.

    A result's tag is named in `RESULT_TAGS`, or as its metric is.

    MLflow shows of a metric the value of its last step and time, and the largest of these, so what has changed is
    written at a step and time of its own.
    """
    new = {legal(key): value for key, value in metrics.items()}
    data = client.get_run(run_id).data
    for key in data.tags.keys() - {legal(key) for key in tags}:
        if key in RESULT_TAGS or key in data.metrics:
            client.delete_tag(run_id, key)
    kept = data.metrics
    changed = {key: value for key, value in new.items() if kept.get(key) != value}
    changed |= {key: math.nan for key, value in kept.items() if key not in new and not math.isnan(value)}
    now = time.time()
    write(client, run_id, {}, tags, [Point(int(now), now, changed)] if changed else [])
    shown = client.get_run(run_id).data.metrics if changed else {}
    hidden = {key: value for key, value in changed.items() if str(shown.get(key)) != str(value)}
    if hidden:  # whoever wrote before had a clock that is ahead of this one
        last = max(point.step for key in hidden for point in client.get_metric_history(run_id, key))
        write(client, run_id, {}, {}, [Point(last + 1, now, hidden)])


def source_tags() -> dict[str, str]:
    """The program, its git commit, and who ran it."""
    found = {"mlflow.source.name": "polyview", "mlflow.source.type": "LOCAL"}
    with contextlib.suppress(OSError, KeyError):  # a container's user may have no name
        found["mlflow.user"] = getpass.getuser()
    return found | {"mlflow.source.git.commit": git_commit()}


def dataset(faces: Faces) -> Any:
    """One side's people as the input of a run."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    # MLflow keeps the first that it is told of a name and a digest, so other people of the same faces have another.
    people = hashlib.sha256(json.dumps(sorted(faces.people)).encode()).hexdigest()[:8]
    made = Dataset(
        f"{faces.corpus} {faces.side}",
        f"{faces.fingerprint}-{people}"[:LONGEST_DIGEST],
        source_type="local",
        source=json.dumps({"root": faces.root, "manifest": faces.fingerprint}),
        profile=json.dumps({"people": len(faces.people), **faces.counts}),
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
