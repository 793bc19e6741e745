"""How well predicted labels agree with the truth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, recall_score


def scores(truth: Sequence[str], predicted: Sequence[str], classes: Sequence[str]) -> dict[str, float]:
    """`accuracy`, `uf1` (unweighted mean of the classes' F1) and `uar` (unweighted mean of their recall), in [0, 1].

    A class that neither the truth nor the prediction has counts in neither mean; a class that is predicted but never
    true has F1 zero and no recall.
    """
    labels = list(classes)
    return {
        "accuracy": float(accuracy_score(truth, predicted)),
        "uf1": float(f1_score(truth, predicted, labels=labels, average="macro", zero_division=np.nan)),
        "uar": float(recall_score(truth, predicted, labels=labels, average="macro", zero_division=np.nan)),
    }


def confusion(truth: Sequence[str], predicted: Sequence[str], classes: Sequence[str]) -> NDArray[np.int64]:
    """Counts (K, K): row the true class, column the predicted one, both in the order of `classes`."""
    counts: NDArray[np.int64] = confusion_matrix(truth, predicted, labels=list(classes))
    return counts
