from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import polyview
from polyview import Results, Study, UserError, load_results, load_study, run_study
from polyview.recipe import to_yaml

REFERENCES = {"untrained", "raw pixels"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(autouse=True)
def _own_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture(scope="module")
def odd(tiny_study: Study) -> Study:
    """The tiny study with a variant that fails."""
    return tiny_study.model_copy(update={"variants": {"diverges": {"training.lr": 1e30}}, "retries": 0})


@pytest.fixture(scope="module")
def results(odd: Study, home: Path, local_ray: None) -> Results:  # noqa: ARG001
    """What is known once it has run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        return run_study(odd, home, say=lambda _: None)


def test_a_public_name_is_there_and_imports_nothing_before_it_is_asked_for() -> None:
    for name in polyview.__all__:
        assert getattr(polyview, name)
        assert name in dir(polyview)
    with pytest.raises(AttributeError, match="no attribute 'load_studies'"):
        polyview.load_studies  # noqa: B018
    script = "import sys, polyview; print(*(name for name in sys.modules if name.startswith('polyview.')))"
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=300)
    assert said.stdout.split() == []


def test_a_study_is_loaded_with_assignments_from_a_path_or_its_name(tiny_study: Study, tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(to_yaml(tiny_study.experiment))
    file = tmp_path / "study.yaml"
    file.write_text("name: study\nexperiment: tiny.yaml\nseeds: [0, 1]\nremove: {no alignment: objective.alignment}\n")
    assert load_study(file) == tiny_study
    changed = load_study(str(file), "seeds=[7]", "training.epochs=3")
    assert (changed.seeds, changed.experiment.training.epochs) == ((7,), 3)
    with pytest.raises(UserError, match="sedes"):
        load_study(file, "sedes=[7]")


def test_what_nobody_has_run_has_no_results(tiny_study: Study, tmp_path: Path) -> None:
    nothing = load_results(tiny_study, tmp_path)
    assert [len(table) for table in (nothing.scores, nothing.history, nothing.failures)] == [0, 0, 0]
    assert nothing.comparison["mean"].null_count() == len(nothing.comparison)
    assert set(nothing.comparison["verdict"]) == {"baseline", "untested"}
    assert not nothing.report.exists()
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_study_and_no_change_to_one_is_told(tmp_path: Path) -> None:
    anything: Any = tmp_path / "study.yaml"
    for read in (run_study, load_results):
        with pytest.raises(UserError, match=r"is no study; load_study reads one from its file"):
            read(anything, tmp_path)
    for change in ({"training.epochs": 3}, ["training.epochs=3"]):
        anything = change
        with pytest.raises(UserError, match=r"is no text; each change is one, as in 'training\.epochs=3'"):
            load_study(tmp_path / "study.yaml", anything)


def test_a_home_that_is_not_there_is_told_and_has_not_simply_no_results(tiny_study: Study, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"outptus: no home is there; .* or home names that in which a study has run"):
        load_results(tiny_study, tmp_path / "outptus")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_every_finished_trial_has_its_scores_and_its_history(results: Results) -> None:
    scores, history = results.scores, results.history
    assert scores.columns == ["trial", "variant", "seed", "fold", "probe", "metric", "value"]
    assert set(scores["variant"]) == {"full", "no alignment"} | REFERENCES
    linear = scores.filter(probe="linear", metric="accuracy", variant="full")
    assert linear["seed"].sort().to_list() == [0, 1]
    records = results.outcome.records
    assert all(value == records[trial].scores["linear/accuracy"] for trial, value in linear[["trial", "value"]].rows())
    assert history.columns == ["trial", "variant", "seed", "fold", "epoch", "metric", "value"]
    assert set(history["variant"]) == {"full", "no alignment"}
    losses = history.filter(metric="loss", variant="full")
    assert losses[["seed", "epoch"]].sort("seed").rows() == [(0, 1), (1, 1)]
    assert "alignment" in set(history.filter(variant="full")["metric"])


@pytest.mark.slow
def test_the_comparison_is_the_one_of_the_report(results: Results) -> None:
    comparison = results.comparison
    assert comparison["variant"].to_list() == ["full", "no alignment", "diverges", "untrained", "raw pixels"]
    own, other, failed, *_ = comparison.to_dicts()
    assert own["verdict"] == "baseline"
    assert own["difference"] is None
    assert (failed["seeds"], failed["mean"], failed["verdict"]) == (0, None, "untested")
    by_seed = results.scores.filter(probe="linear", metric="accuracy").pivot("variant", index="seed", values="value")
    differences = by_seed["no alignment"] - by_seed["full"]
    assert other["difference"] == pytest.approx(differences.mean())
    assert any(f"“full” reaches {100 * own['mean']:.1f}" in finding for finding in results.findings)
    page = results.report.read_text()
    assert all(f"{100 * row['mean']:.1f}" in page for row in comparison.to_dicts() if row["mean"] is not None)


@pytest.mark.slow
def test_a_trial_that_failed_is_a_row_and_no_exception(results: Results) -> None:
    failures = results.failures
    assert failures[["variant", "seed"]].sort("seed").rows() == [("diverges", 0), ("diverges", 1)]
    assert all("loss is nan" in reason for reason in failures["reason"])
    assert all(Path(log).is_file() for log in failures["log"])


@pytest.mark.slow
def test_results_are_loaded_as_they_were_left_and_a_second_run_trains_nothing(
    odd: Study, tiny_study: Study, results: Results, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POLYVIEW_HOME", str(home))
    loaded = load_results(odd)
    for one, other in ((loaded, results), (load_results(odd, str(home)), loaded)):
        for name in ("scores", "history", "comparison", "failures"):
            assert getattr(one, name).equals(getattr(other, name), null_equal=True)
    said: list[str] = []
    again = run_study(tiny_study, home, say=said.append)
    assert "trials: 8 in the study, 8 done before, 0 to run" in said
    assert again.scores.equals(results.scores.filter(pl.col("variant") != "diverges"))


def test_a_key_that_nothing_reads_is_no_variant_in_python_either(tiny_study: Study, tmp_path: Path) -> None:
    idle = tiny_study.model_copy(update={"variants": {"four frames": {"model.frames": 4}}})
    with pytest.raises(UserError, match=r"model\.frames is varied, and nothing reads it"):
        run_study(idle, tmp_path)
    assert list(tmp_path.iterdir()) == []
