from __future__ import annotations

import copy
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import save_file

from polyview.errors import UserError
from polyview.modeling.towers import build_towers, check_tower, load_open_clip, tokenize, torchvision_fits
from polyview.recipe import Experiment, Modeling, with_overrides
from polyview.recipe.experiment import weights_digest

TINY_VIT: dict[str, Any] = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 64, "layers": 1, "width": 64, "patch_size": 16},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}
PICTURES = torch.linspace(-1, 1, 2 * 3 * 32 * 32).view(2, 3, 32, 32)


@pytest.fixture(scope="module")
def vit(add_model: Callable[[str, dict[str, Any]], str]) -> str:
    """The name of a model that somebody has added to open_clip's own."""
    return add_model("vit-for-tests", TINY_VIT)


def build(tower: str, pretrained: Path | str | None = None, size: int = 32, seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    towers: torch.nn.Module = build_towers(Modeling(tower=tower, pretrained=pretrained and str(pretrained)), size)
    return towers.eval()


def embeddings(towers: torch.nn.Module, tower: str) -> torch.Tensor:
    with torch.no_grad():
        texts = towers.encode_text(tokenize(tower, ("a happy person", "a sad person")))
        return torch.cat([towers.encode_image(PICTURES), texts])


def test_polyviews_own_tower_is_small_and_seeded() -> None:
    one, same, other = (embeddings(build("tiny-resnet", seed=seed), "tiny-resnet") for seed in (0, 0, 1))
    assert one.shape == (4, 128)
    assert torch.equal(one, same)
    assert not torch.allclose(one, other)
    assert sum(weight.numel() for weight in build("tiny-resnet").visual.parameters()) < 1_000_000


@pytest.mark.parametrize("size", [32, 64])
def test_any_of_open_clips_models_takes_pictures_of_the_recipes_size(vit: str, size: int) -> None:
    towers = build(vit, size=size)
    assert towers.encode_image(torch.zeros(1, 3, size, size)).shape == (1, 32)
    assert len(towers.visual.positional_embedding) == 1 + (size // 16) ** 2


def test_a_published_model_is_built_by_its_name_without_a_download() -> None:
    assert build("ViT-S-32-alt", size=64).encode_image(torch.zeros(1, 3, 64, 64)).shape == (1, 256)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_a_local_file_of_weights_gives_the_model_that_it_came_from(tmp_path: Path, vit: str, suffix: str) -> None:
    trained = build(vit, seed=5)
    path = tmp_path / f"weights{suffix}"
    state = {name: value.contiguous() for name, value in trained.state_dict().items()}
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    loaded = build(vit, path, seed=6)
    assert torch.equal(embeddings(loaded, vit), embeddings(trained, vit))
    assert not torch.allclose(embeddings(build(vit, seed=6), vit), embeddings(trained, vit))


def test_weights_of_another_model_are_refused_by_name(tmp_path: Path, vit: str) -> None:
    path = tmp_path / "other.safetensors"
    save_file(build("tiny-resnet").state_dict(), path)
    with pytest.raises(UserError, match=r"model.tower 'vit-for-tests', model.pretrained '.*other.safetensors': "):
        build(vit, path)


@pytest.mark.parametrize("content", [b"no weights at all", b"hello", b"a: 1\n", b""])
@pytest.mark.parametrize("name", ["garbage.safetensors", "garbage.pt"])
def test_a_file_that_holds_no_weights_is_refused_in_one_line(
    tmp_path: Path, vit: str, name: str, content: bytes
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=f"model.pretrained '.*{name}': .*; give weights of") as caught:
        build(vit, tmp_path / name)
    assert "\n" not in str(caught.value)
    assert "weights_only" not in str(caught.value)
    if name == "garbage.pt":
        assert "garbage.pt is no file of weights" in str(caught.value)


def test_a_pickle_in_place_of_weights_is_never_run(tmp_path: Path, vit: str) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
            return os.mkdir, (str(tmp_path / "sprung"),)

    (tmp_path / "trap.pt").write_bytes(pickle.dumps(Trap(), protocol=2))
    torch.save(Trap(), tmp_path / "trap.zip.pt")
    for name in ("trap.pt", "trap.zip.pt"):
        with pytest.raises(UserError):
            build(vit, tmp_path / name)
    assert not (tmp_path / "sprung").exists()


def test_an_unknown_tower_is_refused_with_the_nearest_names() -> None:
    for refuse in (check_tower, lambda modeling: build_towers(modeling, 32)):
        with pytest.raises(UserError, match=r"open_clip has no model 'tiny-resnt'; nearest: tiny-resnet, "):
            refuse(Modeling(tower="tiny-resnt"))


def test_unknown_weights_are_refused_with_those_that_there_are(tmp_path: Path) -> None:
    check_tower(Modeling(tower="RN50-quickgelu", pretrained="openai"))
    with pytest.raises(UserError, match=r"'opnai' is no file, and none of the weights known for RN50: openai, yfcc15m"):
        check_tower(Modeling(tower="RN50", pretrained="opnai"))
    with pytest.raises(UserError, match=r"gone.pt' is no file, .* for tiny-resnet: polyview"):
        check_tower(Modeling(tower="tiny-resnet", pretrained=str(tmp_path / "gone.pt")))


def test_polyviews_own_weights_are_named_to_who_writes_them_otherwise() -> None:
    with pytest.raises(UserError, match=r"'Polyview' is no file, .* for tiny-resnet: polyview; nearest: polyview"):
        check_tower(Modeling(tower="tiny-resnet", pretrained="Polyview"))


def test_whether_open_clip_imports_alone_here_is_known() -> None:
    alone = subprocess.run([sys.executable, "-c", "import torchvision"], capture_output=True)
    assert torchvision_fits() == (alone.returncode == 0)


def test_weights_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    weights = build_towers(Modeling(), 32).state_dict()
    weights["positional_embedding"][0, 0] = float("nan")
    save_file(weights, tmp_path / "broken.safetensors")
    with pytest.raises(UserError, match=r"broken.safetensors has weights that are no finite numbers; use others"):
        build_towers(Modeling(pretrained=str(tmp_path / "broken.safetensors")), 32)


def test_weights_of_quickgelu_are_refused_in_every_tower_that_does_not_compute_it() -> None:
    open_clip = load_open_clip()
    pairs = [
        (tower, tag) for tower in open_clip.list_models() for tag in open_clip.list_pretrained_tags_by_model(tower)
    ]
    refused = 0
    for tower, tag in pairs:
        wants = open_clip.get_pretrained_cfg(tower, tag).get("quick_gelu", False)
        if not wants or open_clip.get_model_config(tower).get("quick_gelu", False):
            check_tower(Modeling(tower=tower, pretrained=tag))
            continue
        refused += 1
        with pytest.raises(UserError, match=f"{tag} was trained with QuickGELU.*: {tower}-quickgelu$"):
            check_tower(Modeling(tower=tower, pretrained=tag))
        check_tower(Modeling(tower=f"{tower}-quickgelu", pretrained=tag))
    assert refused > 10


def mean_of(towers: Any) -> tuple[float, ...]:
    return tuple(towers.visual.image_mean)


def test_a_file_of_weights_is_normalised_as_open_clips_weights_of_that_tower_are(tmp_path: Path) -> None:
    """And as open_clip has it by default where it has no weights of such a tower."""
    for tower, mean in (("ViT-B-16-SigLIP", (0.5, 0.5, 0.5)), ("tiny-resnet", (0.48145466, 0.4578275, 0.40821073))):
        path = tmp_path / f"{tower}.safetensors"
        save_file(build(tower, size=64 if tower == "tiny-resnet" else 224).state_dict(), path)
        assert mean_of(build(tower, path, size=64 if tower == "tiny-resnet" else 224)) == mean


def test_a_file_of_weights_is_normalised_as_the_config_beside_it_says(tmp_path: Path, vit: str) -> None:
    save_file(build(vit).state_dict(), tmp_path / "weights.safetensors")
    said = {"model_cfg": TINY_VIT, "preprocess_cfg": {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(said))
    assert mean_of(build(vit, tmp_path / "weights.safetensors")) == (0.1, 0.2, 0.3)


def test_patches_are_dropped_in_training_alone(vit: str) -> None:
    torch.manual_seed(0)
    whole = build_towers(Modeling(tower=vit), 64)
    torch.manual_seed(0)
    dropping = build_towers(Modeling(tower=vit, patch_dropout=0.5), 64)
    pictures = torch.rand(4, 3, 64, 64)
    assert not torch.allclose(dropping.train().encode_image(pictures), whole.encode_image(pictures))
    assert torch.equal(dropping.eval().encode_image(pictures), whole.eval().encode_image(pictures))


@pytest.mark.parametrize("tower", ["tiny-resnet", "RN50"])
def test_a_tower_without_patches_has_none_to_drop(tower: str) -> None:
    with pytest.raises(UserError, match=r"model.patch_dropout: .* only vision transformers"):
        build_towers(Modeling(tower=tower, patch_dropout=0.5), 64)


def test_weights_are_those_of_a_folder_that_open_clip_wrote_and_its_pictures_are_normalised_as_it_says(
    tmp_path: Path, vit: str
) -> None:
    trained = build(vit, seed=3)
    save_file(trained.state_dict(), tmp_path / "open_clip_model.safetensors")
    config = TINY_VIT | {"vision_cfg": TINY_VIT["vision_cfg"] | {"image_size": 32}}
    pictures = {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": pictures}))
    modeling = Modeling(tower=vit, pretrained=str(tmp_path))
    check_tower(modeling)
    towers = build_towers(modeling, 32)
    assert torch.equal(embeddings(towers, vit), embeddings(trained, vit))
    assert [*towers.visual.image_mean] == pictures["mean"]
    assert modeling.pretrained_content == (str(tmp_path), weights_digest(tmp_path / "open_clip_model.safetensors"))


def test_a_tower_by_its_folder_is_refused_as_open_clip_would_take_the_weights_along(
    tmp_path: Path, tiny: Experiment
) -> None:
    told = rf"would start from the weights in its folder.* model.pretrained: {tmp_path}"
    with pytest.raises(ValidationError, match=told):
        Modeling(tower=f"local-dir:{tmp_path}")
    with pytest.raises(UserError, match=told):
        check_tower(with_overrides(tiny, {"model.tower": f"local-dir:{tmp_path}"}).model)


@pytest.mark.parametrize(
    ("tower", "pretrained", "told"),
    [
        ("hf-hub:a/b", "openai", "model.tower: hf-hub:a/b comes with the weights that lie there; .* not openai"),
        ("hf-hub:a/b", None, "set model.pretrained: hf-hub:a/b, or a file of its weights, not null"),
        (
            "ViT-B-32",
            "hf-hub:a/b",
            "hf-hub:a/b are the weights of the tower of that address; set model.tower to it too",
        ),
    ],
)
def test_what_a_tower_of_the_hub_starts_from_is_said(tower: str, pretrained: str | None, told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        Modeling(tower=tower, pretrained=pretrained)


def test_a_tower_of_the_hub_starts_from_the_weights_there_or_from_a_file(
    tmp_path: Path, vit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in (3, 4):
        save_file(build(vit, seed=seed).state_dict(), tmp_path / f"{seed}.safetensors")
    factory = sys.modules["open_clip.factory"]
    config = {"model_cfg": TINY_VIT, "preprocess_cfg": {}}
    monkeypatch.setattr(factory, "_get_hf_config", lambda *_, **__: copy.deepcopy(config))
    monkeypatch.setattr(factory, "download_pretrained_from_hf", lambda *_, **__: str(tmp_path / "3.safetensors"))
    name = "hf-hub:somebody/vit"
    for pretrained, seed in ((name, 3), (str(tmp_path / "4.safetensors"), 4)):
        towers = build_towers(Modeling(tower=name, pretrained=pretrained), 32)
        assert torch.equal(towers.visual.conv1.weight, build(vit, seed=seed).visual.conv1.weight)
    assert Modeling(tower=name, pretrained=name).start == name


def test_a_folder_without_weights_is_named_with_the_file_that_lacks(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"{tmp_path}' is a folder without open_clip_model.safetensors, and none of"):
        check_tower(Modeling(pretrained=str(tmp_path)))


def test_prompts_become_tokens_of_the_towers_context(vit: str) -> None:
    assert tokenize("tiny-resnet", ("a happy person", "a face")).shape == (2, 24)
    assert tokenize(vit, ("a happy person",)).shape == (1, 16)


def test_a_prompt_longer_than_the_context_is_refused(vit: str) -> None:
    fits = " ".join(["face"] * 14)
    assert tokenize(vit, (fits,)).shape == (1, 16)
    with pytest.raises(UserError, match=r"prompt 'face .* face' is longer than the 16 tokens that vit-for-tests reads"):
        tokenize(vit, ("a face", f"{fits} face"))
