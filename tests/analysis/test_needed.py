from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from polyview.analysis.needed import needed_trials
from polyview.analysis.outcome import Outcome
from polyview.recipe import Experiment, Study, UntilDecided
from polyview.trials.design import Trial, plan
from polyview.trials.ledger import Record

LEVELS = {"full": 0.7, "much worse": 0.4, "alike": 0.7}


def outcome(experiment: Experiment) -> Outcome:
    study = Study(
        name="until",
        experiment=experiment,
        seeds=UntilDecided(first=3, most=8),
        references=False,
        variants={"much worse": {"model.fusion": "mean"}, "alike": {"training.lr": 0.5}},
    )
    return Outcome(study, plan(study), {}, {}, None, "", Path())


def run(outcome: Outcome, trials: list[Trial]) -> Outcome:
    """Give the trials scores about their variant's level."""
    records = dict(outcome.records)
    for trial in trials:
        level = LEVELS[trial.variant] + float(np.random.default_rng([trial.seed, len(trial.variant)]).normal(0, 0.01))
        records[trial.id] = Record(
            id=trial.id,
            experiment=trial.experiment,
            started=0.0,
            ended=1.0,
            scores={"linear/accuracy": level},
            train_subjects=("a", "b", "c", "d", "e", "f", "g"),
            test_subjects=("x", "y", "z"),
        )
    return replace(outcome, records=records)


def counts(trials: list[Trial]) -> dict[str, int]:
    return {name: len([trial for trial in trials if trial.variant == name]) for name in LEVELS}


def test_seeds_are_added_for_what_is_open_and_for_the_baseline_alone(tiny: Experiment) -> None:
    found = outcome(tiny)
    assert counts(needed_trials(found)) == {"full": 3, "much worse": 3, "alike": 3}
    found = run(found, needed_trials(found))
    assert counts(needed_trials(found)) == {"full": 6, "much worse": 3, "alike": 6}
    found = run(found, needed_trials(found))
    assert counts(needed_trials(found)) == {"full": 8, "much worse": 3, "alike": 8}
    found = run(found, needed_trials(found))
    assert counts(needed_trials(found)) == {"full": 8, "much worse": 3, "alike": 8}


def test_a_look_waits_for_all_its_trials(tiny: Experiment) -> None:
    found = outcome(tiny)
    found = run(found, needed_trials(found)[:-1])
    assert counts(needed_trials(found)) == {"full": 3, "much worse": 3, "alike": 3}
