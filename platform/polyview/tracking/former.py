"""Runs that earlier drivers left in MLflow: those that nobody runs, and those that are asked for no more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from polyview.tracking.entities import TRIAL_TAG
from polyview.tracking.logged import INTERRUPTED_TAG, LOCK_TAG, TRIAL, VARIANT, is_free, root_of
from polyview.tracking.pages import KIND_TAG

FORMER = {VARIANT: "former variant", TRIAL: "former trial"}


def take_over(client: Any, runs: Sequence[Any], study_run: str) -> dict[str, Any]:
    """The runs of a study's trials by trial id, ended where a driver left them running.

    So are those of other studies of the experiment that nobody runs any more; all of theirs are retired.
    """
    by_id = {run.info.run_id: run for run in runs}
    own: dict[str, Any] = {}
    for run in runs:
        root = root_of(run, by_id)
        if root.info.run_id == study_run:
            if TRIAL_TAG in run.data.tags:
                alive = run.info.status == "RUNNING"
                own[run.data.tags[TRIAL_TAG]] = interrupt(client, run) if alive else run
            continue
        retire(client, run)
        if run.info.status == "RUNNING" and is_free(root.data.tags.get(LOCK_TAG)):
            interrupt(client, run)
    return own


def retire(client: Any, run: Any) -> None:
    """Keep a run that its study does not ask for any more off the prepared pages."""
    if former := FORMER.get(run.data.tags.get(KIND_TAG)):
        client.set_tag(run.info.run_id, KIND_TAG, former)


def interrupt(client: Any, run: Any) -> Any:
    """End a run that is half written, and mark it as one that may be completed; returns it as it is then."""
    client.set_tag(run.info.run_id, INTERRUPTED_TAG, "true")
    client.set_terminated(run.info.run_id, status="KILLED")
    return client.get_run(run.info.run_id)
