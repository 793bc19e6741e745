"""A study's experiment in MLflow: found or made, and all runs in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any


def find_experiment(client: Any, name: str, artifacts: Path | None, warn: Callable[[str], None]) -> str:
    """The id of the experiment of this name, which is made, or restored, where it is not there.

    artifacts: where it keeps files; None, a server decides. Warns where they are kept in the folder of another home.
    """
    found = client.get_experiment_by_name(name)
    local = artifacts.as_uri() if artifacts else None
    if found is None:
        return str(client.create_experiment(name, artifact_location=local))
    if local and found.artifact_location.startswith("file:") and not found.artifact_location.startswith(local):
        warn(
            f"this home was copied or moved, and MLflow keeps the artifacts of {name} at "
            f"{found.artifact_location.removeprefix('file://')} still; rename the experiment in its user interface "
            "to have a new one here"
        )
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


def all_runs(client: Any, experiment: str) -> list[Any]:
    """The experiment's runs, of whatever study and state."""
    runs, token = [], None
    while True:
        page = client.search_runs([experiment], max_results=1000, page_token=token)
        runs += page
        token = page.token
        if not token:
            return runs
