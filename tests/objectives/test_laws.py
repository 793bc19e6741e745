"""What every loss obeys: known minima, no term against another, weights that hold for other widths and batches."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize, one_hot

from polyview.objectives.decorrelation import decorrelation
from polyview.objectives.objective import BatchEmbeddings, total_loss
from polyview.objectives.redundancy import redundancy
from polyview.recipe.objective import Alignment, Decorrelation, Objective, Redundancy

SMILE_VLM = Objective(decorrelation=Decorrelation(), alignment=Alignment(), redundancy=Redundancy())


def classes_of(samples: int, classes: int) -> Tensor:
    return torch.arange(samples) % classes


def texts(classes: int, width: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return normalize(torch.randn(classes, width, generator=generator, dtype=torch.float64), dim=-1)


def batch_of(views: Tensor, projections: Tensor, text: Tensor, index: Tensor) -> BatchEmbeddings:
    return BatchEmbeddings(
        views=views,
        projections=projections,
        fused=normalize(views.mean(1), dim=-1),
        text=text,
        prompt_index=index,
        logit_scale=torch.tensor(20.0, dtype=torch.float64),
        label=index,
        confident=torch.ones(len(index), dtype=torch.bool),
        subject=torch.arange(len(index)),
    )


@pytest.mark.parametrize(("classes", "width", "samples"), [(2, 16, 32), (6, 512, 256), (7, 128, 16), (7, 5, 64)])
def test_images_that_equal_their_texts_have_the_least_redundancy(classes: int, width: int, samples: int) -> None:
    text, index = texts(classes, width), classes_of(samples, classes)
    rank = min(classes - 1, width)
    least = 0.0 if rank == 1 else -1 / (samples - 1)
    assert redundancy(text[index], text, index, "text_directions").item() == pytest.approx(least, abs=1e-6)
    fused = normalize(text[index] + 0.1 * torch.randn(samples, width, dtype=torch.float64), dim=-1).requires_grad_()
    assert redundancy(fused, text, index, "text_directions").item() > least
    perfect = text[index].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(redundancy(perfect, text, index, "text_directions"), perfect)
    assert gradient.abs().max() < 1e-4


def test_the_forms_over_all_dimensions_cost_what_their_docstring_says() -> None:
    classes, width = 6, 512
    text = torch.linalg.qr(torch.randn(width, classes, dtype=torch.float64)).Q.T
    index = classes_of(600, classes)
    spread = normalize(text + 0.5 * torch.randn(classes, width, dtype=torch.float64), dim=-1)
    cost = redundancy(spread[index], spread, index, "off_diagonal").item()
    assert cost == pytest.approx(width**2 / (classes - 1) - width, rel=0.15)


@pytest.mark.parametrize("samples", [32, 256])
@pytest.mark.parametrize("width", [32, 128, 512])
def test_what_random_embeddings_cost_is_the_same_at_any_width_and_batch(width: int, samples: int) -> None:
    generator = torch.Generator().manual_seed(1)
    projections = normalize(torch.randn(samples, 3, width, generator=generator, dtype=torch.float64), dim=-1)
    assert decorrelation(projections).item() == pytest.approx(1.0, abs=0.1)
    fused = normalize(torch.randn(samples, width, generator=generator, dtype=torch.float64), dim=-1)
    assert redundancy(fused, texts(7, width), classes_of(samples, 7), "text_directions").item() == pytest.approx(
        1.0, abs=0.5
    )


@pytest.mark.parametrize("samples", [32, 256])
def test_a_weight_means_as_much_beside_alignment_at_any_width(samples: int) -> None:
    """The pull on embeddings that share half of what they say keeps its size beside alignment's."""
    ratios = []
    for width in (128, 512):
        torch.manual_seed(0)
        text, index = texts(6, width), classes_of(samples, 6)
        noise = normalize(torch.randn(samples, 3, width, dtype=torch.float64), dim=-1)
        views = normalize(text[index].unsqueeze(1) + noise, dim=-1).requires_grad_()
        _, terms = total_loss(SMILE_VLM, batch_of(views, views, text, index))
        sizes = {name: torch.autograd.grad(value, views, retain_graph=True)[0].norm() for name, value in terms.items()}
        ratios.append([float(sizes[name] / sizes["alignment"]) for name in ("decorrelation", "redundancy")])
    for narrow, wide in zip(*ratios, strict=True):
        assert 0.4 < wide / narrow < 2.5


def optimised(objective: Objective, width: int, classes: int, samples: int) -> float:
    """How aligned images end that are optimised freely under an objective: the mean cosine with their own text."""
    torch.manual_seed(0)
    text, index = texts(classes, width), classes_of(samples, classes)
    free = torch.randn(samples, 2, width, dtype=torch.float64).requires_grad_()
    head = torch.randn(width, width, dtype=torch.float64).div_(width**0.5).requires_grad_()
    optimizer = torch.optim.Adam([free, head], lr=0.02)
    for _ in range(300):
        views = normalize(free, dim=-1)
        loss, _ = total_loss(objective, batch_of(views, normalize(views @ head, dim=-1), text, index))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    fused = normalize(normalize(free, dim=-1).mean(1), dim=-1)
    hits = (fused @ text.T).argmax(1) == index
    assert hits.double().mean() == 1
    return float((fused * text[index]).sum(1).mean().detach())


@pytest.mark.parametrize(("width", "classes", "samples"), [(16, 3, 24), (64, 6, 48)])
def test_all_terms_together_end_as_aligned_as_alignment_alone(width: int, classes: int, samples: int) -> None:
    alone = optimised(Objective(alignment=Alignment()), width, classes, samples)
    together = optimised(SMILE_VLM, width, classes, samples)
    assert together > alone - 0.02


def test_decorrelation_has_the_figures_of_the_published_code() -> None:
    """on_diag + lambda * off_diag of the published Barlow Twins code, worked out in float64 with its batch norm.

    Two views of 6 samples in 4 dimensions, sin(1.7 k) and cos(0.9 k + 0.3) for k = 0, 1, ..., row by row.
    """
    k = torch.arange(24, dtype=torch.float64)
    first, second = torch.sin(1.7 * k).reshape(6, 4), torch.cos(0.9 * k + 0.3).reshape(6, 4)
    views = torch.stack([first, second], dim=1)
    on_diagonal, off_diagonal = 5.30478, 0.9206641
    assert decorrelation(views, 0.0).item() == pytest.approx(on_diagonal, rel=1e-4)
    assert decorrelation(views, 0.0051).item() == pytest.approx(on_diagonal + 0.0051 * off_diagonal, rel=1e-4)


def test_the_whole_objective_is_least_at_perfect_alignment() -> None:
    """Images that equal their texts, with projections that agree and do not repeat themselves: no gradient is left."""
    classes, width, samples = 4, 4, 32
    text, index = torch.eye(width, dtype=torch.float64), classes_of(samples, classes)
    views = one_hot(index, classes).double().unsqueeze(1).expand(-1, 2, -1).clone().requires_grad_()
    hadamard = torch.tensor([[1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], dtype=torch.float64)
    batch = batch_of(views, views @ hadamard, text, index)
    loss, terms = total_loss(SMILE_VLM, batch)
    assert terms["decorrelation"].item() == pytest.approx(-1 / (samples - 1), abs=1e-5)
    assert terms["redundancy"].item() == pytest.approx(-1 / (samples - 1), abs=1e-5)
    (gradient,) = torch.autograd.grad(loss - terms["alignment"], views)
    assert gradient.abs().max() < 1e-5
