"""The figures of a study as a paper takes them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.reporting.outcomes import (
    LEVELS,
    STUDY,
    borne_out,
    outcome,
    record,
    search_outcome,
    with_predictions,
)

from polyview.cli import main
from polyview.errors import UserError
from polyview.recipe import Experiment, load_study
from polyview.reporting.figures.style import Style
from polyview.reporting.paper import ONE_COLUMN, TWO_COLUMNS, left_from_before, write_figures
from polyview.trials.design import plan
from polyview.trials.ledger import Ledger

ONE = Style(ONE_COLUMN, 8)


def has_latex() -> bool:
    return shutil.which("pdflatex") is not None


def test_every_figure_of_a_report_is_written_as_pdf_and_as_svg(tmp_path: Path) -> None:
    folder, keys = tmp_path / "figures", {"comparison", "forest", "search", "curves"}
    keys |= {"confusion-linear", "confusion-zero_shot"}
    written = write_figures(search_outcome(tmp_path), folder, ONE)
    assert {picture.key for picture, _ in written} == keys
    files = {path.name for path in folder.iterdir()}
    assert files == {"figures.tex", *(f"{key}.{kind}" for key in keys for kind in ("pdf", "svg"))}
    assert all((folder / f"{key}.pdf").read_bytes().startswith(b"%PDF") for key in keys)
    assert all("<svg" in (folder / f"{key}.svg").read_text() for key in keys)


def test_figures_of_an_earlier_call_are_told_apart(tmp_path: Path) -> None:
    folder = tmp_path / "figures"
    first = write_figures(search_outcome(tmp_path), folder, ONE)
    assert not left_from_before(folder, first)
    (folder / "mine.pdf").touch()
    assert left_from_before(folder, first[:1]) == sorted(picture.key for picture, _ in first[1:])


def test_a_figures_line_says_what_it_shows_and_of_how_many(tmp_path: Path) -> None:
    made = with_predictions(outcome(tmp_path, absent=(("one view", 1),)))
    lines = {picture.key: picture.line for picture, _ in write_figures(made, tmp_path / "figures", ONE)}
    assert lines["comparison"] == (
        "Comparison. Mean and 95 % interval of each variant, for other people; small dots are single seeds. "
        "2 to 3 seeds, 30 test subjects under each, 30 in all."
    )
    counted = sum(sum(map(sum, made.records[trial.id].confusions["linear"])) for trial in made.trials[:3])
    assert lines["confusion-linear"].endswith(f"percent of each true class, seeds summed. {counted:,} predictions.")


def test_a_letter_that_could_not_be_drawn_is_told_and_nothing_is_written(tmp_path: Path) -> None:
    study = STUDY.model_copy(update={"remove": {}, "variants": {"一つの view": {"rendering.views.count": 1}}})
    made = outcome(tmp_path, study, LEVELS | {"一つの view": 0.5})
    with pytest.raises(UserError, match="lacks つの一; rename what has them, which changes no result"):
        write_figures(made, tmp_path / "figures", ONE)
    assert not (tmp_path / "figures").exists()


def test_a_study_without_results_has_no_figures(tmp_path: Path) -> None:
    everything = tuple((variant, seed) for variant in LEVELS for seed in STUDY.seeds)
    with pytest.raises(UserError, match="quickstart: no trial has a result to be drawn; polyview ablate runs"):
        write_figures(outcome(tmp_path, absent=everything), tmp_path / "figures", ONE)
    assert not (tmp_path / "figures").exists()


@pytest.mark.skipif(not has_latex(), reason="needs LaTeX (Debian: texlive-latex-recommended)")
@pytest.mark.parametrize(("style", "name"), [(ONE, "figure"), (Style(TWO_COLUMNS, 9), "figure*")])
def test_the_lines_of_latex_compile_whatever_the_baseline_is_called(tmp_path: Path, style: Style, name: str) -> None:
    odd = r"[*50 % of {a_b} & <c#d> | ~ $5 ^ \e]"
    study = STUDY.model_copy(update={"baseline": odd})
    write_figures(outcome(tmp_path, study, LEVELS | {odd: 0.7}), tmp_path / "figures", style)
    assert rf"\begin{{{name}}}" in (tmp_path / "figures" / "figures.tex").read_text()
    (tmp_path / "page.tex").write_text(
        r"\documentclass[twocolumn]{article}\usepackage{graphicx}\graphicspath{{figures/}}"
        r"\usepackage[textwidth=6.875in,columnsep=0.3125in]{geometry}"  # as CVF has it
        r"\begin{document}\input{figures/figures}\end{document}"
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "page.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-1500:]
    assert "Overfull" not in done.stdout


def test_the_verb_prints_each_figure_with_its_size(
    tiny: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("POLYVIEW_HOME", str(tmp_path / "home"))
    study, folder = tmp_path / "study.yaml", tmp_path / "for the paper"
    study.write_text(f"name: asked\nexperiment: {json.dumps(tiny.model_dump(mode='json'))}\nreferences: false\n")
    for trial in plan(load_study(study)):
        Ledger(tmp_path / "home" / "trials").write(borne_out(record(trial.experiment, 0.5, trial.seed)))
    with pytest.raises(SystemExit) as ended:
        main(["figures", str(study), "-o", str(folder), "--width", "two"])
    assert not ended.value.code
    said = capsys.readouterr().out.splitlines()
    assert re.match(r"comparison \(6\.75 × \d\.\d in\): Comparison\. Mean and 95 % interval", said[0])
    assert said[-1] == f"wrote {folder} (4 figures as PDF and SVG, and figures.tex)"
    assert (folder / "comparison.pdf").is_file()
    (folder / "forest.pdf").touch()
    (folder / "forest.svg").touch()
    with pytest.raises(SystemExit) as ended:
        main(["figures", str(study), "-o", str(folder), "--set", "variants={more: {training.epochs: 9}}"])
    assert not ended.value.code
    said = capsys.readouterr().out.splitlines()
    assert said[-2].startswith("no result yet, as not run or failed: more: seed 0")
    assert said[-1].startswith(f"of an earlier call, and perhaps of other results: forest in {folder}; remove")


def test_figures_take_the_place_of_their_own_and_of_no_others(tmp_path: Path) -> None:
    made, folder = outcome(tmp_path), tmp_path / "figures"
    folder.mkdir()
    (folder / "forest.pdf").write_text("another's")
    with pytest.raises(UserError, match=r"forest\.pdf: is there, and is nothing that this command writes"):
        write_figures(made, folder, ONE)
    assert [path.name for path in folder.iterdir()] == ["forest.pdf"]
    (folder / "forest.pdf").unlink()
    write_figures(made, folder, ONE)
    assert write_figures(made, folder, ONE)
    (folder / "figures.tex").write_text("% my own")
    with pytest.raises(UserError, match="is nothing that this command writes"):
        write_figures(made, folder, ONE)
