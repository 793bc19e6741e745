from __future__ import annotations

import functools
import json
import operator
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from tests.recipes import EXPERIMENTS, STUDIES

from polyview.errors import UserError
from polyview.recipe import (
    Experiment,
    build_corpus,
    load_experiment,
    load_stored_experiment,
    load_study,
    to_yaml,
    with_overrides,
)
from polyview.trials.design import REFERENCES, UNTRAINED, baselines, plan

RECIPE = """
name: small
objective: {decorrelation: {}, alignment: {}, redundancy: {}}
training: {epochs: 3}
"""
STUDY = """
name: comparison
experiment: small.yaml
seeds: [0, 1]
variants: {mean fusion: {model.fusion: mean}}
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(RECIPE)
    return path


@pytest.fixture
def study(recipe: Path) -> Path:
    path = recipe.with_name("comparison.yaml")
    path.write_text(STUDY)
    return path


def errors_of(path: Path, *assignments: str) -> list[str]:
    """The lines of the refusal, the first of which names the file."""
    with pytest.raises(UserError) as caught:
        load_experiment(path, assignments)
    return str(caught.value).splitlines()


def leaves(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in content.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def test_every_fault_is_listed_at_once_with_its_path_what_is_allowed_and_the_nearest_name(tmp_path: Path) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(
        """
name: two words
traning: {epochs: 2}
corpus: {dataset: synthetik, expresions: [fear, anger]}
rendering: {size: 8, views: {cont: 1, rig: circle}}
training: {lr: -1, epochs: 1.5, precision: fp3}
"""
    )
    first, *errors = errors_of(path)
    assert first == f"{path}: 11 errors"
    for error in (
        "name: 'two words' is not allowed",
        "traning: unknown key; nearest is training; allowed here: name, revision, corpus,",
        "corpus.dataset: 'synthetik' is not allowed; expected 'synthetic', 'facekit', ",
        "corpus.expresions: unknown key; nearest is corpus.expressions",
        "rendering.size: 8 is not allowed; input should be greater than or equal to 16",
        "rendering.views.cont: unknown key; nearest is rendering.views.count; allowed here: rig, count, span",
        "rendering.views.rig: 'circle' is not allowed; expected 'arc' or 'front_left_right'",
        "objective: missing, and it has no default",
        "training.lr: -1 is not allowed; input should be greater than 0",
        "training.epochs: 1.5 is not allowed; expected a whole number",
        "training.precision: 'fp3' is not allowed; expected 'auto', 'fp32', 'tf32', 'bf16' or 'fp16' (nearest: fp32)",
    ):
        assert any(line.strip().startswith(error) for line in errors), error
    assert sum("(nearest: synthetic)" in line for line in errors) == 1


@pytest.mark.parametrize(
    ("assignment", "error"),
    [
        ("training=3", "training: 3 is not allowed"),
        ("training.epochs.deep=3", "training.epochs: {'deep': 3} is not allowed"),
        ("training.augment=1", "training.augment: 1 is not allowed; expected true or false"),
        ("seed=true", "seed: True is not allowed"),
        ("training.lr=.inf", "training.lr: inf is not allowed; input should be a finite number"),
        ("training.lr=.nan", "training.lr: nan is not allowed"),
        ("corpus.expressions=[1, fear]", 'corpus.expressions.0: 1 is not allowed; expected text, as in "1"'),
        ("corpus.expressions=[fear, yes]", "corpus.expressions.1: True is not allowed; expected text, in quotes"),
        ("corpus.expressions=[fear]", "corpus.expressions: ['fear'] is not allowed"),
        ("corpus.dataset=facekit", "corpus: dataset facekit needs corpus.root"),
        ("name=a/b", "name: 'a/b' is not allowed; letters, digits, ., _ and - are, the first a letter or a digit"),
        ("corpus.geometry.unit=m", "corpus.geometry.unit: 'm' is not allowed; expected 'auto' or a number"),
        (
            "corpus={dataset: facekit, root: /data, generator: {variety: 1}}",
            "corpus: generator.variety is of synthetic heads; the people of facekit are the face model's own",
        ),
        ("corpus.root=/data/faces", "corpus: root is /data/faces, and dataset is synthetic, which is generated"),
        ("corpus.generator.frames=1000000", "corpus.generator.frames: 1000000 is not allowed"),
        ("rendering.views.count=100000000000", "rendering.views.count: 100000000000 is not allowed"),
        ("evaluation.folds=1000000000", "evaluation.folds: 1000000000 is not allowed"),
        (f"name={'n' * 300}", f"name: '{'n' * 300}' is not allowed"),
        ("corpus.root=~nosuch/faces", "corpus.root: ~nosuch/faces: there is no user nosuch; write the path in full"),
        ("corpus={dataset: folder, root: $FACES/x}", "corpus.root: $FACES/x: nothing has filled in $FACES, as a shell"),
        ("training.workers=3", "training: batch_size 64 does not divide by workers 3"),
        ("rendering.views.rig=front_left_right", None),
        ("rendering.views.span=0", "rendering.views: span is 0, so that all 3 cameras stand in one place and see the"),
        ("evaluation.probes=[linear, linear]", "evaluation.probes: probes repeat: ['linear', 'linear']"),
        ("rendering.views.count=1", "objective.decorrelation needs pairs of views and rendering.views.count is 1"),
        ("language.prompts=none", "objective.alignment needs text; language.prompts is none"),
        ("objective={alignment: null}", "objective: at least one of decorrelation, alignment, redundancy, joint, "),
        ("evaluation.probes=[linear, svm]", "evaluation.probes.1: 'svm' is not allowed"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused_with_its_path(recipe: Path, assignment: str, error: str | None) -> None:
    if error is None:
        assert load_experiment(recipe, [assignment]).rendering.views.count == 3
    else:
        assert [line.strip().startswith(error) for line in errors_of(recipe, assignment)[1:]] == [True]


def test_one_view_makes_its_pairs_by_augmentation_where_the_recipe_asks_for_it(recipe: Path) -> None:
    asked = ["rendering.views.count=1", "objective.decorrelation.augment=true"]
    assert load_experiment(recipe, asked).rendering.views.count == 1
    assert "training.augment" in errors_of(recipe, *asked, "training.augment=false")[1]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("name: [a", "not readable as YAML"),
        ("- a\n- b", "expected keys and values at the top level"),
        ("name: a\nname: b", "not readable as YAML: .*duplicate key name"),
        ("name: ${nothing}", "not readable as YAML: Interpolation key 'nothing' not found"),
        ("\x00\x01", "not readable as YAML"),
    ],
)
def test_a_file_that_is_no_recipe_is_refused_in_one_line(tmp_path: Path, content: str, reason: str) -> None:
    path = tmp_path / "no.yaml"
    path.write_text(content)
    with pytest.raises(UserError, match=reason) as caught:
        load_experiment(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_says_where_recipes_are(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere.yaml: no such file; .* experiments/"):
        load_experiment(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize("assignment", ["training.epochs", "=3", "training.epochs=[1", "seed=${nothing}"])
def test_an_assignment_that_cannot_be_read_repeats_itself(recipe: Path, assignment: str) -> None:
    with pytest.raises(UserError, match="--set ") as caught:
        load_experiment(recipe, [assignment])
    assert assignment in str(caught.value)


def test_an_expression_that_is_named_twice_is_refused(tiny: Experiment) -> None:
    with pytest.raises(UserError, match="expressions names neutral twice; leave one out"):
        with_overrides(tiny, {"corpus.expressions": ["neutral", "anger", "neutral"]})


def test_the_hash_is_the_contents_alone(tiny: Experiment) -> None:
    assert tiny.digest == with_overrides(tiny, {"name": "another"}).digest
    assert tiny.digest == with_overrides(tiny, {"corpus.max_rejected": 0.5}).digest
    others = with_overrides(tiny, {"corpus.generator.seed": 5}).corpus.model_dump(mode="json")
    crossed = {"evaluation.protocol": "cross_dataset", "evaluation.test": others}
    tested = with_overrides(tiny, crossed)
    assert tested.digest == with_overrides(tested, {"evaluation.test.max_rejected": 0.5}).digest
    assert tiny.digest == with_overrides(tiny, {"training.workers": 4}).digest
    assert tiny.digest == with_overrides(tiny, {"training.workers": 4, "training.sharding": "fsdp"}).digest
    assert tiny.digest == with_overrides(tiny, {"training.ingest": "streaming"}).digest
    assert len(tiny.digest) == 16
    assert tiny.digest == with_overrides(tiny, {"training.lr": 0.001}).digest


def test_a_setting_that_came_later_changes_no_hash_of_a_recipe_without_it(tiny: Experiment) -> None:
    corpus = {"dataset": "bp4d", "root": "/data/BP4D"}
    plain, same, shifted = (
        with_overrides(tiny, {"corpus": corpus | more}) for more in ({}, {"code_shift": 0}, {"code_shift": -1})
    )
    assert not {"code_shift", "subjects"} & tiny.model_dump(mode="json")["corpus"].keys()
    assert with_overrides(plain, {"corpus.subjects": None}).digest == plain.digest
    assert with_overrides(plain, {"corpus.subjects": 20}).digest != plain.digest
    assert plain.digest == same.digest != shifted.digest
    assert "frames" not in tiny.model_dump(mode="json")["model"]
    assert tiny.digest == with_overrides(tiny, {"model.frames": 8}).digest
    later = {"language.labelled": 1, "language.unlabelled": "none", "evaluation.shots": []}
    assert with_overrides(tiny, later).digest == tiny.digest
    used = [{"language.labelled": 0.5}, {"language.unlabelled": "pseudo"}, {"evaluation.shots": [5]}]
    assert len({tiny.digest, *(with_overrides(tiny, more).digest for more in used)}) == 4


def test_a_file_of_weights_counts_by_its_content_and_not_by_its_place(tiny: Experiment, tmp_path: Path) -> None:
    def start(name: str) -> Experiment:
        return with_overrides(tiny, {"model.pretrained": str(tmp_path / name)})

    for name, content in (("one.pt", b"1"), ("copy.pt", b"1"), ("other.pt", b"2")):
        (tmp_path / name).write_bytes(content)
    one, copy, other = start("one.pt"), start("copy.pt"), start("other.pt")
    assert one.digest == copy.digest != other.digest != tiny.digest
    (tmp_path / "one.pt").write_bytes(b"2")
    assert start("one.pt").digest == other.digest
    assert with_overrides(one, {"name": "same"}).digest == copy.digest, "it is the file that it was when it was read"
    assert with_overrides(one, {"model.pretrained": None}).digest == tiny.digest


def test_a_recipe_knows_the_content_of_a_file_that_is_gone(tiny: Experiment, tmp_path: Path) -> None:
    (tmp_path / "weights.pt").write_bytes(b"1")
    known = with_overrides(tiny, {"model.pretrained": str(tmp_path / "weights.pt")})
    (tmp_path / "recipe.yaml").write_text(to_yaml(known))
    (tmp_path / "weights.pt").unlink()
    assert load_experiment(tmp_path / "recipe.yaml").digest == known.digest
    assert with_overrides(known, {"model.pretrained": "openai"}).model.pretrained_content is None


@pytest.mark.parametrize(
    ("assignments", "error"),
    [
        (["training.steps=5", "training.epochs=3"], "training: steps is 5 and epochs 3; set one of them to null"),
        (["training.epochs=null"], "training: neither steps nor epochs says how long training takes"),
        (["training.persons=7"], "training: batch_size 64 does not divide by persons 7"),
        (["training.persons=8", "language.labelled=0.5"], "training.persons makes batches of whole people, and"),
        (["training.sharding=fsdp"], "training: sharding: fsdp spreads the model over workers, and workers is 1"),
        (["training.ema=1"], "training.ema: 1 is not allowed"),
        (["training.flip=true", "rendering.shading=normal"], "training.flip mirrors pictures, and the colours of"),
    ],
)
def test_settings_of_training_that_do_not_fit_are_refused(recipe: Path, assignments: list[str], error: str) -> None:
    assert errors_of(recipe, *assignments)[1].strip().startswith(error)


def test_a_recipe_of_steps_has_no_epochs_and_its_references_train_nothing(tiny: Experiment) -> None:
    stepped = with_overrides(tiny, {"training.steps": 5, "training.epochs": None})
    assert (stepped.training.steps, stepped.training.epochs, stepped.training.trains) == (5, None, True)
    assert with_overrides(stepped, {"training.lr": 0.1}).training.steps == 5
    for changes in REFERENCES.values():
        assert not with_overrides(stepped, changes).training.trains
    assert with_overrides(stepped, REFERENCES[UNTRAINED]).digest == with_overrides(tiny, REFERENCES[UNTRAINED]).digest


def test_the_hash_changes_with_every_other_value(tiny: Experiment) -> None:
    """For each leaf of the recipe, every other value out of a heap of candidates that the recipe takes there."""
    heap: list[Any] = [None, True, False, 0, 1, 2, 4, 16, 0.25, 0.9, "text", {}, [], [2], [0.2, 0.9], [1, 2, 3]]
    heap += [["fear", "anger"], ["linear"], *_choices(Experiment.model_json_schema())]
    heap = list({json.dumps(value): value for value in heap}.values())
    seen, without = {tiny.digest}, []
    immaterial = {"name": True, "corpus": {"max_rejected"}, "training": {"workers", "sharding", "ingest"}}
    for path, _ in leaves(tiny.model_dump(mode="json", exclude=immaterial)):
        taken = [other for other in map(_changed(tiny, path), heap) if other and other != tiny]
        digests = {other.digest for other in taken}
        assert len(digests) == len(taken), path
        assert not digests & seen, path
        seen |= digests
        without += [] if digests else [path]
    # A few values, such as a dataset's own settings, can only change together with another.
    assert len(without) < 10, without


def _choices(schema: Any) -> list[str]:
    """Every name that the schema offers anywhere."""
    if isinstance(schema, dict):
        return schema.get("enum", []) + [name for part in schema.values() for name in _choices(part)]
    return [name for part in schema for name in _choices(part)] if isinstance(schema, list) else []


def _changed(experiment: Experiment, path: str) -> Callable[[Any], Experiment | None]:
    """The experiment with another value at the path, or None where it may not be."""
    *parents, last = path.split(".")

    def change(value: Any) -> Experiment | None:
        content = experiment.model_dump(mode="json")
        functools.reduce(operator.getitem, parents, content)[last] = value
        try:
            return Experiment.model_validate_json(json.dumps(content))
        except ValidationError:
            return None

    return change


def _refers_to_nothing(text: str) -> bool:
    """Whether OmegaConf takes the text as it stands, and not for a reference to another key."""
    return "${" not in text


def _names_a_folder(text: str) -> bool:
    """Whether it is a path of its own, and not below the folder of a user, whom there may not be, nor an address."""
    return _refers_to_nothing(text) and not text.startswith("~") and ":" not in text


@settings(max_examples=50)
@given(
    lr=st.floats(1e-12, 1e6),
    seed=st.integers(0, 2**32 - 1),
    projector=st.lists(st.integers(1, 4096), max_size=4),
    expressions=st.lists(st.text(min_size=1).filter(_refers_to_nothing), min_size=2, max_size=5, unique=True),
    root=st.none() | st.text(st.characters(exclude_categories=["C"])).filter(_names_a_folder),
)
def test_yaml_brings_every_recipe_back(
    tmp_path_factory: pytest.TempPathFactory,
    tiny: Experiment,
    lr: float,
    seed: int,
    projector: list[int],
    expressions: list[str],
    root: str | None,
) -> None:
    changes = {"training.lr": lr, "seed": seed, "model.projector": projector, "corpus.expressions": expressions}
    lies = {"corpus.dataset": "synthetic" if root is None else "folder", "corpus.root": root}
    experiment = with_overrides(tiny, changes | lies)
    path = tmp_path_factory.getbasetemp() / "round-trip.yaml"
    path.write_text(to_yaml(experiment))
    assert load_experiment(path) == experiment
    assert load_experiment(path).digest == experiment.digest


def test_a_study_in_a_recipes_place_and_an_empty_file_are_one_line(study: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="a study, which polyview ablate runs"):
        load_experiment(study)
    (tmp_path / "empty.yaml").write_text("\n")
    for load in (load_experiment, load_study):
        with pytest.raises(UserError, match=r"empty\.yaml: is empty"):
            load(tmp_path / "empty.yaml")


def test_another_recipe_can_be_put_under_a_study(study: Path, recipe: Path) -> None:
    loaded = load_study(study, ["training.epochs=3", f"experiment={recipe}"])
    assert loaded.experiment == load_experiment(recipe, ["training.epochs=3"])


def test_an_assignment_goes_to_the_study_where_the_key_is_its_own_and_to_the_experiment_otherwise(study: Path) -> None:
    loaded = load_study(study, ["seeds=[7]", "training.epochs=9", "experiment.training.lr=0.5", "variants.more={}"])
    assert loaded.seeds == (7,)
    assert loaded.experiment.training.epochs == 9
    assert loaded.experiment.training.lr == 0.5
    assert list(loaded.variants) == ["mean fusion", "more"]
    assert load_study(study).experiment == load_experiment(study.with_name("small.yaml"))


def test_what_a_study_sets_is_so_for_all_of_its_variants_and_the_command_line_comes_after(study: Path) -> None:
    shared = "set:\n  training.epochs: 7\n  corpus: {dataset: bu4dfe, root: /data}\n  evaluation.share: 0.5\n"
    study.write_text(STUDY + shared)
    loaded = load_study(study)
    assert {trial.experiment.training.epochs for trial in plan(loaded)} == {0, 7}
    assert loaded.experiment.corpus.dataset == "bu4dfe"
    assert loaded.experiment.evaluation.share == 0.5
    changed = load_study(study, ["corpus.root=/mine", "training.epochs=8"])
    assert (changed.experiment.corpus.dataset, changed.experiment.corpus.root) == ("bu4dfe", "/mine")
    assert changed.experiment.training.epochs == 8
    written = {"training.epochs": 7, "corpus": {"dataset": "bu4dfe", "root": "/data"}, "evaluation.share": 0.5}
    study.write_text(STUDY)
    assert loaded.experiment == with_overrides(load_study(study).experiment, written)


def test_a_study_in_place_of_a_recipe_is_told_so(study: Path) -> None:
    told = rf"^{study}: a study, which polyview ablate runs; a recipe is such as those in experiments/$"
    with pytest.raises(UserError, match=told):
        load_study(study, [f"experiment={study}"])
    study.write_text(STUDY.replace("experiment: small.yaml", f"experiment: {study.name}"))
    with pytest.raises(UserError, match=told):
        load_study(study)


def test_what_a_study_sets_is_under_every_recipe_that_is_put_under_it(study: Path, tmp_path: Path) -> None:
    study.write_text(STUDY + "set: {training.epochs: 7}\n")
    other = tmp_path / "other.yaml"
    other.write_text(RECIPE.replace("small", "other"))
    assert load_study(study, [f"experiment={other}"]).experiment.training.epochs == 7


@pytest.mark.parametrize("value", ["3", "true", "[]", "[1]", "[[1]]"])
def test_an_experiment_that_is_no_recipe_is_refused(study: Path, value: str) -> None:
    told = r"experiment: .* is not allowed; expected a recipe's keys, or its file"
    with pytest.raises(UserError, match=told):
        load_study(study, [f"experiment={value}"])
    study.write_text(f"name: odd\nexperiment: {value}\nset: {{training.epochs: 1}}\n")
    with pytest.raises(UserError, match=told):
        load_study(study)


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("set: [training.epochs]", r"set: \['training.epochs'\] is not allowed; expected keys of the experiment with"),
        ("set: training.epochs", "set: training.epochs is not allowed; expected keys of the experiment with"),
        ("set: {training.epoch: 7}", "experiment.training.epoch: unknown key; nearest is experiment.training.epochs"),
        ("set: {training.epochs: -1}", "experiment.training.epochs: -1 is not allowed"),
        ("set: {seed: 3}", r"seed: a study runs under `seeds` alone; for a single one, seeds=\[3\]"),
    ],
)
def test_what_a_study_cannot_set_is_refused(study: Path, line: str, error: str) -> None:
    study.write_text(f"{STUDY}{line}\n")
    with pytest.raises(UserError, match=error):
        load_study(study)


@pytest.mark.parametrize(
    ("line", "assignments", "told"),
    [
        ("", ["training={batch_size: 4}"], "training: {'batch_size': 4} leaves out epochs, which the recipe sets; set"),
        ("", ["corpus.generator={subjects: 9}"], "corpus.generator: {'subjects': 9} leaves out seed, which"),
        ("", ["corpus={dataset: synthetic}"], "corpus: {'dataset': 'synthetic'} leaves out generator, which"),
        ("set: {training: {batch_size: 4}}\n", [], "leaves out epochs, which the recipe sets"),
        (
            "variants: {small: {training: {batch_size: 4}}}\n",
            [],
            "variants.small.training: {'batch_size': 4} leaves out",
        ),
        (
            "across: {training: [{batch_size: 4}]}\nreferences: false\n",
            [],
            "across.training: {'batch_size': 4} leaves out",
        ),
        (
            "fraction: {training: [{batch_size: 4}, {batch_size: 8}], seeds: [1, 2]}\n",
            [],
            "fraction.training: {'batch_size': 4} leaves out",
        ),
    ],
)
def test_a_section_does_not_lose_what_the_recipe_sets(
    study: Path, line: str, assignments: list[str], told: str
) -> None:
    (study.parent / "own.yaml").write_text(
        "name: own\nobjective: {decorrelation: {augment: true}}\ntraining: {epochs: 3, batch_size: 8}\n"
        "corpus: {dataset: synthetic, generator: {subjects: 12, seed: 5}}\n"
    )
    study.write_text(f"name: sections\nexperiment: own.yaml\n{line}")
    with pytest.raises(UserError) as caught:
        load_study(study, assignments)
    assert told in str(caught.value)
    study.write_text("name: sections\nexperiment: own.yaml\n")
    changed = load_study(study, ["training.batch_size=4"]).experiment.training
    assert (changed.epochs, changed.batch_size) == (3, 4)
    # The objective is the sum of the terms that are named, and another dataset has keys of its own.
    assert load_study(study, ["objective={simclr: {}}"]).experiment.objective.decorrelation is None
    assert load_study(study, ["corpus={dataset: coma, root: /data/CoMA}"]).experiment.corpus.generator.seed == 0


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_a_study_with_all_of_its_defaults_is_read_as_it_was(path: Path, tmp_path: Path) -> None:
    """As a bundle writes it: what a variant leaves at its default is not lost by it."""
    study = load_study(path)
    (tmp_path / "whole.json").write_text(json.dumps(study.model_dump(mode="json")))
    assert load_study(tmp_path / "whole.json") == study


def test_a_study_may_hold_its_recipe_in_place(study: Path) -> None:
    written = study.read_text().replace("small.yaml", RECIPE.replace("\n", "\n  "))
    study.write_text(written)
    assert load_study(study).experiment == load_experiment(study.with_name("small.yaml"))


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("sedes: [0]", "sedes: unknown key; nearest is seeds"),
        ("metric: linear/acuracy", "metric: 'linear/acuracy' is not allowed; .*nearest: linear/accuracy"),
        ("metric: linear@5/acuracy", "metric: 'linear@5/acuracy' is not allowed; .*nearest: linear@5/accuracy"),
        ("metric: knn@5/accuracy", "metric: 'knn@5/accuracy' is not allowed; .*nearest: knn/accuracy"),
        ("metric: linear@0/accuracy", "metric: 'linear@0/accuracy' is not allowed"),
        ("metric: linear@5/uar", "metric is linear@5/uar, and experiment.evaluation.shots is \\[\\]; add"),
        ("baseline: 3", "baseline: 3 is not allowed"),
        ("grid: {training.lr: []}", "grid lists no value for training.lr"),
        ("grid: {training.batch_size: [8, '8']}", "grid.training.batch_size lists values that are written alike"),
        ("fraction: {training.lr: [0.1, 0.1]}", "fraction.training.lr lists values that are written alike"),
        ("resources: {cpus: 0}", "resources.cpus: 0 is not allowed"),
        ("remove: {mean fusion: objective.alignment}", "named in both remove and variants: mean fusion"),
    ],
)
def test_a_faulty_study_is_refused_with_the_fault(study: Path, line: str, error: str) -> None:
    study.write_text(f"{STUDY}{line}\n")
    with pytest.raises(UserError, match=error):
        load_study(study)


@pytest.mark.parametrize(
    ("assignment", "error"),
    [
        ("seeds=[1,2,1]", r"seeds repeat: \[1, 2, 1\]"),
        ("seeds=[]", r"seeds: \[\] is not allowed; at least 1 value is needed"),
        ("traning.epochs=3", "experiment.traning: unknown key; nearest is experiment.training"),
        ("evaluation.probes=[knn]", "metric is linear/accuracy, and experiment.evaluation.probes has only knn"),
        ("experiment=elsewhere.yaml", "elsewhere.yaml: no such file"),
        ("seed=3", r"seed: a study runs under `seeds` alone; for a single one, seeds=\[3\]"),
        ("seed=[3, 4]", r"seed: a study runs under `seeds` alone; for a single one, seeds=\[3, 4\]"),
        ("seeds={first: 5, most: 3}", r"\n  seeds: most is 3 and first 5: nothing can be added"),
        ("corpus.subjects=", "--set corpus.subjects=: there is no value; none at all is written corpus.subjects=null"),
        ("seeds={first: 3, most: 999999999}", "seeds"),
    ],
)
def test_a_faulty_assignment_to_a_study_is_refused(study: Path, assignment: str, error: str) -> None:
    with pytest.raises(UserError, match=error):
        load_study(study, [assignment])


@pytest.mark.parametrize(
    ("assignment", "error"),
    [
        ("seeds=3", "seeds: 3 is a number of seeds or one of them; list them, as in [0, 1, 2]"),
        ('seeds=["0", 1]', "seeds.0: '0' is not allowed; expected a whole number, without quotes"),
        ("remove={a: 3}", "remove.a: 3 is not allowed; expected text or a list"),
        ("remove={a: [objective.alignment, 3]}", "remove.a.1: 3 is not allowed; expected text"),
        ("remove={a: []}", "remove.a: [] is not allowed; at least 1 value is needed"),
        ("grid={training.lr: 0.1}", "grid.training.lr: 0.1 is not allowed; expected a list, as in [0.1]"),
        (
            "search={space: {model.projector: {categorical: [[64], [128]]}}}",
            "search.space.model.projector.categorical: a search chooses among single values, and [64] is none",
        ),
        (
            "search={space: {training.lr: {categorical: [0.1, 0.2], when: {a: [[1]]}}}}",
            "search.space.training.lr.when.a.0: [1] is not allowed; expected true or false, a whole number, a",
        ),
    ],
)
def test_a_value_of_a_wrong_type_is_told_once_with_what_to_write(study: Path, assignment: str, error: str) -> None:
    with pytest.raises(UserError) as refused:
        load_study(study, [assignment])
    first, *lines = str(refused.value).splitlines()
    assert first == f"{study}: 1 error"
    assert [line.strip().startswith(error) for line in lines] == [True]


def test_a_corpus_by_itself_takes_its_keys_with_or_without_their_prefix() -> None:
    corpus = build_corpus("synthetic", None, ["generator.subjects=3", "corpus.generator.seed=5"])
    assert (corpus.generator.subjects, corpus.generator.seed) == (3, 5)
    with pytest.raises(UserError, match="scan folder: 1 error"):
        build_corpus("folder", None)


def test_a_recipe_does_not_change(tiny: Experiment) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        tiny.training.epochs = 5  # type: ignore[misc]


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_every_recipe_of_the_repository_loads(path: Path) -> None:
    assert load_experiment(path).digest


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_every_study_of_the_repository_plans(path: Path) -> None:
    study = load_study(path)
    trials = plan(study)
    assert len({trial.id for trial in trials}) == len(trials) >= 2 * len(study.seeds)
    assert trials[0].variant == baselines(study)[trials[0].variant]


def test_a_file_of_prompts_becomes_part_of_the_recipe_and_of_its_hash(recipe: Path, tmp_path: Path) -> None:
    faces = ["corpus.expressions=[fear, anger]", f"language.file={tmp_path / 'prompts.yaml'}"]
    digests = set()
    for prompt in ("a cross face", "a wild face"):
        (tmp_path / "prompts.yaml").write_text(f"fear: [a scared face, a face in panic]\nanger: [{prompt}]")
        experiment = load_experiment(recipe, faces)
        assert experiment.language.own == {"fear": ("a scared face", "a face in panic"), "anger": (prompt,)}
        digests.add(experiment.digest)
    assert len(digests) == 2
    (tmp_path / "prompts.yaml").unlink()
    assert with_overrides(experiment, {"seed": 1}).language.own == experiment.language.own
    assert errors_of(recipe, *faces) == [f"language.file: there is no file {tmp_path / 'prompts.yaml'}"]


@pytest.mark.parametrize(
    ("own", "told"),
    [
        ("fear: [A  face.], anger: [a face]", "language.own: fear and anger have the same prompt 'a face'"),
        ("fear: [' '], anger: [a face]", "language.own.fear: ' ' says nothing; write a sentence, or leave it out"),
        ("fear: ['a {} face'], anger: [two]", "language.own.fear: nothing fills the braces of 'a {} face'; write"),
        ("fear: [one], anger: ['{expression}!']", "language.own.anger: nothing fills the braces of '{expression}!'"),
        ("fear: [one], anger: [two], angr: [three]", "language.own has prompts for angr, which corpus.expressions has"),
        ("fear: [A face., two, a face], anger: [b]", "language.own.fear has the prompt 'a face' twice, which would"),
    ],
)
def test_own_prompts_that_cannot_be_meant_are_refused(recipe: Path, own: str, told: str) -> None:
    errors = errors_of(recipe, "corpus.expressions=[fear, anger]", "language.ensemble=1", f"language.own={{{own}}}")
    assert told in "\n".join(errors)
    both = "fear: [a scared face, oh], anger: [an angry face], joy: [a glad face]"
    kept = load_experiment(
        recipe, ["corpus.expressions=[fear, anger]", "language.ensemble=1", f"language.own={{{both}}}"]
    )
    assert [*kept.language.own] == ["fear", "anger", "joy"]


def test_prompts_in_a_file_and_in_place_at_once_are_refused(recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "prompts.yaml").write_text("fear: [one]\nanger: [two]\n")
    faces = ["corpus.expressions=[fear, anger]", f"language.file={tmp_path / 'prompts.yaml'}"]
    both = errors_of(recipe, *faces, "language.own={fear: [three], anger: [four]}")
    assert both == [f"{recipe}: language.file and language.own both say the prompts; set one of them to null"]
    inside = recipe.read_text() + "\nlanguage: {own: {fear: [three], anger: [four]}}\n"
    recipe.write_text(inside)
    read = load_experiment(recipe, [*faces, "language.own={}"])
    assert read.language.own == {"fear": ("one",), "anger": ("two",)}


@pytest.mark.parametrize("own", ["fear: [😨], anger: [😠]", "fear: [valence -1], anger: [valence +1]"])
def test_prompts_may_differ_in_a_sign_alone(recipe: Path, own: str) -> None:
    changes = ["corpus.expressions=[fear, anger]", "language.ensemble=1", f"language.own={{{own}}}"]
    assert len(load_experiment(recipe, changes).language.own) == 2


def test_a_recipe_of_earlier_results_opens_with_what_is_refused_now(recipe: Path, tmp_path: Path) -> None:
    alike = {"fear": ("A face!",), "anger": ("a face",)}
    changes = ["corpus.expressions=[fear, anger]", "language.ensemble=1", "language.own={fear: [one], anger: [two]}"]
    read = load_experiment(recipe, changes)
    earlier = read.model_copy(update={"language": read.language.model_copy(update={"own": alike})})
    views = read.rendering.views.model_copy(update={"span": 0.0})
    earlier = earlier.model_copy(
        update={
            "rendering": read.rendering.model_copy(update={"views": views}),
            "evaluation": read.evaluation.model_copy(update={"probes": ("linear", "linear")}),
        }
    )
    (tmp_path / "experiment.yaml").write_text(to_yaml(earlier))
    assert load_stored_experiment(tmp_path / "experiment.yaml").digest == earlier.digest
    assert with_overrides(earlier, {"seed": 3}).language.own == alike
    with pytest.raises(UserError) as caught:
        load_experiment(tmp_path / "experiment.yaml")
    assert all(key in str(caught.value) for key in ("rendering.views: span is 0", "probes repeat"))


def test_a_file_of_prompts_below_the_folder_of_nobody_is_refused(recipe: Path) -> None:
    said = "language.file: ~nosuch/prompts.yaml: there is no user nosuch; write the path in full, from / on"
    assert errors_of(recipe, "language.file=~nosuch/prompts.yaml") == [said]


def test_a_file_of_prompts_that_leaves_a_class_out_is_refused(recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "prompts.yaml").write_text("fear: [a scared face]")
    errors = errors_of(recipe, "corpus.expressions=[fear, anger]", f"language.file={tmp_path / 'prompts.yaml'}")
    assert errors[1:] == ["  language.own, or language.file, has no prompts for anger; it has some for fear"]


@pytest.mark.parametrize(
    ("assignments", "error"),
    [
        (["objective={joint: {}}", "rendering.views.count=1"], "objective.joint needs pairs of views"),
        (["objective={simclr: {}}", "rendering.views.count=1"], "objective.simclr needs pairs of views"),
        (
            ["objective={contrast: {}}", "rendering.views.count=1", "language.prompts=none"],
            "objective.contrast needs pairs of views",
        ),
        (["objective={supervised: {}}", "language.prompts=pseudo"], "objective.supervised reads every sample's label"),
        (
            ["objective={alignment: {}}", "language.prompts=pseudo", "language.pseudo.start=1"],
            "language.pseudo.start needs a term without text",
        ),
        (
            ["model.temporal=attention", "corpus.frames=apex"],
            "model.temporal: attention needs several frames of a sequence, and corpus.frames: apex leaves one; use",
        ),
    ],
)
def test_terms_that_the_rest_of_the_recipe_cannot_feed_are_refused(
    recipe: Path, assignments: list[str], error: str
) -> None:
    assert error in errors_of(recipe, *assignments)[1]


@pytest.mark.parametrize("asked", ["${oc.env:HOME}", "${oc.env: HOME}", "x ${oc.decode:1}", "${a: b}"])
def test_a_recipe_reads_nothing_but_its_own_keys(tmp_path: Path, tiny: Experiment, asked: str) -> None:
    path = tmp_path / "tiny.yaml"
    path.write_text(to_yaml(tiny).replace(f"name: {tiny.name}", f"name: '{asked}'"))
    with pytest.raises(UserError, match="is not read; a recipe refers to its own keys"):
        load_experiment(path)
    path.write_text(to_yaml(tiny))
    with pytest.raises(UserError, match="--set name"):
        load_experiment(path, [f"name={asked}"])
    path.write_text(to_yaml(tiny).replace(f"name: {tiny.name}", "name: of-${training.epochs}"))
    assert load_experiment(path).name == f"of-{tiny.training.epochs}"


def test_a_recipe_is_told_from_a_study() -> None:
    with pytest.raises(UserError, match="a recipe, which polyview pretrain runs"):
        load_study(EXPERIMENTS[0])


def test_generated_faces_that_an_earlier_version_gave_a_folder_are_still_read(tmp_path: Path, recipe: Path) -> None:
    content = load_experiment(recipe).model_dump(mode="json")
    stored = tmp_path / "experiment.yaml"
    stored.write_text(yaml.safe_dump(content | {"corpus": content["corpus"] | {"root": "/data/faces"}}))
    assert load_stored_experiment(stored).corpus.root is None
