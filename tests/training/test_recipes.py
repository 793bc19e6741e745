"""Every recipe of the project takes its first steps downhill, on small pictures and without any published weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from polyview.recipe import load_experiment, with_overrides
from polyview.rendering.store import ViewStore
from polyview.storage.home import REPOSITORY
from polyview.training.loop import Trainer, TrainingJob

RECIPES = sorted((REPOSITORY / "experiments").glob("*.yaml"))
STEPS, BATCH = 20, 32
AS_DEEP_AS_VIT_B = {
    "embed_dim": 64,
    "vision_cfg": {"image_size": 32, "layers": 12, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 12},
}


@pytest.fixture(scope="module")
def deep(add_model: Callable[[str, dict[str, Any]], str]) -> str:
    """The name of a model with as many layers as ViT-B, and next to no width."""
    return add_model("deep-and-narrow", AS_DEEP_AS_VIT_B)


@pytest.mark.slow
@pytest.mark.parametrize("file", RECIPES, ids=lambda path: path.stem)
def test_twenty_steps_of_every_recipe_do_not_raise_its_loss(
    file: Path, deep: str, store_of: Callable[..., ViewStore], tmp_path: Path
) -> None:
    """On one batch that is looked at before and after; its prompts and pseudo-labels are those of the start."""
    recipe = load_experiment(file)
    frames = 1 if recipe.model.temporal == "frame" else 3
    faces = {"subjects": 12, "sequences": 1, "frames": frames, "seed": 3}
    made_small = {
        "corpus": {"dataset": "synthetic", "expressions": list(recipe.corpus.expressions), "generator": faces},
        "rendering.size": 32,
        "model.tower": recipe.model.tower if recipe.model.tower.startswith("tiny-") else deep,
        "model.pretrained": None,
        "training.steps": STEPS,
        "training.epochs": None,
        "training.batch_size": BATCH,
        "training.precision": "fp32",
        "training.workers": 1,
    }
    experiment = with_overrides(recipe, made_small)
    store = store_of(experiment)
    people = tuple(sorted(set(store.labels("subject"))))
    trainer = Trainer(TrainingJob(experiment, store.folder, people, tmp_path), torch.device("cpu"))
    trainer.assign(0)
    of_no_epoch = 1000 * trainer.batches.steps
    fixed = next(trainer.prepared(of_no_epoch, of_no_epoch + 1))
    labels = trainer.sample_labels

    def loss() -> float:
        trainer.parallel.train()
        current, trainer.sample_labels = trainer.sample_labels, labels
        torch.manual_seed(0)
        with torch.no_grad():
            found = float(trainer.loss(fixed.batch.images, fixed.targets)[0])
        trainer.sample_labels = current
        return found

    before = loss()
    list(trainer.epochs())
    assert loss() < before
