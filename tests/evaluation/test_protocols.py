from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

from polyview.corpus.splits import few
from polyview.errors import UserError
from polyview.evaluation.embedded import Embedded
from polyview.evaluation.metrics import confusion
from polyview.evaluation.probes import linear
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
    empty = Embedded(np.zeros((0, 16), np.float32), [], [], [])
    with pytest.raises(UserError, match="no test samples"):
        evaluate(make_embedded("a"), empty, None, ["knn"], CLASSES, seed=0)


def test_few_shot_probes_are_linear_ones_of_so_many_training_people(make_embedded: MakeEmbedded) -> None:
    train, test = make_embedded("a", noise=1.5), make_embedded("b", noise=1.5)
    found = evaluate(train, test, None, ["linear"], CLASSES, seed=0, shots=(1, 5, 12))
    assert list(found.confusions) == ["linear", "linear@1", "linear@5", "linear@12"]
    assert found.confusions["linear@12"] == found.confusions["linear"]
    by_hand = linear(train.of(few(train.subjects, 5, 0)), test, 0).labels
    assert found.confusions["linear@5"] == confusion(test.labels, by_hand, CLASSES).tolist()
    accuracy = {row["probe"]: row["value"] for row in found.results.to_dicts() if row["metric"] == "accuracy"}
    assert 0.25 < accuracy["linear@1"] < accuracy["linear@12"]


def test_few_shot_probes_read_no_label_of_anybody_else(make_embedded: MakeEmbedded) -> None:
    train, test = make_embedded("a", noise=1.5), make_embedded("b", noise=1.5)
    known = few(train.subjects, 5, 0)
    nonsense = [label if who in known else "x" for who, label in zip(train.subjects, train.labels, strict=True)]
    one, other = (
        evaluate(side, test, None, [], CLASSES, seed=0, shots=(1, 5)).confusions
        for side in (train, dataclasses.replace(train, labels=nonsense))
    )
    assert one == other


def test_a_few_shot_probe_that_is_shown_one_expression_names_it_always(make_embedded: MakeEmbedded) -> None:
    train, test = make_embedded("a"), make_embedded("b")
    (one,) = few(train.subjects, 1, 0)
    labels = ["x" if who == one else label for who, label in zip(train.subjects, train.labels, strict=True)]
    found = evaluate(dataclasses.replace(train, labels=labels), test, None, ["linear"], [*CLASSES, "x"], 0, shots=(1,))
    predicted = found.predictions.filter(pl.col("probe") == "linear@1")
    assert set(predicted["prediction"]) == {"x"}
    assert len(predicted) == len(test.labels)
    assert found.confusions["linear"] != found.confusions["linear@1"]


def test_more_shots_than_people_are_refused(make_embedded: MakeEmbedded) -> None:
    with pytest.raises(UserError, match=r"evaluation\.shots has 13, and there are 12 training subjects whose labels"):
        evaluate(make_embedded("a"), make_embedded("b"), None, ["linear"], CLASSES, seed=0, shots=(13,))


def test_scores_are_of_what_every_probe_says_of_every_test_sample(
    make_embedded: MakeEmbedded,
) -> None:
    train, test = make_embedded("a", noise=1.0), make_embedded("b", noise=1.0)
    classes = sorted(set(test.labels))
    anchors = np.random.default_rng(0).standard_normal((len(classes), 16)).astype(np.float32)
    found = evaluate(train, test, anchors, ("linear", "knn", "zero_shot"), classes, seed=0, shots=(5,))
    assert set(found.predictions["probe"]) == {"linear", "knn", "zero_shot", "linear@5"}
    for (probe,), rows in found.predictions.group_by("probe"):
        assert rows.select("sample", "subject", "truth").rows() == list(
            zip(test.names, test.subjects, test.labels, strict=True)
        )
        right = float((rows["truth"] == rows["prediction"]).mean())  # type: ignore[arg-type]
        accuracy = found.results.filter((pl.col("probe") == probe) & (pl.col("metric") == "accuracy"))["value"].item()
        assert right == pytest.approx(accuracy)
        assert rows["score"].is_between(-1 if probe == "zero_shot" else 1 / 4 - 1e-6, 1 + 1e-6).all()
