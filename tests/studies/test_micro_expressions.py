from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from polyview import load_study
from polyview.analysis.comparisons import scores
from polyview.analysis.outcome import confusions_of
from polyview.storage.home import REPOSITORY, Home
from polyview.studies.driver import run_stages
from polyview.trials.design import plan

FILE = REPOSITORY / "ablations" / "micro_expressions.yaml"
FEWER = (
    "seeds=[0,1]",
    "references=false",
    "corpus.generator.subjects=3",
    "corpus.generator.sequences=1",
    "evaluation.folds=3",
    "rendering.size=32",
    "training.batch_size=6",
    "training.epochs=1",
)


def test_each_way_to_look_at_time_is_tried_on_what_it_can_be_tried_on() -> None:
    """On the apex alone all ways are one."""
    ways = {(trial.experiment.corpus.frames, trial.experiment.model.temporal) for trial in plan(load_study(FILE))}
    films = {(frames, way) for frames in ("rise", "all") for way in ("frame", "mean", "dynamic_image", "attention")}
    assert ways == {("apex", "frame"), *films}


def test_every_model_takes_about_as_many_steps() -> None:
    steps = set()
    for experiment in (trial.experiment for trial in plan(load_study(FILE)) if trial.experiment.training.epochs):
        generator, frames = experiment.corpus.generator, {"apex": 1, "rise": 4, "all": 7}[experiment.corpus.frames]
        films = (generator.subjects - 1) * generator.sequences * len(experiment.corpus.expressions)
        samples = films * (frames if experiment.model.temporal == "frame" else 1)
        steps.add(samples // experiment.training.batch_size * experiment.training.epochs)
    assert max(steps) <= 1.1 * min(steps)


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_the_study_runs_and_its_report_says_what_all_people_together_scored(
    tmp_path: Path, listener: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    study = load_study(FILE, *FEWER)
    outcome, failures = run_stages(study, Home(tmp_path), listener)
    assert failures == []
    report = (outcome.folder / "report" / "report.md").read_text()
    for metric in ("linear/uf1", "linear/uar"):
        assert metric in report
        assert all(sorted(by_seed) == [0, 1] for by_seed in scores(outcome, metric).values())
    for variant in (study.baseline, *study.variants):
        assert f"| {variant} | 2 |" in report
        # One film of each person and expression, under two seeds.
        assert confusions_of(outcome, variant)[1]["linear"].sum() == 2 * 3 * 3
    # The same trials, by the other score of the field.
    by_recall = load_study(FILE, *FEWER, "metric=linear/uar")
    assert {trial.id for trial in plan(by_recall)} == outcome.records.keys()
