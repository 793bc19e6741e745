from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score, recall_score

from polyview.evaluation.metrics import confusion, guessing, scores

CLASSES = ("anger", "fear", "joy")
TRUTH = ["anger", "anger", "anger", "anger", "fear", "fear", "joy", "joy"]
PREDICTED = ["anger", "anger", "anger", "fear", "fear", "joy", "joy", "joy"]


def test_scores_by_hand() -> None:
    # recall 3/4, 1/2, 1; precision 1, 1/2, 2/3; so F1 6/7, 1/2, 4/5
    found = scores(confusion(TRUTH, PREDICTED, CLASSES))
    assert found == pytest.approx(
        {"accuracy": 6 / 8, "uf1": (6 / 7 + 1 / 2 + 4 / 5) / 3, "uar": (3 / 4 + 1 / 2 + 1) / 3}
    )


def test_confusion_has_the_truth_in_rows_in_the_order_of_the_classes() -> None:
    assert confusion(TRUTH, PREDICTED, CLASSES).tolist() == [[3, 1, 0], [0, 1, 1], [0, 0, 2]]
    assert confusion(TRUTH, PREDICTED, CLASSES[::-1]).tolist() == [[2, 0, 0], [1, 1, 0], [0, 1, 3]]


def test_a_class_that_never_occurs_counts_in_no_mean() -> None:
    assert scores(confusion(TRUTH, PREDICTED, (*CLASSES, "contempt"))) == pytest.approx(
        scores(confusion(TRUTH, PREDICTED, CLASSES))
    )


def test_a_class_only_predicted_costs_its_f1_and_has_no_recall() -> None:
    found = scores(confusion(["anger", "anger", "fear"], ["anger", "joy", "fear"], CLASSES))
    assert found == pytest.approx({"accuracy": 2 / 3, "uf1": (2 / 3 + 1 + 0) / 3, "uar": (1 / 2 + 1) / 2})


def test_guessing_one_class_of_an_unbalanced_test_has_the_recall_of_chance() -> None:
    truth = ["anger"] * 8 + ["fear", "joy"]
    found = scores(confusion(truth, ["anger"] * 10, CLASSES))
    assert found == pytest.approx({"accuracy": 0.8, "uf1": (16 / 18) / 3, "uar": 1 / 3})


@given(truth=st.lists(st.sampled_from(CLASSES), min_size=1, max_size=40), seed=st.integers(0, 9))
def test_guessing_is_the_score_of_the_best_constant_answer(truth: list[str], seed: int) -> None:
    noise = np.random.default_rng(seed).choice(CLASSES, len(truth)).tolist()
    found = guessing(confusion(truth, noise, CLASSES))
    constant = [scores(confusion(truth, [name] * len(truth), CLASSES)) for name in CLASSES]
    assert found in [pytest.approx(one) for one in constant]
    assert found["accuracy"] == pytest.approx(max(one["accuracy"] for one in constant))


@given(pairs=st.lists(st.tuples(st.sampled_from(CLASSES), st.sampled_from(CLASSES)), min_size=1, max_size=40))
def test_scores_are_those_of_scikit_learn(pairs: list[tuple[str, str]]) -> None:
    truth, predicted = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    mean = {"labels": CLASSES, "average": "macro", "zero_division": np.nan}
    assert scores(confusion(truth, predicted, CLASSES)) == pytest.approx(
        {
            "accuracy": accuracy_score(truth, predicted),
            "uf1": f1_score(truth, predicted, **mean),
            "uar": recall_score(truth, predicted, **mean),
        }
    )
