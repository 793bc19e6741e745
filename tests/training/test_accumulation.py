from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from polyview.errors import UserError
from polyview.modeling.towers import load_open_clip
from polyview.recipe import Experiment, with_overrides
from polyview.rendering.store import ViewStore
from polyview.training.augmentation import Share
from polyview.training.loop import Trainer, TrainingJob

MakeJob = Callable[..., TrainingJob]
CPU = torch.device("cpu")
WITHOUT_BATCH_NORM = {
    "embed_dim": 32,
    "vision_cfg": {"timm_model_name": "test_vit", "timm_pool": "avg", "timm_proj": "linear", "image_size": 32},
    "text_cfg": {"context_length": 24, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}


@pytest.fixture(scope="module", autouse=True)
def _small_transformer(tmp_path_factory: pytest.TempPathFactory) -> None:
    path: Path = tmp_path_factory.mktemp("towers") / "small-vit.json"
    path.write_text(json.dumps(WITHOUT_BATCH_NORM))
    load_open_clip().add_model_config(path)


def step(job: TrainingJob) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss and the gradients of the first batch, in float64."""
    trainer = Trainer(job, CPU)
    trainer.assign(0)
    trainer.angles = trainer.angles.double()
    trainer.model.double().train()
    step = next(trainer.prepared(0))
    loss, *_ = trainer.loss(step.batch.images.double(), step.targets)
    loss.backward()
    gradients = {name: weight.grad for name, weight in trainer.model.named_parameters() if weight.grad is not None}
    return loss.detach(), gradients


@pytest.mark.parametrize("parts", [2, 3, 8])
def test_a_batch_in_parts_has_the_loss_and_gradient_of_the_whole(make_job: MakeJob, parts: int) -> None:
    objective = {"decorrelation": {}, "alignment": {}, "contrast": {}, "simclr": {}}
    changes = {"model__tower": "small-vit", "objective": objective, "language__prompts": "pseudo"}
    whole, in_parts = step(make_job(**changes)), step(make_job(training__accumulate=parts, **changes))
    torch.testing.assert_close(in_parts[0], whole[0], rtol=1e-12, atol=0)
    assert in_parts[1].keys() == whole[1].keys()
    norm = torch.stack([gradient.norm() for gradient in whole[1].values()]).norm()
    for name, gradient in whole[1].items():
        assert (in_parts[1][name] - gradient).norm() <= 1e-12 * norm, name


@pytest.mark.parametrize("layers", [None, 2])
def test_batch_norms_that_would_see_parts_are_refused(make_job: MakeJob, layers: int | None) -> None:
    with pytest.raises(UserError, match=r"training.accumulate: tiny-resnet has batch norms, .*model.image_layers: 0"):
        Trainer(make_job(training__accumulate=2, model__image_layers=layers), CPU)


def test_frozen_batch_norms_take_parts_as_the_whole(make_job: MakeJob) -> None:
    changes = {"model__image_layers": 0}
    whole, in_parts = step(make_job(**changes)), step(make_job(training__accumulate=2, **changes))
    torch.testing.assert_close(in_parts[0], whole[0], rtol=1e-12, atol=0)
    assert in_parts[1].keys() == whole[1].keys()


def test_films_in_parts_have_the_loss_and_gradient_of_the_whole(
    tiny: Experiment, store_of: Callable[[Experiment], ViewStore], tmp_path: Path
) -> None:
    changes = {"corpus.generator.frames": 3, "model.temporal": "attention", "model.frames": 3}
    whole = with_overrides(tiny, {**changes, "model.tower": "small-vit"})
    store, in_parts = store_of(whole), with_overrides(whole, {"training.accumulate": 5})
    people = tuple(sorted(set(store.labels("subject"))))
    steps = [step(TrainingJob(recipe, store.folder, people, tmp_path)) for recipe in (whole, in_parts)]
    torch.testing.assert_close(steps[0][0], steps[1][0], rtol=1e-12, atol=0)
    torch.testing.assert_close(steps[0][1], steps[1][1], rtol=1e-9, atol=1e-12)
    assert any(name.startswith("temporal.") for name in steps[0][1])


def test_parts_keep_less_for_the_way_back(make_job: MakeJob) -> None:
    """Before the gradient is due: what the graph holds on to, in bytes."""

    def held(parts: int) -> int:
        trainer = Trainer(make_job(model__tower="small-vit", training__accumulate=parts), CPU)
        kept: dict[int, int] = {}

        def pack(tensor: Tensor) -> Tensor:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with saved_tensors_hooks(pack, lambda tensor: tensor):
            trainer.model.encode_views(next(trainer.batches.epoch(0, Share())).images)
        weights = {weight.untyped_storage().data_ptr() for weight in trainer.model.parameters()}
        return sum(size for place, size in kept.items() if place not in weights)

    assert held(4) < held(1) / 4


@pytest.mark.parametrize(("layers", "trained"), [(0, 0), (1, 1), (2, 2), (None, None)])
def test_a_text_tower_is_trained_from_its_end_as_far_as_asked(
    make_job: MakeJob, layers: int | None, trained: int | None
) -> None:
    """A layer is a transformer's block; the last norm and the projection behind the layers are trained with them."""
    trainer = Trainer(make_job(model__tower="small-vit", model__text_layers=layers, training__epochs=1), CPU)
    text = [name for name, _ in trainer.model.named_parameters() if name.startswith("towers.") and "visual" not in name]
    before = {name: weight.detach().clone() for name, weight in trainer.model.named_parameters()}
    list(trainer.epochs())
    after = dict(trainer.model.named_parameters())
    moved = {name for name in text if not torch.equal(after[name], before[name])} - {"towers.logit_scale"}
    blocks = {match.group(1) for name in moved if (match := re.search(r"resblocks\.(\d+)", name))}
    assert blocks == {str(number) for number in range(2 - (2 if trained is None else trained), 2)}
    behind = {"towers.ln_final.weight", "towers.ln_final.bias", "towers.text_projection"}
    assert moved >= behind if trained != 0 else not moved
    assert any("embedding" in name for name in moved) == (layers is None)
