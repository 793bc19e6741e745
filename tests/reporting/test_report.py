from __future__ import annotations

import io
import itertools
import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from PIL import Image
from rich.console import Console
from tests.reporting.outcomes import LEVELS, STUDY, outcome, record, search_outcome, with_predictions

from polyview.analysis.comparisons import comparisons
from polyview.analysis.findings import verdicts
from polyview.analysis.notes import caveats
from polyview.analysis.outcome import Outcome, Searched
from polyview.analysis.statistics import holm
from polyview.analysis.table_notes import table_notes
from polyview.analysis.tables import make_table
from polyview.recipe import Generator, Layout, Parameter, Pruning, Resources, Study, with_overrides
from polyview.reporting.pictures import pictures
from polyview.reporting.report import csv, html, latex, markdown, predictions, table, write
from polyview.training.provenance import Seen
from polyview.trials.design import REFERENCES, plan
from polyview.trials.ledger import InterimScores, TrialFailure
from polyview.trials.search import make_trials, own_point


def row_of(text: str, variant: str) -> str:
    return next(line for line in text.splitlines() if line.startswith(f"| {variant} |"))


def said(outcome: Outcome) -> str:
    return "\n".join(finding.text for finding in verdicts(outcome))


class Page(HTMLParser):
    """Collects what a browser would load from elsewhere, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.tags: set[str] = set()
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.sources += [value or "" for name, value in attributes if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_terminal_table_sets_references_apart(tmp_path: Path) -> None:
    console = Console(width=120, file=io.StringIO())
    console.print(table(outcome(tmp_path)))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "linear/accuracy" in shown
    assert re.search(r"full\s+3\s+\d\d\.\d ± \d\.\d\s+—", shown)
    assert shown.index("one view") < shown.index("untrained") < shown.index("raw pixels")
    interval = "\u2212\\d+\\.\\d to \u2212\\d+\\.\\d"
    assert re.search(rf"no alignment .* \u221228\.\d +{interval} +{interval} +0\.0\d+ +worse", shown)


def test_a_narrow_terminal_has_the_interval_that_decides_and_every_name(tmp_path: Path) -> None:
    console = Console(width=80, file=io.StringIO())
    console.print(table(outcome(tmp_path), 80))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "these people" not in shown
    assert re.search(r"one view .*\u2212\d+\.\d to \u2212\d\.\d", shown)
    assert all(re.search(rf"^ *{name.split()[0]}", shown, re.MULTILINE) for name in LEVELS)


def test_where_p_has_no_room_the_interval_stays(tmp_path: Path) -> None:
    console = Console(width=80, file=io.StringIO())
    study = STUDY.model_copy(update={"margin": 30.0})
    console.print(table(with_predictions(outcome(tmp_path, study)), 80))
    assert isinstance(console.file, io.StringIO)
    text = " ".join(console.file.getvalue().split())
    assert "95 % interval," in text
    assert "No room for: p, Bonferroni" in text


@pytest.mark.parametrize("width", range(40, 130, 6))
def test_no_terminal_cuts_a_name_or_a_verdict_off(tmp_path: Path, width: int) -> None:
    console = Console(width=width, file=io.StringIO())
    console.print(table(with_predictions(outcome(tmp_path)), width))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "…" not in shown
    assert re.search(r"^ no +\d[^…]* worse *\n alignment|^ no alignment .* worse *$", shown, re.MULTILINE)


@pytest.mark.parametrize("width", [14, 16, 20, 24, 28, 34])
def test_a_terminal_of_few_columns_folds_cells_and_loses_no_letter(tmp_path: Path, width: int) -> None:
    def letters(columns: int) -> Counter[str]:
        console = Console(width=columns, file=io.StringIO())
        console.print(table(with_predictions(outcome(tmp_path)), columns))
        shown = console.file.getvalue()  # type: ignore[attr-defined]
        assert max(map(len, shown.splitlines())) <= columns
        return Counter(letter for letter in shown if not letter.isspace() and letter != "─")

    assert letters(width) == letters(40)


@pytest.mark.parametrize("name", ["[x]", "[/x]", "[bold]", "a [/] b"])
def test_names_in_brackets_are_text(tmp_path: Path, name: str) -> None:
    study = STUDY.model_copy(update={"variants": {name: {"rendering.views.count": 1}}, "baseline": name})
    console = Console(width=140, file=io.StringIO())
    console.print(table(outcome(tmp_path, study, LEVELS | {name: 0.5}), 140))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert shown.count(name) >= 2  # its row, and the head of the differences


def test_a_baseline_of_a_long_name_takes_no_column_from_the_table(tmp_path: Path) -> None:
    name = "smile-vlm with pseudo-labels of everybody"
    study = STUDY.model_copy(update={"baseline": name})
    made = with_predictions(outcome(tmp_path, study, LEVELS | {name: LEVELS["full"]}))
    terminal = Console(width=120, file=io.StringIO())
    terminal.print(table(made, 120))
    assert isinstance(terminal.file, io.StringIO)
    lines = terminal.file.getvalue().splitlines()
    assert any(line.rstrip().endswith("verdict") for line in lines)
    assert next(line for line in lines if "no alignment" in line).rstrip().endswith("worse")


@pytest.mark.parametrize(
    ("changes", "said", "unsaid"),
    [
        ({"model.temporal": "dynamic_image"}, "set corpus.frames: rise.", "from the first frame to the apex"),
        (
            {"model.temporal": "dynamic_image", "corpus.frames": "rise"},
            "nothing moves from the first frame to the apex",
            "set corpus.frames: rise",
        ),
        ({"model.temporal": "frame"}, "Look at polyview sheet.", "dynamic image"),
    ],
)
def test_pictures_of_one_colour_are_told_with_what_there_is_to_do(
    tmp_path: Path, changes: dict[str, str], said: str, unsaid: str
) -> None:
    made = outcome(tmp_path)
    assert "of one colour" not in markdown(made)
    blank = {
        trial.id: record.model_copy(
            update={
                "blank_pictures": ("a", "b")[: 1 + (trial.variant == "one view")] if trial.seed else (),
                "experiment": with_overrides(record.experiment, changes),
            }
        )
        for trial in made.trials
        if (record := made.records[trial.id])
    }
    text = markdown(replace(made, records=blank))
    assert "Of “one view” 2 scored pictures are of one colour, where no score says anything of a face. " in text
    assert "Of “full” 1 scored picture is of one colour" in text
    assert said in text
    assert unsaid not in text
    assert "under another name" not in text


def test_a_score_that_leaves_nothing_to_gain_is_told(tmp_path: Path) -> None:
    high = outcome(tmp_path, levels=LEVELS | {"full": 0.971, "untrained": 0.97})
    told = r"Before this training the tower has 9\d\.\d % linear/accuracy already"
    assert re.search(told, markdown(high))
    assert not re.search(told, markdown(outcome(tmp_path)))


def test_people_who_are_tested_on_under_every_seed_are_said_to_be_the_same(tmp_path: Path) -> None:
    assert "People: every seed has 30 of 100 as test subjects" in markdown(outcome(tmp_path))
    fixed = STUDY.experiment.evaluation.model_copy(update={"split_seed": 3})
    study = STUDY.model_copy(
        update={"experiment": STUDY.experiment.model_copy(update={"evaluation": fixed}), "references": False}
    )
    text = markdown(outcome(tmp_path, study))
    assert "People: every seed has the same 30 of 100 as test subjects" in text
    assert "A seed changes the test subjects" not in text


def test_classes_that_no_test_subject_shows_are_told(tmp_path: Path) -> None:
    made = outcome(tmp_path)
    assert "No test subject shows" not in markdown(made)
    records = {
        name: one.model_copy(
            update={"confusions": {probe: [*counts[:5], [0] * 7, [0] * 7] for probe, counts in one.confusions.items()}}
        )
        for name, one in made.records.items()
    }
    assert "No test subject shows sadness, surprise: no score speaks" in markdown(replace(made, records=records))


def test_folds_of_different_sizes_are_one_sentence(tmp_path: Path) -> None:
    folds = STUDY.experiment.evaluation.model_copy(update={"protocol": "subject_kfold", "folds": 3})
    experiment = STUDY.experiment.model_copy(update={"evaluation": folds})
    made = outcome(tmp_path, STUDY.model_copy(update={"experiment": experiment, "references": False}))
    records = {
        trial.id: made.records[trial.id].model_copy(
            update={
                "train_subjects": tuple(map(str, range(6 if trial.experiment.evaluation.fold == 0 else 7))),
                "test_subjects": tuple(map(str, range(4 if trial.experiment.evaluation.fold == 0 else 3))),
                "confusions": dict.fromkeys(
                    ("linear", "knn", "zero_shot"), made.records[trial.id].confusions["linear"]
                ),
            }
        )
        for trial in made.trials
    }
    text = markdown(replace(made, records=records))
    assert "People: each of 3 folds has 3 or 4 of 10 as test subjects" in text
    assert "fitted on the other 6 or 7 and" in text


def test_weights_that_may_have_seen_the_test_subjects_are_told_beside_them(tmp_path: Path) -> None:
    made = outcome(tmp_path)
    assert "whom pretraining never saw." in markdown(made)
    model = STUDY.experiment.model.model_copy(update={"pretrained": "/weights.safetensors"})
    known = STUDY.experiment.model_copy(update={"model": model})
    text = markdown(outcome(tmp_path, STUDY.model_copy(update={"experiment": known})))
    assert "weights /weights.safetensors, of which it is not known here what they have seen" in text
    assert "whom pretraining never saw, but perhaps the weights that it started from." in text


def test_test_subjects_whom_the_start_had_seen_are_told_wherever_a_reader_looks(tmp_path: Path) -> None:
    model = STUDY.experiment.model.model_copy(update={"pretrained": "/weights.safetensors"})
    study = STUDY.model_copy(update={"experiment": STUDY.experiment.model_copy(update={"model": model})})
    study = study.model_copy(update={"variants": {"one view": {"model.pretrained": None}}})
    made = outcome(tmp_path, study)

    def known(seen: Seen, by_nothing: Seen = Seen()) -> Outcome:  # noqa: B008 - it is frozen
        records = dict(made.records)
        for trial in made.trials:
            one = by_nothing if trial.variant in ("one view", "raw pixels") else seen
            records[trial.id] = records[trial.id].model_copy(update={"seen_by_start": one})
        return replace(made, records=records)

    nobody = known(Seen())
    assert caveats(nobody) == []
    assert "weights /weights.safetensors, which had seen none of those scored here, by their names" in markdown(nobody)
    assert "whom pretraining never saw." in markdown(nobody)
    some = known(Seen(subjects=("a", "b")))
    (told,) = caveats(some)
    assert "one view" not in told
    assert "raw pixels" not in told
    assert "“full”, " in told
    assert "had seen, by their names, 2 of those who are scored (a, b): such scores are not of people whom" in told
    text = markdown(some)
    assert told in text
    assert re.search(
        r"but the weights that “full”, .*“untrained” started from had seen up to 2 of them, by their", text
    )
    assert "random weights (“one view”)" in text
    page = table_notes(make_table("methods", Layout(), {"study": some}))
    assert f"study: {told}" in page
    unsure = known(Seen(subjects=("a",), complete=False))
    assert any("it is not known whom" in note for note in table_notes(make_table("methods", Layout(), {"s": unsure})))
    partly = markdown(unsure)
    assert "it is not known here what they have seen, but 1 of those scored here are among it" in partly
    assert re.search(
        r"never saw, but perhaps the weights that “full”, .* started from, but the weights that “full”", partly
    )


def test_faces_of_another_corpus_that_were_trained_on_are_told_wherever_a_reader_looks(tmp_path: Path) -> None:
    other = STUDY.experiment.corpus.model_copy(update={"generator": Generator(seed=5)})
    crossed = STUDY.experiment.evaluation.model_copy(update={"protocol": "cross_dataset", "test": other})
    experiment = STUDY.experiment.model_copy(update={"evaluation": crossed})
    made = outcome(tmp_path, STUDY.model_copy(update={"experiment": experiment, "references": False}))
    assert "whom neither saw." in markdown(made)
    assert caveats(made) == []
    assert "Centred" not in markdown(made)
    evaluation = crossed.model_copy(update={"centred": True})
    trials = tuple(
        replace(trial, experiment=trial.experiment.model_copy(update={"evaluation": evaluation}))
        for trial in made.trials
    )
    assert "Centred: the tested faces' embeddings were moved" in markdown(replace(made, trials=trials))
    assert "Centred: the tested faces' embeddings of “" in markdown(
        replace(made, trials=(*trials[:3], *made.trials[3:]))
    )
    validated = evaluation.model_copy(update={"validation": 0.3})
    unmoved = tuple(
        replace(trial, experiment=trial.experiment.model_copy(update={"evaluation": validated})) for trial in trials
    )
    assert "Centred" not in markdown(replace(made, trials=unmoved)), "validation faces are of the corpus itself"
    records = {name: one.model_copy(update={"shared_faces": ("a", "b")}) for name, one in made.records.items()}
    shared = replace(made, records=records)
    assert "whom neither saw, except faces that have another name in training." in markdown(shared)
    assert caveats(shared) == [
        "2 faces of test subjects were trained on too, under another name: a, b. Mend the corpus."
    ]


def with_embeddings(made: Outcome, folder: Path, spread: float) -> Outcome:
    """The results with embeddings of twelve samples, which are so unlike."""
    rows = [(f"s{i}", f"p{i}", "anger", [1.0 + spread * i, 0.5]) for i in range(12)]
    names = ["sample_id", "subject", "expression", "embedding"]
    table = pl.DataFrame(rows, schema=names, orient="row", schema_overrides={"embedding": pl.Array(pl.Float32, 2)})
    table.write_parquet(folder / "embeddings.parquet")
    return replace(made, embeddings=folder / "embeddings.parquet")


@pytest.mark.parametrize(("protocol", "unit"), [("holdout", "seed"), ("subject_kfold", "fold")])
def test_a_picture_of_embeddings_says_of_whom_it_is(
    tmp_path: Path, protocol: Literal["holdout", "subject_kfold"], unit: str
) -> None:
    made = outcome(tmp_path)
    evaluation = made.study.experiment.evaluation.model_copy(update={"protocol": protocol, "folds": 5})
    folded = made.study.experiment.model_copy(update={"evaluation": evaluation})
    trials = tuple(replace(trial, experiment=folded) for trial in made.trials)
    found = {one.key: one for one in pictures(with_embeddings(replace(made, trials=trials), tmp_path, 0.1))}
    assert found["embeddings"].caption.startswith(f"Fused embeddings of one {unit}'s")


def test_embeddings_that_are_all_alike_are_not_drawn(tmp_path: Path) -> None:
    def drawn(spread: float) -> bool:
        write(with_embeddings(outcome(tmp_path), tmp_path, spread))
        return (tmp_path / "report" / "figures" / "embeddings.svg").exists()

    assert not drawn(0.0)
    assert drawn(0.1)


LETTERS = st.characters(exclude_categories=("C", "Z")) | st.sampled_from(" []<>|*_&%$#{}\\^~`'\"")
PRINTABLE = st.text(LETTERS, max_size=20).map(str.strip)


@settings(max_examples=40, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(PRINTABLE.filter(bool), min_size=2, max_size=4, unique=True))
@example(["on", "off", "1"])
@example(["__x__", "_y_", "&lt;", "a_b ~~c~~ `d`", "[e](f)"])
@example(["[x]", "<script>alert(1)</script>", "*a*|b\\"])
def test_every_form_of_a_report_has_each_name_as_it_was_written(tmp_path: Path, names: list[str]) -> None:
    variants = {name: {"training.lr": 10.0 ** -(4 + place)} for place, name in enumerate(names)}
    if set(names) & {"full", *REFERENCES}:
        return
    study = STUDY.model_copy(update={"variants": variants, "remove": {}, "references": False})
    made = outcome(tmp_path, study, dict.fromkeys(["full", *names], 0.5))
    assert set(pl.read_csv(io.StringIO(csv(made)), schema_overrides={"variant": pl.String})["variant"]) == {
        "full",
        *names,
    }
    tokens = MarkdownIt("commonmark").enable("table").parse(markdown(made))
    cells = [one for before, one in itertools.pairwise(tokens) if before.type == "td_open"]
    assert {*names} <= {"".join(part.content for part in one.children or []) for one in cells}
    kinds = {part.type for one in tokens for part in one.children or []}
    assert kinds <= {"text", "softbreak", "code_inline", "text_special"}  # no emphasis, no link, and no HTML
    console = Console(width=400, file=io.StringIO())
    console.print(table(made, 400))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert all(name in shown for name in names)


def test_with_predictions_a_report_speaks_of_so_many_test_subjects(tmp_path: Path) -> None:
    kept = with_predictions(outcome(tmp_path))
    text = markdown(kept)
    assert "Nadeau" not in text
    assert re.search(r"“no alignment” costs 28.\d points .* after Holm, 3 seeds, 30 test subjects\)", text)
    table = pl.read_csv(io.StringIO(predictions(kept)))
    assert table.columns[:6] == ["trial", "variant", "seed", "fold", "probe", "sample"]
    one = table.filter(pl.col("variant") == "full", pl.col("seed") == 0, pl.col("probe") == "linear")
    counts = np.array(kept.records[one["trial"][0]].confusions["linear"])
    assert (one["truth"] == one["prediction"]).sum() == counts.trace()


def test_the_p_value_of_the_table_decides_the_verdict_and_is_the_sentences(tmp_path: Path) -> None:
    text = markdown(with_predictions(outcome(tmp_path, levels=LEVELS | {"no redundancy": 0.69, "one view": 0.68})))
    for variant in ("no decorrelation", "no alignment", "no redundancy", "one view"):
        p, verdict = (cell.strip() for cell in row_of(text, variant).split("|")[7:9])
        assert (verdict in ("better", "worse")) == (p.startswith("<") or float(p) <= 0.05), variant
        said = next(line for line in text.splitlines() if line.startswith("- ") and f"“{variant}”" in line)
        assert (" costs " in said or " gains " in said) == (verdict != "open")
        assert verdict == "open" or f"p {'' if p.startswith('<') else '= '}{p} after Holm" in said


def test_within_a_margin_variants_are_the_same(tmp_path: Path) -> None:
    study = STUDY.model_copy(update={"margin": 30.0})
    text = markdown(with_predictions(outcome(tmp_path, study)))
    assert re.search(r"“no redundancy” is the same as “full” within 30 points of linear/accuracy", text)
    assert row_of(text, "no redundancy").endswith("| same |")
    assert row_of(text, "no alignment").endswith("| worse |")
    assert "p, Bonferroni" in text
    assert "p is after Bonferroni over the 4 comparisons" in text


def test_several_metrics_are_one_family(tmp_path: Path) -> None:
    alone = comparisons(outcome(tmp_path), "linear/accuracy")[0]
    study = STUDY.model_copy(update={"metrics": ("knn/accuracy",)})
    made = outcome(tmp_path, study)
    together = [*comparisons(made, "linear/accuracy")[0], *comparisons(made, "knn/accuracy")[0]]
    assert {one.family for one in alone if one.p is not None} == {4}
    assert {one.family for one in together if one.p is not None} == {8}
    tested = [one for one in together if one.p is not None and one.p_adjusted is not None]
    assert [one.p_adjusted for one in tested] == pytest.approx(holm([one.p for one in tested]))  # type: ignore[misc]
    text = markdown(made)
    assert "## In knn/accuracy" in text
    assert "over the 8 comparisons" in text


def test_results_of_different_code_are_told_apart(tmp_path: Path) -> None:
    made = outcome(tmp_path)
    assert "different code" not in markdown(made)
    records = dict(made.records)
    for trial in made.trials:
        if trial.variant == "one view":
            one = records[trial.id]
            records[trial.id] = one.model_copy(update={"environment": one.environment | {"torch": "2.14.0"}})
    text = markdown(replace(made, records=records))
    assert "With torch 2.14.0: one view (seeds 0, 1, 2)" in text


def test_the_markdown_has_a_row_per_variant(tmp_path: Path) -> None:
    text = markdown(outcome(tmp_path))
    header = next(line for line in text.splitlines() if line.startswith("| variant"))
    for variant in LEVELS:
        assert row_of(text, variant).count("|") == header.count("|")
    assert "Nadeau and Bengio" in text  # no predictions were kept
    assert "has 30 of 100 as test subjects" in text
    assert "weak supervision" in text
    assert "6 min 52 s" in text


@pytest.mark.parametrize(
    ("variant", "level", "claim"),
    [
        ("untrained", 0.35, "beats the untrained tower"),
        ("untrained", 0.85, "does worse than the untrained tower"),
        ("raw pixels", 0.4, "beats the same probe on raw pixels"),
        ("raw pixels", 0.9, "does worse than the same probe on raw pixels"),
        ("raw pixels", 0.712, "Whether “full” beats the same probe on raw pixels is open"),
    ],
)
def test_the_references_are_judged_in_words(tmp_path: Path, variant: str, level: float, claim: str) -> None:
    assert f"{claim}" in said(outcome(tmp_path, levels=LEVELS | {variant: level}))


def test_missing_trials_are_said_and_left_out(tmp_path: Path) -> None:
    gaps = (("full", 1), ("no alignment", 0), ("no alignment", 1), ("no alignment", 2))
    text = markdown(outcome(tmp_path, absent=gaps))
    assert "**4 of 21 trials have no result**" in text
    assert "full: seed 1; no alignment: seed 0, seed 1, seed 2" in text
    assert "| 2 of 3 |" in row_of(text, "full")
    assert "| 0 of 3 | — |" in row_of(text, "no alignment")


def test_a_study_without_results_says_so(tmp_path: Path) -> None:
    everything = tuple((variant, seed) for variant in LEVELS for seed in STUDY.seeds)
    empty = outcome(tmp_path, absent=everything)
    assert said(empty) == "“full”, the baseline, has no linear/accuracy yet: nothing can be compared."
    assert "21 of 21 trials have no result" in Page(html(empty)).text
    assert csv(empty) == "trial,variant,seed,fold,subjects,metric,value\n"


def test_one_seed_makes_no_claim(tmp_path: Path) -> None:
    single = outcome(tmp_path, study=STUDY.model_copy(update={"seeds": (0,)}))
    assert not any(finding.settled for finding in verdicts(single)[1:])
    assert "One seed has no spread" in markdown(single)


def test_without_text_no_label_was_read(tmp_path: Path) -> None:
    vision = Study.model_validate_json(
        STUDY.model_copy(update={"remove": {}, "variants": {}})
        .model_dump_json()
        .replace('"label"', '"none"')
        .replace('"alignment":{"weight":1.0}', '"alignment":null')
        .replace('"redundancy":{"weight":0.5,"form":"text_directions"}', '"redundancy":null')
    )
    text = markdown(outcome(tmp_path, study=vision))
    assert "no label was read" in text
    assert "weak supervision" not in text


def test_the_page_needs_nothing_from_elsewhere(tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.png"
    Image.new("RGB", (8, 8)).save(sheet)
    page = Page(html(outcome(tmp_path, sheet=sheet)))
    assert len(page.sources) == 6
    assert all(source.startswith(("data:image/svg+xml;base64,", "data:image/png;base64,")) for source in page.sources)
    assert not page.tags & {"script", "link", "iframe"}
    for words in ("costs 28.", "seeds summed", "6 min 52 s", "2.13.0", "objective.decorrelation"):
        assert words in page.text


def test_the_page_escapes_what_a_user_named(tmp_path: Path) -> None:
    study = STUDY.model_copy(update={"variants": {"<script>alert(1)</script>": {"rendering.views.count": 1}}})
    page = html(outcome(tmp_path, study=study, levels=LEVELS | {"<script>alert(1)</script>": 0.5}))
    assert "<script>" not in page


def test_the_csv_holds_every_score(tmp_path: Path) -> None:
    made = outcome(tmp_path)
    rows = pl.read_csv(io.StringIO(csv(made)))
    assert rows.columns == ["trial", "variant", "seed", "fold", "subjects", "metric", "value"]
    assert len(rows) == 21 * 9
    write(made)
    assert pl.read_parquet(tmp_path / "report" / "results.parquet").equals(rows)
    one = rows.filter(pl.col("variant") == "full", pl.col("seed") == 1, pl.col("metric") == "linear/accuracy")
    assert one["value"].item() == made.records[one["trial"].item()].scores["linear/accuracy"]


def test_latex_escapes_and_rules(tmp_path: Path) -> None:
    text = latex(outcome(tmp_path))
    assert r"linear/accuracy, \%" in text
    assert text.count(r"\midrule") == 2
    assert text.isascii()
    written = text.replace(r"\ifdim\width>\linewidth", "")
    assert not re.search(r"(?<!\$)[<>]", written)  # in text they are other signs


def test_latex_has_the_best_in_bold_and_marks_what_is_clear(tmp_path: Path) -> None:
    rows = {row.split(" & ")[0]: row for row in latex(outcome(tmp_path)).splitlines() if row.endswith(r"\\")}
    assert [name for name, row in rows.items() if r"\textbf" in row] == ["raw pixels"]
    significant = {
        one.variant for family in comparisons(outcome(tmp_path), "linear/accuracy") for one in family if one.significant
    }
    assert {name for name, row in rows.items() if r"\dagger" in row} == significant


def test_latex_says_whose_p_is_of_being_the_same(tmp_path: Path) -> None:
    study = STUDY.model_copy(update={"margin": 30.0})
    made = with_predictions(outcome(tmp_path, study))
    rows = {row.split(" & ")[0]: row for row in latex(made).splitlines() if row.endswith(r"\\")}
    verdicts = {one.variant: one.verdict for family in comparisons(made, "linear/accuracy") for one in family}
    assert {"same", "worse"} <= {*verdicts.values()}
    for name, verdict in verdicts.items():
        marks = re.findall(r"\$\^\{\\(d+agger)\}\$", rows[name])
        assert marks == {"same": ["ddagger"], "worse": ["dagger"], "better": ["dagger"]}.get(verdict, []), name
    assert r"$\ddagger$ the same: p is that of two one-sided tests, which exclude differences of 30 points" in latex(
        made
    )
    assert "ddagger" not in latex(with_predictions(outcome(tmp_path)))


def test_one_comparison_is_adjusted_for_no_other(tmp_path: Path) -> None:
    study = STUDY.model_copy(update={"remove": {}, "references": False})
    assert "for other people under other seeds.\\par" in latex(outcome(tmp_path, study))


def test_several_seeds_are_not_called_one_where_nothing_is_compared(tmp_path: Path) -> None:
    study = STUDY.model_copy(update={"remove": {}, "variants": {}, "references": False})
    text = markdown(outcome(tmp_path, study))
    assert "One seed has no spread" not in text
    assert "± is the standard deviation over seeds. Nothing has two seeds in common with its baseline" in text


def test_writing_leaves_whole_files_and_no_others(tmp_path: Path) -> None:
    made = outcome(tmp_path)
    paths = write(made)
    assert set(paths) == {path for path in (tmp_path / "report").rglob("*") if path.is_file()}
    names = {str(path.relative_to(tmp_path / "report")) for path in paths}
    assert {"report.html", "report.md", "results.csv", "figures/forest.svg", "figures/comparison.svg"} <= names
    assert (tmp_path / "report" / "report.md").read_text() == markdown(made)


def test_each_class_is_told_by_variant(tmp_path: Path) -> None:
    made = outcome(tmp_path)
    text = markdown(made).partition("## Class by class")[2]
    counts = sum(
        np.array(made.records[trial.id].confusions["linear"]) for trial in made.trials if trial.variant == "one view"
    )
    shown = [float(cell) for cell in row_of(text, "one view").split("|")[2:-1]]
    assert shown == pytest.approx(100 * counts.diagonal() / counts.sum(axis=1), abs=0.05)
    assert re.search(r"“full” knows \w+ best", text)


def test_the_score_by_the_number_of_views_is_drawn_where_nothing_else_differs(tmp_path: Path) -> None:
    assert "How many views" not in markdown(outcome(tmp_path))
    more = {f"{count} views": {"rendering.views.count": count} for count in (1, 2, 7)}
    study = STUDY.model_copy(update={"remove": {"other": "objective.alignment"}, "variants": more})
    levels = LEVELS | {"other": 0.5, "1 views": 0.5, "2 views": 0.6, "7 views": 0.75}
    found = outcome(tmp_path, study, levels)
    text = markdown(found).partition("## How many views")[2]
    assert [row_of(text, str(count)).split("|")[2].strip() for count in (1, 2, 3, 7)] == [
        "1 views",
        "2 views",
        "full",
        "7 views",
    ]
    write(found)
    assert "<svg" in (tmp_path / "report" / "figures" / "view-counts.svg").read_text()


def test_the_page_links_each_trial_to_its_run_and_the_study_to_its_prepared_pages(tmp_path: Path) -> None:
    made = outcome(tmp_path)
    pages = {"results": "#/experiments/1/runs?share=results", "curves": "#/experiments/1/runs?share=curves"}
    links = {trial.id: f"#/experiments/1/runs/{trial.seed}" for trial in made.trials} | pages
    local, remote = (replace(made, links=links, tracking_address=one) for one in ("sqlite:///x", "https://host/m/"))
    for page in pages.values():
        assert f'href="https://host/m/{page}"' in html(remote)
    assert 'href="http://127.0.0.1:5000/#/experiments/1/runs/2"' in html(local)
    assert 'href="https://host/m/#/experiments/1/runs/2"' in html(remote)


def test_the_cost_is_that_of_all_trials(tmp_path: Path) -> None:
    made = outcome(tmp_path, STUDY.model_copy(update={"resources": Resources(gpus=0.5)}))
    seconds = sum(sum(record.seconds.values()) for record in made.records.values())
    assert f"| all trials together | {seconds / 3600:.2g} trial-hours |" in markdown(made)
    assert f"| of GPUs | {seconds / 7200:.2g} hours |" in markdown(made)


def factorial_outcome(folder: Path) -> Outcome:
    study = Study.model_validate_json(
        """{"name": "crossed", "references": false, "seeds": [0, 1, 2, 3], "baseline": "lr=0.001, fusion=mean",
        "experiment": {"name": "e", "objective": {"alignment": {}}},
        "grid": {"training.lr": [0.001, 0.01], "model.fusion": ["mean", "attention"]}}"""
    )
    levels = {name: 0.5 + 0.1 * ("0.01" in name) for name in [trial.variant for trial in plan(study)]}
    return outcome(folder, study, levels)


def test_a_factorial_is_told_by_its_effects(tmp_path: Path) -> None:
    found = factorial_outcome(tmp_path)
    text = markdown(found)
    assert "## Full factorial" in text
    assert re.search(r"- lr \(0.001 to 0.01\): \+(9|10)\.\d points of linear/accuracy, 95 % interval \+\d", text)
    assert row_of(text, "fusion").count("|") == 7
    assert row_of(text, "lr × fusion")
    write(found)
    assert "<svg" in (tmp_path / "report" / "figures" / "full-factorial.svg").read_text()


def test_a_factorial_may_be_over_lists(tmp_path: Path) -> None:
    study = Study.model_validate_json(
        """{"name": "lists", "references": false,
        "experiment": {"name": "e", "objective": {"alignment": {}}},
        "grid": {"model.projector": [[64, 64], [32], []], "model.fusion": ["mean", "attention"]}}"""
    )
    levels = {name: 0.5 + 0.1 * ("32" in name) for name in [trial.variant for trial in plan(study)]}
    text = markdown(outcome(tmp_path, study, levels))
    assert re.search(r"- projector=\[32\] \(\[64, 64\] to \[32\]\): \+(9|10)\.\d points", text)


def test_a_search_is_told_by_its_best_its_front_and_what_matters(tmp_path: Path) -> None:
    found = search_outcome(tmp_path)
    text = markdown(found)
    assert "12 of 12 points of the search (nsga2) have a result." in text
    assert "the row “best found” is scored on the test subjects, whom the search never saw" in text
    assert (
        "The recipe itself has weight=0.5, count=3, fusion=attention, and no score on the validation subjects." in text
    )
    assert re.search(r"variance of linear/accuracy over the space \(fANOVA\): .*count \d\d %", text)
    assert "Pareto front" in text
    assert row_of(text, "best found").split("|")[2].strip() == "3"
    assert not any(line.startswith("| search 3 |") and "±" in line for line in text.splitlines())
    assert csv(found).count("search 12,1000,0,validation,") == 9
    assert csv(found).count("best found,0,0,test,") == 9
    drawn = (write(found), (tmp_path / "report" / "figures" / "search.svg").read_text())[1]
    assert "attention" in drawn


def test_of_keys_with_a_condition_the_recipe_is_said_to_have_those_that_it_fulfils(tmp_path: Path) -> None:
    found = search_outcome(tmp_path)
    assert found.study.search is not None
    space = dict(found.study.search.space) | {
        "language.prompts": Parameter(categorical=("label", "pseudo")),
        "language.pseudo.assign": Parameter(categorical=("sinkhorn", "kmeans"), when={"language.prompts": "pseudo"}),
    }
    study = found.study.model_copy(update={"search": found.study.search.model_copy(update={"space": space})})
    text = markdown(replace(found, study=study))
    assert "The recipe itself has weight=0.5, count=3, fusion=attention, prompts=label, and no score" in text


def test_what_was_pruned_once_and_trained_to_its_end_later_is_not_called_pruned(tmp_path: Path) -> None:
    found, rule = search_outcome(tmp_path), Pruning()
    assert found.study.search is not None
    alone = {"prune": rule, "objectives": ("linear/accuracy",)}
    study = found.study.model_copy(update={"search": found.study.search.model_copy(update=alone)})
    times: dict[str, Any] = {
        "metric": "linear/accuracy",
        "manifest": "",
        "started": 0.0,
        "ended": 1.0,
        "scores": {5: 0.2},
    }
    interim = {
        one.id: InterimScores(id=one.id, **times, pruning=rule, pruned=True) for one in found.searched.trials[:2]
    }
    records = {name: one for name, one in found.records.items() if name != found.searched.trials[0].id}
    searched = replace(found.searched, interim_scores=interim)
    text = markdown(replace(found, study=study, searched=searched, records=records))
    assert "11 of 12 points of the search (nsga2) have a result." in text
    assert "1 was pruned (median), and so is in none of the figures." in text


def test_a_search_that_has_tried_the_recipe_says_what_it_has_there(tmp_path: Path) -> None:
    found = search_outcome(tmp_path)
    own = own_point(found.study)
    assert own is not None
    points = [*found.searched.points, own]
    *_, trial = trials = make_trials(found.study, points)
    kept = record(trial.experiment, 0.5, 1000)
    tried = replace(found, records=found.records | {trial.id: kept}, searched=Searched(points, trials))
    level = f"{100 * kept.scores['linear/accuracy']:.1f} % linear/accuracy"
    assert f"The recipe itself has weight=0.5, count=3, fusion=attention, and {level} on them." in markdown(tried)


def test_the_recipe_and_the_best_point_are_told_by_the_same_metric(tmp_path: Path) -> None:
    found = search_outcome(tmp_path)
    assert found.study.search is not None
    asked = found.study.search.model_copy(update={"objectives": ("parameters", "knn/accuracy")})
    study = found.study.model_copy(update={"search": asked})
    own = own_point(study)
    assert own is not None
    points = [*found.searched.points, own]
    *_, trial = trials = make_trials(study, points)
    kept = record(trial.experiment, 0.5, 1000)
    tried = replace(found, study=study, records=found.records | {trial.id: kept}, searched=Searched(points, trials))
    level = f"{100 * kept.scores['linear/accuracy']:.1f} % linear/accuracy"
    assert f"fusion=attention, and {level} on them." in markdown(tried)


def test_where_the_best_point_is_scored_is_told_as_it_is(tmp_path: Path) -> None:
    found = search_outcome(tmp_path)
    baseline = [trial for trial in found.trials if trial.variant == found.study.baseline]
    going_on = markdown(replace(found, trials=baseline))
    assert "once the search is over, a row “best found” is scored on the test subjects, whom it never sees" in going_on
    same = [replace(trial, variant="best found") for trial in baseline]
    nothing_better = markdown(replace(found, trials=[*baseline, *same]))
    assert "is that of “full” itself, as the search found nothing better" in nothing_better


def test_what_could_not_be_tested_has_no_verdict(tmp_path: Path) -> None:
    one_seed = outcome(tmp_path, STUDY.model_copy(update={"seeds": (0,)}))
    assert row_of(markdown(one_seed), "no alignment").split("|")[-2].strip() == "untested"
    absent = tuple(("no alignment", seed) for seed in STUDY.all_seeds)
    assert row_of(markdown(outcome(tmp_path, absent=absent)), "no alignment").split("|")[-2].strip() == "—"


def test_a_search_that_has_only_begun_has_a_report(tmp_path: Path) -> None:
    text = markdown(search_outcome(tmp_path, 1))
    assert "1 of 12 points" in text
    assert "fANOVA" not in text


def test_what_failed_is_told_with_the_end_of_its_log(tmp_path: Path) -> None:
    whole = outcome(tmp_path, absent=(("one view", 1),))
    lost = next(trial for trial in whole.trials if (trial.variant, trial.seed) == ("one view", 1))
    lines = ("a", "it <broke>")
    failure = TrialFailure(
        id=lost.id,
        started=1,
        ended=2,
        attempts=2,
        reason="it <broke>",
        log="/tmp/error.txt",
        last_lines=lines,
    )
    found = replace(whole, failures={lost.id: failure})
    assert r"- one view · seed 1 failed in 2 attempts: it \<broke>" in markdown(found)
    assert "it &lt;broke&gt;" in html(found)


def test_a_study_across_labels_compares_at_each_share_and_draws_the_curve(tmp_path: Path) -> None:
    study = STUDY.model_copy(
        update={"remove": {"no alignment": "objective.alignment"}, "variants": {}, "references": False}
    ).model_copy(update={"across": {"language.labelled": (0.1, 1.0)}})
    levels = {
        "full, labelled=0.1": 0.6,
        "no alignment, labelled=0.1": 0.4,
        "full, labelled=1.0": 0.8,
        "no alignment, labelled=1.0": 0.7,
    }
    made = outcome(tmp_path, study=study, levels=levels)
    sentences = said(made)
    for share in (0.1, 1.0):
        assert f"“full, labelled={share}” reaches" in sentences
        assert re.search(rf"“no alignment, labelled={share}” costs .* against “full, labelled={share}”", sentences)
    page = markdown(made)
    assert "| people whose labels are read, of 70 | full | no alignment |" in page
    assert re.search(r"\| 7 \| \d+\.\d \| \d+\.\d \|", page)
    assert re.search(
        r"- “full” from 7 to 70: \+\d+\.\d points of linear/accuracy \(95 % interval \S+ to \S+, for itself", page
    )
    assert "the labels of 7 of 70 training people, as prompts (weak supervision)" in page
    assert "whose labels may be read and scored" in page
    assert "figures/label-efficiency.svg" in {str(path.relative_to(tmp_path / "report")) for path in write(made)}
    assert Page(html(made)).text.count("With how many labels") == 1
    _, *others = comparisons(made, "linear/accuracy")[0]
    assert {one.family for one in others if one.difference is not None} == {2}
