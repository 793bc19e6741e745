from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from polyview.modeling.towers import load_open_clip
from polyview.objectives.alignment import alignment


def reference(
    views: NDArray[np.float64],
    fused: NDArray[np.float64],
    text: NDArray[np.float64],
    prompts: NDArray[np.int64],
    scale: float,
) -> float:
    """The definition: N x N logits, targets uniform over shared prompts, explicit loops."""

    def soft_clip(images: NDArray[np.float64]) -> float:
        samples = len(images)
        logits = np.array(
            [[scale * float(images[i] @ text[prompts[j]]) for j in range(samples)] for i in range(samples)]
        )
        total = 0.0
        for table in (logits, logits.T):
            for i in range(samples):
                positives = [j for j in range(samples) if prompts[j] == prompts[i]]
                log_sum = math.log(sum(math.exp(x) for x in table[i]))
                total += sum(log_sum - table[i, j] for j in positives) / len(positives)
        return total / (2 * samples)

    return (soft_clip(fused) + float(np.mean([soft_clip(views[:, v]) for v in range(views.shape[1])]))) / 2


def unit(*shape: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(*shape, generator=generator, dtype=torch.float64), dim=-1)


@settings(max_examples=40, deadline=None)
@given(
    prompts=st.lists(st.integers(0, 4), min_size=1, max_size=9),
    views=st.integers(1, 3),
    scale=st.floats(0.1, 30),
    seed=st.integers(0, 999),
)
def test_equals_the_definition_with_loops(prompts: list[int], views: int, scale: float, seed: int) -> None:
    index = torch.tensor(prompts)
    images, fused, text = (
        unit(len(prompts), views, 6, seed=seed),
        unit(len(prompts), 6, seed=seed + 1),
        unit(5, 6, seed=seed + 2),
    )
    expected = reference(images.numpy(), fused.numpy(), text.numpy(), index.numpy(), scale)
    loss = alignment(images, fused, text, index, torch.tensor(scale, dtype=torch.float64))
    assert loss.item() == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_distinct_prompts_give_clips_own_loss() -> None:
    views, fused, text = unit(8, 3, 16, seed=0), unit(8, 16, seed=1), unit(8, 16, seed=2)
    scale = torch.tensor(14.3, dtype=torch.float64)
    clip = load_open_clip().ClipLoss()
    single = torch.stack([clip(views[:, v], text, scale) for v in range(3)]).mean()
    expected = (clip(fused, text, scale) + single) / 2
    assert torch.allclose(alignment(views, fused, text, torch.arange(8), scale), expected, rtol=1e-12)


def test_gradient_is_the_derivative() -> None:
    inputs = (unit(5, 2, 4, seed=0), unit(5, 4, seed=1), unit(4, 4, seed=2))
    index = torch.tensor([0, 2, 2, 0, 1])  # prompt 3 serves no sample
    scale = torch.tensor(5.0, dtype=torch.float64)
    for tensor in (*inputs, scale):
        tensor.requires_grad_()
    assert torch.autograd.gradcheck(lambda v, f, t, s: alignment(v, f, t, index, s), (*inputs, scale))


def test_order_of_samples_views_and_prompts_does_not_matter() -> None:
    views, fused, text = unit(10, 3, 8, seed=0), unit(10, 8, seed=1), unit(4, 8, seed=2)
    index = torch.arange(10) % 4
    scale = torch.tensor(10.0, dtype=torch.float64)
    loss = alignment(views, fused, text, index, scale)
    order = torch.randperm(10, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(alignment(views[order], fused[order], text, index[order], scale), loss, rtol=1e-10)
    assert torch.allclose(alignment(views[:, [1, 2, 0]], fused, text, index, scale), loss, rtol=1e-10)
    assert torch.allclose(alignment(views, fused, text.flip(0), 3 - index, scale), loss, rtol=1e-10)


def test_a_prompt_that_no_sample_has_does_not_count() -> None:
    views, fused, text = unit(6, 2, 8, seed=0), unit(6, 8, seed=1), unit(3, 8, seed=2)
    index = torch.tensor([0, 1, 2, 0, 1, 2])
    unused = torch.cat([text, unit(2, 8, seed=3)])
    scale = torch.tensor(10.0, dtype=torch.float64)
    loss = alignment(views, fused, text, index, scale)
    assert torch.allclose(alignment(views, fused, unused, index, scale), loss, rtol=1e-12)


def test_faces_on_their_own_prompts_reach_zero() -> None:
    text = torch.eye(4)
    loss = alignment(text.unsqueeze(1).expand(-1, 2, -1), text, text, torch.arange(4), torch.tensor(100.0))
    assert loss.item() == pytest.approx(0, abs=1e-6)


def test_shared_prompts_reach_the_entropy_and_equal_embeddings_give_log_n() -> None:
    index = torch.tensor([0, 0, 0, 1])
    text = torch.eye(2)
    fused = text[index]
    perfect = alignment(fused.unsqueeze(1), fused, text, index, torch.tensor(100.0))
    assert perfect.item() == pytest.approx(3 / 4 * math.log(3), abs=1e-5)
    same = torch.ones(4, 2)
    start = alignment(same.unsqueeze(1), same, torch.ones(2, 2), index, torch.tensor(14.0))
    assert start.item() == pytest.approx(math.log(4), abs=1e-5)


def test_autocast_does_not_change_the_loss() -> None:
    views, fused, text = unit(8, 3, 16, seed=0).float(), unit(8, 16, seed=1).float(), unit(4, 16, seed=2).float()
    index, scale = torch.arange(8) % 4, torch.tensor(14.0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = alignment(views, fused, text, index, scale)
    assert mixed.dtype == torch.float32
    assert torch.equal(mixed, alignment(views, fused, text, index, scale))
