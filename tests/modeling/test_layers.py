from __future__ import annotations

import re

import pytest
import torch
from torch import nn

from polyview.errors import UserError
from polyview.modeling.layers import blocks, image_depths, text_depths, train_last
from polyview.modeling.model import MultiviewModel
from polyview.modeling.towers import build_towers
from polyview.recipe import Experiment, Modeling, with_overrides

LAYERS = {"ViT-S-32-alt": (12, 10), "RN50": (4, 12), "tiny-resnet": (4, 1), "coca_ViT-B-32": (12, 12)}


@pytest.fixture(scope="module", params=LAYERS)
def towers(request: pytest.FixtureRequest) -> tuple[str, nn.Module]:
    return request.param, build_towers(Modeling(tower=request.param), 64)


def test_every_parameter_of_both_towers_has_a_depth(towers: tuple[str, nn.Module]) -> None:
    name, built = towers
    images, texts = image_depths(built), text_depths(built)
    others = {"logit_scale"} | {name for name, _ in built.named_parameters() if name.startswith("text_decoder.")}
    assert images.keys() | texts.keys() | others == {name for name, _ in built.named_parameters()}
    assert not images.keys() & texts.keys()
    assert (set(images.values()), set(texts.values())) == tuple(set(range(layers + 2)) for layers in LAYERS[name])


def test_a_layers_number_is_its_depth(towers: tuple[str, nn.Module]) -> None:
    _, built = towers
    for depths in (image_depths(built), text_depths(built)):
        for name, depth in depths.items():
            if match := re.search(r"resblocks\.(\d+)", name):
                assert depth == int(match.group(1)) + 1
            if match := re.search(r"^visual\.layer(\d)", name):
                assert depth == int(match.group(1))


def test_blocks_are_all_that_a_tower_repeats_and_none_is_within_another(towers: tuple[str, nn.Module]) -> None:
    name, built = towers
    found = blocks(built)
    assert len(found) == {"ViT-S-32-alt": 12 + 10, "RN50": 16 + 12, "tiny-resnet": 4 + 1, "coca_ViT-B-32": 4 * 12}[name]
    within = [weight for block in found for weight in block.parameters()]
    assert len({*within}) == len(within)


@pytest.mark.parametrize("layers", [0, 1, 2, 3])
def test_so_many_last_layers_are_trained_with_what_is_behind_them(layers: int) -> None:
    built = build_towers(Modeling(tower="ViT-S-32-alt"), 64)
    train_last(built, image_depths(built), layers, "model.image_layers")
    trained = {name for name, weight in built.visual.named_parameters() if weight.requires_grad}
    blocks = {int(match.group(1)) for name in trained if (match := re.search(r"resblocks\.(\d+)", name))}
    assert blocks == set(range(12 - layers, 12))
    assert ("proj" in trained) == ("ln_post.weight" in trained) == bool(layers)
    assert all(weight.requires_grad for name, weight in built.named_parameters() if not name.startswith("visual."))


@pytest.mark.parametrize("key", ["model.image_layers", "model.text_layers"])
def test_more_layers_than_a_tower_has_are_refused(tiny: Experiment, key: str) -> None:
    with pytest.raises(UserError, match=f"{key} is 5 and the tower has [41] layers; null trains all"):
        MultiviewModel(with_overrides(tiny, {key: 5}))


@pytest.mark.parametrize("layers", [0, 2])
def test_frozen_batch_norms_keep_their_statistics_and_the_others_go_on(tiny: Experiment, layers: int) -> None:
    model = MultiviewModel(with_overrides(tiny, {"model.image_layers": layers})).train()
    before = {name: value.clone() for name, value in model.towers.visual.state_dict().items()}
    model.encode_views(torch.rand(4, 3, 3, 32, 32))
    depths = image_depths(model.towers)
    for name, value in model.towers.visual.state_dict().items():
        if name.endswith("running_mean"):
            is_trained = depths[f"visual.{name.replace('running_mean', 'weight')}"] > 4 - layers
            assert torch.equal(value, before[name]) != (is_trained and layers > 0)
