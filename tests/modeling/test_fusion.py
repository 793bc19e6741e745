from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import normalize

from polyview.modeling.fusion import AttentionFusion, build_fusion
from polyview.recipe import Modeling, load_experiment
from polyview.training.loop import make_optimizer

WIDTH = 16


def views_of(count: int, batch: int = 3, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return normalize(torch.randn(batch, count, WIDTH, generator=generator), dim=-1)


def angles_of(count: int) -> Tensor:
    return torch.stack([torch.linspace(-60, 60, count), torch.linspace(-10, 15, count)], dim=-1)


def fusion_of(name: str, count: int) -> nn.Module:
    return build_fusion(Modeling.model_validate({"fusion": name}), 2, WIDTH, count)


def trained_attention() -> AttentionFusion:
    """An attention whose every weight has moved away from its start."""
    torch.manual_seed(0)
    fusion = AttentionFusion(WIDTH)
    for weight in fusion.parameters():
        nn.init.normal_(weight, std=0.5)
    return fusion


@pytest.mark.parametrize("name", ["attention", "mean", "concat"])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_an_untrained_fusion_is_the_mean_of_the_views(name: str, count: int) -> None:
    views = views_of(count)
    fused = fusion_of(name, count)(views, angles_of(count))
    torch.testing.assert_close(fused, normalize(views.mean(dim=1), dim=-1))


@given(order=st.permutations(range(5)))
def test_attention_does_not_see_the_order_of_views_that_keep_their_angles(order: list[int]) -> None:
    fusion, views, angles = trained_attention(), views_of(5), angles_of(5)
    torch.testing.assert_close(fusion(views[:, order], angles[order]), fusion(views, angles), atol=1e-5, rtol=1e-5)


def test_attention_tells_the_views_apart_by_their_angles() -> None:
    fusion, views, angles = trained_attention(), views_of(5), angles_of(5)
    assert (fusion(views, angles.flip(0)) - fusion(views, angles)).abs().max() > 0.01
    assert (fusion(views, angles * torch.tensor([1.0, -1.0])) - fusion(views, angles)).abs().max() > 0.01


def test_the_mean_does_not_look_at_angles() -> None:
    fusion, views, angles = fusion_of("mean", 5), views_of(5), angles_of(5)
    assert torch.equal(fusion(views, angles), fusion(views, angles.flip(0)))


def test_training_reaches_the_encoding_of_angles_and_learns_which_view_counts() -> None:
    """The view from -60 degrees is the one that is asked for, wherever in the row it stands."""
    torch.manual_seed(0)
    fusion, angles = AttentionFusion(WIDTH), angles_of(3)
    optimizer = torch.optim.Adam(fusion.parameters(), lr=0.01)
    start = fusion.encode_angles.weight.detach().clone()

    def loss(seed: int) -> Tensor:
        views, order = views_of(3, batch=64, seed=seed), torch.randperm(3)
        return 1 - (fusion(views[:, order], angles[order]) * views[:, 0]).sum(-1).mean()

    before = loss(1000).item()
    for seed in range(150):
        optimizer.zero_grad()
        loss(seed).backward()
        optimizer.step()
    assert not torch.equal(fusion.encode_angles.weight, start)
    assert loss(1000).item() < 0.5 * before


def informative_batch(by: str, seed: int) -> tuple[Tensor, Tensor]:
    """Views (B, 3, D) of which one says the target (B, D); which one is told by where it stands, or by how it looks."""
    generator = torch.Generator().manual_seed(seed)
    target = normalize(torch.randn(64, WIDTH, generator=generator), dim=-1)
    target[:, 0] = 0
    views = normalize(torch.randn(64, 3, WIDTH, generator=generator), dim=-1)
    views[..., 0] = -0.5
    place = torch.full((64,), 2) if by == "angle" else torch.randint(3, (64,), generator=generator)
    marked = normalize(target, dim=-1) * 0.85
    marked[:, 0] = 0.5
    views[torch.arange(64), place] = marked
    return normalize(views, dim=-1), normalize(marked, dim=-1)


@pytest.mark.parametrize("by", ["angle", "looks"])
@pytest.mark.parametrize("name", ["quickstart", "smile_vlm"])
def test_the_recipes_own_optimiser_finds_the_view_that_says_something(name: str, by: str) -> None:
    torch.manual_seed(0)
    training = load_experiment(Path("experiments") / f"{name}.yaml").training
    fusion, angles = AttentionFusion(WIDTH), angles_of(3)
    optimizer = make_optimizer(fusion, training)
    for seed in range(800):
        views, target = informative_batch(by, seed)
        optimizer.zero_grad()
        (1 - (fusion(views, angles) * target).sum(-1)).mean().backward()
        optimizer.step()
    views, target = informative_batch(by, 9999)
    chosen = (views * target.unsqueeze(1)).sum(-1).argmax(1)
    weights = fusion.weights(views, angles).mean(-1)
    assert weights.gather(1, chosen.unsqueeze(1)).mean() > 0.7
