from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from polyview.recipe import Experiment, with_overrides
from polyview.rendering.cameras import cameras
from polyview.rendering.store import ViewStore
from polyview.storage.home import Home
from polyview.trials.views import find_faces, prepare_views


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_the_same_faces_are_rendered_once_from_every_camera_that_any_trial_looks_through(
    tiny: Experiment, tmp_path: Path, listener: Any
) -> None:
    few = {"corpus.generator.subjects": 2, "corpus.generator.frames": 2, "corpus.every": 2}
    changes: list[dict[str, Any]] = [
        {},
        {"rendering.views.count": 2},
        {"rendering.views.count": 5, "training.lr": 0.5},
        {"rendering.size": 16},
    ]
    experiments = [with_overrides(tiny, few | change) for change in changes]
    home = Home(tmp_path)
    prepared = prepare_views(find_faces(experiments), home, listener)
    stores = [prepared.store_of(experiment) for experiment in experiments]
    assert stores[0] == stores[1] == stores[2] != stores[3]
    assert prepared.seconds > 0
    wanted = {camera for experiment in experiments[:3] for camera in cameras(experiment.rendering.views)}
    assert set(ViewStore.open(stores[0]).cameras) == wanted
    assert len(wanted) == 5
    assert ViewStore.open(stores[3]).size == 16
    assert listener.stages == [("render", 6), ("render", 6)]
    assert listener.said.count("6 frames are left out by corpus.frames and corpus.every") == 2

    again = prepare_views(find_faces(experiments), home, listener)
    assert (again.stores, again.seconds) == (prepared.stores, 0)
    assert sum("rendered before" in message for message in listener.said) == 2
