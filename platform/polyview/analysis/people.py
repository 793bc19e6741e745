"""What each test subject contributes to a score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from polyview.evaluation.metrics import scores


def confusions_by_person(predictions: pl.DataFrame, classes: Sequence[str]) -> dict[str, NDArray[np.int64]]:
    """Each subject's confusion counts (K, K), rows true, from rows with `subject`, `truth` and `prediction`."""
    people = predictions["subject"].unique().sort().to_list()
    counts = np.zeros((len(people), len(classes), len(classes)), dtype=np.int64)
    places = [
        predictions[column].replace_strict(names, range(len(names)), return_dtype=pl.Int64).to_numpy()
        for column, names in (("subject", people), ("truth", classes), ("prediction", classes))
    ]
    np.add.at(counts, tuple(places), 1)
    return dict(zip(people, counts, strict=True))


def contributions(counts: Mapping[str, NDArray[np.int64]], measure: str) -> dict[str, float]:
    """Each subject's jackknife pseudo-value of a measure: n times the score less n - 1 times that without the subject.

    Of an accuracy over people with equally many samples it is the subject's own accuracy; of other measures, what they
    have in its place (Tukey 1958). Empty for a single subject, without whom there is no score.
    """
    total, people = np.sum(list(counts.values()), axis=0), len(counts)
    if people < 2:
        return {}
    whole = scores(total)[measure]
    return {name: people * whole - (people - 1) * scores(total - own)[measure] for name, own in counts.items()}
