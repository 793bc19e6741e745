from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from polyview.analysis.findings import SUPERVISION, Outcome, scores, supervision
from polyview.recipe import Experiment, Study, with_overrides
from polyview.trials.design import Trial, plan
from polyview.trials.ledger import Record


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "label"),
        ({"language.prompts": "pseudo"}, "pseudo"),
        ({"objective": {"contrast": {}}, "language.prompts": "pseudo"}, "pseudo"),
        ({"objective": {"contrast": {}}}, "label"),
        ({"objective": {"margin": {}}}, "label"),
        ({"objective": {"triplet": {}}, "language.prompts": "none"}, "none"),
        ({"objective": {"supervised": {}}}, "label"),
        ({"objective": {"decorrelation": {}}}, "none"),
        ({"objective": {"joint": {}, "simclr": {}}, "language.prompts": "pseudo"}, "none"),
    ],
)
def test_a_recipes_supervision_is_what_its_terms_read(tiny: Experiment, changes: dict[str, Any], expected: str) -> None:
    assert supervision(with_overrides(tiny, changes)) == expected
    assert expected in SUPERVISION


def test_a_seed_is_scored_on_all_its_folds_together_and_not_before(tiny: Experiment) -> None:
    alone = {"evaluation.protocol": "loso", "evaluation.folds": 2}
    study = Study(name="folds", experiment=with_overrides(tiny, alone), seeds=(0, 1), references=False)
    # One person is never neutral, so that no mean of the two people's own scores is that of both together.
    right_and_wrong = {0: [[3, 1, 0], [0, 2, 0], [0, 0, 2]], 1: [[0, 0, 0], [0, 1, 3], [0, 0, 4]]}
    trials = plan(study)
    records = {trial.id: _record(trial, right_and_wrong[trial.experiment.evaluation.fold]) for trial in trials}
    found = scores(_outcome(study, records), "linear/uar")
    assert found == {"full": {seed: pytest.approx((3 / 4 + 3 / 6 + 6 / 6) / 3) for seed in (0, 1)}}
    del records[trials[-1].id]
    assert scores(_outcome(study, records), "linear/uar")["full"].keys() == {0}


def _record(trial: Trial, counts: list[list[int]]) -> Record:
    return Record(
        id=trial.id,
        experiment=trial.experiment,
        started=0.0,
        ended=1.0,
        scores={"linear/uar": 0.1},
        confusions={"linear": counts},
    )


def _outcome(study: Study, records: dict[str, Record]) -> Outcome:
    return Outcome(study, plan(study), records, {}, None, "", Path())
