"""Of whom scores are, as a reader of a report finds it: other people are not compared, and no subject is misnamed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.reporting.outcomes import STUDY, outcome, with_predictions

from polyview.analysis.comparisons import comparison_of_each
from polyview.analysis.findings import verdicts
from polyview.analysis.learned_from import learned_from
from polyview.analysis.needed import needed_trials, open_variants
from polyview.analysis.notes import caveats, notes
from polyview.analysis.outcome import Outcome
from polyview.analysis.table_notes import table_notes
from polyview.analysis.tables import make_table
from polyview.recipe import Layout, Study, UntilDecided, load_study, with_overrides
from polyview.reporting import tables
from polyview.reporting.pictures import pictures
from polyview.reporting.report import csv, html, latex, markdown
from polyview.studies.results import Results
from polyview.tracking.runs import variant_results
from polyview.trials.design import Trial, plan
from polyview.trials.ledger import Record

ABLATIONS = Path(__file__).parents[2] / "ablations"
OTHERS: dict[str, dict[str, Any]] = {
    "other split": {"evaluation.split_seed": 7},
    "other faces": {"corpus.generator.seed": 9},
    "two classes": {"corpus.expressions": ["neutral", "surprise"]},
    "strong faces": {"corpus.intensity": [0.5, 1.0]},
    "strongest": {"corpus.intensity": [0.9, 1.0]},
}
ALIKE: dict[str, dict[str, Any]] = {
    "apex alone": {"corpus.frames": "apex"},
    "every second": {"corpus.every": 2},
    "upright": {"corpus.geometry.align": "landmarks"},
    "varied heads": {"corpus.generator.variety": 1.0},
    "noisy": {"corpus.generator.noise": 0.5},
    "one view": {"rendering.views.count": 1},
}


def study_of(variants: dict[str, dict[str, Any]], **changes: Any) -> Study:
    content = {"name": "people", "experiment": STUDY.experiment, "variants": variants, "references": False}
    return Study.model_validate(content | {"seeds": (0, 1, 2)} | changes)


def results_of(folder: Path, study: Study, change: Callable[[Trial, Record], Record] | None = None) -> Outcome:
    """Results of which each variant is a little better than the one before."""
    names = dict.fromkeys(trial.variant for trial in plan(study))
    made = outcome(folder, study, {name: 0.4 + 0.03 * place for place, name in enumerate(names)})
    change = change or of_whom_it_asks
    records = {one.id: change(one, made.records[one.id]) for one in made.trials}
    return with_predictions(replace(made, records=records))


def of_whom_it_asks(trial: Trial, record: Record) -> Record:
    """The record with the people whom its split draws, and the classes and faces of its corpus.

    Some of the faces are of an intensity of at least 0.5, and of at least 0.9 none that show anger.
    """
    people = {} if trial.experiment.evaluation.split_seed is None else {"test_subjects": _people("r", 30)}
    classes, weakest = trial.experiment.corpus.expressions, trial.experiment.corpus.intensity[0]
    if weakest:
        kept = [int(weakest < 0.9 or name != "anger") for name in classes]
        halves = {probe: (np.array(counts) // 2 * kept).T.tolist() for probe, counts in record.confusions.items()}
        return record.model_copy(update=people | {"confusions": halves})
    if len(classes) == len(record.classes):
        return record.model_copy(update=people)
    counts = (np.eye(len(classes), dtype=int) * 20 + 5).tolist()
    return record.model_copy(update={"classes": classes, "confusions": dict.fromkeys(record.confusions, counts)})


def _people(letter: str, count: int) -> tuple[str, ...]:
    return tuple(f"{letter}{number}" for number in range(count))


def row_of(text: str, variant: str) -> list[str]:
    line = next(line for line in text.splitlines() if line.startswith(f"| {variant} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def sentences(made: Outcome) -> str:
    return "\n".join(finding.text for finding in verdicts(made))


def test_variants_of_other_people_or_classes_have_no_difference_interval_or_p_in_a_report(tmp_path: Path) -> None:
    made = results_of(tmp_path, study_of(OTHERS | ALIKE))
    text = markdown(made)
    for name in OTHERS:
        assert row_of(text, name)[3:] == ["—", "—", "—", "—", "untested"]
    for name in ALIKE:
        *numbers, verdict = row_of(text, name)[3:]
        assert "—" not in numbers
        assert verdict in ("better", "open")
    assert "“other split” is scored on other people than “full”, so that the two are not compared." in text
    assert "“two classes” is scored on other classes than “full”" in text
    assert "“strong faces” is scored on other faces than “full”" in text
    note = (
        "“other split”, “other faces” (other people); “two classes”, “strongest” (other classes); "
        "“strong faces” (other faces)."
    )
    assert note in text
    assert note in html(made)
    assert any(note in line for line in caveats(made))


def test_the_level_of_guessing_is_that_of_the_variants_own_classes(tmp_path: Path) -> None:
    said = sentences(results_of(tmp_path, study_of(OTHERS)))
    assert "“full” reaches" in said
    levels = {line.split("”")[0]: line for line in said.splitlines()}
    assert "always gives 14.3 %." in levels["“full"]
    assert "always gives 50.0 %." in levels["“two classes"]


def test_what_is_recognised_of_a_class_stands_below_its_name(tmp_path: Path) -> None:
    text = markdown(results_of(tmp_path, study_of(OTHERS)))
    section = text[text.index("## Class by class") :]
    heads, two = row_of(section, "variant"), row_of(section, "two classes")
    assert [name for name, cell in zip(heads[1:], two[1:], strict=True) if cell != "—"] == ["neutral", "surprise"]


def test_such_variants_are_neither_marked_nor_bold_in_tables_for_papers(tmp_path: Path) -> None:
    made = results_of(tmp_path, study_of(OTHERS))
    table = make_table("people", Layout(), {"people": made})
    by_name = {row.name: row.cells[0] for row in table.rows}
    assert all((cell := by_name[name]) and cell.verdict == "untested" and not cell.best for name in OTHERS)
    assert any("“two classes”, “strongest” (other classes)" in note for note in table_notes(table))
    assert "untested" in tables.csv(table)
    lines = latex(made).splitlines()
    best = next(line for line in lines if r"\textbf" in line)
    assert best.startswith("full")
    assert any("``strongest'' (other classes)" in line for line in lines)


def test_averages_and_ranks_are_over_columns_of_the_same_people_and_classes(tmp_path: Path) -> None:
    alike = {"other": {"rendering.views.count": 1}}
    made = {
        label: results_of(tmp_path, study_of(variants, name=label))
        for label, variants in (("a", alike), ("b", alike), ("c", {"other": OTHERS["two classes"]}))
    }
    table = make_table("three", Layout(), made)
    assert {len(numbers) for numbers in table.averaged.values()} == {2}
    assert any(
        "in which every method has a score of the same people, classes and faces" in one for one in table_notes(table)
    )


def test_python_and_mlflow_have_the_same_verdict(tmp_path: Path) -> None:
    made = results_of(tmp_path, study_of(OTHERS | ALIKE))
    rows = {row["variant"]: row for row in Results(made).comparison.iter_rows(named=True)}
    assert {name: rows[name]["verdict"] for name in OTHERS} == dict.fromkeys(OTHERS, "untested")
    assert all(rows[name][key] is None for name in OTHERS for key in ("difference", "low", "high", "p"))
    told = {run.name: run for run in variant_results(made)}
    assert told["other faces"].tags["verdict"] == "untested (other people)"
    assert told["two classes"].tags["verdict"] == "untested (other classes)"
    assert not [key for name in OTHERS for key in told[name].metrics if key.endswith((" low", " p", " difference"))]
    assert "linear/accuracy p" in told["one view"].metrics


def test_one_seed_is_untested_in_python_and_mlflow_as_in_the_report(tmp_path: Path) -> None:
    made = results_of(tmp_path, study_of(ALIKE, seeds=(0,)))
    rows = {row["variant"]: row["verdict"] for row in Results(made).comparison.iter_rows(named=True)}
    told = {run.name: run.tags["verdict"] for run in variant_results(made)}
    for name in ALIKE:
        assert (rows[name], told[name], row_of(markdown(made), name)[-1]) == ("untested",) * 3


def test_figures_show_no_difference_of_other_people(tmp_path: Path) -> None:
    found = {one.key: one for one in pictures(results_of(tmp_path, study_of(OTHERS)))}
    assert "forest" not in found
    assert "not to be compared" in found["comparison"].caption


def test_no_seeds_are_added_for_what_they_cannot_decide(tmp_path: Path) -> None:
    seeds = UntilDecided(first=3, most=9)
    made = results_of(tmp_path, study_of(OTHERS | {"one view": ALIKE["one view"]}, seeds=seeds))
    first = replace(made, trials=[trial for trial in made.trials if trial.seed < 3])
    assert not open_variants(first) & OTHERS.keys()
    assert {trial.seed for trial in needed_trials(made) if trial.variant in OTHERS} == {0, 1, 2}


def test_no_effect_is_told_of_a_factor_that_changes_who_is_scored(tmp_path: Path) -> None:
    grid = {"training.lr": (0.001, 0.002), "corpus.generator.seed": (0, 9)}
    text = markdown(results_of(tmp_path, study_of({}, grid=grid)))
    section = text[text.index("## Full factorial") :].split("\n## ")[0]
    assert "scored on other people than one another" in section
    assert "95 % interval" not in section
    assert "95 % interval" in markdown(results_of(tmp_path, study_of({}, grid=grid | {"corpus.generator.seed": (0,)})))


def test_where_each_value_has_its_own_baseline_variants_are_compared(tmp_path: Path) -> None:
    across = {"corpus.generator.seed": (0, 9)}
    made = results_of(tmp_path, study_of({"one view": ALIKE["one view"]}, across=across))
    compared = comparison_of_each(made, "linear/accuracy")
    assert compared["one view, seed=9"].p is not None
    assert "“one view” is scored on other people at 9 than at 0" in markdown(made)


def test_records_of_earlier_versions_that_name_nobody_are_compared(tmp_path: Path) -> None:
    def nameless(_: Trial, record: Record) -> Record:
        return record.model_copy(update={"test_subjects": (), "classes": ()})

    study = study_of({"one view": ALIKE["one view"]})
    made = replace(results_of(tmp_path, study), predictions={})
    records = {one.id: nameless(one, made.records[one.id]) for one in made.trials if one.variant == "full"}
    compared = comparison_of_each(replace(made, records=made.records | records), "linear/accuracy")
    assert compared["one view"].difference is not None


@pytest.mark.parametrize(("missing", "reason"), [(1, ""), (10, "other people")])
def test_a_variant_that_lacks_a_few_of_thirty_people_is_compared(tmp_path: Path, missing: int, reason: str) -> None:
    def without_some(trial: Trial, record: Record) -> Record:
        left = record.test_subjects[missing if trial.variant == "one view" else 0 :]
        return record.model_copy(update={"test_subjects": left})

    made = results_of(tmp_path, study_of({"one view": ALIKE["one view"]}), without_some)
    compared = comparison_of_each(made, "linear/accuracy")["one view"]
    assert compared.unpaired == reason
    assert (compared.difference is None) == bool(reason)


@pytest.mark.parametrize("file", sorted(ABLATIONS.rglob("*.yaml")), ids=lambda file: file.stem)
def test_every_study_of_the_project_scores_its_variants_on_the_same_people(file: Path) -> None:
    if file.stem == "table":
        return
    study = load_study(file)
    asked = {trial.variant: _asked(trial) for trial in plan(study)}
    assert set(asked.values()) == {asked[next(iter(asked))]}


def _asked(trial: Trial) -> tuple[Any, ...]:
    """What a recipe says of who is scored, and of the classes."""
    experiment, corpus = trial.experiment, trial.experiment.scored_corpus
    split = experiment.evaluation.model_dump_json(include={"protocol", "share", "folds", "split_seed", "validation"})
    who = (corpus.dataset, corpus.root, corpus.subset, corpus.subjects, corpus.intensity, corpus.generator.seed)
    return split, who, corpus.expressions, experiment.corpus.expressions


def validated(folder: Path, **changes: Any) -> Outcome:
    experiment = with_overrides(STUDY.experiment, {"evaluation.validation": 0.3, **changes})
    study = study_of({"one view": ALIKE["one view"]}, experiment=experiment)
    made = results_of(folder, study)
    update = {"test_subjects": (), "validation_subjects": _people("q", 30)}
    return replace(made, records={name: one.model_copy(update=update) for name, one in made.records.items()})


def everything(made: Outcome) -> Iterable[str]:
    """Whatever a reader may have before them."""
    yield from (markdown(made), html(made), latex(made), *learned_from(made), *caveats(made))
    yield from (picture.line for picture in pictures(made))
    yield tables.markdown(make_table("val", Layout(), {"val": made}))


@pytest.mark.parametrize("protocol", ["holdout", "cross_dataset"])
def test_scores_of_validation_subjects_are_nowhere_called_test_results(tmp_path: Path, protocol: str) -> None:
    other = STUDY.experiment.corpus.model_copy(update={"generator": STUDY.experiment.corpus.generator})
    crossed = {"evaluation.protocol": protocol, "evaluation.test": other.model_dump() | {"generator": {"seed": 5}}}
    made = validated(tmp_path, **(crossed if protocol == "cross_dataset" else {}))
    allowed = ("Test subjects are none of these", "to score test subjects")
    for text in everything(made):
        for said in allowed:
            text = text.replace(said, "")
        assert "test subject" not in text.lower()
        assert "test people" not in text
    assert "on validation subjects over 3 seeds" in sentences(made)
    assert "30 validation subjects)" in sentences(made)
    people = "as validation subjects, drawn before pretraining. Probes are fitted on the other 70 and scored on the"
    assert any(line.startswith("People: every seed has 30 of 100") and people in line for line in learned_from(made))
    for text in (markdown(made), html(made), latex(made), tables.markdown(make_table("val", Layout(), {"val": made}))):
        assert "they are no test results" in text.replace("\n", " ")
    assert "scored on 30 validation subjects" in latex(made)
    assert "30 validation subjects under each" in {one.key: one.basis for one in pictures(made)}["forest"]
    assert ",validation," in csv(made)


def test_a_variant_that_is_scored_on_validation_subjects_is_not_compared_with_test_results(tmp_path: Path) -> None:
    made = results_of(tmp_path, study_of({"early": {"evaluation.validation": 0.3}}))
    assert row_of(markdown(made), "early")[-1] == "untested"
    assert "Scores of “early” are of validation subjects" in markdown(made)
    assert "Scores are of" not in markdown(outcome(tmp_path))


def crossed(folder: Path, dataset: str, other: str, names: tuple[str, ...]) -> Outcome:
    """A study that is trained on p0 to p69 of one folder, and scored on people of another with these names."""
    test = STUDY.experiment.corpus.model_copy(update={"dataset": other, "root": "/data/two"})
    evaluation = STUDY.experiment.evaluation.model_copy(update={"protocol": "cross_dataset", "test": test})
    corpus = STUDY.experiment.corpus.model_copy(update={"dataset": dataset, "root": "/data/one"})
    experiment = STUDY.experiment.model_copy(update={"corpus": corpus, "evaluation": evaluation})
    study = study_of({"one view": ALIKE["one view"]}, experiment=experiment)
    return results_of(folder, study, lambda _, record: record.model_copy(update={"test_subjects": names}))


SAME = ("p0", "p1", "p2", *_people("x", 27))


@pytest.mark.parametrize(("dataset", "other"), [("folder", "folder"), ("bu3dfe", "folder"), ("folder", "bosphorus")])
def test_people_of_another_folder_under_the_same_names_are_not_said_to_be_unseen(
    tmp_path: Path, dataset: str, other: str
) -> None:
    made = crossed(tmp_path, dataset, other, SAME)
    text = markdown(made)
    assert "whom neither saw" not in text
    assert f"scores are of the 30 of {other}, 3 of whom have names of the former, so that they may have been" in text
    assert "3 of those who are scored have names of people who were trained on (p0, p1, p2)." in text
    assert any("have names of people who were trained on" in line for line in caveats(made))
    assert "scored on 30 of another corpus, 3 of whom have names of those" in latex(made)


@pytest.mark.parametrize(("other", "names"), [("folder", _people("x", 30)), ("bosphorus", SAME)])
def test_people_of_other_names_or_of_two_datasets_are_said_to_be_unseen(
    tmp_path: Path, other: str, names: tuple[str, ...]
) -> None:
    made = crossed(tmp_path, "folder" if other == "folder" else "bu3dfe", other, names)
    assert f"scores are of the 30 of {other}, whom neither saw." in markdown(made)
    assert "have names of people" not in markdown(made)


def test_variants_of_pictures_by_other_backends_are_told(tmp_path: Path) -> None:
    experiment = {"rendering.backend": "opengl"}
    study = STUDY.model_copy(update={"variants": {"by OpenGL": experiment}, "remove": {}, "references": False})
    levels = {"full": 0.7, "by OpenGL": 0.72}
    (told,) = [note for note in notes(outcome(tmp_path, study, levels)) if "rendering.backend" in note]
    assert told.startswith(
        "The pictures are not all of one rendering.backend (“by OpenGL” by opengl, “full” by raster)."
    )
    plain = STUDY.model_copy(update={"variants": {"slow": {"training.lr": 0.1}}, "remove": {}, "references": False})
    of_one = notes(outcome(tmp_path, plain, {"full": 0.7, "slow": 0.72}))
    assert not [note for note in of_one if "rendering.backend" in note]
