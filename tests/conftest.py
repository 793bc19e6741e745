from __future__ import annotations

import gc
from collections.abc import Callable, Iterator

import pytest
from hypothesis import settings

from polyview.corpus.scan import scan
from polyview.recipe import Experiment
from polyview.rendering.cameras import cameras
from polyview.rendering.pipeline import ShardWriter, start_ray
from polyview.rendering.store import ViewStore, finish_part

# A slow machine makes no law false.
settings.register_profile("polyview", deadline=None)
settings.load_profile("polyview")


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Keep what is imported by now from being looked through again and again; statsmodels collects at every call."""
    gc.freeze()


TINY = """{
    "name": "tiny",
    "corpus": {
        "expressions": ["neutral", "happiness", "surprise"],
        "generator": {"subjects": 12, "sequences": 1}
    },
    "rendering": {"size": 32, "views": {"count": 3}},
    "model": {"projector": [16, 16]},
    "language": {"ensemble": 2},
    "objective": {
        "decorrelation": {"weight": 0.02},
        "alignment": {},
        "redundancy": {"weight": 0.001}
    },
    "training": {"epochs": 2, "batch_size": 8},
    "evaluation": {"share": 0.34}
}"""


@pytest.fixture(scope="session")
def tiny() -> Experiment:
    """A whole recipe that trains in a second: twelve people, three expressions, three views of 32 pixels."""
    return Experiment.model_validate_json(TINY)


@pytest.fixture(scope="session")
def store_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Experiment], ViewStore]:
    """Renders what an experiment trains on, in this process."""

    def render(experiment: Experiment) -> ViewStore:
        folder = tmp_path_factory.mktemp("views")
        manifest, rendering = scan(experiment.corpus).manifest, experiment.rendering
        rig = cameras(rendering.views)
        manifest.save(folder / "manifest.parquet")
        columns = manifest.frame.select("sample_id", "path", "texture").to_dict(as_series=False)
        write = ShardWriter(folder, manifest.root, manifest.geometry, rendering, rig)
        assert write({"shard": 0, **columns})["fault"] == ""
        finish_part(folder, manifest, rendering, rig, 1)
        return ViewStore.open(folder)

    return render


@pytest.fixture(scope="session")
def tiny_store(tiny: Experiment, store_of: Callable[[Experiment], ViewStore]) -> ViewStore:
    """The views that `tiny` trains on."""
    return store_of(tiny)


@pytest.fixture(scope="session")
def local_ray() -> Iterator[None]:
    """Ray on this machine, started once for all tests that need it in this process."""
    import ray

    start_ray()
    yield
    ray.shutdown()
