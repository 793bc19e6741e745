from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from tests.recipes import STUDIES
from tests.reporting.outcomes import LEVELS, STUDY, outcome, with_predictions

from polyview.analysis.outcome import Outcome
from polyview.analysis.tables import make_table
from polyview.recipe import Layout, load_study
from polyview.reporting import report, tables
from polyview.trials.design import plan

ODD = r"[*50 % of {a_b} & <c#d> | ~ $5 ^ \e] λ ≤ 0.5 µm², Ω ≈ ∞ é ñ ł “q” ‘s’ …"
PACKAGES = ("booktabs", "siunitx", "graphicx")


def has_latex() -> bool:
    """Whether LaTeX is here with all that the tables need."""
    find = shutil.which("kpsewhich")
    found = (
        [subprocess.run([find, f"{name}.sty"], capture_output=True, check=False) for name in PACKAGES] if find else []
    )
    return bool(found) and all(one.returncode == 0 for one in found)


pytestmark = pytest.mark.skipif(
    not has_latex(), reason="needs LaTeX (Debian: texlive-latex-recommended, texlive-science)"
)


def complaints(folder: Path, parts: Mapping[str, str]) -> list[str]:
    """What pdflatex warns of in a paper with these parts, at the second run, when references are known."""
    inputs = "".join(rf"\input{{{name}}}\clearpage" + "\n" for name in parts)
    for name, text in parts.items():
        (folder / f"{name}.tex").write_text(text)
    packages = rf"\usepackage{{{','.join(PACKAGES)}}}"
    page = rf"\documentclass{{article}}{packages}\begin{{document}}{inputs}\end{{document}}"
    (folder / "page.tex").write_text(page)
    for _ in range(2):
        command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "page.tex"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", check=False)
        assert done.returncode == 0, done.stdout[-1500:]
    return re.findall(r"^.*(?:[Ww]arning|Overfull|Underfull|Missing character).*$", done.stdout, re.MULTILINE)


def renamed(made: Outcome, variant: str) -> Outcome:
    trials = [replace(trial, variant=ODD) if trial.variant == variant else trial for trial in made.trials]
    return replace(made, trials=trials)


def test_a_report_compiles_whatever_a_variant_is_called(tmp_path: Path) -> None:
    assert complaints(tmp_path, {"report": report.latex(renamed(outcome(tmp_path), "one view"))}) == []


def test_a_table_compiles_whatever_its_rows_and_columns_are_called(tmp_path: Path) -> None:
    study = STUDY.model_copy(update={"variants": {ODD: {"rendering.views.count": 1}}})
    made = with_predictions(outcome(tmp_path, study, LEVELS | {ODD: 0.6}))
    layout = Layout(caption=ODD, metrics=("linear/accuracy", "zero_shot/accuracy"))
    shown = make_table("odd", layout, {ODD: made, "other": made})
    assert complaints(tmp_path, {"table": tables.latex(shown)}) == []


def test_letters_that_pdflatex_lacks_are_told_above_what_has_them(tmp_path: Path) -> None:
    study = STUDY.model_copy(update={"variants": {"笑 😨 笑": {"rendering.views.count": 1}}})
    made = with_predictions(outcome(tmp_path, study, LEVELS | {"笑 😨 笑": 0.6}))
    told = "XeLaTeX or LuaLaTeX, with a font that has 笑😨, which pdflatex has not."
    for text in (report.latex(made), tables.latex(make_table("odd", Layout(), {"odd": made}))):
        assert text.splitlines()[0].endswith(told)
        assert "笑 😨 笑 &" in text


@pytest.mark.slow
def test_the_latex_of_every_study_compiles_without_a_warning(tmp_path: Path) -> None:
    """With made-up scores; a study of many variants is shrunk to the width of the text."""
    parts = {}
    for path in STUDIES:
        study = load_study(path)
        names = dict.fromkeys(trial.variant for trial in plan(study))
        made = outcome(tmp_path, study, {name: 0.4 + 0.5 / (place + 1) for place, name in enumerate(names)})
        parts[study.name] = report.latex(made)
        parts[f"{study.name}-table"] = tables.latex(make_table(study.name, Layout(), {study.name: made}))
    assert len(parts) == 2 * len(STUDIES)
    assert complaints(tmp_path, parts) == []
