from __future__ import annotations

from dataclasses import replace

import numpy as np

from polyview.evaluation.embedded import Embedded, centred, pooled
from polyview.evaluation.probes import linear


def test_a_sequence_counts_once_with_the_mean_of_its_frames() -> None:
    features = np.arange(10, dtype=np.float32).reshape(5, 2)
    frames = Embedded(features, ["joy", "joy", "fear", "joy", "joy"], ["a", "a", "a", "b", "a"], list("vwxyz"))
    found = pooled(frames, ["1", "1", "2", "1", "1"])
    assert found.labels == ["joy", "fear", "joy"]
    assert found.subjects == ["a", "a", "b"]
    assert found.names == ["1", "2", "1"]
    np.testing.assert_allclose(found.features, [features[[0, 1, 4]].mean(0), features[2], features[3]])


def test_single_frames_stay_as_they_are() -> None:
    frames = Embedded(np.eye(3, dtype=np.float32), ["joy"] * 3, ["a"] * 3, list("xyz"))
    assert pooled(frames, ["1", "2", "3"]) is frames


def test_faces_that_all_look_like_one_expression_are_told_apart_once_they_are_centred() -> None:
    rng = np.random.default_rng(0)
    labels = ["anger", "fear", "joy"] * 40
    people = [f"person{number // 3}" for number in range(120)]
    places = np.tile(np.eye(3), (40, 1)) + rng.normal(0, 0.1, (120, 3))
    known = Embedded(places.astype(np.float32), labels, people, [str(number) for number in range(120)])
    others = replace(
        known, features=np.add(places, [2.0, 0, 0]).astype(np.float32), subjects=[f"other {p}" for p in people]
    )
    assert set(linear(known, others, seed=0).labels) == {"anger"}
    moved = centred(others, known)
    assert linear(known, moved, seed=0).labels == labels
    np.testing.assert_allclose(moved.features.mean(axis=0), known.features.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(centred(moved, known).features, moved.features, atol=1e-6)
    assert moved.subjects == others.subjects
