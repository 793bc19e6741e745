"""Three ways to ask frozen embeddings for the expression: a linear classifier, neighbours, and the text anchors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, KFold
from sklearn.neighbors import KNeighborsClassifier
from threadpoolctl import threadpool_limits

from polyview.errors import UserError
from polyview.evaluation.embedded import Embedded

Features = NDArray[np.floating]

STRENGTHS = (1e-2, 1e-1, 1e0, 1e1, 1e2, 1e3)
INNER_FOLDS = 3
NEIGHBOURS = 20
BLOCK = 4096


@dataclass(frozen=True, eq=False)
class Predicted:
    """What a probe says of N samples: `labels`, and of each label the probe's `score` (N,).

    The score is the probability of the linear probe, the share of the votes of the neighbours, the cosine of zero-shot.
    """

    labels: list[str]
    scores: Features


def linear(train: Embedded, test: Embedded, seed: int) -> Predicted:
    """The test labels that a multinomial logistic regression fitted on `train` predicts.

    Features are standardised by the training set's statistics and divided by the square root of their number, so that
    C, the inverse strength of the L2 penalty, means the same at any width. C is the value of `STRENGTHS` with the best
    accuracy over inner folds of the training subjects (shuffled by `seed`), the smallest of equals; no subject is on
    both sides of an inner fold, unless there is one subject only, whose samples are then the folds'. Raises `UserError`
    where `train` has one class only.
    """
    if len(set(train.labels)) < 2:
        people = len(set(train.subjects))
        raise UserError(
            f"the linear probe needs more than one training class, and all labels that it may read, of {people} "
            f"training {'person' if people == 1 else 'people'}, are {train.labels[0]}; have it read those of more, by "
            "evaluation.shots or language.labelled"
        )
    labels = np.asarray(train.labels)
    # The products are small: threads of BLAS that wait for one another made a fit of one second take forty.
    with threadpool_limits(limits=1):
        fitted, asked = coordinates(train.features, test.features)
        strength = _best_strength(fitted, labels, np.asarray(train.subjects), seed)
        model = _classifier().set_params(C=strength).fit(fitted, labels)
        return Predicted(model.predict(asked).tolist(), model.predict_proba(asked).max(axis=1))


def always(train: Embedded, test: Embedded) -> Predicted:
    """What a probe predicts that was fitted on one class: that, whatever it is asked."""
    return Predicted([train.labels[0]] * len(test.labels), np.ones(len(test.labels)))


@dataclass(frozen=True, eq=False)
class LinearProbe:
    """A fitted linear probe that stands by itself: its classes (K), and weights (K, D) and biases (K,) of features."""

    classes: list[str]
    weights: NDArray[np.float64]
    biases: NDArray[np.float64]

    def probabilities(self, features: Features) -> Features:  # (N, D) -> (N, K)
        """The probability of each class, (N, K)."""
        return np.asarray(softmax(features @ self.weights.T + self.biases, axis=1))


def fit_linear(train: Embedded, seed: int) -> LinearProbe:
    """The probe that `linear` fits on `train`, to be kept with a model; it says the same of the same features."""
    labels = np.asarray(train.labels)
    with threadpool_limits(limits=1):
        fitted, (origin, *axes) = coordinates(
            train.features, np.vstack([np.zeros(train.features.shape[1]), np.eye(train.features.shape[1])])
        )
        strength = _best_strength(fitted, labels, np.asarray(train.subjects), seed)
        model = _classifier().set_params(C=strength).fit(fitted, labels)
    # What a feature adds is where it alone leads, less where none leads.
    weights = (np.array(axes) - origin) @ model.coef_.T  # (D, K)
    weights, biases = weights.T, model.coef_ @ origin + model.intercept_
    if len(model.classes_) == 2:  # for which there is one row, of the second class
        weights, biases = np.vstack([-weights / 2, weights / 2]), np.concatenate([-biases / 2, biases / 2])
    return LinearProbe(model.classes_.tolist(), weights, biases)


def _best_strength(
    features: Features,  # (N, D)
    labels: NDArray[np.str_],  # (N,)
    subjects: NDArray[np.str_],  # (N,)
    seed: int,
) -> float:
    people = len(set(subjects))
    kind, groups = (GroupKFold, people) if people > 1 else (KFold, len(labels))
    folds = kind(min(INNER_FOLDS, groups), shuffle=True, random_state=seed)
    correct = np.zeros(len(STRENGTHS), dtype=np.int64)
    for fit, held in folds.split(features, groups=subjects if people > 1 else None):
        if len(set(labels[fit])) < 2:
            continue
        model = _classifier()
        for i, strength in enumerate(STRENGTHS):
            model.set_params(C=strength).fit(features[fit], labels[fit])
            correct[i] += (model.predict(features[held]) == labels[held]).sum()
    return STRENGTHS[int(correct.argmax())]


def _classifier() -> LogisticRegression:
    """Warm: each fit starts from the last one's weights, which along a path of growing C are near.

    Newton's method reaches this tolerance in half the time of L-BFGS where classes overlap, as untrained towers' do.
    """
    return LogisticRegression(solver="newton-cg", tol=1e-5, max_iter=5000, warm_start=True)


def coordinates(
    train: Features,  # (N_train, D)
    test: Features,  # (N_test, D)
) -> tuple[Features, Features]:
    """Standardised features over the square root of their number D, in at most as many dimensions as `train` has rows.

    Where D exceeds the number of training rows N, the features are given by their coordinates (N_train, R) and
    (N_test, R), R < N, in an orthonormal basis of the span of the standardised training rows. To an L2-regularised
    linear model that changes nothing: its weights lie in that span (representer theorem), so all inner products stay.
    """
    samples, width = train.shape
    if width <= samples:
        fitted, asked = _standardise(train, test)
        return fitted / np.sqrt(width), asked / np.sqrt(width)
    gram, cross = np.zeros((samples, samples)), np.zeros((len(test), samples))
    for start in range(0, width, BLOCK):
        fitted, asked = _standardise(train[:, start : start + BLOCK], test[:, start : start + BLOCK])
        gram += fitted @ fitted.T
        cross += asked @ fitted.T
    energy, axes = np.linalg.eigh(gram / width)
    kept = energy > energy[-1] * samples * np.finfo(gram.dtype).eps
    if not kept.any():  # all training rows are alike
        return np.zeros((samples, 1)), np.zeros((len(test), 1))
    lengths = np.sqrt(energy[kept])
    return axes[:, kept] * lengths, cross / width @ axes[:, kept] / lengths


def _standardise(
    train: Features,  # (N_train, D)
    test: Features,  # (N_test, D)
) -> tuple[Features, Features]:
    """Zero mean and unit variance over `train`; what is constant there becomes zero."""
    mean = train.mean(axis=0, dtype=np.float64)
    deviation = train.std(axis=0, dtype=np.float64)
    constant = deviation <= 1e-6 * np.abs(mean)
    scale = np.where(constant, 0, 1 / np.where(constant, 1, deviation))
    return (train - mean) * scale, (test - mean) * scale


def knn(train: Embedded, test: Embedded) -> Predicted:
    """The test labels by a vote of the nearest training samples in cosine distance, each weighted by 1 / distance.

    There are 20 voters, or as many as the smallest training class has members.
    """
    voters = min(NEIGHBOURS, *Counter(train.labels).values())
    model = KNeighborsClassifier(voters, metric="cosine", weights="distance").fit(train.features, train.labels)
    return Predicted(model.predict(test.features).tolist(), model.predict_proba(test.features).max(axis=1))


def zero_shot(
    test: Embedded,
    anchors: NDArray[np.floating],  # (K, D)
    classes: Sequence[str],
) -> Predicted:
    """The class whose text anchor has the largest cosine to the sample; `anchors` (K, D) are in `classes`' order."""
    directions = anchors / np.linalg.norm(anchors, axis=1, keepdims=True)
    cosines = test.features @ directions.T / np.linalg.norm(test.features, axis=1, keepdims=True)
    return Predicted([classes[best] for best in cosines.argmax(axis=1)], cosines.max(axis=1))
