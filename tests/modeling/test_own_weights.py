"""The weights that polyview brings along."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from polyview import modeling
from polyview.analysis.supervision import describe_start
from polyview.corpus.expressions import perform
from polyview.corpus.load import load_mesh
from polyview.corpus.scan import scan
from polyview.errors import UserError
from polyview.evaluation.embedded import Embedded
from polyview.evaluation.probes import zero_shot
from polyview.modeling.export import export_weights
from polyview.modeling.model import MultiviewModel
from polyview.modeling.towers import build_towers, check_tower
from polyview.recipe import (
    Corpus,
    Experiment,
    Generator,
    Modeling,
    Study,
    load_experiment,
    load_stored_experiment,
    load_stored_study,
    to_yaml,
    with_overrides,
)
from polyview.recipe.weights import FORMER, OWN_DRAWN, OWN_SEED
from polyview.rendering.cameras import cameras
from polyview.rendering.renderer import make_renderer
from polyview.training.batches import to_images
from polyview.training.loop import class_tokens
from polyview.training.provenance import Seen, provenance_of_start
from polyview.trials.design import plan
from polyview.trials.ledger import Ledger, Record
from polyview.trials.people import sides_of

RECIPE = Path("experiments/generator_pretraining.yaml")


def start() -> Experiment:
    return with_overrides(load_experiment(RECIPE), {"model.pretrained": "polyview"})


def test_they_name_the_expressions_of_people_they_never_saw() -> None:
    experiment = start()
    corpus = Corpus(generator=Generator(subjects=8, sequences=1, seed=987, variety=1.0))
    manifest, rig = scan(corpus).manifest, cameras(experiment.rendering.views)
    renderer = make_renderer(experiment.rendering)
    views = np.stack([renderer.render(load_mesh(path, None, ""), rig) for path in manifest.frame["path"]])
    model = MultiviewModel(experiment).eval()
    angles = torch.tensor([[camera.yaw, camera.pitch] for camera in rig])
    with torch.inference_mode():
        faces = model.fuse(model.encode_views(to_images(torch.from_numpy(views))), angles).numpy()
        anchors = model.encode_anchors(class_tokens(experiment)).numpy()
    shown = manifest.frame["expression"].to_list()
    named = zero_shot(
        Embedded(faces, shown, manifest.frame["subject"].to_list(), manifest.frame["sample_id"].to_list()),
        anchors,
        corpus.expressions,
    ).labels
    assert np.mean(np.array(named) == shown) > 3 / 7


def test_they_are_small() -> None:
    folder = Path(modeling.__file__).parent / "weights"
    assert sum(file.stat().st_size for file in folder.iterdir()) < 8_000_000


def test_whom_they_have_seen_is_known() -> None:
    generator = load_experiment(RECIPE).corpus.generator
    assert (generator.seed, generator.subjects) == (OWN_SEED, OWN_DRAWN)
    people = [frame.subject for frame in perform(generator, ("neutral",))]
    sides = sides_of(load_experiment(RECIPE), people)
    weights = provenance_of_start(start().model)
    assert weights.among(with_overrides(start(), {"corpus.generator.variety": 0.0}).corpus, people) == Seen(
        subjects=sides.train
    )
    assert weights.among(with_overrides(start(), {"corpus.generator.seed": OWN_SEED + 1}).corpus, people) == Seen()
    assert weights.among(Corpus(dataset="facekit", root="/data", generator=Generator(seed=OWN_SEED)), people) == Seen()


def test_a_bundle_of_an_earlier_version_still_says_what_its_towers_had_learned() -> None:
    own = load_experiment(RECIPE)
    for content in FORMER:
        former = own.model_copy(update={"model": own.model.model_copy(update={"pretrained": content})})
        assert describe_start(former, Seen()).startswith(
            "polyview's own weights of an earlier version, which have read"
        )


def test_results_of_earlier_weights_stay_theirs(tmp_path: Path) -> None:
    (content,) = FORMER
    own = start()
    earlier = own.model_copy(
        update={"model": own.model.model_copy(update={"pretrained_content": ("polyview", content)})}
    )
    (tmp_path / "experiment.yaml").write_text(to_yaml(earlier))
    read = load_stored_experiment(tmp_path / "experiment.yaml")
    study = Study(name="earlier", experiment=earlier, variants={"other": {"training.lr": 1e-4}})
    kept = load_stored_study(study.model_dump_json(), "study.json")
    ledger = Ledger(tmp_path / "trials")
    ledger.write(Record(id=earlier.digest, experiment=earlier, started=0, ended=1))
    (record,) = ledger.all()
    assert record.experiment.digest == read.digest == kept.experiment.digest == earlier.digest != own.digest
    assert [trial.id for trial in plan(kept)] == [trial.id for trial in plan(study)]
    assert describe_start(read, Seen()).startswith("polyview's own weights of an earlier version, which have read")
    with pytest.raises(UserError, match="holds other weights than when the recipe was read"):
        build_towers(read.model, 64)
    assert load_experiment(tmp_path / "experiment.yaml").digest == own.digest, (
        "a recipe is of the weights that are here"
    )


def test_a_tower_without_weights_of_its_own_is_refused() -> None:
    with pytest.raises(UserError, match="polyview has weights of tiny-resnet, and none of ViT-B-32"):
        check_tower(Modeling(tower="ViT-B-32", pretrained="polyview"))


def test_other_weights_are_another_recipe() -> None:
    own, none = start(), with_overrides(load_experiment(RECIPE), {"model.pretrained": None})
    assert own.digest != none.digest
    assert own.model.pretrained_content is not None
    assert own.model.pretrained_content[1] in str(own.model_dump())


def test_weights_written_as_one_file_are_the_towers_in_half_precision(tmp_path: Path) -> None:
    torch.manual_seed(3)
    model = MultiviewModel(with_overrides(load_experiment(RECIPE), {"model.pretrained": None}))
    file = tmp_path / "weights.safetensors"
    export_weights(model, {}, file)
    read = build_towers(Modeling(pretrained=str(file)), 64).state_dict()
    for name, value in model.towers.state_dict().items():
        torch.testing.assert_close(read[name], value, rtol=1e-3, atol=1e-6)
