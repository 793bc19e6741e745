from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from polyview.analysis.comparisons import scores
from polyview.analysis.outcome import Outcome
from polyview.analysis.supervision import describe_start, describe_supervision
from polyview.recipe import Experiment, Study, with_overrides
from polyview.studies.bundles.portable import Names
from polyview.training.provenance import Seen
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
    assert with_overrides(tiny, changes).supervision == expected


FEW: dict[str, Any] = {"language.labelled": 0.1}
PSEUDO: dict[str, Any] = {"objective": {"contrast": {}, "alignment": {}}, "language.prompts": "pseudo"}


@pytest.mark.parametrize(
    ("changes", "people", "expected"),
    [
        ({}, 140, r"the labels of all 140 training people, as prompts \(weak supervision\)"),
        (FEW, 140, r"the labels of 14 of 140 training people, as prompts .*; the others are without text"),
        (FEW, None, r"the labels of 10 % of the training people, as .*; the others are without text"),
        (
            FEW | {"objective": {"alignment": {}}},
            9,
            "the labels of 1 of 9 training people, .*; the others are not used",
        ),
        (FEW | {"language.unlabelled": "pseudo"}, 9, ".*; the others have pseudo-labels, made with their identities"),
        (PSEUDO, 9, "pseudo-labels, .*, and no label was read; identities were"),
        ({"language.prompts": "pseudo", "language.pseudo.centre": "all"}, 9, "pseudo-labels, .* no label was read"),
        ({"objective": {"triplet": {}}, "language.prompts": "none"}, 9, "none, and no label was read; identities were"),
        (
            {"objective": {"decorrelation": {}}, "training.persons": 2},
            9,
            "none, and no label was read; identities were",
        ),
        ({"training.persons": 2, "training.epochs": 0}, 9, "none, and no label was read"),
        ({"objective": {"decorrelation": {}}}, 9, "none, and no label was read"),
        ({"training.epochs": 0}, 9, "none, and no label was read"),
    ],
)
def test_it_is_said_whose_labels_and_identities_were_read(
    tiny: Experiment, changes: dict[str, Any], people: int | None, expected: str
) -> None:
    assert re.fullmatch(expected, describe_supervision(with_overrides(tiny, changes), people))


def test_a_seed_is_scored_on_all_its_folds_together_and_not_before(tiny: Experiment) -> None:
    alone = {"evaluation.protocol": "loso", "evaluation.folds": 2}
    study = Study(name="folds", experiment=with_overrides(tiny, alone), seeds=(0, 1), references=False)
    # One person is never neutral, so that no mean of the two people's own scores is that of both together.
    right_and_wrong = {0: [[3, 1, 0], [0, 2, 0], [0, 0, 2]], 1: [[0, 0, 0], [0, 1, 3], [0, 0, 4]]}
    trials = plan(study)
    records = {trial.id: _record(trial, right_and_wrong[trial.experiment.evaluation.fold]) for trial in trials}
    found = scores(_outcome(study, records), "linear/uar")
    levels = {seed: one.score for seed, one in found["full"].items()}
    assert levels == {seed: pytest.approx((3 / 4 + 3 / 6 + 6 / 6) / 3) for seed in (0, 1)}
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


def test_a_term_without_weight_is_none(tiny: Experiment) -> None:
    weightless = with_overrides(tiny, {"objective.alignment.weight": 0.0, "objective.redundancy": None})
    assert "alignment" not in weightless.objective.terms
    assert describe_supervision(weightless, 8) == "none, and no label was read"


def test_what_the_towers_had_learned_before_is_told(tiny: Experiment) -> None:
    assert describe_start(tiny, Seen()) == "random weights"
    own = with_overrides(tiny, {"model.tower": "tiny-resnet", "model.pretrained": "polyview"})
    assert "labels of generated people" in describe_start(own, Seen())
    assert describe_start(Names.of([own]).experiment(own), Seen()) == describe_start(own, Seen())
    other = with_overrides(tiny, {"model.tower": "ViT-B-32", "model.pretrained": "laion2b_s34b_b79k"})
    assert (
        describe_start(other, Seen(complete=False))
        == "weights laion2b_s34b_b79k, of which it is not known here what they have seen"
    )
