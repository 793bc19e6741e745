from __future__ import annotations

import numpy as np
import pytest
import torch

from polyview.evaluation.embed import BATCH, anchors, embed, raw_pixels
from polyview.modeling.model import MultiviewModel
from polyview.recipe import Experiment
from polyview.rendering.cameras import cameras
from polyview.rendering.store import ViewStore
from polyview.training.loop import class_tokens

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def model(tiny: Experiment) -> MultiviewModel:
    torch.manual_seed(0)
    return MultiviewModel(tiny)


def test_embeddings_stand_in_the_order_of_the_rows_on_the_unit_sphere(
    model: MultiviewModel, tiny: Experiment, tiny_store: ViewStore
) -> None:
    rig, rows = cameras(tiny.rendering.views), np.arange(len(tiny_store))
    found = embed(model, tiny_store, rows, rig, CPU)
    assert found.shape == (len(rows), 128)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    few = np.array([7, 0, 7, 3])
    np.testing.assert_allclose(embed(model, tiny_store, few, rig, CPU), found[few], atol=1e-5)


def test_more_rows_than_a_batch_are_embedded_alike(
    model: MultiviewModel, tiny: Experiment, tiny_store: ViewStore
) -> None:
    rig, rows = cameras(tiny.rendering.views), np.arange(BATCH + 30) % len(tiny_store)
    found = embed(model, tiny_store, rows, rig, CPU)
    np.testing.assert_allclose(found[BATCH:], found[rows[BATCH:]], atol=1e-5)


def test_embedding_changes_nothing_in_the_model(model: MultiviewModel, tiny: Experiment, tiny_store: ViewStore) -> None:
    before = {name: value.clone() for name, value in model.state_dict().items()}
    embed(model.train(), tiny_store, np.arange(8), cameras(tiny.rendering.views), CPU)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_raw_pixels_are_the_stores(tiny: Experiment, tiny_store: ViewStore) -> None:
    rig, rows = cameras(tiny.rendering.views), np.array([5, 2])
    pixels = raw_pixels(tiny_store, rows, rig)
    assert pixels.shape == (2, 3 * 32 * 32 * 3)
    assert 0 <= pixels.min() < pixels.max() <= 1
    np.testing.assert_array_equal(np.rint(pixels * 255), tiny_store.gather(rows, rig).reshape(2, -1))


def test_an_anchor_is_the_mean_direction_of_its_classs_prompts(model: MultiviewModel, tiny: Experiment) -> None:
    found = anchors(model, tiny, CPU)
    assert found.shape == (3, 128)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    with torch.no_grad():
        texts = model.encode_text(class_tokens(tiny)[:, 2]).sum(0)
    np.testing.assert_allclose(found[2], (texts / texts.norm()).numpy(), atol=1e-5)
