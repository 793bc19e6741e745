from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from polyview.errors import UserError
from polyview.language.pseudolabels import SampleLabels, assign, match, sinkhorn
from polyview.recipe import Pseudolabels

Method = Literal["sinkhorn", "kmeans"]
METHODS: tuple[Method, ...] = ("sinkhorn", "kmeans")
Array = NDArray[np.float64]


def unit(vectors: Array) -> Array:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def faces_around(anchors: Array, each: int, spread: float, seed: int = 0) -> tuple[Array, NDArray[np.int64]]:
    """`each` faces near every anchor, moved far off by a direction that all faces share, and their true anchors."""
    random = np.random.default_rng(seed)
    truth = random.permutation(np.repeat(np.arange(len(anchors)), each))
    noise = spread * random.standard_normal((len(truth), anchors.shape[1]))
    return unit(anchors[truth] + noise + 3 * np.ones(anchors.shape[1])), truth


def strangers(faces: Array) -> NDArray[np.int64]:
    """As many people as faces."""
    return np.arange(len(faces))


def anchors_of(classes: int, width: int = 16, seed: int = 1) -> Array:
    return unit(np.random.default_rng(seed).standard_normal((classes, width)))


@settings(max_examples=40, deadline=None)
@given(
    samples=st.integers(2, 40),
    classes=st.integers(2, 8),
    sharpness=st.floats(0.1, 30),
    seed=st.integers(0, 999),
)
def test_a_balanced_plan_gives_every_sample_and_every_class_its_share(
    samples: int, classes: int, sharpness: float, seed: int
) -> None:
    random = np.random.default_rng(seed)
    similarity = unit(random.standard_normal((samples, 6))) @ unit(random.standard_normal((classes, 6))).T
    plan = sinkhorn(similarity, sharpness)
    assert (plan >= 0).all()
    np.testing.assert_allclose(plan.sum(axis=1), 1 / samples, rtol=1e-9)
    np.testing.assert_allclose(plan.sum(axis=0), 1 / classes, rtol=1e-2)


def test_a_balanced_plan_is_a_scaling_of_the_kernel() -> None:
    """Which with its marginals makes it the one optimum (Sinkhorn's theorem): all 2 x 2 cross-ratios are kept."""
    similarity = np.random.default_rng(0).uniform(-1, 1, (9, 4))
    log_plan = np.log(sinkhorn(similarity, 7.0))
    kept = log_plan - 7.0 * similarity
    np.testing.assert_allclose(kept - kept[:1] - kept[:, :1] + kept[0, 0], 0, atol=1e-9)


def test_what_a_sample_or_a_class_has_throughout_changes_no_plan() -> None:
    random = np.random.default_rng(0)
    similarity = random.uniform(-1, 1, (12, 3))
    moved = similarity + random.uniform(-1, 1, (12, 1)) + random.uniform(-1, 1, (1, 3))
    np.testing.assert_allclose(sinkhorn(moved, 5.0), sinkhorn(similarity, 5.0), rtol=1e-4)


@settings(deadline=None)
@given(classes=st.integers(2, 9), seed=st.integers(0, 999))
def test_the_matching_recovers_a_permuted_clustering(classes: int, seed: int) -> None:
    anchors = anchors_of(classes, seed=seed)
    permutation = np.random.default_rng(seed).permutation(classes)
    noise = 0.05 * np.random.default_rng(seed + 1).standard_normal(anchors.shape)
    np.testing.assert_array_equal(match((anchors + noise)[permutation], anchors), permutation)


def test_a_part_of_a_split_class_does_not_take_the_name_of_a_whole_one() -> None:
    """Centre by centre it would: 0.3 + 0.75 + 0.9 is more than 0.8 + 0 + 0.9."""
    whole, part, rest = 130 * np.array([0.3, 0.8, 0.0]), 50 * np.array([0.0, 0.75, 0.6]), 80 * np.array([0.0, 0.0, 0.9])
    np.testing.assert_array_equal(match(np.stack([whole, part, rest]), np.eye(3)), [1, 0, 2])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("seed", range(3))
def test_faces_near_their_classs_text_get_that_class(method: Method, seed: int) -> None:
    anchors = anchors_of(5)
    faces, truth = faces_around(anchors, each=20, spread=0.05, seed=seed)
    found = assign(faces, anchors, strangers(faces), Pseudolabels(centre="all", assign=method), seed)
    np.testing.assert_array_equal(found.label, truth)


@pytest.mark.parametrize("method", METHODS)
def test_the_right_ones_are_among_the_confident_more_often(method: Method) -> None:
    anchors = anchors_of(5)
    faces, truth = faces_around(anchors, each=60, spread=0.6)
    found = assign(faces, anchors, strangers(faces), Pseudolabels(centre="all", assign=method, confident=0.4), 0)
    right = found.label == truth
    assert found.confident.sum() == 0.4 * 300
    assert 0.2 < right[~found.confident].mean() < right[found.confident].mean() - 0.1


@pytest.mark.parametrize("method", METHODS)
def test_an_assignment_is_the_same_when_made_again_and_follows_the_samples(method: Method) -> None:
    anchors = anchors_of(4)
    faces, _ = faces_around(anchors, each=25, spread=0.05)
    how = Pseudolabels(centre="all", assign=method, confident=0.3)
    first, again = assign(faces, anchors, strangers(faces), how, 7), assign(faces, anchors, strangers(faces), how, 7)
    np.testing.assert_array_equal(first.label, again.label)
    np.testing.assert_array_equal(first.confident, again.confident)
    order = np.random.default_rng(0).permutation(len(faces))
    moved: SampleLabels = assign(faces[order], anchors, strangers(faces), how, 7)
    np.testing.assert_array_equal(moved.label, first.label[order])


@pytest.mark.parametrize("method", METHODS)
def test_compared_with_the_same_persons_faces_a_face_shows_more_than_who_it_is(method: Method) -> None:
    """Twenty people who differ far more from each other than their five expressions do."""
    random, anchors = np.random.default_rng(0), anchors_of(5)
    subject, truth = np.repeat(np.arange(20), 5), np.tile(np.arange(5), 20)
    faces = unit(4 * random.standard_normal((20, 16))[subject] + anchors[truth])
    alone, among_all = (
        assign(faces, anchors, subject, Pseudolabels(assign=method, centre=centre), 0).label == truth
        for centre in ("subject", "all")
    )
    assert alone.mean() > 0.9
    assert among_all.mean() < 0.5


def test_a_person_with_one_face_is_assigned_without_confidence() -> None:
    anchors = anchors_of(3)
    faces, _ = faces_around(anchors, each=4, spread=0.1)
    subject = np.array([0] * 11 + [1])
    found = assign(faces, anchors, subject, Pseudolabels(confident=0.9), 0)
    assert not found.confident[11]
    assert found.label[11] in range(3)


def test_balance_keeps_a_class_that_the_faces_lean_away_from() -> None:
    """All faces lean towards the first class's text; the nearest text alone would leave the others empty."""
    random = np.random.default_rng(0)
    anchors = np.eye(3)
    faces = unit(np.array([5.0, 0, 0]) + random.standard_normal((300, 3)))
    counts = np.bincount(assign(faces, anchors, strangers(faces), Pseudolabels(centre="all"), 0).label, minlength=3)
    assert counts.min() > 60


def test_fewer_samples_than_classes_are_refused() -> None:
    with pytest.raises(UserError, match="3 training samples cannot be spread over 5 classes"):
        assign(anchors_of(3), anchors_of(5), np.arange(3), Pseudolabels(), 0)
