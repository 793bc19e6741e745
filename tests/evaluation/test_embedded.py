from __future__ import annotations

import numpy as np

from polyview.evaluation.embedded import Embedded, pooled


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
