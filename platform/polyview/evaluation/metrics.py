"""How well predicted labels agree with the truth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import confusion_matrix


def scores(counts: ArrayLike) -> dict[str, float]:
    """`accuracy`, `uf1` (unweighted mean of the classes' F1) and `uar` (unweighted mean of their recall), in [0, 1].

    `counts` (K, K) is a confusion matrix, or the sum of several: then it is as if all had been predicted at once.
    A class that neither the truth nor the prediction has counts in neither mean; a class that is predicted but never
    true has F1 zero and no recall.
    """
    return {name: float(value) for name, value in scores_of_each(counts).items()}


def scores_of_each(counts: ArrayLike) -> dict[str, NDArray[np.float64]]:
    """The `scores` of each of many confusion matrices, (..., K, K); those of an empty one are nan."""
    table = np.asarray(counts, dtype=np.float64)
    correct = np.diagonal(table, axis1=-2, axis2=-1)
    true, predicted = table.sum(axis=-1), table.sum(axis=-2)
    return {
        "accuracy": correct.sum(axis=-1) / np.maximum(true.sum(axis=-1), 1) + np.where(true.any(axis=-1), 0, np.nan),
        "uf1": _mean_where(true + predicted > 0, 2 * correct, true + predicted),
        "uar": _mean_where(true > 0, correct, true),
    }


def _mean_where(
    counted: NDArray[np.bool_], above: NDArray[np.float64], below: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The mean over the last axis of the fractions that are counted."""
    fractions = np.divide(above, below, out=np.zeros_like(below), where=counted)
    number = counted.sum(axis=-1)
    return fractions.sum(axis=-1) / np.where(number > 0, number, np.nan)


def guessing(counts: ArrayLike) -> dict[str, float]:
    """The scores of naming the class that is true most often, whatever the sample; `counts` as for `scores`."""
    true = np.asarray(counts).sum(axis=1)
    always = np.zeros((len(true), len(true)), dtype=np.int64)
    always[:, true.argmax()] = true
    return scores(always)


def confusion(truth: Sequence[str], predicted: Sequence[str], classes: Sequence[str]) -> NDArray[np.int64]:
    """Counts (K, K): row the true class, column the predicted one, both in the order of `classes`."""
    counts: NDArray[np.int64] = confusion_matrix(truth, predicted, labels=list(classes))
    return counts
