from __future__ import annotations

import itertools
from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from polyview.objectives.redundancy import redundancy

Form = Literal["off_diagonal", "full"]


def reference(fused: NDArray[np.float64], text: NDArray[np.float64], form: Form) -> float:
    """The formula with explicit loops."""
    samples, width = fused.shape

    def standardised(values: NDArray[np.float64]) -> NDArray[np.float64]:
        result = np.empty_like(values)
        for d in range(width):
            mean = sum(values[:, d]) / samples
            variance = sum((x - mean) ** 2 for x in values[:, d]) / samples
            result[:, d] = (values[:, d] - mean) / np.sqrt(variance + 1e-8)
        return result

    f, t = standardised(fused), standardised(text)
    loss = 0.0
    for i, j in itertools.product(range(width), range(width)):
        c = sum(f[n, i] * t[n, j] for n in range(samples)) / samples
        if i != j:
            loss += c**2
        elif form == "full":
            loss += (1 - c) ** 2
    return loss


@pytest.mark.parametrize("form", ["off_diagonal", "full"])
def test_equals_the_formula_with_loops(form: Form) -> None:
    generator = torch.Generator().manual_seed(0)
    fused, text = torch.randn(2, 9, 5, generator=generator, dtype=torch.float64)
    assert redundancy(fused, text, torch.arange(len(text)), form).item() == pytest.approx(
        reference(fused.numpy(), text.numpy(), form), rel=1e-10
    )


@pytest.mark.parametrize("form", ["off_diagonal", "full"])
def test_gradient_is_the_derivative(form: Form) -> None:
    generator = torch.Generator().manual_seed(0)
    fused, text = torch.randn(2, 6, 4, generator=generator, dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda f, t: redundancy(f, t, torch.arange(len(t)), form), (fused.requires_grad_(), text.requires_grad_())
    )


@pytest.mark.parametrize("form", ["off_diagonal", "full"])
def test_order_of_samples_does_not_matter(form: Form) -> None:
    fused, text = torch.randn(2, 16, 5, dtype=torch.float64)
    order, own = torch.randperm(16), torch.arange(16)
    shuffled = redundancy(fused[order], text, own[order], form)
    assert torch.allclose(shuffled, redundancy(fused, text, own, form), rtol=1e-10)


def test_equal_embeddings_of_uncorrelated_dimensions_reach_zero() -> None:
    columns = torch.tensor([[1.0, 1, 1], [-1, 1, -1], [1, -1, -1], [-1, -1, 1]])
    assert redundancy(columns, columns, torch.arange(4), "full").item() < 1e-8


def test_the_forms_differ_by_the_diagonal() -> None:
    columns = torch.tensor([[1.0, 1, 1], [-1, 1, -1], [1, -1, -1], [-1, -1, 1]])
    assert redundancy(columns, -columns, torch.arange(4), "off_diagonal").item() < 1e-8
    assert redundancy(columns, -columns, torch.arange(4), "full").item() == pytest.approx(3 * 4, rel=1e-4)


@settings(max_examples=30, deadline=None)
@given(prompts=st.integers(2, 5), width=st.integers(5, 10), seed=st.integers(0, 999))
def test_few_prompts_bound_the_full_form_from_below(prompts: int, width: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    text = torch.randn(prompts, width, generator=generator, dtype=torch.float64)
    prompt_index = torch.arange(20) % prompts
    fused = text[prompt_index] + 0.1 * torch.randn(20, width, generator=generator, dtype=torch.float64)
    assert redundancy(fused, text, prompt_index, "full").item() >= width - (prompts - 1) - 1e-9


def test_autocast_does_not_change_the_loss() -> None:
    fused, text = torch.randn(2, 32, 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = redundancy(fused, text, torch.arange(32), "full")
    assert mixed.dtype == torch.float32
    assert torch.equal(mixed, redundancy(fused, text, torch.arange(32), "full"))
