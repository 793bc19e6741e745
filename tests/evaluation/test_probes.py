from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import binom, ortho_group
from sklearn.linear_model import LogisticRegression

from polyview.errors import UserError
from polyview.evaluation.embedded import Embedded
from polyview.evaluation.probes import Features, coordinates, fit_linear, knn, linear, zero_shot

MakeEmbedded = Callable[..., Embedded]


def accuracy(embedded: Embedded, predicted: list[str]) -> float:
    return float(np.mean([a == b for a, b in zip(embedded.labels, predicted, strict=True)]))


@pytest.mark.parametrize("width", [16, 600])
def test_separable_classes_are_found_by_both_fitted_probes(make_embedded: MakeEmbedded, width: int) -> None:
    train, test = make_embedded("a", width=width), make_embedded("b", width=width)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert linear(train, test, seed=0).labels == test.labels
        assert knn(train, test).labels == test.labels


@pytest.mark.parametrize("width", [16, 600])
def test_shuffled_labels_give_chance(make_embedded: MakeEmbedded, width: int) -> None:
    train, test = make_embedded("a", width=width), make_embedded("b", subjects=20, width=width)
    generator = np.random.default_rng(0)
    train = dataclasses.replace(train, labels=generator.permutation(train.labels).tolist())
    test = dataclasses.replace(test, labels=generator.permutation(test.labels).tolist())
    low, high = binom.interval(0.9999, len(test.labels), 1 / 4)
    for predicted in (linear(train, test, seed=0).labels, knn(train, test).labels):
        assert low <= accuracy(test, predicted) * len(test.labels) <= high


def test_linear_does_not_depend_on_each_features_unit(make_embedded: MakeEmbedded) -> None:
    train, test = make_embedded("a", noise=1.5), make_embedded("b", noise=1.5)
    scale = np.geomspace(1e-2, 1e2, 16).astype(np.float32)
    rescaled = [dataclasses.replace(side, features=(side.features + 7) * scale) for side in (train, test)]
    expected = linear(train, test, seed=0).labels
    assert 0.4 < accuracy(test, expected) < 1
    assert linear(rescaled[0], rescaled[1], seed=0).labels == expected


def test_linear_does_not_depend_on_a_rotation_of_white_features(make_embedded: MakeEmbedded) -> None:
    train, test = make_embedded("a", noise=1.5), make_embedded("b", noise=1.5)
    mean = train.features.mean(0)
    whiten = np.linalg.inv(np.linalg.cholesky(np.cov(train.features.T, bias=True))).T
    rotation = ortho_group.rvs(16, random_state=0)

    def through(side: Embedded, matrix: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> Embedded:
        return dataclasses.replace(side, features=((side.features - mean) @ matrix).astype(np.float32))

    expected = linear(through(train, whiten), through(test, whiten), seed=0).labels
    assert 0.4 < accuracy(test, expected) < 1
    assert linear(through(train, whiten @ rotation), through(test, whiten @ rotation), seed=0).labels == expected


def test_coordinates_in_the_span_leave_logistic_regression_as_it_is(make_embedded: MakeEmbedded) -> None:
    train, test = make_embedded("a", width=300, noise=1.5), make_embedded("b", width=300, noise=1.5)
    mean, deviation = train.features.mean(0), train.features.std(0)
    wide = [(side.features - mean) / deviation / np.sqrt(300) for side in (train, test)]
    narrow = coordinates(train.features, test.features)
    assert narrow[0].shape[1] < len(train.labels)
    for strength in (0.1, 10.0):
        by_width = [
            LogisticRegression(C=strength, tol=1e-10, max_iter=5000).fit(fitted, train.labels).predict_proba(asked)
            for fitted, asked in (wide, narrow)
        ]
        np.testing.assert_allclose(by_width[1], by_width[0], atol=1e-5)


def test_a_feature_that_is_constant_in_training_says_nothing(make_embedded: MakeEmbedded) -> None:
    train, test = make_embedded("a", noise=1.5), make_embedded("b", noise=1.5)
    expected = linear(train, test, seed=0).labels
    constant = np.full((len(train.labels), 16), 3.3, np.float32)
    wild = 1e3 * np.random.default_rng(0).standard_normal((len(test.labels), 16)).astype(np.float32)
    train = dataclasses.replace(train, features=np.hstack([train.features, constant]))
    assert coordinates(train.features, np.hstack([test.features, wild]))[1][:, 16:].any() == np.False_
    padded = dataclasses.replace(test, features=np.hstack([test.features, wild]))
    assert accuracy(test, linear(train, padded, seed=0).labels) == pytest.approx(accuracy(test, expected), abs=0.05)


def test_linear_is_the_same_for_the_same_seed(make_embedded: MakeEmbedded) -> None:
    train, test = make_embedded("a", noise=1.5), make_embedded("b", noise=1.5)
    assert linear(train, test, seed=3).labels == linear(train, test, seed=3).labels


def test_linear_chooses_a_penalty_that_holds_for_new_people(make_embedded: MakeEmbedded) -> None:
    # Each person's samples are near copies, so folds that split people would favour memorising them.
    train = make_embedded("a", subjects=9, repeats=6, width=60, noise=0.0)
    test = make_embedded("b", subjects=30, width=60, noise=0.0)
    rng = np.random.default_rng(0)
    noisy = {}
    for side in (train, test):
        quirks = {key: rng.standard_normal(60) * 3 for key in sorted(set(zip(side.subjects, side.labels, strict=True)))}
        shift = np.array([quirks[key] for key in zip(side.subjects, side.labels, strict=True)])
        noisy[side.subjects[0][0]] = dataclasses.replace(side, features=(side.features + shift).astype(np.float32))
    chosen = accuracy(test, linear(noisy["a"], noisy["b"], seed=0).labels)
    fitted, asked = coordinates(noisy["a"].features, noisy["b"].features)
    memorised = LogisticRegression(C=1e5, max_iter=5000).fit(fitted, train.labels).predict(asked).tolist()
    assert chosen > accuracy(test, memorised)


def test_linear_refuses_a_training_set_of_one_class(make_embedded: MakeEmbedded) -> None:
    train = make_embedded("a", classes=1)
    people = len(set(train.subjects))
    told = rf"more than one training class, .* of {people} training people, are {train.labels[0]}; .*evaluation.shots"
    with pytest.raises(UserError, match=told):
        linear(train, make_embedded("b"), seed=0)


@pytest.mark.parametrize(("width", "classes"), [(16, 4), (600, 4), (16, 2)])
def test_a_probe_that_is_kept_says_what_linear_says(make_embedded: MakeEmbedded, width: int, classes: int) -> None:
    train, test = (make_embedded(side, width=width, classes=classes, noise=1.5) for side in ("a", "b"))
    expected, probe = linear(train, test, seed=0), fit_linear(train, seed=0)
    probabilities = probe.probabilities(test.features.astype(np.float64))
    assert [probe.classes[place] for place in probabilities.argmax(axis=1)] == expected.labels
    assert probabilities.max(axis=1) == pytest.approx(expected.scores, abs=1e-4)


def test_linear_on_raw_pixels_is_affordable(make_embedded: MakeEmbedded, monkeypatch: pytest.MonkeyPatch) -> None:
    train, test = make_embedded("a", subjects=30, width=12288), make_embedded("b", width=12288)
    fit, widths = LogisticRegression.fit, set[int]()

    def noted(self: LogisticRegression, features: Features, labels: list[str]) -> LogisticRegression:
        widths.add(features.shape[1])
        return fit(self, features, labels)

    monkeypatch.setattr(LogisticRegression, "fit", noted)
    assert linear(train, test, seed=0).labels == test.labels
    assert max(widths) <= len(train.labels)


def test_knn_weights_near_votes_more_and_reads_directions_only() -> None:
    def at(degrees: list[float], labels: list[str]) -> Embedded:
        angles = np.deg2rad(degrees)
        features = np.stack([np.cos(angles), np.sin(angles)], axis=1) * np.arange(1, len(angles) + 1)[:, None]
        return Embedded(features.astype(np.float32), labels, [f"s{i}" for i in range(len(labels))], labels)

    train = at([10, 170, 20, 25, 28], ["near", "near", "far", "far", "far"])
    # Two voters, the smaller class's size: "near" at 2 degrees against "far" at 8.
    assert knn(train, at([12], ["near"])).labels == ["near"]
    assert knn(train, at([24], ["far"])).labels == ["far"]


def test_knn_has_no_more_voters_than_the_smallest_class() -> None:
    generator = np.random.default_rng(0)
    rare = np.array([[1.0, 0.0]]) + 0.01 * generator.standard_normal((3, 2))
    common = np.array([[0.0, 1.0]]) + 0.01 * generator.standard_normal((200, 2))
    train = Embedded(
        np.vstack([rare, common]).astype(np.float32),
        ["rare"] * 3 + ["common"] * 200,
        *(2 * [[f"s{i}" for i in range(203)]]),
    )
    test = Embedded(np.array([[1.0, 0.02], [0.02, 1.0]], np.float32), ["rare", "common"], ["t", "t"], ["x", "y"])
    assert knn(train, test).labels == ["rare", "common"]


def test_zero_shot_takes_the_anchor_of_the_largest_cosine() -> None:
    classes = ["anger", "fear", "joy"]
    anchors = np.array([[9.0, 0.0], [0.0, 0.1], [-1.0, -1.0]])
    test = Embedded(np.array([[0.1, 0.9], [5, 1], [-3, -2]], np.float32), classes, ["s"] * 3, classes)
    assert zero_shot(test, anchors, classes).labels == ["fear", "anger", "joy"]


def test_parts_of_different_lengths_do_not_make_an_embedded() -> None:
    with pytest.raises(ValueError, match="3 features, 2 labels, 3 subjects and 3 names"):
        Embedded(np.zeros((3, 2), np.float32), ["a", "b"], ["s", "s", "t"], list("xyz"))


def test_one_person_is_enough_for_the_fitted_probes(make_embedded: MakeEmbedded) -> None:
    for repeats in (1, 3):
        one, test = make_embedded("a", subjects=1, repeats=repeats), make_embedded("b")
        for predicted in (linear(one, test, seed=0).labels, knn(one, test).labels):
            assert accuracy(test, predicted) > 0.8
