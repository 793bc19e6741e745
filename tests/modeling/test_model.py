from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from polyview.modeling.model import MAX_LOGIT_SCALE, MultiviewModel
from polyview.modeling.towers import tokenize
from polyview.recipe import Experiment, with_overrides

PROMPTS = ("a happy person", "a sad person")
ANGLES = torch.tensor([[-30.0, 0.0], [0.0, 0.0], [30.0, 0.0]])


def build(experiment: Experiment, **changes: Any) -> MultiviewModel:
    torch.manual_seed(0)
    return MultiviewModel(with_overrides(experiment, {key.replace("__", "."): v for key, v in changes.items()}))


def pictures(samples: int = 4, size: int = 32) -> Tensor:
    return torch.rand(samples, 3, 3, size, size, generator=torch.Generator().manual_seed(0))


def test_all_embeddings_are_on_the_unit_sphere(tiny: Experiment) -> None:
    found = build(tiny)(pictures(), ANGLES, tokenize("tiny-resnet", PROMPTS))
    assert found.text is not None
    shapes = {"views": (4, 3, 128), "projections": (4, 3, 16), "fused": (4, 128), "text": (2, 128)}
    for name, shape in shapes.items():
        embeddings = getattr(found, name)
        assert embeddings.shape == shape
        assert embeddings.dtype == torch.float32
        torch.testing.assert_close(embeddings.norm(dim=-1), torch.ones(shape[:-1]))
    assert float(found.logit_scale) == pytest.approx(1 / 0.07, rel=1e-4)


def test_without_tokens_there_is_no_text(tiny: Experiment) -> None:
    assert build(tiny)(pictures(), ANGLES, None).text is None


def test_a_projector_of_no_layers_is_the_view_itself(tiny: Experiment) -> None:
    found = build(tiny, model__projector=[])(pictures(), ANGLES, None)
    torch.testing.assert_close(found.projections, found.views)


def test_the_scale_before_the_softmax_stays_below_a_hundred(tiny: Experiment) -> None:
    model = build(tiny)
    torch.nn.init.constant_(model.towers.logit_scale, 2 * MAX_LOGIT_SCALE)
    model.clamp_logit_scale()
    assert float(model(pictures(2), ANGLES, None).logit_scale) == pytest.approx(100)


@pytest.mark.parametrize("size", [32, 48])
def test_the_model_takes_pictures_of_the_recipes_size(tiny: Experiment, size: int) -> None:
    model = build(tiny, rendering__size=size).eval()
    assert model.encode_views(pictures(2, size)).shape == (2, 3, 128)


def test_a_view_is_embedded_by_itself_once_training_is_over(tiny: Experiment) -> None:
    model, images = build(tiny).eval(), pictures()
    alone = model.encode_views(images[1:2, 2:])
    torch.testing.assert_close(alone, model.encode_views(images)[1:2, 2:], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_precision_and_memory_layout_change_next_to_nothing(
    tiny: Experiment, precision: torch.dtype, layout: torch.memory_format
) -> None:
    model, tokens = build(tiny).eval(), tokenize("tiny-resnet", PROMPTS)
    expected = model(pictures(), ANGLES, tokens)
    model = model.to(memory_format=layout)  # type: ignore[call-overload]
    with torch.autocast("cpu", precision, enabled=precision != torch.float32):
        found = model(pictures(), ANGLES, tokens)
    for name in ("views", "projections", "fused", "text"):
        embeddings = getattr(found, name)
        assert embeddings.isfinite().all()
        assert embeddings.dtype == torch.float32
        cosine = (embeddings * getattr(expected, name)).sum(-1)
        assert cosine.min() > (0.9999 if precision == torch.float32 else 0.98)


def test_a_training_step_in_bfloat16_leaves_float32_weights_with_finite_gradients(tiny: Experiment) -> None:
    model = build(tiny).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    with torch.autocast("cpu", torch.bfloat16):
        found = model(pictures(), ANGLES, tokenize("tiny-resnet", PROMPTS))
    (found.views.sum() + found.projections.std() + found.text.std()).backward()
    gradients = [weight.grad for weight in model.parameters() if weight.grad is not None]
    assert len(gradients) > 50
    assert all(gradient.isfinite().all() and gradient.dtype == torch.float32 for gradient in gradients)
