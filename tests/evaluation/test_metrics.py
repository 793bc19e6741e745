from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyview.evaluation.metrics import confusion, scores

CLASSES = ("anger", "fear", "joy")
TRUTH = ["anger", "anger", "anger", "anger", "fear", "fear", "joy", "joy"]
PREDICTED = ["anger", "anger", "anger", "fear", "fear", "joy", "joy", "joy"]


def test_scores_by_hand() -> None:
    # recall 3/4, 1/2, 1; precision 1, 1/2, 2/3; so F1 6/7, 1/2, 4/5
    found = scores(TRUTH, PREDICTED, CLASSES)
    assert found == pytest.approx(
        {"accuracy": 6 / 8, "uf1": (6 / 7 + 1 / 2 + 4 / 5) / 3, "uar": (3 / 4 + 1 / 2 + 1) / 3}
    )


def test_confusion_has_the_truth_in_rows_in_the_order_of_the_classes() -> None:
    assert confusion(TRUTH, PREDICTED, CLASSES).tolist() == [[3, 1, 0], [0, 1, 1], [0, 0, 2]]
    assert confusion(TRUTH, PREDICTED, CLASSES[::-1]).tolist() == [[2, 0, 0], [1, 1, 0], [0, 1, 3]]


def test_a_class_that_never_occurs_counts_in_no_mean() -> None:
    assert scores(TRUTH, PREDICTED, (*CLASSES, "contempt")) == pytest.approx(scores(TRUTH, PREDICTED, CLASSES))


def test_a_class_only_predicted_costs_its_f1_and_has_no_recall() -> None:
    found = scores(["anger", "anger", "fear"], ["anger", "joy", "fear"], CLASSES)
    assert found == pytest.approx({"accuracy": 2 / 3, "uf1": (2 / 3 + 1 + 0) / 3, "uar": (1 / 2 + 1) / 2})


def test_guessing_one_class_of_an_unbalanced_test_has_the_recall_of_chance() -> None:
    truth = ["anger"] * 8 + ["fear", "joy"]
    found = scores(truth, ["anger"] * 10, CLASSES)
    assert found == pytest.approx({"accuracy": 0.8, "uf1": (16 / 18) / 3, "uar": 1 / 3})


@given(pairs=st.lists(st.tuples(st.sampled_from(CLASSES), st.sampled_from(CLASSES)), min_size=1, max_size=40))
def test_scores_follow_from_the_confusion(pairs: list[tuple[str, str]]) -> None:
    truth, predicted = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    counts = confusion(truth, predicted, CLASSES)
    found = scores(truth, predicted, CLASSES)
    true, said, hit = counts.sum(1), counts.sum(0), counts.diagonal()
    assert counts.sum() == len(pairs)
    assert found["accuracy"] == pytest.approx(hit.sum() / len(pairs))
    assert found["uar"] == pytest.approx(np.mean([hit[k] / true[k] for k in range(3) if true[k]]))
    assert found["uf1"] == pytest.approx(
        np.mean([2 * hit[k] / (true[k] + said[k]) for k in range(3) if true[k] + said[k]])
    )
