from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tests.training.conftest import SMALL_CLIP
from torch import Tensor

from polyview.recipe import Experiment, with_overrides
from polyview.rendering.store import ViewStore

WORKERS = (1, 2, 4)
RECIPES = {
    "full": {},
    "vision": {"objective.alignment": None, "objective.redundancy": None, "language.prompts": "none"},
    "text": {"objective.decorrelation": None, "model.fusion": "mean", "model.projector": []},
    "multiview-vlm": {
        "objective": {"joint": {}, "contrast": {}, "alignment": {}},
        "language.prompts": "pseudo",
    },
    "sinkhorn": {"objective": {"contrast": {}}, "language.prompts": "pseudo", "language.pseudo.assign": "sinkhorn"},
    "not yet assigned": {
        "objective": {"contrast": {}, "alignment": {}},
        "language.prompts": "pseudo",
        "language.pseudo.start": 1,
    },
    "simclr": {"objective": {"simclr": {}}, "language.prompts": "none"},
    "supervised": {"objective": {"supervised": {}}},
    "at scale": {
        "training.persons": 4,
        "training.crop": 0.5,
        "training.erase": 0.5,
        "training.flip": True,
        "training.layer_decay": 0.7,
        "model.image_layers": 2,
        "model.text_layers": 0,
    },
    "affect-vlm": {"objective": {"alignment": {}, "margin": {}, "triplet": {}}},
    "films": {"corpus.generator.frames": 2, "model.temporal": "attention", "model.frames": 2},
    "few labels": {"language.labelled": 0.25},
    "few labels alone": {"objective": {"alignment": {}}, "language.labelled": 0.1},
    "few labels, the others pseudo": {
        "objective": {"joint": {}, "contrast": {}, "alignment": {}},
        "language.labelled": 0.25,
        "language.unlabelled": "pseudo",
    },
}
SHARDED = {"training.sharding": "fsdp", "training.workers": 2}
RECIPES |= {f"{name}, sharded": RECIPES[name] | SHARDED for name in ("full", "not yet assigned", "at scale")}
RECIPES["transformers in parts, sharded"] = SHARDED | {"model.tower": "small-clip", "training.accumulate": 3}
Step = dict[str, Tensor]
StepOf = Callable[[str, int, int, int], Step]


@pytest.fixture(scope="module")
def step_of(
    tiny: Experiment,
    tiny_store: ViewStore,
    store_of: Callable[[Experiment], ViewStore],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[StepOf]:
    """What each worker computed on the same global batch, in processes of torch alone, by recipe, bits, W and rank."""
    folder = tmp_path_factory.mktemp("steps")
    varied = {name: with_overrides(tiny, changes) for name, changes in RECIPES.items()}
    recipes = {name: recipe.model_dump(mode="json") for name, recipe in varied.items()}
    stores = dict.fromkeys(RECIPES, str(tiny_store.folder)) | {"films": str(store_of(varied["films"]).folder)}
    people = sorted(set(tiny_store.labels("subject")))
    asked = {"workers": WORKERS, "recipes": recipes, "stores": stores, "subjects": people}
    (folder / "steps.json").write_text(json.dumps(asked))
    (folder / "towers").mkdir()
    (folder / "towers" / "small-clip.json").write_text(json.dumps(SMALL_CLIP))
    script = Path(__file__).with_name("one_step.py")
    command = [sys.executable, "-W", "ignore", str(script), str(folder)]
    subprocess.run(command, check=True, timeout=600)
    yield lambda name, bits, workers, rank: load_file(folder / f"{name}-{bits}-{workers}-{rank}.safetensors")
    shutil.rmtree(folder)  # 3 GB


def difference(found: Tensor, expected: Tensor) -> float:
    """The norm of the difference, relative to the norm of what is expected; 0 where both are the same."""
    if torch.equal(found, expected):
        return 0.0
    return float((found - expected).double().norm() / expected.double().norm())


def gradient(step: Step) -> Tensor:
    """All parameters' gradients as one vector."""
    return torch.cat([value.flatten() for name, value in sorted(step.items()) if name.startswith("gradient ")])


@pytest.mark.slow
@pytest.mark.parametrize("workers", WORKERS[1:])
@pytest.mark.parametrize("recipe", RECIPES)
def test_w_workers_equal_one(step_of: StepOf, recipe: str, workers: int) -> None:
    """In float64, where rounding hides nothing: the loss, every parameter's gradient, the running statistics."""
    one = step_of(recipe, 64, 1, 0)
    assert any(name.endswith("running_var") for name in one)
    for rank in range(workers):
        several = step_of(recipe, 64, workers, rank)
        assert several.keys() == one.keys()
        # Some gradients are zero but for rounding, such as that of a key's bias: softmax does not see it.
        floor = 1e-12 * gradient(one).norm()
        far = {
            name: difference(several[name], value)
            for name, value in one.items()
            if (several[name] - value).norm() > 1e-10 * value.norm() + floor
        }
        assert far == {}


@pytest.mark.slow
@pytest.mark.parametrize("workers", WORKERS[1:])
@pytest.mark.parametrize("recipe", RECIPES)
def test_w_workers_equal_one_in_float32_as_far_as_float32_goes(step_of: StepOf, recipe: str, workers: int) -> None:
    """One worker's own rounding (torch sums a batch norm's moments in float32) may be more than 1e-5 of the truth."""
    truth, one, several = step_of(recipe, 64, 1, 0), step_of(recipe, 32, 1, 0), step_of(recipe, 32, workers, 0)
    assert difference(several["loss"], one["loss"]) <= 1e-5
    assert difference(gradient(several), gradient(truth)) <= 1e-5 + difference(gradient(one), gradient(truth))
    statistics = [name for name in one if "running_" in name]
    assert all(difference(several[name], one[name]) <= 1e-5 for name in statistics)


@pytest.mark.slow
def test_the_whole_objectives_gradient_agrees_to_1e_5_in_float32(step_of: StepOf) -> None:
    one = gradient(step_of("full", 32, 1, 0))
    assert [difference(gradient(step_of("full", 32, workers, 0)), one) <= 1e-5 for workers in WORKERS[1:]] == [True] * 2


@pytest.mark.slow
def test_every_worker_holds_the_same_gradient_to_the_bit(step_of: StepOf) -> None:
    first, *others = (step_of("full", 32, 4, rank) for rank in range(4))
    assert all(torch.equal(gradient(other), gradient(first)) for other in others)
