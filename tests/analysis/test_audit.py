from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from polyview.analysis.audit import audit
from polyview.analysis.outcome import Outcome
from polyview.evaluation.metrics import confusion, scores
from polyview.evaluation.protocols import PREDICTIONS
from polyview.recipe import Experiment, Study
from polyview.trials.design import Trial, plan
from polyview.trials.ledger import Record

CLASSES = ("neutral", "happiness", "surprise")
VARIANTS = {
    "exchanged": {"language.shuffled": "all"},
    "pseudo": {"language.prompts": "pseudo"},
    "pseudo exchanged": {"language.prompts": "pseudo", "language.shuffled": "pretraining"},
}


def outcome(experiment: Experiment, right: dict[str, float], shared: tuple[str, ...] = ()) -> Outcome:
    """Made-up predictions of twenty people, the given share of which is right, the same for all but the seed."""
    study = Study(name="audit", experiment=experiment, seeds=(0, 1, 2), references=False, variants=VARIANTS)
    records, predictions = {}, {}
    for trial in plan(study):
        table = predicted(trial, right[trial.variant])
        counts = confusion(table["truth"].to_list(), table["prediction"].to_list(), CLASSES)
        predictions[trial.id] = table
        records[trial.id] = Record(
            id=trial.id,
            experiment=trial.experiment,
            started=0.0,
            ended=1.0,
            scores={f"linear/{name}": value for name, value in scores(counts).items()},
            confusions={"linear": counts.tolist()},
            classes=CLASSES,
            shared_faces=shared,
        )
    return Outcome(study, plan(study), records, {}, None, "", Path(), predictions=predictions)


def predicted(trial: Trial, right: float) -> pl.DataFrame:
    rng = np.random.default_rng(trial.seed)
    truth = np.tile(np.arange(3), 40)
    wrong = rng.random(len(truth)) >= right
    prediction = np.where(wrong, (truth + rng.integers(1, 3, len(truth))) % 3, truth)
    columns = {
        "probe": ["linear"] * len(truth),
        "sample": [f"s{place}" for place in range(len(truth))],
        "subject": [f"p{place // 6}" for place in range(len(truth))],
        "truth": [CLASSES[one] for one in truth],
        "prediction": [CLASSES[one] for one in prediction],
        "score": [1.0] * len(truth),
    }
    return pl.DataFrame(columns, schema=PREDICTIONS, strict=False)


def said(found: Outcome) -> str:
    return "\n".join(finding.text for finding in audit(found))


def test_what_does_not_leak_is_at_chance_and_unchanged(tiny: Experiment) -> None:
    text = said(outcome(tiny, {"full": 0.8, "exchanged": 1 / 3, "pseudo": 0.7, "pseudo exchanged": 0.7}))
    assert "“exchanged” is not told from chance" in text
    assert "“pseudo exchanged” is unchanged in all 3 trials" in text
    assert "No picture of a test subject" in text


def test_what_leaks_is_told(tiny: Experiment) -> None:
    rates = {"full": 0.8, "exchanged": 0.6, "pseudo": 0.7, "pseudo exchanged": 0.5}
    text = said(outcome(tiny, rates, shared=("s1",)))
    assert "“exchanged” is above chance" in text
    assert "“pseudo exchanged” changes in 3 of 3 trials" in text
    assert "trained on under another name: s1" in text
