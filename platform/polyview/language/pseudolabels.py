"""Pseudo-labels: which class's prompts a face's embedding is nearest to, all faces considered at once.

What goes in are embeddings of faces and of text, and of some samples their class, if it is known.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.special import logsumexp

from polyview.errors import UserError
from polyview.recipe import Pseudolabels

TOLERANCE = 1e-6
MAX_SWEEPS = 1000
STARTS = 4

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SampleLabels:
    """For each of N samples: the number of its class, int64, and whether that is to be trusted, bool.

    `known` (N,) bool says which samples have a class that terms with text or labels may read; None stands for all. One
    that has none may have a number of its own, which is no class's.
    """

    label: NDArray[np.int64]
    confident: NDArray[np.bool_]
    known: NDArray[np.bool_] | None = None

    @classmethod
    def each_its_own(cls, samples: int) -> SampleLabels:
        """As many classes as samples, where nothing better is known."""
        return cls(np.arange(samples), np.ones(samples, dtype=np.bool_))


def assign(
    embeddings: NDArray[np.floating],
    anchors: NDArray[np.floating],
    subject: NDArray[np.int64],
    how: Pseudolabels,
    seed: int,
    given: SampleLabels | None = None,
    by_means: bool = False,
) -> SampleLabels:
    """Give each of the embeddings (N, D) one of the anchors (K, D), and say which of these choices to trust.

    Both are centred and normalised anew first: all faces lie close together, and all texts elsewhere (Liang et al.
    2022, "Mind the gap"), so what tells them apart is the direction from their own mean. With `how.centre` "subject"
    a face's mean is that of the same person's faces, `subject` (N,) saying whose they are: an embedding says first who
    it is, and what remains is how they look. The share `how.confident` of the samples, those with the largest margins,
    is to be trusted.

    What is known of some samples, `given`, stands; of the others, those to be trusted are known then. With `by_means`
    the means of the known take the anchors' place, if they have all classes: that is for anchors which nothing has
    trained. Trained on the few, anchors were as good (k-means) or better by a point or two (sinkhorn).
    Raises `UserError` if there are fewer samples than anchors.
    """
    if len(embeddings) < len(anchors):
        raise UserError(
            f"language.prompts is pseudo, and {len(embeddings)} training samples cannot be spread over "
            f"{len(anchors)} classes; bring more faces"
        )
    group = subject if how.centre == "subject" else np.zeros(len(embeddings), dtype=np.int64)
    faces = _centred(embeddings, group)
    texts = _centred(_class_means(faces, given, anchors) if by_means and given else anchors)
    if how.assign == "sinkhorn":
        label, margin = _nearest_of_balanced(sinkhorn(faces @ texts.T, how.sharpness))
    else:
        label, margin = _clusters(faces, texts, seed)
    if given is None or given.known is None:
        return SampleLabels(label, _largest(margin, how.confident))
    known, rest = given.known.copy(), ~given.known
    known[rest] = _largest(margin[rest], how.confident)
    return SampleLabels(np.where(given.known, given.label, label), known, known)


def sinkhorn(similarity: Array, sharpness: float) -> Array:
    """The balanced soft assignment: the plan (N, K) that maximises <plan, similarity> + entropy / sharpness.

    Each row sums to 1/N and each column to 1/K: all samples are assigned, and all classes get as much. The rows are
    exact, the columns to `TOLERANCE` of their share, or as near as `MAX_SWEEPS` bring them.
    Source: Cuturi 2013; for pseudo-labels: Asano et al. 2020, Caron et al. 2020, "SwAV".
    """
    samples, classes = similarity.shape
    plan = sharpness * similarity
    for _ in range(MAX_SWEEPS):
        plan = plan - logsumexp(plan, axis=0) - np.log(classes)
        plan = plan - logsumexp(plan, axis=1, keepdims=True) - np.log(samples)
        if np.abs(np.exp(logsumexp(plan, axis=0)) * classes - 1).max() < TOLERANCE:
            break
    return np.exp(plan)


def match(sums: Array, anchors: Array) -> NDArray[np.int64]:
    """The anchor (K, D) of each cluster, one to one, with the largest sum of inner products of faces with anchors.

    sums: (K, D), of each cluster's faces. A large cluster weighs as much as it has faces: one that is a part of a class
    which k-means has split would otherwise take the name of a whole class, and the next epoch learn it so.
    """
    _, anchor_of = linear_sum_assignment(-sums @ anchors.T)
    found: NDArray[np.int64] = anchor_of.astype(np.int64)
    return found


def _class_means(faces: Array, given: SampleLabels, anchors: NDArray[np.floating]) -> NDArray[np.floating]:
    """The mean of each class's known faces (K, D), or the anchors where a class has none."""
    places = np.flatnonzero(given.known) if given.known is not None else np.arange(len(faces))
    label, shown = given.label[places], faces[places]
    if len(np.unique(label)) < len(anchors):
        return anchors
    return np.stack([shown[label == number].mean(axis=0) for number in range(len(anchors))])


def _largest(margin: Array, share: float) -> NDArray[np.bool_]:
    """Which of the margins (N,) are the share of the largest, one at least."""
    chosen = np.zeros(len(margin), dtype=np.bool_)
    chosen[np.argsort(-margin, kind="stable")[: max(1, round(share * len(margin)))]] = True
    return chosen


def _nearest_of_balanced(plan: Array) -> tuple[NDArray[np.int64], Array]:
    """Each sample's class, and by how much of the sample's whole it leads the second."""
    second, first = np.partition(plan, -2, axis=1)[:, -2:].T * len(plan)
    return plan.argmax(axis=1).astype(np.int64), first - second


def _clusters(faces: Array, texts: Array, seed: int) -> tuple[NDArray[np.int64], Array]:
    """Each sample's cluster by its anchor, and how much nearer its centre is than the second: 1 - d1/d2."""
    from sklearn.cluster import KMeans  # half a second to import, for one of the ways

    found = KMeans(len(texts), n_init=STARTS, random_state=seed).fit(faces)
    distance = found.transform(faces)
    first, second = np.partition(distance, 1, axis=1)[:, :2].T
    cluster = distance.argmin(axis=1)
    sums = np.stack([faces[cluster == number].sum(axis=0) for number in range(len(texts))])
    return match(sums, texts)[cluster], 1 - first / np.maximum(second, np.finfo(np.float64).tiny)


def _centred(vectors: NDArray[np.floating], group: NDArray[np.int64] | None = None) -> Array:
    """Each vector's direction from the mean of its group, or of all; zero where it has none."""
    wide = vectors.astype(np.float64)
    one_hot = np.ones((1, len(wide))) if group is None else group == np.unique(group)[:, None]
    means = one_hot @ wide / one_hot.sum(axis=1, keepdims=True)
    wide = wide - one_hot.T @ means
    return wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-9)
