"""Probes fitted on training subjects and scored on test subjects; a subject on both sides is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from polyview.corpus.splits import few
from polyview.errors import UserError
from polyview.evaluation.embedded import Embedded
from polyview.evaluation.metrics import confusion, scores
from polyview.evaluation.probes import Predicted, always, knn, linear, zero_shot
from polyview.recipe import ProbeName, few_shot
from polyview.wording import agreeing, counted

SCHEMA = pl.Schema(
    {"protocol": pl.String, "fold": pl.Int64, "probe": pl.String, "metric": pl.String, "value": pl.Float64}
)

PREDICTIONS = pl.Schema(
    {
        "probe": pl.String,
        "sample": pl.String,
        "subject": pl.String,
        "truth": pl.String,
        "prediction": pl.String,
        "score": pl.Float32,
    }
)
"""A row per probe and test sample; `sample` is a sequence's name where that is one sample; `score` as `Predicted`."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """`results`, one row per probe and metric (see `SCHEMA`), and each probe's confusion matrix over `classes`.

    `test` are the samples that were asked about, `predictions` what each probe said of each (see `PREDICTIONS`).
    """

    test: Embedded
    results: pl.DataFrame
    predictions: pl.DataFrame
    confusions: dict[str, list[list[int]]]
    classes: list[str]


def evaluate(
    train: Embedded,
    test: Embedded,
    anchors: NDArray[np.floating] | None,
    probes: Sequence[ProbeName],
    classes: Sequence[str],
    seed: int,
    protocol: str = "holdout",
    fold: int = 0,
    shots: Sequence[int] = (),
) -> Evaluation:
    """Probes fitted on the training subjects and scored on the test subjects, by whatever `protocol` split them.

    For each number of people in `shots` there is a further linear probe, fitted on as many of the training subjects;
    under one `seed` more people include fewer. Where these few show one expression only, as exchanged labels may have
    it, the probe names that one always: it was shown no other. `anchors` is (K, D), one text direction per class in
    the order of `classes`; without it zero_shot is left out.
    Raises `UserError` if a subject is on both sides, a side is empty, or there are fewer people than `shots` has.
    """
    _refuse_shared_subjects(train, test)
    predicted: dict[str, Predicted] = {
        probe: _predict(probe, train, test, anchors, classes, seed)
        for probe in probes
        if probe != "zero_shot" or anchors is not None
    }
    for people in shots:
        check_shots(people, len(set(train.subjects)))
        shown = train.of(few(train.subjects, people, seed))
        several = len(set(shown.labels)) > 1
        predicted[few_shot(people)] = linear(shown, test, seed) if several else always(shown, test)
    rows = []
    confusions: dict[str, list[list[int]]] = {}
    for probe, found in predicted.items():
        counts = confusion(test.labels, found.labels, classes)
        confusions[probe] = counts.tolist()
        for metric, value in scores(counts).items():
            rows.append((protocol, fold, probe, metric, value))
    results = pl.DataFrame(rows, schema=SCHEMA, orient="row")
    return Evaluation(test, results, _predictions(test, predicted), confusions, list(classes))


def _predictions(test: Embedded, predicted: Mapping[str, Predicted]) -> pl.DataFrame:
    tables = [
        pl.DataFrame(
            {
                "probe": [probe] * len(test.labels),
                "sample": test.names,
                "subject": test.subjects,
                "truth": test.labels,
                "prediction": found.labels,
                "score": found.scores,
            },
            schema=PREDICTIONS,
            strict=False,
        )
        for probe, found in predicted.items()
    ]
    return pl.concat([pl.DataFrame(schema=PREDICTIONS), *tables])


def check_shots(people: int, labelled: int) -> None:
    """Raises `UserError` where a probe is to be fitted on more people than have labels that may be read."""
    if people > labelled:
        raise UserError(
            f"evaluation.shots has {people}, and there {agreeing(labelled, 'is', 'are')} "
            f"{counted(labelled, 'training subject')} whose labels may be read; lower it, or raise language.labelled"
        )


def _refuse_shared_subjects(train: Embedded, test: Embedded) -> None:
    for side, embedded in (("training", train), ("test", test)):
        if not embedded.subjects:
            raise UserError(f"evaluation has no {side} samples; change evaluation.share or use more subjects")
    shared = sorted(set(train.subjects) & set(test.subjects))
    if shared:
        names = ", ".join(shared[:5]) + (", ..." if len(shared) > 5 else "")
        count = counted(len(shared), "subject is", "subjects are")
        raise UserError(f"evaluation: {count} in both the training and the test set ({names}); split by subject")


def _predict(
    probe: ProbeName,
    train: Embedded,
    test: Embedded,
    anchors: NDArray[np.floating] | None,
    classes: Sequence[str],
    seed: int,
) -> Predicted:
    match probe:
        case "linear":
            return linear(train, test, seed)
        case "knn":
            return knn(train, test)
        case "zero_shot":
            assert anchors is not None
            return zero_shot(test, anchors, classes)
