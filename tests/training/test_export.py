from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from polyview.cli import main
from polyview.errors import UserError
from polyview.modeling.export import export_towers
from polyview.modeling.model import MultiviewModel
from polyview.modeling.towers import load_open_clip, tokenize
from polyview.recipe import Experiment, with_overrides
from polyview.rendering.store import ViewStore
from polyview.training.loop import Trainer, TrainingJob

MakeJob = Callable[..., TrainingJob]
PROMPTS = ["a happy person", "a face that shows surprise"]
TEXT: dict[str, Any] = {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
CONFIGS: dict[str, dict[str, Any]] = {
    "vit-to-export": {"image_size": 64, "layers": 1, "width": 64, "patch_size": 16},
    "timm-vit-to-export": {"image_size": 160, "timm_model_name": "test_vit", "timm_pool": "", "timm_proj": "linear"},
}


@pytest.fixture(scope="module", autouse=True)
def _more_towers(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Models that somebody has added to open_clip's own."""
    folder = tmp_path_factory.mktemp("configs")
    for name, vision in CONFIGS.items():
        (folder / f"{name}.json").write_text(json.dumps({"embed_dim": 32, "vision_cfg": vision, "text_cfg": TEXT}))
    load_open_clip().add_model_config(folder)


def trained(job: TrainingJob) -> MultiviewModel:
    trainer = Trainer(job, torch.device("cpu"))
    list(trainer.epochs())
    return trainer.model.eval()


@pytest.mark.parametrize("tower", ["tiny-resnet", "vit-to-export"])
def test_open_clip_alone_gives_the_same_embeddings_from_pictures_and_from_texts(
    make_job: MakeJob, tiny_store: ViewStore, tmp_path: Path, tower: str
) -> None:
    model = trained(make_job(model__tower=tower, training__epochs=1))
    with pytest.raises(SystemExit) as ended:
        main(["export", str(tmp_path / "trial"), "-o", str(tmp_path / "deep" / "exported")])
    assert not ended.value.code
    name = f"local-dir:{tmp_path / 'deep' / 'exported'}"
    towers, _, preprocess = load_open_clip().create_model_and_transforms(name)
    tokenizer = load_open_clip().get_tokenizer(name)
    views = tiny_store.gather(torch.arange(4).numpy(), tiny_store.cameras[:1])[:, 0]
    pictures = torch.stack([preprocess(Image.fromarray(view)) for view in views])
    with torch.no_grad():
        ours = model.encode_views(torch.from_numpy(views).permute(0, 3, 1, 2)[:, None] / 255)[:, 0]
        torch.testing.assert_close(towers.eval().encode_image(pictures, normalize=True), ours)
        texts = towers.encode_text(tokenizer(PROMPTS), normalize=True)
        torch.testing.assert_close(texts, model.encode_text(tokenize(tower, tuple(PROMPTS))))
    assert (ours[0] - ours[1]).abs().max() > 1e-4
    assert towers.logit_scale == model.towers.logit_scale


def test_what_is_written_needs_no_config_of_ours_and_is_no_pickle(tiny: Experiment, tmp_path: Path) -> None:
    export_towers(MultiviewModel(tiny), tiny, {}, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["open_clip_config.json", "open_clip_model.safetensors"]
    config = json.loads((tmp_path / "open_clip_config.json").read_text())
    assert config["model_cfg"]["vision_cfg"]["timm_model_name"] == "test_resnet"
    assert config["model_cfg"]["vision_cfg"]["image_size"] == tiny.rendering.size
    assert config["preprocess_cfg"]["resize_mode"] == "shortest"


def test_a_folder_with_something_in_it_is_left_as_it_is(tiny: Experiment, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    for taken in (tmp_path, tmp_path / "notes.txt"):
        with pytest.raises(UserError, match=f"{taken.name}: there is something here already; name a folder that is"):
            export_towers(MultiviewModel(tiny), tiny, {}, taken)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]


def test_a_tower_that_open_clip_builds_at_its_own_size_alone_is_refused(tiny: Experiment, tmp_path: Path) -> None:
    other = with_overrides(tiny, {"model.tower": "timm-vit-to-export"})
    with pytest.raises(
        UserError, match=r"timm-vit-to-export: open_clip could not read it .*size 32 \(.*pos_embed.*its own size"
    ):
        export_towers(MultiviewModel(other), other, {}, tmp_path / "exported")
    assert not list(tmp_path.iterdir())
