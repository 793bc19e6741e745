from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from polyview.errors import UserError
from polyview.recipe import Experiment, Generator, Search, Study, keys_set, load_study, to_yaml, with_overrides
from polyview.trials.design import (
    baselines,
    cells,
    check_keys_are_read,
    check_variants_are_meant,
    plan,
    size,
    variants,
)


def study_of(experiment: Experiment, **content: Any) -> Study:
    return Study(**{"name": "study", "experiment": experiment, "seeds": (0, 1)} | content)


def test_every_variant_is_tried_under_every_seed_with_the_baseline_first(tiny: Experiment) -> None:
    study = study_of(
        tiny,
        remove={"no alignment": "objective.alignment"},
        variants={"mean fusion": {"model.fusion": "mean"}},
        grid={"training.lr": (0.01, 0.1), "rendering.views.count": (2, 5)},
    )
    trials = plan(study)
    names = ["full", "no alignment", "mean fusion"]
    names += [f"lr={lr}, count={count}" for lr in (0.01, 0.1) for count in (2, 5)]
    names += ["untrained", "raw pixels"]
    assert [(trial.variant, trial.seed) for trial in trials] == [(name, seed) for name in names for seed in (0, 1)]
    assert all(trial.experiment.seed == trial.seed for trial in trials)
    by_name = {trial.variant: trial.experiment for trial in trials}
    assert by_name["full"].model_copy(update={"seed": 0}) == tiny
    assert by_name["no alignment"].objective.alignment is None
    assert by_name["mean fusion"].model.fusion == "mean"
    crossed = by_name["lr=0.1, count=5"]
    assert (crossed.training.lr, crossed.rendering.views.count) == (0.1, 5)
    assert by_name["untrained"].training.epochs == 0


def test_a_grid_over_lists_names_its_variants_as_a_recipe_has_them(tiny: Experiment) -> None:
    study = study_of(tiny, references=False, grid={"evaluation.shots": ([1], [1, 2])})
    assert [trial.variant for trial in plan(study)][2:] == ["shots=[1]", "shots=[1]", "shots=[1, 2]", "shots=[1, 2]"]


def test_folds_are_run_under_every_seed(tiny: Experiment) -> None:
    recipe = with_overrides(tiny, {"evaluation.protocol": "subject_kfold", "evaluation.folds": 3})
    study = study_of(recipe, references=False, variants={"mean fusion": {"model.fusion": "mean"}})
    trials = plan(study)
    assert [(trial.seed, trial.experiment.evaluation.fold) for trial in trials if trial.variant == "full"] == [
        (seed, fold) for seed in (0, 1) for fold in range(3)
    ]
    assert len({trial.id for trial in trials}) == len(trials) == size(study) == 12
    assert trials[4].name == "full · seed 1 · fold 1"


def test_references_can_be_left_out(tiny: Experiment) -> None:
    assert [trial.variant for trial in plan(study_of(tiny, references=False))] == ["full", "full"]


def test_references_look_at_what_the_baseline_looks_at(tiny: Experiment) -> None:
    study = study_of(tiny, baseline="small", variants={"small": {"rendering.size": 24, "rendering.views.count": 2}})
    for trial in plan(study):
        rendering = trial.experiment.rendering
        assert (rendering.size, rendering.views.count) == (24, 2), trial.name


def test_the_baseline_may_be_one_of_the_variants(tiny: Experiment) -> None:
    study = study_of(tiny, baseline="mean", variants={"mean": {"model.fusion": "mean"}}, references=False)
    assert {trial.experiment.model.fusion for trial in plan(study)} == {"mean"}


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("language.pseudo.assign", "sinkhorn", "no sample is given a pseudo-label"),
        ("language.unlabelled", "pseudo", "language.labelled is 1"),
        ("model.frames", 4, "model.temporal is frame"),
        ("evaluation.folds", 4, "evaluation.protocol is holdout"),
        ("corpus.every", 3, "corpus.generator.frames is 1"),
    ],
)
def test_a_key_that_nothing_reads_is_neither_varied_nor_set(
    tiny: Experiment, key: str, value: object, reason: str
) -> None:
    told = f"study: {key} is varied, and nothing reads it, as {reason}; drop it"
    for varied in ({"variants": {"idle": {key: value}}}, {"grid": {key: (value,)}, "references": False}):
        with pytest.raises(UserError) as caught:
            check_keys_are_read(study_of(tiny, **varied))
        assert told in str(caught.value)
    with pytest.raises(UserError, match=f"^{key} is set, and nothing reads it, as {reason}; leave it out"):
        check_keys_are_read(study_of(tiny, variants={"mean": {"model.fusion": "mean"}}), [key])


@pytest.mark.parametrize(
    ("rendering", "key", "value"),
    [
        ({"shading": "depth"}, "rendering.light", "world"),
        ({"shading": "texture"}, "rendering.albedo", "grey"),
        ({"views": {"count": 1}}, "rendering.views.span", 90.0),
        ({"views": {"count": 1}}, "model.fusion", "mean"),
    ],
)
def test_a_key_of_pictures_that_are_not_drawn_so_is_told(
    tiny: Experiment, rendering: dict[str, object], key: str, value: object
) -> None:
    objective = {"alignment": {}}
    plain = with_overrides(tiny, {"rendering": {"size": 32} | rendering, "objective": objective})
    with pytest.raises(UserError, match=f"{key} is varied, and nothing reads it, as rendering"):
        check_keys_are_read(study_of(plain, variants={"idle": {key: value}}))
    check_keys_are_read(study_of(tiny, variants={"lit": {key: value}}))


def test_a_projector_that_no_term_reads_is_not_varied(tiny: Experiment) -> None:
    clip = with_overrides(tiny, {"objective": {"alignment": {}}})
    with pytest.raises(
        UserError, match=r"model\.projector is varied, and nothing reads it, as no term of the objective"
    ):
        check_keys_are_read(study_of(clip, variants={"wide": {"model.projector": [64]}}))
    check_keys_are_read(study_of(tiny, variants={"wide": {"model.projector": [64]}}))


def test_keys_are_set_by_a_file_by_words_and_by_sections(tiny: Experiment, tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    (tmp_path / "tiny.yaml").write_text(to_yaml(tiny))
    file.write_text("name: s\nexperiment: tiny.yaml\nset: {corpus: {generator: {seed: 3}}, evaluation.folds: 4}\n")
    keys = keys_set(file, ["training={lr: 0.1}", "objective.alignment={}", "seeds=[0,1]"])
    assert keys == ["corpus.generator.seed", "evaluation.folds", "training.lr", "seeds"]


def test_a_key_of_tested_faces_that_nothing_reads_is_told(tiny: Experiment) -> None:
    others = tiny.corpus.model_copy(update={"generator": Generator(subjects=3, sequences=1, seed=7)})
    tested = {"protocol": "cross_dataset", "test": others.model_dump(mode="json")}
    crossed = with_overrides(tiny, {"evaluation": tested})
    for key, value in (("evaluation.test.every", 3), ("evaluation.test.frames", "apex")):
        with pytest.raises(
            UserError, match=f"{key} is varied, and nothing reads it, as evaluation.test.generator.frames"
        ):
            check_keys_are_read(study_of(crossed, variants={"idle": {key: value}}))


def test_a_key_that_one_variant_reads_is_varied_and_set(tiny: Experiment) -> None:
    few = {"few": {"language.unlabelled": "pseudo"}}
    study = study_of(tiny, across={"language.labelled": (0.5, 1.0)}, variants=few, references=False)
    assert len(plan(study)) == 8
    check_keys_are_read(study, ["language.pseudo.assign", "training.lr", "seeds"])


@pytest.mark.parametrize(
    ("content", "first", "second"),
    [
        ({"variants": {"same": {}}}, "full", "same"),
        ({"variants": {"a": {"training.lr": 0.5}, "b": {"training.lr": 0.5}}}, "a", "b"),
        ({"variants": {"renamed": {"name": "another"}}}, "full", "renamed"),
        ({"variants": {"a seed": {"seed": 5}}}, "full", "a seed"),
        ({"variants": {"none": {"training.epochs": 0}}}, "none", "untrained"),
    ],
)
def test_variants_that_are_the_same_experiment_are_refused_with_both_names(
    tiny: Experiment, content: dict[str, Any], first: str, second: str
) -> None:
    with pytest.raises(UserError, match=f"^study: variants '{first}' and '{second}' are the same experiment"):
        plan(study_of(tiny, **content))


def test_a_study_that_trains_nothing_is_told_of_the_reference_row_that_it_repeats(tiny: Experiment) -> None:
    untrained = with_overrides(tiny, {"training.epochs": 0})
    with pytest.raises(UserError, match=r"'untrained' is a reference row, so change 'full' or set references: false$"):
        plan(study_of(untrained))
    assert plan(study_of(untrained, references=False))


def test_a_point_of_the_grid_that_is_the_baseline_is_not_run_twice(tiny: Experiment) -> None:
    trials = plan(study_of(tiny, grid={"rendering.views.count": (3, 5, 7)}, references=False))
    assert [trial.variant for trial in trials[::2]] == ["full", "count=5", "count=7"]


def test_every_variant_that_is_no_experiment_is_named(tiny: Experiment) -> None:
    with pytest.raises(UserError) as told:
        plan(study_of(tiny, variants={"a": {"training.lr": -1}, "b": {"training.epohcs": 3}}))
    assert "variant 'a'" in str(told.value)
    assert "variant 'b'" in str(told.value)


@pytest.mark.parametrize("name", ["", " ", "two\nlines"])
def test_a_baseline_has_a_name_that_can_be_printed(tiny: Experiment, name: str) -> None:
    with pytest.raises(ValidationError, match="names a variant; a name is one line that can be printed"):
        study_of(tiny, baseline=name)


def test_a_variant_with_the_name_of_a_reference_is_refused(tiny: Experiment) -> None:
    named = {"variants": {"untrained": {"training.lr": 0.5}}}
    with pytest.raises(UserError, match=r"two variants are named 'untrained'; .* references: false"):
        plan(study_of(tiny, **named))
    assert len(plan(study_of(tiny, references=False, **named))) == 4


def test_all_faults_of_a_variant_are_told_with_its_name(tiny: Experiment) -> None:
    wrong = {"training.epoch": 3, "rendering.sise": 5, "model.fusion": "median"}
    with pytest.raises(UserError) as caught:
        plan(study_of(tiny, variants={"odd one": wrong}))
    told = str(caught.value)
    assert told.startswith("study: variant 'odd one': 3 errors\n")
    assert "nearest is training.epochs" in told
    assert "model.fusion: 'median' is not allowed" in told


def test_a_term_that_is_not_there_cannot_be_removed(tiny: Experiment) -> None:
    with pytest.raises(UserError, match=r"variant 'x': 1 error\n  objective.alignmnt: unknown key; nearest is"):
        plan(study_of(tiny, remove={"x": "objective.alignmnt"}))


def test_a_trials_id_is_the_same_in_every_study_and_process(tiny: Experiment, tmp_path: Path) -> None:
    mean = {"model.fusion": "mean"}
    one = plan(study_of(tiny, variants={"mean": mean}))
    other = plan(study_of(tiny, name="other", baseline="base", seeds=(1, 2), variants={"average": mean}))
    ids = {(trial.variant, trial.seed): trial.id for trial in one}
    assert len(set(ids.values())) == len(one)
    assert {trial.id for trial in one} & {trial.id for trial in other} == {
        ids[name, 1] for name in ("full", "mean", "untrained", "raw pixels")
    }
    (tmp_path / "tiny.yaml").write_text(to_yaml(tiny))
    path = tmp_path / "study.yaml"
    path.write_text("name: study\nexperiment: tiny.yaml\nseeds: [0, 1]\nvariants: {mean: {model.fusion: mean}}\n")
    assert plan(load_study(path)) == one
    script = (
        "import sys; from pathlib import Path; from polyview.recipe import load_study; "
        "from polyview.trials.design import plan; print(*(t.id for t in plan(load_study(Path(sys.argv[1])))))"
    )
    elsewhere = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True, timeout=300
    )
    assert elsewhere.stdout.split() == [trial.id for trial in one]


@pytest.mark.parametrize(
    "factors",
    [
        {"grid": {"training.workers": (1, 2)}},
        {"grid": {"name": ("a", "b"), "training.lr": (0.01, 0.1)}},
        {"fraction": {"seed": (1, 2), "training.lr": (0.01, 0.1), "training.augment": (True, False)}},
    ],
)
def test_a_factor_that_makes_no_other_experiment_is_refused(tiny: Experiment, factors: dict[str, Any]) -> None:
    key = next(iter(next(iter(factors.values()))))
    with pytest.raises(UserError, match=f"over {key} makes no other experiment; drop it"):
        plan(study_of(tiny, references=False, **factors))


def test_a_study_without_a_grid_has_no_nameless_variant(tiny: Experiment) -> None:
    assert list(variants(study_of(tiny))) == ["full", "untrained", "raw pixels"]


def test_two_parts_are_removed_together_where_a_list_names_both(tiny: Experiment) -> None:
    pair = {"no text": ("objective.alignment", "objective.redundancy")}
    (trial,) = [trial for trial in plan(study_of(tiny, remove=pair, seeds=(0,))) if trial.variant == "no text"]
    assert trial.experiment.objective.alignment is trial.experiment.objective.redundancy is None
    assert trial.experiment.objective.decorrelation


def test_keys_with_the_same_ending_are_told_apart(tiny: Experiment) -> None:
    grid = {"objective.alignment.weight": (1, 2), "objective.redundancy.weight": (3,), "training.lr": (0.5,)}
    assert list(cells(grid)) == [
        "alignment.weight=1, redundancy.weight=3, lr=0.5",
        "alignment.weight=2, redundancy.weight=3, lr=0.5",
    ]
    assert len(plan(study_of(tiny, grid=grid, references=False))) == 3 * 2


def test_a_fraction_tries_each_value_of_each_factor_equally_often(tiny: Experiment) -> None:
    fraction = {
        "model.fusion": ("mean", "attention"),
        "training.lr": (0.01, 0.02),
        "training.augment": (False, True),
        "training.weight_decay": (0.0, 0.1),
        "language.ensemble": (1, 4),
        "training.batch_size": (4, 16),
    }
    study = study_of(tiny, fraction=fraction, seeds=(0,), references=False)
    trials = plan(study)[1:]
    assert len(trials) == 16 == size(study) - 1
    for key, (low, high) in fraction.items():
        room, name = key.split(".")
        tried = [getattr(getattr(trial.experiment, room), name) for trial in trials]
        assert tried.count(low) == tried.count(high) == 8


def test_a_misspelt_baseline_is_refused_with_the_nearest_name(tiny: Experiment) -> None:
    study = study_of(tiny, baseline="no aligment", remove={"no alignment": "objective.alignment"})
    with pytest.raises(UserError, match="baseline 'no aligment' is no variant; the nearest is 'no alignment'"):
        plan(study)


@pytest.mark.parametrize(
    ("baseline", "variant"), [("CLIP", "clip"), ("full", "Full"), ("Ful", "full"), ("FULL", "ful")]
)
def test_a_baseline_that_is_a_variant_but_for_its_letters_is_refused_before_it_runs(
    tiny: Experiment, baseline: str, variant: str
) -> None:
    mean = {"model.fusion": "mean"}
    study = study_of(tiny, baseline=baseline, variants={variant: mean})
    with pytest.raises(
        UserError, match=rf"baseline '{baseline}' is no variant.* (did you mean baseline: )?'?{variant}"
    ):
        check_variants_are_meant(study)
    check_variants_are_meant(study_of(tiny, baseline=variant, variants={variant: mean}))
    check_variants_are_meant(study_of(tiny, baseline=baseline, variants={"mean": mean}))
    both = {variant: mean, baseline: {"model.fusion": "concat"}}
    check_variants_are_meant(study_of(tiny, baseline=baseline, variants=both))


@pytest.mark.parametrize("name", ["best found", "search 3"])
def test_a_variant_does_not_take_the_name_of_a_row_of_the_search(tiny: Experiment, name: str) -> None:
    search = Search.model_validate_json('{"space": {"training.lr": {"uniform": [0.001, 0.01]}}}')
    variants = {name: {"model.fusion": "mean"}}
    with pytest.raises(UserError, match=f"^study: variant '{name}' has the name of a row that the search makes"):
        check_variants_are_meant(study_of(tiny, search=search, variants=variants))
    with pytest.raises(UserError, match=f"variant '{name}' has the name"):
        check_variants_are_meant(study_of(tiny, search=search, baseline=name))
    check_variants_are_meant(study_of(tiny, variants=variants))


def test_a_variant_of_pictures_that_nothing_reads_is_refused_before_it_runs(tiny: Experiment) -> None:
    study = study_of(tiny, variants={"with depth": {"rendering.outputs": ["depth"]}})
    with pytest.raises(UserError, match="'full' and 'with depth' differ in"):
        check_variants_are_meant(study)
    check_variants_are_meant(study_of(tiny, variants={"depth": {"rendering.shading": "depth"}}))


def test_a_variant_of_another_backend_is_compared_and_one_of_the_same_is_refused(tiny: Experiment) -> None:
    check_variants_are_meant(study_of(tiny, variants={"by OpenGL": {"rendering.backend": "opengl"}}))
    with pytest.raises(UserError, match=r"'full' and 'raster' differ in rendering\.backend alone, and auto is raster"):
        check_variants_are_meant(study_of(tiny, variants={"raster": {"rendering.backend": "raster"}}))


@pytest.mark.parametrize("name", ["untrained", "raw pixels"])
def test_the_name_of_a_reference_row_is_of_that_row_alone(tiny: Experiment, name: str) -> None:
    meant = {"untrained": {"training.epochs": 0}, "raw pixels": {"training.epochs": 0, "model.tower": "pixels"}}[name]
    check_variants_are_meant(study_of(tiny, references=False, variants={name: meant}))
    with pytest.raises(UserError, match=f"variant '{name}' has the name of a reference row and is another experiment"):
        check_variants_are_meant(study_of(tiny, references=False, variants={name: {"model.fusion": "mean"}}))
    for content in ({}, {"references": False, "variants": {name: meant}}):
        with pytest.raises(UserError, match=f"baseline '{name}' is the name of a reference row"):
            check_variants_are_meant(study_of(tiny, baseline=name, **content))


def test_variants_that_differ_in_prompts_alone_that_are_not_read_are_refused_before_they_run(tiny: Experiment) -> None:
    def prompts(last: str) -> dict[str, list[str]]:
        return {name: [f"a {name}", f"the {name}", f"{last} {name}"] for name in tiny.corpus.expressions}

    own = {"one": {"language.own": prompts("one")}, "other": {"language.own": prompts("some")}}
    study = study_of(tiny, variants=own)
    assert tiny.language.ensemble == 2
    with pytest.raises(UserError, match="variants 'one' and 'other' differ in prompts alone that are not read, as "):
        check_variants_are_meant(study)
    check_variants_are_meant(
        study_of(tiny, variants={name: {**one, "language.ensemble": 3} for name, one in own.items()})
    )
    assert len({trial.id for trial in plan(study)}) == len(plan(study))


def test_trials_are_counted_without_being_made(tiny: Experiment) -> None:
    grid = {"training.lr": tuple(0.001 * n for n in range(1, 101)), "training.epochs": tuple(range(1, 101))}
    assert size(study_of(tiny, grid=grid, references=False)) == 2 * (100 * 100 + 1)
    small = study_of(tiny, variants={"mean": {"model.fusion": "mean"}}, grid={"training.lr": (0.1, 0.2)})
    assert size(small) == len(plan(small))


ACROSS = {"language.labelled": (0.25, 1.0)}


def test_across_takes_every_variant_to_each_value(tiny: Experiment) -> None:
    study = study_of(tiny, remove={"no alignment": "objective.alignment"}, across=ACROSS, references=False)
    trials = plan(study)
    names = [f"{method}, labelled={share}" for share in (0.25, 1.0) for method in ("full", "no alignment")]
    assert [trial.variant for trial in trials[::2]] == names
    assert len(trials) == size(study) == 8
    assert [trial.experiment.language.labelled for trial in trials] == [0.25] * 4 + [1.0] * 4
    assert baselines(study) == {name: f"full, {name.partition(', ')[2]}" for name in names}
    assert trials[4].experiment.digest == plan(study_of(tiny))[0].experiment.digest


def test_without_across_there_is_one_baseline(tiny: Experiment) -> None:
    assert set(baselines(study_of(tiny)).values()) == {"full"}


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ({}, "across takes the variants to several values, and cannot do so with references; set references: false"),
        ({"grid": {"training.lr": (0.1, 0.2)}, "references": False}, "cannot do so with grid; leave out grid"),
    ],
)
def test_across_is_for_variants_alone(tiny: Experiment, content: dict[str, Any], error: str) -> None:
    with pytest.raises(ValueError, match=error):
        study_of(tiny, across=ACROSS, **content)
