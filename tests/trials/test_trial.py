from __future__ import annotations

import dataclasses
import itertools
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from PIL import Image

from polyview.cli import main
from polyview.corpus.manifest import Manifest
from polyview.corpus.mesh import MeshError
from polyview.corpus.scan import scan
from polyview.corpus.splits import few, labelled
from polyview.errors import UserError
from polyview.modeling.export import export_weights
from polyview.modeling.model import MultiviewModel
from polyview.recipe import Experiment, Generator, with_overrides
from polyview.recipe.unread import why_unread
from polyview.rendering.store import ViewStore
from polyview.tracking.served import ServedModel, save_model
from polyview.training.checkpoint import open_checkpoint
from polyview.training.provenance import Seen
from polyview.training.saving import CheckpointTimes
from polyview.trials.design import REFERENCES
from polyview.trials.ledger import Ledger, Record
from polyview.trials.people import check_samples, sides_of
from polyview.trials.scoring import embedded, evaluate_checkpoint, interim_score, score
from polyview.trials.spec import Faces, TrialSpec
from polyview.trials.trial import check_faces, check_recipe, predict_again, run_trial, seen_by_start
from polyview.trials.useless_pictures import UselessPictures, useless_pictures

Assign = Callable[..., TrialSpec]
StoreOf = Callable[[Experiment], ViewStore]


def check(spec: TrialSpec) -> None:
    check_recipe(spec.experiment)
    check_faces(spec)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def assign(tiny: Experiment, tiny_store: ViewStore, tmp_path: Path) -> Assign:
    """The tiny trial, with changes to its recipe; records go to a folder of their own."""

    def make(folder: str = "trials", /, **changes: Any) -> TrialSpec:
        experiment = with_overrides(tiny, {key.replace("__", "."): value for key, value in changes.items()})
        return TrialSpec(experiment, tiny_store.folder, tmp_path / folder)

    return make


def test_labelled_people_who_all_show_one_expression_are_refused_beforehand(
    assign: Assign, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = ViewStore.labels
    monkeypatch.setattr(
        ViewStore,
        "labels",
        lambda store, column: ["anger" if column == "expression" else one for one in labels(store, column)],
    )
    with pytest.raises(UserError, match=r"linear probe .* show anger; raise language.labelled"):
        check_faces(assign())


def test_a_trial_leaves_a_record_of_all_that_it_found(assign: Assign, tiny_store: ViewStore) -> None:
    spec = assign()
    epochs = list(run_trial(spec))
    record = Ledger(spec.trials).read(spec.experiment.digest)
    assert record is not None
    assert record.experiment == spec.experiment
    assert list(record.history) == epochs
    assert [epoch.epoch for epoch in epochs] == [1, 2]
    kinds = itertools.product(("linear", "knn", "zero_shot"), ("accuracy", "uf1", "uar"))
    assert record.scores.keys() == {f"{probe}/{metric}" for probe, metric in kinds}
    assert all(0 <= score <= 1 for score in record.scores.values())
    assert record.classes == spec.experiment.corpus.expressions
    people = set(tiny_store.labels("subject"))
    assert (len(record.train_subjects), len(record.test_subjects)) == (8, 4)
    assert {*record.train_subjects, *record.test_subjects} == people
    assert sum(map(sum, record.confusions["linear"])) == 4 * 3
    embeddings = pl.read_parquet(Ledger(spec.trials).embeddings(record.id))
    assert set(embeddings["subject"]) == set(record.test_subjects)
    assert sorted(embeddings["expression"]) == sorted([*record.classes] * 4)
    np.testing.assert_allclose(np.linalg.norm(embeddings["embedding"].to_numpy(), axis=1), 1, rtol=1e-5)
    assert record.started < record.ended
    assert record.manifest == tiny_store.manifest.fingerprint
    assert record.parameters > 1000
    assert record.environment["torch"]


def run(spec: TrialSpec) -> Record:
    list(run_trial(spec))
    record = Ledger(spec.trials).read(spec.experiment.digest)
    assert record is not None
    return record


@pytest.mark.parametrize("suffix", ["", ".safetensors"])
def test_exported_weights_carry_whom_they_have_seen_through_every_further_training(
    assign: Assign, tmp_path: Path, suffix: str
) -> None:
    first, corpus = assign(seed=1), "synthetic of seed 0"
    assert run(first).seen_by_start == Seen(labels={})

    def export(spec: TrialSpec, name: str) -> str:
        with pytest.raises(SystemExit) as ended:
            main(["export", str(spec.trials / spec.experiment.digest), "-o", str(tmp_path / name)])
        assert not ended.value.code
        return str(tmp_path / name)

    weights = export(first, f"first{suffix}")
    known = run(second := assign(seed=3, model__pretrained=weights, language__labelled=0.1))
    trained, scored = {*run(first).train_subjects}, {*known.test_subjects}
    assert known.seen_by_start == Seen(subjects=tuple(sorted(trained & scored)), labels={corpus: len(trained)})
    assert trained & scored
    assert scored - trained
    Path(weights).rename(tmp_path / "elsewhere")
    Ledger(second.trials).path(known.id).unlink()
    assert run(second).seen_by_start == known.seen_by_start, "the checkpoint knows"
    third = assign(seed=4, model__pretrained=export(second, f"second{suffix}"))
    known_by_both = run(third)
    both = trained | {*known.train_subjects}
    read = trained | {*labelled(known.train_subjects, 0.1, 3)}
    assert len(read) < len(both)
    assert known_by_both.seen_by_start == Seen(
        subjects=tuple(sorted(both & {*known_by_both.test_subjects})), labels={corpus: len(read)}
    )
    others = {"dataset": "synthetic", "generator": Generator(seed=9, subjects=4).model_dump()}
    elsewhere = with_overrides(third.experiment, {"corpus": others})
    assert not seen_by_start(elsewhere, known_by_both.test_subjects).subjects


def test_whom_weights_of_others_have_seen_is_not_known(assign: Assign, tiny: Experiment, tmp_path: Path) -> None:
    export_weights(MultiviewModel(tiny), {}, tmp_path / "weights.safetensors")
    assert run(assign(model__pretrained=str(tmp_path / "weights.safetensors"))).seen_by_start == Seen(complete=False)


def test_a_trial_run_twice_trains_once(assign: Assign) -> None:
    spec = assign()
    assert len(list(run_trial(spec))) == 2
    files = {path: path.stat().st_mtime_ns for path in spec.trials.rglob("*") if path.name != "lock"}
    assert list(run_trial(spec)) == []
    assert {path: path.stat().st_mtime_ns for path in spec.trials.rglob("*") if path.name != "lock"} == files


def test_two_at_once_train_once(assign: Assign) -> None:
    spec = assign()
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _: len(list(run_trial(spec))), range(2)))
    assert sorted(both) == [0, 2]


def test_a_trial_that_was_cut_short_goes_on_and_ends_with_the_same_scores(assign: Assign) -> None:
    cut, whole = assign("cut"), assign("whole")
    begun = run_trial(cut)
    first = next(begun)
    begun.close()
    ledger = Ledger(cut.trials)
    trial_id = cut.experiment.digest
    assert ledger.read(trial_id) is None
    assert [epoch.epoch for epoch in run_trial(cut)] == [2]
    list(run_trial(whole))
    resumed, undisturbed = ledger.read(trial_id), Ledger(whole.trials).read(trial_id)
    assert resumed is not None
    assert undisturbed is not None
    assert resumed.history[0] == first
    assert resumed.scores == undisturbed.scores
    assert [epoch.metrics["loss"] for epoch in resumed.history] == [
        epoch.metrics["loss"] for epoch in undisturbed.history
    ]


def test_a_model_is_looked_at_while_workers_go_on_with_it(assign: Assign) -> None:
    spec = dataclasses.replace(assign(training__epochs=30), checkpoints=CheckpointTimes(epochs=1))
    running = run_trial(spec)
    next(running)
    with ThreadPoolExecutor(1) as pool:
        rest = pool.submit(lambda: len(list(running)))
        scores = []
        while not rest.done():
            scores.append(interim_score(spec, "knn/accuracy"))
    assert rest.result() == 29
    assert scores
    assert all(score is not None for score in scores)


def test_a_score_that_a_recipe_does_not_make_is_none(assign: Assign) -> None:
    spec = assign(language__prompts="none", objective__alignment=None, objective__redundancy=None)
    next(run_trial(spec))
    assert interim_score(spec, "zero_shot/accuracy") is None


def test_a_checkpoint_is_scored_as_its_trial_was(assign: Assign, tiny_store: ViewStore) -> None:
    spec = assign(training__epochs=1)
    list(run_trial(spec))
    record = Ledger(spec.trials).read(spec.experiment.digest)
    assert record is not None
    checkpoint = open_checkpoint(spec.trials / spec.experiment.digest)
    found = evaluate_checkpoint(checkpoint, ("linear", "zero_shot"), tiny_store.folder, None).results
    scores = {f"{row['probe']}/{row['metric']}": row["value"] for row in found.to_dicts()}
    assert scores == {name: score for name, score in record.scores.items() if not name.startswith("knn")}


@pytest.mark.parametrize("reference", REFERENCES)
def test_the_references_train_nothing_and_have_scores(assign: Assign, tiny: Experiment, reference: str) -> None:
    spec = assign(**{key.replace(".", "__"): value for key, value in REFERENCES[reference].items()})
    check(spec)
    assert list(run_trial(spec)) == []
    record = Ledger(spec.trials).read(spec.experiment.digest)
    assert record is not None
    assert record.history == ()
    probes = {"linear", "knn"} if reference == "raw pixels" else set(tiny.evaluation.probes)
    assert {name.partition("/")[0] for name in record.scores} == probes
    assert (record.parameters == 0) == (reference == "raw pixels")


def test_vision_alone_is_scored_without_text(assign: Assign) -> None:
    changes = {"objective__alignment": None, "objective__redundancy": None, "language__prompts": "none"}
    spec = assign(training__epochs=1, **changes)
    assert len(list(run_trial(spec))) == 1
    record = Ledger(spec.trials).read(spec.experiment.digest)
    assert record is not None
    assert {name.partition("/")[0] for name in record.scores} == {"linear", "knn"}


def test_one_view_learns_from_two_augmentations_of_it(assign: Assign) -> None:
    changes = {"rendering__views__count": 1, "objective__decorrelation__augment": True}
    (epoch,) = run_trial(assign(training__epochs=1, **changes))
    assert epoch.metrics["decorrelation"] > 0.1


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model__tower": "tiny-resnt"}, "model.tower: open_clip has no model 'tiny-resnt'; nearest: tiny-resnet"),
        ({"model__tower": "pixels"}, "model.tower: open_clip has no model 'pixels'"),
        ({"model__pretrained": "gone.pt"}, "model.pretrained: 'gone.pt' is no file"),
        ({"language__ensemble": 9}, "language.ensemble is 9, and there are 8 prompts"),
        ({"training__batch_size": 25}, "training.batch_size is 25 and there are 24 samples"),
    ],
)
def test_what_would_stop_a_trial_is_found_before_it_starts(
    assign: Assign, changes: dict[str, Any], reason: str
) -> None:
    spec = assign(**changes)
    with pytest.raises(UserError, match=f"^{reason}"):
        check(spec)
    assert not spec.trials.exists()


def test_a_trial_that_can_run_passes_the_check(assign: Assign) -> None:
    spec = assign()
    check(spec)
    assert not spec.trials.exists()


def test_one_person_is_left_out_and_the_folds_must_count_them(assign: Assign) -> None:
    spec = assign(training__epochs=0, evaluation__protocol="loso", evaluation__folds=12, evaluation__fold=3)
    list(run_trial(spec))
    record = Ledger(spec.trials).read(spec.experiment.digest)
    assert record is not None
    assert len(record.test_subjects) == 1
    assert len(record.train_subjects) == 11
    with pytest.raises(UserError, match=r"evaluation\.folds is 5 and there are 12 subjects; for loso set"):
        check(assign(evaluation__protocol="loso", evaluation__folds=5))


def test_another_corpus_is_tested_on_whole(tiny: Experiment, store_of: StoreOf, tmp_path: Path) -> None:
    others = tiny.corpus.model_copy(update={"generator": Generator(subjects=3, sequences=1, seed=7)})
    changes = {"evaluation.protocol": "cross_dataset", "evaluation.test": others.model_dump(mode="json")}
    experiment = with_overrides(tiny, changes)
    here, there = store_of(tiny), store_of(tiny.model_copy(update={"corpus": others}))
    spec = TrialSpec(experiment, here.folder, tmp_path, there.folder)
    check(spec)
    assert len(list(run_trial(spec))) == 2
    record = Ledger(tmp_path).read(experiment.digest)
    assert record is not None
    assert (len(record.train_subjects), len(record.test_subjects)) == (12, 3)
    assert sum(map(sum, record.confusions["linear"])) == 3 * 3
    assert record.manifest == f"{here.manifest.fingerprint}+{there.manifest.fingerprint}"
    checkpoint = open_checkpoint(tmp_path / experiment.digest)
    again = evaluate_checkpoint(checkpoint, ("knn",), here.folder, there.folder).results
    assert again["protocol"].unique().to_list() == ["cross_dataset"]
    assert again["value"].to_list() == [record.scores[f"knn/{metric}"] for metric in ("accuracy", "uf1", "uar")]


def test_only_another_corpus_is_centred_and_it_alone_is_moved(
    tiny: Experiment, store_of: StoreOf, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="centred moves the faces of another dataset, and holdout tests on the one"):
        with_overrides(tiny, {"evaluation.centred": True})
    others = tiny.corpus.model_copy(update={"generator": Generator(subjects=3, sequences=1, seed=7)})
    changes = {"evaluation.protocol": "cross_dataset", "evaluation.test": others.model_dump(mode="json")}
    plain = with_overrides(tiny, changes | {"training.epochs": 0})
    moved = with_overrides(plain, {"evaluation.centred": True})
    assert plain.digest != moved.digest
    here, there = store_of(tiny), store_of(tiny.model_copy(update={"corpus": others}))
    means = []
    for experiment in (plain, moved):
        spec = TrialSpec(experiment, here.folder, tmp_path, there.folder)
        fitted = embedded(experiment, None, spec.sides()[0])
        tested = score(experiment, None, *spec.sides()).test
        means.append(np.abs(tested.features.mean(axis=0) - fitted.features.mean(axis=0)).max())
    assert means[0] > 1e-3 > means[1]
    few = with_overrides(moved, {"language.labelled": 0.01})
    spec = TrialSpec(few, here.folder, tmp_path, there.folder)
    alike = score(few, None, *spec.sides()).test
    np.testing.assert_allclose(alike.features, tested.features, err_msg="whose labels may be read is no matter")


def test_another_corpus_of_the_same_people_is_refused(tiny: Experiment, store_of: StoreOf, tmp_path: Path) -> None:
    """Their pictures may differ, so that no picture would be found twice."""
    other = tiny.corpus.model_copy(update={"generator": tiny.corpus.generator.model_copy(update={"pose": 30.0})})
    changes = {"evaluation.protocol": "cross_dataset", "evaluation.test": other.model_dump(mode="json")}
    experiment = with_overrides(tiny, changes)
    theirs = store_of(with_overrides(tiny, {"corpus": other.model_dump(mode="json")})).folder
    spec = TrialSpec(experiment, store_of(tiny).folder, tmp_path, theirs)
    with pytest.raises(UserError, match=r"evaluation.test has 12 of the people who are trained on, such as s000: name"):
        check_faces(spec)


def test_a_tower_without_patches_to_drop_is_refused_before_anything_runs(tiny: Experiment) -> None:
    check_recipe(tiny)
    with pytest.raises(UserError, match=r"model.patch_dropout: tiny-resnet has no patches to drop"):
        check_recipe(with_overrides(tiny, {"model.patch_dropout": 0.5}))


def test_weights_of_another_tower_are_refused_before_anything_is_drawn(tiny: Experiment, tmp_path: Path) -> None:
    weights = tmp_path / "weights.safetensors"
    export_weights(MultiviewModel(tiny), {}, weights)
    starting = with_overrides(tiny, {"model.pretrained": str(weights)})
    check_recipe(starting)
    with pytest.raises(UserError, match=r"model.tower 'RN50', model.pretrained '.*weights.safetensors': "):
        check_recipe(with_overrides(starting, {"model.tower": "RN50"}))
    weights.write_text("<html>Sign in</html>")
    with pytest.raises(UserError, match=r"model.pretrained '.*weights.safetensors': "):
        check_recipe(with_overrides(tiny, {"model.pretrained": str(weights)}))


def test_a_model_that_is_scored_on_centred_faces_is_not_served(tiny: Experiment, tmp_path: Path) -> None:
    others = tiny.corpus.model_copy(update={"generator": Generator(subjects=3, sequences=1, seed=7)})
    changes = {"evaluation.protocol": "cross_dataset", "evaluation.test": others.model_dump(mode="json")}
    moved = with_overrides(tiny, changes | {"evaluation.centred": True})
    with pytest.raises(UserError, match="is scored on all of them together, and a served model sees faces one by one"):
        save_model(TrialSpec(moved, tmp_path, tmp_path, tmp_path), tmp_path / "model")


def test_a_served_model_says_what_it_cannot_look_at_and_what_it_doubts(
    tiny: Experiment, store_of: StoreOf, tmp_path: Path
) -> None:
    joined = with_overrides(tiny, {"model.fusion": "concat", "training.epochs": 1})
    spec = TrialSpec(joined, store_of(joined).folder, tmp_path / "trials")
    list(run_trial(spec))
    save_model(spec, tmp_path / "model")
    served = ServedModel(tmp_path / "model" / "data" / "polyview")
    Image.new("RGB", (8, 8)).save(tmp_path / "photo.png")
    with pytest.raises(UserError, match=r"photo\.png: a picture is one view, and this model joins 3 .*give it a mesh"):
        served.predict(pd.DataFrame({"path": [str(tmp_path / "photo.png")]}))
    (tmp_path / "sliver.obj").write_text("v 0 0 0\nv 200 0 0\nv 200 0.1 0\nf 1 2 3\n")
    with pytest.warns(UserWarning, match=r"sliver\.obj: .* is 0% face"):
        served.predict(pd.DataFrame({"path": [str(tmp_path / "sliver.obj")]}))


@pytest.fixture(scope="module")
def served(tiny: Experiment, tiny_store: ViewStore, tmp_path_factory: pytest.TempPathFactory) -> ServedModel:
    folder = tmp_path_factory.mktemp("served")
    spec = TrialSpec(with_overrides(tiny, {"training.epochs": 1}), tiny_store.folder, folder / "trials")
    list(run_trial(spec))
    save_model(spec, folder / "model")
    return ServedModel(folder / "model" / "data" / "polyview")


def _seen(served: ServedModel, picture: Path) -> list[float]:
    embedding: list[float] = served.predict(pd.DataFrame({"path": [str(picture)]}))["embedding"][0]
    return embedding


def test_a_served_model_looks_at_a_picture_as_people_see_it(served: ServedModel, tmp_path: Path) -> None:
    shades = np.arange(40 * 40 * 3, dtype=np.uint32).reshape(40, 40, 3) % 251
    upright = Image.fromarray(shades.astype(np.uint8))
    upright.save(tmp_path / "upright.png")
    turned, orientation = upright.transpose(Image.Transpose.ROTATE_90), Image.Exif()
    orientation[0x0112] = 6  # the camera was held so that the picture is to be turned clockwise
    turned.save(tmp_path / "held.png", exif=orientation)
    assert _seen(served, tmp_path / "held.png") == _seen(served, tmp_path / "upright.png")

    grey = upright.convert("L")
    grey.save(tmp_path / "grey.png")
    Image.fromarray(np.asarray(grey).astype(np.uint16) << 8).save(tmp_path / "deep.png")
    assert _seen(served, tmp_path / "deep.png") == _seen(served, tmp_path / "grey.png")

    mask = Image.new("L", upright.size)
    mask.paste(255, (10, 10, 30, 30))
    cut_out = upright.copy()
    cut_out.putalpha(mask)
    cut_out.save(tmp_path / "cut_out.png")
    background = Image.new("RGB", upright.size, served.experiment.rendering.background)
    Image.composite(upright, background, mask).save(tmp_path / "laid.png")
    assert _seen(served, tmp_path / "cut_out.png") == _seen(served, tmp_path / "laid.png")


def test_a_served_model_warns_of_a_picture_that_is_no_view_of_a_face(served: ServedModel, tmp_path: Path) -> None:
    Image.new("RGB", (40, 30)).save(tmp_path / "photo.png")
    with pytest.warns(UserWarning, match="photo") as warned:
        _seen(served, tmp_path / "photo.png")
    assert [str(one.message) for one in warned] == [
        f"{tmp_path / 'photo.png'}: 40 x 30 pixels are squeezed into a square view: crop it to the face",
        f"{tmp_path / 'photo.png'}: has one colour, and no face",
    ]


@pytest.mark.parametrize(
    ("name", "reason"), [("cut.jpg", "not readable as a picture: "), ("film.mp4", "neither a mesh .* nor a picture ")]
)
def test_a_served_model_names_the_file_that_is_no_picture(
    served: ServedModel, tmp_path: Path, name: str, reason: str
) -> None:
    Image.effect_noise((64, 64), 50).save(tmp_path / "whole.jpg")
    (tmp_path / name).write_bytes((tmp_path / "whole.jpg").read_bytes()[:900])
    with pytest.raises(MeshError, match=rf"{name}: {reason}"):
        _seen(served, tmp_path / name)


def test_faces_that_show_some_classes_alone_are_not_centred(tiny: Experiment) -> None:
    fewer = tiny.corpus.model_copy(update={"expressions": tiny.corpus.expressions[1:]})
    changes = {"evaluation.protocol": "cross_dataset", "evaluation.test": fewer.model_dump(mode="json")}
    told = (
        rf"evaluation.test.expressions leaves out {tiny.corpus.expressions[0]}, without which their own mean is another"
    )
    with pytest.raises(UserError, match=told):
        with_overrides(tiny, changes | {"evaluation.centred": True})


def test_validation_faces_are_those_of_the_corpus_and_are_not_moved(tiny: Experiment) -> None:
    others = tiny.corpus.model_copy(update={"generator": Generator(subjects=3, sequences=1, seed=7)})
    changes = {"evaluation.protocol": "cross_dataset", "evaluation.test": others.model_dump(mode="json")}
    tested = with_overrides(tiny, changes | {"evaluation.centred": True})
    validated = with_overrides(tested, {"evaluation.validation": 0.3})
    assert tested.evaluation.moves_tested
    assert not validated.evaluation.moves_tested
    assert not why_unread(tested, "evaluation.centred")
    assert why_unread(validated, "evaluation.centred").startswith("evaluation.validation has faces of the corpus")


@pytest.mark.parametrize("temporal", ["frame", "mean", "dynamic_image", "attention"])
def test_a_sequence_is_one_sample_of_the_test(
    tiny: Experiment, store_of: StoreOf, tmp_path: Path, temporal: str
) -> None:
    film = {"corpus.generator.frames": 3, "corpus.frames": "rise", "training.epochs": 1, "model.temporal": temporal}
    experiment = with_overrides(tiny, film)
    spec = TrialSpec(experiment, store_of(experiment).folder, tmp_path)
    list(run_trial(spec))
    record = Ledger(tmp_path).read(experiment.digest)
    assert record is not None
    assert sum(map(sum, record.confusions["linear"])) == 4 * 3


def test_a_trial_on_films_goes_on_where_it_stood_and_its_checkpoint_scores_as_it_did(
    tiny: Experiment, store_of: StoreOf, tmp_path: Path
) -> None:
    film = {"corpus.generator.frames": 3, "model.temporal": "attention", "model.frames": 3}
    experiment = with_overrides(tiny, film)
    store = store_of(experiment).folder
    cut, whole = (TrialSpec(experiment, store, tmp_path / name) for name in ("cut", "whole"))
    begun = run_trial(cut)
    next(begun)
    begun.close()
    list(run_trial(cut))
    list(run_trial(whole))
    records = [Ledger(spec.trials).read(experiment.digest) for spec in (cut, whole)]
    assert records[0] is not None
    assert records[1] is not None
    assert records[0].scores == records[1].scores
    checkpoint = open_checkpoint(cut.trials / experiment.digest)
    again = evaluate_checkpoint(checkpoint, ("knn",), store, None).results
    assert again["value"].to_list() == [records[0].scores[f"knn/{metric}"] for metric in ("accuracy", "uf1", "uar")]


def test_raw_pixels_of_films_are_those_of_all_frames(tiny: Experiment, store_of: StoreOf, tmp_path: Path) -> None:
    film = {"corpus.generator.frames": 3, "model.temporal": "attention", "model.frames": 3}
    experiment = with_overrides(tiny, {**film, **REFERENCES["raw pixels"]})
    spec = TrialSpec(experiment, store_of(experiment).folder, tmp_path)
    check(spec)
    list(run_trial(spec))
    record = Ledger(tmp_path).read(experiment.digest)
    assert record is not None
    assert sum(map(sum, record.confusions["linear"])) == 4 * 3


def test_a_trial_goes_on_with_another_number_of_workers(assign: Assign) -> None:
    two, one = assign("shared", training__workers=2), assign("shared")
    begun = run_trial(two)
    next(begun)
    begun.close()
    assert [epoch.epoch for epoch in run_trial(one)] == [2]


def test_half_precision_trains_and_goes_on_where_it_stood(assign: Assign) -> None:
    cut, whole = assign("cut", training__precision="fp16"), assign("whole", training__precision="fp16")
    begun = run_trial(cut)
    next(begun)
    begun.close()
    list(run_trial(cut))
    losses = [epoch.metrics["loss"] for epoch in run_trial(whole)]
    resumed = Ledger(cut.trials).read(cut.experiment.digest)
    assert resumed is not None
    assert [epoch.metrics["loss"] for epoch in resumed.history] == losses


@pytest.mark.parametrize("changes", [{}, {"evaluation__split_seed": 5}])
@pytest.mark.parametrize("seed", [0, 1, 5])
def test_validation_subjects_are_of_the_training_side(assign: Assign, changes: dict[str, Any], seed: int) -> None:
    train, test = assign(seed=seed, **changes).sides()
    less, validation = assign(seed=seed, evaluation__validation=0.25, **changes).sides()
    assert {*less.subjects, *validation.subjects} == set(train.subjects)
    assert not {*less.subjects, *validation.subjects} & set(test.subjects)
    assert len(validation.subjects) == 2


def test_with_a_split_seed_all_seeds_have_the_same_test_subjects(assign: Assign) -> None:
    sides = [assign(seed=seed, evaluation__split_seed=5).sides()[1].subjects for seed in range(3)]
    assert sides == 3 * [assign(seed=5).sides()[1].subjects]


def test_a_trial_with_validation_subjects_scores_them_and_leaves_the_test_subjects_alone(assign: Assign) -> None:
    spec = assign(evaluation__validation=0.25)
    test = assign().sides()[1].subjects
    list(run_trial(spec))
    ledger = Ledger(spec.trials)
    record = ledger.read(spec.experiment.digest)
    assert record is not None
    assert record.test_subjects == ()
    assert not {*record.train_subjects, *record.validation_subjects} & set(test)
    said = ledger.read_predictions([record.id])[record.id]
    assert set(said["subject"]) == set(record.validation_subjects)


def test_predictions_that_an_earlier_version_did_not_keep_are_made_from_the_checkpoint(assign: Assign) -> None:
    spec = assign()
    list(run_trial(spec))
    ledger, trial_id = Ledger(spec.trials), spec.experiment.digest
    before = ledger.read_predictions([trial_id])[trial_id]
    assert set(before["probe"]) == {"linear", "knn", "zero_shot"}
    ledger.predictions(trial_id).unlink()
    assert predict_again(spec) is None
    assert ledger.read_predictions([trial_id])[trial_id].equals(before)


def test_predictions_that_are_not_the_records_are_not_kept(assign: Assign) -> None:
    spec = assign()
    list(run_trial(spec))
    ledger, trial_id = Ledger(spec.trials), spec.experiment.digest
    record = ledger.read(trial_id)
    assert record is not None
    ledger.predictions(trial_id).unlink()
    ledger.write(record.model_copy(update={"scores": record.scores | {"knn/accuracy": 0.123}}))
    assert "scores otherwise" in (predict_again(spec) or "")
    assert ledger.read_predictions([trial_id])[trial_id].is_empty()


def test_what_was_made_of_faces_that_have_changed_is_set_aside_and_kept(
    assign: Assign, tiny_store: ViewStore, tmp_path: Path
) -> None:
    spec = assign()
    list(run_trial(spec))
    ledger, trial_id = Ledger(spec.trials), spec.experiment.digest
    before = ledger.read(trial_id)
    changed = tmp_path / "changed"
    shutil.copytree(tiny_store.folder, changed)
    manifest = tiny_store.manifest
    other = manifest.frame.with_columns(pl.col("intensity") * 0.9)
    Manifest(other, manifest.root, "f" * 16).save(changed / "manifest.parquet")
    list(run_trial(dataclasses.replace(spec, store=changed)))
    after = ledger.read(trial_id)
    assert before is not None
    assert after is not None
    assert (before.manifest, after.manifest) == (manifest.fingerprint, "f" * 16)
    kept = spec.trials / f"{trial_id}.1"
    assert Record.model_validate_json((kept / "record.json").read_text()) == before
    assert open_checkpoint(kept).source.manifest == manifest.fingerprint
    assert (kept / "predictions.parquet").is_file()


def scores_of(spec: TrialSpec) -> dict[str, float]:
    list(run_trial(spec))
    record = Ledger(spec.trials).read(spec.experiment.digest)
    assert record is not None
    return record.scores


@pytest.mark.parametrize(
    ("changes", "reads"),
    [
        ({}, True),
        ({"language__prompts": "pseudo"}, False),
        ({"language__prompts": "none", "objective": {"decorrelation": {}}}, False),
    ],
)
def test_exchanged_labels_change_pretraining_where_it_reads_labels_and_nowhere_else(
    assign: Assign, changes: dict[str, Any], reads: bool
) -> None:
    probes = {"evaluation__probes": ["knn"], "training__epochs": 1, "training__lr": 0.1}
    true, exchanged = (assign(**changes, **probes, language__shuffled=how) for how in ("none", "pretraining"))
    list(run_trial(true))
    list(run_trial(exchanged))
    models = [
        open_checkpoint(one.trials / one.experiment.digest).load_model().state_dict() for one in (true, exchanged)
    ]
    same = all(torch.equal(models[0][name], models[1][name]) for name in models[0])
    assert same != reads


def test_from_exchanged_labels_the_probes_learn_nothing(assign: Assign) -> None:
    raw = {key.replace(".", "__"): value for key, value in REFERENCES["raw pixels"].items()}
    labels = {how: scores_of(assign(how, **raw, language__shuffled=how))["linear/accuracy"] for how in ("none", "all")}
    assert labels["none"] > labels["all"] + 0.2


def test_a_face_under_two_names_is_found_by_its_picture(assign: Assign, tiny_store: ViewStore, tmp_path: Path) -> None:
    spec = assign()
    train, test = spec.sides()
    assert useless_pictures(spec.experiment, train, test) == UselessPictures((), ())
    twice = tmp_path / "twice"
    shutil.copytree(tiny_store.folder, twice)
    manifest = tiny_store.manifest
    # The first test subject's neutral face is said to be a training subject's.
    chosen = (pl.col("subject") == test.subjects[0]) & (pl.col("expression") == "neutral")
    frame = manifest.frame.with_columns(subject=pl.when(chosen).then(pl.lit(train.subjects[0])).otherwise("subject"))
    Manifest(frame, manifest.root, manifest.fingerprint).save(twice / "manifest.parquet")
    mixed = Faces(ViewStore.open(twice), train.subjects)
    assert len(useless_pictures(spec.experiment, mixed, test).shared) == 1


def test_films_that_end_as_they_began_have_dynamic_images_of_one_colour_and_not_one_face_under_two_names(
    tiny: Experiment, store_of: StoreOf, tmp_path: Path
) -> None:
    films = {
        "corpus.frames": "all",
        "corpus.generator.frames": 5,
        "corpus.expressions": ["fear", "neutral"],
        "rendering.views.count": 1,
    }
    films |= {"objective": {"alignment": {}}}
    for frames, nothing in (("all", True), ("rise", False)):
        changed = {"model.temporal": "dynamic_image", "corpus.frames": frames, "training.epochs": 0}
        experiment = with_overrides(tiny, films | changed)
        spec = TrialSpec(experiment, store_of(experiment).folder, tmp_path / frames)
        list(run_trial(spec))
        record = Ledger(spec.trials).read(experiment.digest)
        assert record is not None
        assert record.shared_faces == ()
        assert bool(record.blank_pictures) == nothing


FEW = {"language__labelled": 0.3, "evaluation__shots": [1, 2]}  # 2 of 8 training people


@pytest.mark.parametrize("changes", [{}, REFERENCES["raw pixels"]], ids=["trained", "raw pixels"])
def test_of_people_whose_labels_may_not_be_read_the_probes_read_none_either(
    tiny_store: ViewStore, assign: Assign, tmp_path: Path, changes: dict[str, Any]
) -> None:
    spec = assign(**FEW, **{key.replace(".", "__"): value for key, value in changes.items()})
    train, test = spec.sides()
    readable = {*train.labelled(spec.experiment).subjects, *test.subjects}
    assert len(readable) == 2 + 4
    nonsense = tmp_path / "nonsense"
    shutil.copytree(tiny_store.folder, nonsense)
    frame = tiny_store.manifest.frame
    known = pl.col("subject").is_in(list(readable))
    frame = frame.with_columns(expression=pl.when(known).then("expression").otherwise(pl.lit("neutral")))
    Manifest(frame, tiny_store.manifest.root, tiny_store.manifest.fingerprint).save(nonsense / "manifest.parquet")
    other = dataclasses.replace(spec, store=nonsense, trials=tmp_path / "others")
    records = []
    for one in (spec, other):
        list(run_trial(one))
        records.append(Ledger(one.trials).read(one.experiment.digest))
    assert records[0] is not None
    assert records[1] is not None
    assert records[0].scores == records[1].scores
    assert {name.partition("/")[0] for name in records[0].scores} >= {"linear", "knn", "linear@1", "linear@2"}
    assert len(records[0].train_subjects) == 8


def test_a_few_shot_score_can_be_looked_at_on_the_way(assign: Assign) -> None:
    spec = assign(**FEW, training__epochs=1)
    list(run_trial(spec))
    record = Ledger(spec.trials).read(spec.experiment.digest)
    assert record is not None
    for metric in ("linear@1/uar", "linear@2/accuracy", "linear/accuracy"):
        assert interim_score(spec, metric) == record.scores[metric]


def test_exchanged_labels_of_one_person_that_are_all_alike_cost_no_trial(assign: Assign) -> None:
    changes = {"evaluation__shots": [1], "language__shuffled": "all", "corpus__expressions": ["neutral", "happiness"]}
    raw = {key.replace(".", "__"): value for key, value in REFERENCES["raw pixels"].items()}
    alike = 0
    for seed in range(8):
        spec = assign(**changes, **raw, seed=seed)
        list(run_trial(spec))
        (predictions,) = Ledger(spec.trials).read_predictions([spec.experiment.digest]).values()
        alike += predictions.filter(pl.col("probe") == "linear@1")["prediction"].n_unique() == 1
    assert alike


def test_a_person_who_shows_one_expression_only_is_no_shot(tiny: Experiment) -> None:
    faces = scan(tiny.corpus).manifest.frame
    recipe = with_overrides(tiny, {"evaluation.shots": [1]})
    check_samples(recipe, faces)
    sides = sides_of(recipe, faces["subject"].to_list())
    (one,) = few(sides.train, 1, recipe.seed)
    lacking = faces.filter((pl.col("subject") != one) | (pl.col("expression") == "neutral"))
    with pytest.raises(
        UserError, match=rf"evaluation\.shots has 1, and the 1 person who is drawn \({one}\) shows neutral"
    ):
        check_samples(recipe, lacking)
    check_samples(with_overrides(tiny, {"evaluation.shots": [2]}), lacking)


def test_more_shots_than_labelled_people_are_found_before_training(assign: Assign) -> None:
    spec = assign(language__labelled=0.3, evaluation__shots=[3])
    with pytest.raises(UserError, match=r"evaluation\.shots has 3, and there are 2 training subjects whose labels may"):
        check(spec)
