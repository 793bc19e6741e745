"""Whom weights have seen, through training, checkpoints, export and further training."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

from polyview.analysis.supervision import describe_start, seen_by_start
from polyview.corpus.manifest import SCHEMA, Manifest
from polyview.modeling.export import export_weights
from polyview.modeling.model import MultiviewModel
from polyview.recipe import Corpus, Experiment, Generator, Modeling, load_stored_experiment, to_yaml, with_overrides
from polyview.recipe.weights import FORMER, OWN_SEED
from polyview.training.checkpoint import Source, open_checkpoint
from polyview.training.loop import Trainer, TrainingJob
from polyview.training.provenance import NOBODY, UNKNOWN, Provenance, Seen, provenance_of_start
from polyview.trials.ledger import Record

MakeJob = Callable[..., TrainingJob]
CPU = torch.device("cpu")
BU3DFE = Corpus(dataset="bu3dfe", root="/faces")
FOLDER = Corpus(dataset="folder", root="/sorted")
GENERATED = Corpus(generator=Generator(seed=1))


def test_people_are_those_of_their_corpus() -> None:
    seen = NOBODY.and_of(BU3DFE, ["F0001", "F0002"]).and_of(GENERATED, ["s000"])
    assert seen.among(BU3DFE, ["F0002", "M0001"]) == Seen(subjects=("F0002",))
    assert seen.among(Corpus(dataset="bosphorus", root="/faces"), ["F0002"]) == Seen()
    assert seen.among(GENERATED, ["s000", "s001"]) == Seen(subjects=("s000",))
    assert seen.among(Corpus(generator=Generator(seed=2)), ["s000"]) == Seen()
    assert seen.and_of(BU3DFE, ["M0001"]).among(BU3DFE, ["F0002", "M0001"]).subjects == ("F0002", "M0001")


def test_a_folder_sorted_by_hand_may_be_of_any_dataset_on_disk() -> None:
    people = ["F0001", "s000"]
    assert NOBODY.and_of(FOLDER, people).among(BU3DFE, ["F0001"]) == Seen(subjects=("F0001",))
    assert NOBODY.and_of(BU3DFE, people).among(FOLDER, ["F0001"]) == Seen(subjects=("F0001",))
    assert NOBODY.and_of(FOLDER, people).among(GENERATED, ["s000"]) == Seen()
    assert NOBODY.and_of(GENERATED, people).among(FOLDER, ["s000"]) == Seen()


def test_what_is_not_known_stays_so_though_something_is_known_besides() -> None:
    seen = UNKNOWN.and_of(BU3DFE, ["F0001"])
    assert seen.among(BU3DFE, ["F0001"]) == Seen(subjects=("F0001",), complete=False)
    assert seen.among(BU3DFE, ["F0002"]) == Seen(complete=False)


def test_former_weights_of_ours_have_seen_the_people_of_then() -> None:
    for content, drawn in FORMER.items():
        (people,) = provenance_of_start(Modeling(pretrained=content)).people.values()
        assert len(people) == round(0.9 * drawn)
        assert max(int(name.removeprefix("s")) for name in people) < drawn
    ours = Corpus(generator=Generator(seed=OWN_SEED))
    assert provenance_of_start(Modeling(pretrained="polyview")).among(ours, ["s3990", "s3991"]).complete


def test_a_file_that_was_changed_since_the_recipe_was_read_is_not_asked(tiny: Experiment, tmp_path: Path) -> None:
    file = tmp_path / "weights.safetensors"
    export_weights(MultiviewModel(tiny), NOBODY.and_of(BU3DFE, ["F0001"]).as_metadata(), file)
    modeling = Modeling(tower=tiny.model.tower, pretrained=str(file))
    assert provenance_of_start(modeling).among(BU3DFE, ["F0001"]) == Seen(subjects=("F0001",))
    export_weights(MultiviewModel(tiny), NOBODY.as_metadata(), file)
    assert provenance_of_start(modeling) == UNKNOWN


@pytest.mark.parametrize("tower", ["local-dir:/exported", "hf-hub:somebody/vit"])
def test_towers_that_earlier_versions_took_with_their_weights_did_not_start_at_random(
    tiny: Experiment, tmp_path: Path, tower: str
) -> None:
    former = tiny.model_copy(update={"model": tiny.model.model_copy(update={"tower": tower})})
    (tmp_path / "experiment.yaml").write_text(to_yaml(former))
    read = load_stored_experiment(tmp_path / "experiment.yaml")
    assert read.digest == former.digest
    assert provenance_of_start(read.model) == UNKNOWN
    seen = seen_by_start(Record(id=read.digest, experiment=read, started=0, ended=1, test_subjects=("s000",)))
    assert describe_start(read, seen) == f"weights {tower}, of which it is not known here what they have seen"


def test_of_records_of_earlier_versions_it_is_found_out(tiny: Experiment) -> None:
    own = with_overrides(tiny, {"model.tower": "tiny-resnet", "model.pretrained": "polyview"})
    ours = with_overrides(own, {"corpus.generator.seed": OWN_SEED})
    (trained_on,) = provenance_of_start(own.model).people.values()
    known = trained_on[:2]

    def seen(experiment: Experiment, **people: tuple[str, ...]) -> Seen:
        return seen_by_start(Record(id="x", experiment=experiment, started=0, ended=1, **people))  # type: ignore[arg-type]

    labels = {f"synthetic of seed {OWN_SEED}": len(trained_on)}
    both = Seen(subjects=known, labels=labels)
    assert seen(ours, test_subjects=known) == seen(ours, validation_subjects=known) == both
    assert seen(own, test_subjects=known) == Seen(labels=labels)
    crossed = {"protocol": "cross_dataset", "test": ours.corpus.model_dump(mode="json")}
    assert seen(with_overrides(own, {"evaluation": crossed}), test_subjects=known) == both
    pixels = {"model.tower": "pixels", "training.epochs": 0}
    assert seen(with_overrides(ours, pixels), test_subjects=known) == Seen()


def test_a_checkpoint_goes_on_knowing_whom_its_start_had_seen(
    make_job: MakeJob, tiny: Experiment, tmp_path: Path
) -> None:
    weights = tmp_path / "weights.safetensors"
    export_weights(MultiviewModel(tiny), NOBODY.and_of(BU3DFE, ["F0001"]).as_metadata(), weights)
    job = make_job(model__pretrained=str(weights), training__epochs=2)
    next(Trainer(job, CPU).epochs())
    weights.unlink()
    list(Trainer(job, CPU).epochs())
    checkpoint = open_checkpoint(job.folder)
    assert len(checkpoint.history) == 2
    assert checkpoint.start.people == {"bu3dfe": ("F0001",)}
    assert checkpoint.provenance.among(BU3DFE, ["F0001"]).subjects == ("F0001",)
    assert checkpoint.provenance.among(tiny.corpus, job.subjects).subjects == tuple(sorted(job.subjects))


@pytest.mark.parametrize(
    ("changes", "share", "told"),
    [
        ({"language__prompts": "none", "objective": {"decorrelation": {}}}, 0.0, "and had read labels of nobody"),
        ({"language__prompts": "pseudo"}, 0.0, "and had read labels of nobody"),
        ({}, 1.0, r"and had read labels of \d+ people of synthetic of seed \d+"),
        ({"language__labelled": 0.3}, 0.3, r"and had read labels of (1 person|\d+ people) of synthetic of seed \d+"),
    ],
)
def test_what_starts_from_exported_weights_says_of_whom_these_had_read_labels(
    make_job: MakeJob, tiny: Experiment, tmp_path: Path, changes: dict[str, Any], share: float, told: str
) -> None:
    job = make_job(training__epochs=1, **changes)
    list(Trainer(job, CPU).epochs())
    checkpoint, weights = open_checkpoint(job.folder), tmp_path / "weights.safetensors"
    export_weights(checkpoint.load_model(), checkpoint.provenance.as_metadata(), weights)
    unlabelled = {"language.prompts": "none", "objective": {"decorrelation": {}}, "model.pretrained": str(weights)}
    later = with_overrides(tiny, unlabelled)
    seen = seen_by_start(Record(id="x", experiment=later, started=0, ended=1))
    assert sum((seen.labels or {}).values()) == round(share * len(job.subjects))
    assert re.search(told + "$", describe_start(later, seen))


@pytest.mark.parametrize("pretrained", [None, "polyview"])
def test_of_checkpoints_that_do_not_note_whose_labels_their_start_had_read_the_recipe_tells(
    make_job: MakeJob, pretrained: str | None
) -> None:
    job = make_job(model__tower="tiny-resnet", model__pretrained=pretrained, training__epochs=1)
    list(Trainer(job, CPU).epochs())
    checkpoint = open_checkpoint(job.folder)
    noted = checkpoint.source.start
    assert noted is not None
    former = checkpoint.source.model_copy(update={"start": noted.model_copy(update={"labelled": None})})
    (checkpoint.folder / "source.json").write_text(former.model_dump_json())
    assert checkpoint.start == noted
    assert noted.labelled == (provenance_of_start(Modeling(pretrained="polyview")).people if pretrained else {})


def test_of_weights_that_do_not_say_whose_labels_they_read_it_is_not_known(tiny: Experiment, tmp_path: Path) -> None:
    weights = tmp_path / "weights.safetensors"
    former = {"people": {"bu3dfe": ["F0001"]}, "complete": True}
    export_weights(MultiviewModel(tiny), {"polyview": json.dumps(former)}, weights)
    start = provenance_of_start(Modeling(tower=tiny.model.tower, pretrained=str(weights)))
    assert start.people == {"bu3dfe": ("F0001",)}
    assert start.and_of(GENERATED, ["s000"], ["s000"]).labelled is None
    later = with_overrides(tiny, {"model.pretrained": str(weights)})
    told = describe_start(later, start.at_start(BU3DFE, ["F0001"]))
    assert told.endswith("by their names, and of which it is not known whether they had read labels")


def test_a_checkpoint_that_does_not_say_it_asks_its_recipe(make_job: MakeJob, tiny: Experiment, tmp_path: Path) -> None:
    export_weights(MultiviewModel(tiny), {}, tmp_path / "weights.safetensors")
    job = make_job(model__pretrained=str(tmp_path / "weights.safetensors"), training__epochs=1)
    list(Trainer(job, CPU).epochs())
    checkpoint = open_checkpoint(job.folder)
    file = checkpoint.folder / "source.json"
    file.write_text(json.dumps({name: part for name, part in json.loads(file.read_text()).items() if name != "start"}))
    assert checkpoint.source.start is None
    assert checkpoint.start == UNKNOWN
    assert not checkpoint.provenance.complete


def test_a_source_is_of_the_same_faces_and_people_whatever_its_start_has_seen() -> None:
    def faces(fingerprint: str) -> Manifest:
        return Manifest(pl.DataFrame(schema=SCHEMA), "", fingerprint)

    source = Source(manifest="m", subjects=("a", "b"), start=NOBODY)
    assert source.is_of(faces("m"), ("a", "b"))
    assert not source.is_of(faces("m"), ("a", "c"))
    assert not source.is_of(faces("n"), ("a", "b"))
    former = Source(manifest=faces("n").former_fingerprints[-1], subjects=("a", "b"))
    assert former.is_of(faces("n"), ("a", "b"))


def test_how_pictures_are_normalised_is_part_of_what_weights_are(tiny: Experiment, tmp_path: Path) -> None:
    export_weights(MultiviewModel(tiny), {}, tmp_path / "open_clip_model.safetensors")
    alone = with_overrides(tiny, {"model.pretrained": str(tmp_path)})
    digests = {alone.digest}
    for mean in ([0.5, 0.5, 0.5], [0.4, 0.4, 0.4]):
        (tmp_path / "open_clip_config.json").write_text(json.dumps({"preprocess_cfg": {"mean": mean, "std": mean}}))
        digests.add(with_overrides(tiny, {"model.pretrained": str(tmp_path)}).digest)
    assert len(digests) == 3
    shutil.copytree(tmp_path, tmp_path / "elsewhere")
    assert with_overrides(tiny, {"model.pretrained": str(tmp_path / "elsewhere")}).digest in digests


def test_provenance_is_read_back_from_text() -> None:
    seen = UNKNOWN.and_of(BU3DFE, ["F0001"])
    assert Provenance.model_validate_json(seen.as_metadata()["polyview"]) == seen
