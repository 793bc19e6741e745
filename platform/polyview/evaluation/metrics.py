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
    table = np.asarray(counts, dtype=np.float64)
    correct, true, predicted = table.diagonal(), table.sum(axis=1), table.sum(axis=0)
    there, asked = true > 0, true + predicted > 0
    return {
        "accuracy": float(correct.sum() / table.sum()),
        "uf1": float(np.mean(2 * correct[asked] / (true + predicted)[asked])),
        "uar": float(np.mean(correct[there] / true[there])),
    }


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
