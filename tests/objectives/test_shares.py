from __future__ import annotations

import pytest
import torch
from torch.nn.functional import normalize

from polyview.objectives.objective import BatchEmbeddings, total_loss
from polyview.objectives.shares import gradient_products, gradient_shares
from polyview.recipe.objective import Alignment, Decorrelation, Joint, Objective, Redundancy


def batch_of(views: torch.Tensor, classes: int = 4) -> BatchEmbeddings:
    samples, width = len(views), views.shape[-1]
    index = torch.arange(samples) % classes
    return BatchEmbeddings(
        views=views,
        projections=views,
        fused=normalize(views.mean(1), dim=-1),
        text=normalize(torch.randn(classes, width, dtype=views.dtype), dim=-1),
        prompt_index=index,
        logit_scale=torch.tensor(10.0),
        label=index,
        confident=torch.ones(samples, dtype=torch.bool),
        subject=torch.arange(samples),
    )


def random_views() -> torch.Tensor:
    torch.manual_seed(0)
    return normalize(torch.randn(16, 3, 8, dtype=torch.float64), dim=-1).requires_grad_()


def test_shares_and_cosines_are_those_of_the_gradients_themselves() -> None:
    objective = Objective(decorrelation=Decorrelation(weight=0.7), alignment=Alignment(), joint=Joint())
    views = random_views()
    loss, terms = total_loss(objective, batch_of(views))
    found = gradient_shares([*terms], gradient_products(objective, terms, views))
    weights = {"decorrelation": 0.7, "alignment": 1.0, "joint": 1.0}
    own = {
        name: weights[name] * torch.autograd.grad(term, views, retain_graph=True)[0].flatten()
        for name, term in terms.items()
    }
    total = sum(float(gradient.norm()) for gradient in own.values())
    (whole,) = torch.autograd.grad(loss, views)
    for name, gradient in own.items():
        rest = whole.flatten() - gradient
        assert found[f"share/{name}"] == pytest.approx(float(gradient.norm()) / total)
        assert found[f"cosine/{name}"] == pytest.approx(float(torch.cosine_similarity(gradient, rest, dim=0)))
    assert sum(found[f"share/{name}"] for name in terms) == pytest.approx(1)


def test_the_products_of_parts_of_a_batch_sum_to_those_of_the_whole() -> None:
    objective, views = Objective(alignment=Alignment(), redundancy=Redundancy()), random_views()
    _, terms = total_loss(objective, batch_of(views))
    whole = gradient_products(objective, terms, views)
    halves = torch.zeros_like(whole)
    for part in (slice(0, 5), slice(5, None)):
        own = views.detach()[part].requires_grad_()
        joined = torch.cat([own, views.detach()[5:]] if part.start == 0 else [views.detach()[:5], own])
        torch.manual_seed(0)
        torch.randn(16, 3, 8, dtype=torch.float64)
        halves += gradient_products(objective, total_loss(objective, batch_of(joined))[1], own)
    torch.testing.assert_close(halves, whole)


def test_a_single_term_has_all_of_the_gradient_and_no_cosine() -> None:
    objective, views = Objective(joint=Joint()), random_views()
    _, terms = total_loss(objective, batch_of(views))
    assert gradient_shares(["joint"], gradient_products(objective, terms, views)) == {"share/joint": 1.0}
