from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from polyview.modeling.model import MultiviewModel
from polyview.recipe import Training
from polyview.training.loop import Trainer, TrainingJob
from polyview.training.optimizer import make_optimizer

MakeJob = Callable[..., TrainingJob]
CPU = torch.device("cpu")


def rates(job: TrainingJob) -> dict[str, float]:
    """The learning rate of each parameter, by its name."""
    model = MultiviewModel(job.experiment)
    groups = make_optimizer(model, job.experiment.training).param_groups
    by_id = {id(parameter): group["lr"] for group in groups for parameter in group["params"]}
    return {name: by_id[id(parameter)] for name, parameter in model.named_parameters()}


def test_a_plain_recipe_has_the_two_groups_that_checkpoints_of_older_versions_have(make_job: MakeJob) -> None:
    model = MultiviewModel(make_job().experiment)
    decayed, others = make_optimizer(model, Training()).param_groups
    assert (decayed["lr"], decayed["weight_decay"]) == (1e-3, 0.05)
    assert (others["lr"], others["weight_decay"]) == (1e-3, 0.0)
    matrices = [parameter for parameter in model.parameters() if parameter.dim() > 1]
    assert all(one is other for one, other in zip(decayed["params"], matrices, strict=True))


def test_heads_have_a_rate_of_their_own(make_job: MakeJob, clip: str) -> None:
    found = rates(make_job(model__tower=clip, training__lr=1e-4, training__head_lr=1e-2))
    assert {name: rate for name, rate in found.items() if rate != 1e-4}.keys() == {
        name for name in found if not name.startswith("towers.")
    }
    for head in ("fusion.", "projector."):
        assert {rate for name, rate in found.items() if name.startswith(head)} == {1e-2}


def test_each_layer_of_both_towers_learns_more_slowly_than_the_one_behind_it(make_job: MakeJob, clip: str) -> None:
    found = rates(make_job(model__tower=clip, training__lr=1.0, training__layer_decay=0.5, training__head_lr=3.0))
    expected = {
        "towers.visual.conv1.weight": 0.5**4,
        "towers.visual.positional_embedding": 0.5**4,
        "towers.visual.transformer.resblocks.0.mlp.c_fc.weight": 0.5**3,
        "towers.visual.transformer.resblocks.2.ln_1.bias": 0.5,
        "towers.visual.ln_post.weight": 1.0,
        "towers.visual.proj": 1.0,
        "towers.token_embedding.weight": 0.5**4,
        "towers.transformer.resblocks.1.attn.in_proj_weight": 0.5**2,
        "towers.text_projection": 1.0,
        "towers.logit_scale": 1.0,
        "projector.0.weight": 3.0,
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected)


def test_every_group_follows_the_schedule_from_its_own_peak(make_job: MakeJob, clip: str) -> None:
    job = make_job(model__tower=clip, training__epochs=1, training__layer_decay=0.5, training__head_lr=1e-2)
    trainer = Trainer(job, CPU)
    (epoch,) = trainer.epochs()
    shares = {
        group["lr"] / peak for group, peak in zip(trainer.state.optimizer.param_groups, trainer.peaks, strict=True)
    }
    assert max(shares) - min(shares) < 1e-12
    assert epoch.metrics["lr"] == pytest.approx(1e-3 * max(shares))


def test_a_rate_of_nearly_nothing_moves_nothing(make_job: MakeJob, clip: str) -> None:
    """The rates are those that parameters move by: towers at 1e-12 stay, and heads move."""
    trainer = Trainer(make_job(model__tower=clip, training__lr=1e-12, training__head_lr=1e-2), CPU)
    before = {name: weight.detach().clone() for name, weight in trainer.model.named_parameters()}
    trainer.parallel.train()
    trainer._set_lr(1)
    trainer.train_step(next(trainer.prepared(0)))
    moved = {
        name: float((weight.detach() - before[name]).abs().max()) for name, weight in trainer.model.named_parameters()
    }
    assert max(change for name, change in moved.items() if name.startswith("towers.")) < 1e-7
    assert moved["projector.0.weight"] > 1e-3
