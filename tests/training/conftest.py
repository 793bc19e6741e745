from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from polyview.recipe import Experiment, with_overrides
from polyview.rendering.store import ViewStore
from polyview.training.loop import TrainingJob

MakeJob = Callable[..., TrainingJob]
SMALL_CLIP = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "layers": 3, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 24, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 3},
}


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """As in a worker: what a trial computes is compared to the bit."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def clip(add_model: Callable[[str, dict[str, Any]], str]) -> str:
    """The name of a small model of CLIP's own kind: transformers of three layers each."""
    return add_model("small-clip", SMALL_CLIP)


@pytest.fixture
def make_job(tiny: Experiment, tiny_store: ViewStore, tmp_path: Path) -> MakeJob:
    """A job on all people of the tiny store, with changes to its recipe, in a folder of its own."""

    def make(name: str = "trial", /, **changes: Any) -> TrainingJob:
        experiment = with_overrides(tiny, {key.replace("__", "."): value for key, value in changes.items()})
        return TrainingJob(
            experiment, tiny_store.folder, tuple(sorted(set(tiny_store.labels("subject")))), tmp_path / name
        )

    return make
