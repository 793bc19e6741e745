from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

from polyview.errors import UserError
from polyview.evaluation.embedded import Embedded
from polyview.evaluation.protocols import SCHEMA, evaluate

MakeEmbedded = Callable[..., Embedded]
CLASSES = ["class0", "class1", "class2", "class3"]


def anchors_of(embedded: Embedded) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    labels = np.array(embedded.labels)
    return np.stack([embedded.features[labels == name].mean(0).astype(np.float64) for name in CLASSES])


def test_every_probe_and_metric_has_one_row(make_embedded: MakeEmbedded) -> None:
    train, test = make_embedded("a"), make_embedded("b")
    found = evaluate(train, test, anchors_of(train), ["linear", "knn", "zero_shot"], CLASSES, seed=0)
    assert found.results.schema == SCHEMA
    assert found.results.select("probe", "metric").rows() == [
        (probe, metric) for probe in ("linear", "knn", "zero_shot") for metric in ("accuracy", "uf1", "uar")
    ]
    assert found.results["value"].to_list() == [1.0] * 9
    assert found.results.select(pl.col("protocol", "fold").unique()).rows() == [("holdout", 0)]
    assert found.confusions == {probe: np.diag([36] * 4).tolist() for probe in ("linear", "knn", "zero_shot")}
    assert found.classes == CLASSES


def test_without_anchors_zero_shot_is_left_out(make_embedded: MakeEmbedded) -> None:
    found = evaluate(make_embedded("a"), make_embedded("b"), None, ["zero_shot", "knn"], CLASSES, seed=0)
    assert found.results["probe"].unique().to_list() == ["knn"]
    assert list(found.confusions) == ["knn"]


def test_a_subject_on_both_sides_is_refused_by_name(make_embedded: MakeEmbedded) -> None:
    train, test = make_embedded("a"), make_embedded("b")
    leaking = dataclasses.replace(test, subjects=["a7", *test.subjects[1:]])
    with pytest.raises(UserError, match=r"1 subject is in both .*\(a7\)"):
        evaluate(train, leaking, None, ["knn"], CLASSES, seed=0)


def test_an_empty_side_is_refused(make_embedded: MakeEmbedded) -> None:
    empty = Embedded(np.zeros((0, 16), np.float32), [], [])
    with pytest.raises(UserError, match="no test samples"):
        evaluate(make_embedded("a"), empty, None, ["knn"], CLASSES, seed=0)
