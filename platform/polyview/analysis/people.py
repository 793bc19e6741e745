"""What each test subject contributes to a score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from polyview.evaluation.metrics import scores, scores_of_each
from polyview.trials.ledger import Record

TOLERANCE = 1e-9  # of a score that is computed anew, perhaps by another version of a library


def bears_out(predictions: pl.DataFrame, record: Record) -> bool:
    """Whether each probe predicted as many samples, and as many rightly, as the record's confusions have.

    Predictions that could not be made are an empty table, and an early record has no confusions: neither contradicts.
    """
    right = (pl.col("truth") == pl.col("prediction")).sum()
    told = {probe: (count, hits) for probe, count, hits in predictions.group_by("probe").agg(pl.len(), right).rows()}
    counted = {probe: (int(np.sum(one)), int(np.trace(one))) for probe, one in record.confusions.items()}
    return not (told and counted) or told == counted


def contradiction(record: Record) -> str | None:
    """What in a record contradicts itself: its recipe is another trial's, or its confusions make another score.

    None where all fits; an early record has no confusions.
    """
    if record.experiment.digest != record.id:
        return f"its recipe is that of trial {record.experiment.digest}"
    for probe, counts in record.confusions.items():
        for measure, value in scores(np.asarray(counts)).items():
            told = record.scores.get(f"{probe}/{measure}")
            if told is None or not np.isclose(told, value, rtol=0, atol=TOLERANCE, equal_nan=True):
                return f"its {probe}/{measure} is {told}, and its own confusions make it {value:.6f}"
    return None


def confusions_by_person(predictions: pl.DataFrame, classes: Sequence[str]) -> dict[str, NDArray[np.int64]]:
    """Each subject's confusion counts (K, K), rows true, from rows with `subject`, `truth` and `prediction`."""
    people: dict[str, int] = {}
    owners = [people.setdefault(name, len(people)) for name in predictions["subject"]]
    places = {name: place for place, name in enumerate(classes)}
    truth, told = ([places[name] for name in predictions[column]] for column in ("truth", "prediction"))
    counts = np.zeros((len(people), len(classes), len(classes)), dtype=np.int64)
    np.add.at(counts, (owners, truth, told), 1)
    return dict(zip(people, counts, strict=True))


def contributions(counts: Mapping[str, NDArray[np.int64]], measure: str) -> dict[str, float]:
    """Each subject's jackknife pseudo-value of a measure: n times the score less n - 1 times that without the subject.

    Of an accuracy over people with equally many samples it is the subject's own accuracy; of other measures, what they
    have in its place (Tukey 1958). Empty for a single subject, without whom there is no score.
    """
    each, people = np.array(list(counts.values())), len(counts)
    if people < 2:
        return {}
    total = each.sum(axis=0)
    without = scores_of_each(total - each)[measure]
    values = people * scores(total)[measure] - (people - 1) * without
    return dict(zip(counts, values.tolist(), strict=True))
