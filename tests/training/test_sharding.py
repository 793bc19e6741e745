"""A model that is spread over workers trains as a whole one, and its checkpoints are those of a whole one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tests.training.conftest import SMALL_CLIP
from torch import Tensor

from polyview.recipe import Experiment, with_overrides
from polyview.rendering.store import ViewStore
from polyview.training.checkpoint import Checkpoint, latest_checkpoint

RECIPE = {
    "model.tower": "small-clip",
    "objective": {"joint": {}, "contrast": {}, "alignment": {}},
    "language.prompts": "pseudo",
    "training.epochs": 2,
    "training.precision": "fp32",
    "training.accumulate": 2,
    "training.ema": 0.9,
    "training.layer_decay": 0.7,
}
CUT = 5  # steps, of which an epoch has four
TRAININGS = {
    "one": ("ddp", 1, None, None),
    "one cut": ("ddp", 1, CUT, None),
    "sharded cut": ("fsdp", 2, CUT, None),
    "sharded, on one": ("ddp", 1, None, "sharded cut"),
    "sharded, on two": ("ddp", 2, None, "sharded cut"),
    "sharded, sharded on four": ("fsdp", 4, None, "sharded cut"),
    "one, sharded": ("fsdp", 2, None, "one cut"),
}
"""How each is parallel, its workers, when it is cut short, and from whose checkpoint it goes on."""


@pytest.fixture(scope="module")
def trained(tiny: Experiment, tiny_store: ViewStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trainings")
    trainings = {
        name: {
            "recipe": with_overrides(
                tiny, RECIPE | {"training.sharding": sharding, "training.workers": workers}
            ).model_dump(mode="json"),
            "workers": workers,
            "steps": steps,
            "start": start,
        }
        for name, (sharding, workers, steps, start) in TRAININGS.items()
    }
    people = sorted(set(tiny_store.labels("subject")))
    asked = {"trainings": trainings, "store": str(tiny_store.folder), "subjects": people}
    (folder / "trainings.json").write_text(json.dumps(asked))
    (folder / "towers").mkdir()
    (folder / "towers" / "small-clip.json").write_text(json.dumps(SMALL_CLIP))
    script = Path(__file__).with_name("some_epochs.py")
    subprocess.run([sys.executable, "-W", "ignore", str(script), str(folder)], check=True, timeout=600)
    return folder


def checkpoint_of(folder: Path, name: str) -> Checkpoint:
    found = latest_checkpoint(folder / name)
    assert found is not None
    return found


def losses(folder: Path, name: str) -> list[dict[str, float]]:
    """All that each epoch measured but the time and what else it took."""
    history = checkpoint_of(folder, name).history
    return [{k: v for k, v in epoch.metrics.items() if "second" not in k and "system/" not in k} for epoch in history]


def tensors(checkpoint: Checkpoint, file: str) -> dict[str, Tensor]:
    """Every tensor in a file of a checkpoint, by its name there."""
    if file != "trainer.pt":
        return load_file(checkpoint.folder / file)
    state: dict[int, dict[str, Tensor]] = torch.load(checkpoint.folder / file, weights_only=True)["optimizer"]["state"]
    return {f"{number} {name}": one for number, moments in state.items() for name, one in moments.items()}


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, (*_, start) in TRAININGS.items() if start])
def test_a_training_goes_on_from_that_very_step_whoever_holds_the_model(trained: Path, name: str) -> None:
    """On one worker, on several that have all of it, or on another number that share it; and from one to these."""
    whole, resumed = losses(trained, "one"), losses(trained, name)
    assert len(resumed) == len(whole) == 2
    for found, expected in zip(resumed, whole, strict=True):
        assert found == pytest.approx(expected, rel=5e-5, abs=5e-5)


@pytest.mark.slow
def test_a_sharded_models_checkpoint_has_the_keys_shapes_and_values_of_a_whole_ones(trained: Path) -> None:
    whole, sharded = (checkpoint_of(trained, name) for name in ("one cut", "sharded cut"))
    assert sharded.folder.name == whole.folder.name == "epoch-0001-step-000001"
    assert {path.name for path in sharded.folder.iterdir()} == {path.name for path in whole.folder.iterdir()}
    for file in ("model.safetensors", "last_weights.safetensors", "pseudolabels.safetensors", "trainer.pt"):
        expected, found = tensors(whole, file), tensors(sharded, file)
        assert {name: (one.shape, one.dtype) for name, one in found.items()} == {
            name: (one.shape, one.dtype) for name, one in expected.items()
        }
        values = [name for name in expected if not name.endswith(" step")]
        one, other = (torch.cat([part[name].double().flatten() for name in values]) for part in (expected, found))
        assert (other - one).norm() <= 1e-4 * one.norm(), file
    assert tensors(sharded, "model.safetensors")["towers.logit_scale"].shape == ()


@pytest.mark.slow
def test_each_worker_of_a_sharded_model_holds_its_part_of_weights_and_moments(trained: Path) -> None:
    (whole,), halves = (json.loads((trained / f"{name}.held").read_text()) for name in ("one cut", "sharded cut"))
    assert sum(halves) == pytest.approx(whole, rel=0.01)
    assert max(halves) < 0.52 * whole
