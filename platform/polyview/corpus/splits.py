"""Training subjects and test subjects: no subject is ever on both sides. Of the former, those whose labels are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from polyview.errors import UserError
from polyview.recipe import digest
from polyview.wording import agreeing, counted


@dataclass(frozen=True)
class Split:
    """Subjects to train on and subjects to test on; disjoint, each sorted."""

    train: tuple[str, ...]
    test: tuple[str, ...]


def holdout(subjects: Sequence[str], share: float, seed: int) -> Split:
    """Draw a random `share` of the subjects as test subjects, at least one and not all; repeats do not count.

    Raises `UserError` where there are fewer than two subjects.
    """
    names = _shuffled(subjects, seed)
    if len(names) < 2:
        raise UserError(
            f"corpus: {len(names)} subject(s) cannot be split into training and test; at least 2 are needed"
        )
    count = min(max(round(share * len(names)), 1), len(names) - 1)
    return _split(names, set(names[:count]))


def kfold(subjects: Sequence[str], folds: int, fold: int, seed: int) -> Split:
    """Make part `fold` of `folds` the test subjects: over all of them each subject once; sizes differ by one at most.

    Raises `UserError` where there are fewer subjects than folds.
    """
    names = _shuffled(subjects, seed)
    if len(names) < folds:
        raise UserError(f"evaluation.folds is {folds} and there {_are(names)}; lower it, or bring more")
    return _split(names, set(names[fold::folds]))


def leave_one_out(subjects: Sequence[str], folds: int, fold: int) -> Split:
    """Test on the subject at `fold` in sorted order alone; raises `UserError` unless `folds` counts the subjects."""
    names = sorted(set(subjects))
    if len(names) != folds:
        raise UserError(
            f"evaluation.folds is {folds} and there {_are(names)}; for loso set evaluation.folds={len(names)}"
        )
    return _split(names, {names[fold]})


def _are(subjects: Sequence[str]) -> str:
    return f"{agreeing(len(subjects), 'is', 'are')} {counted(len(subjects), 'subject')}"


def labelled(subjects: Sequence[str], share: float, seed: int) -> tuple[str, ...]:
    """The `share` of the training subjects whose labels may be read, at least one, sorted.

    Under one seed a larger share has all the people of a smaller one; see `few`.
    """
    return few(subjects, count_labelled(len(set(subjects)), share), seed)


def count_labelled(people: int, share: float) -> int:
    """Of how many of the people labels may be read, where it is that share of them: one at least."""
    return max(round(share * people), 1)


def few(subjects: Sequence[str], count: int, seed: int) -> tuple[str, ...]:
    """The first `count` of the subjects in an order that the seed draws, sorted; all where there are no more.

    Each subject has a place of its own in that order, whoever the others are: so fewer are always among more, and the
    few of some subjects are those of all subjects, as long as they are among them.
    """
    order = sorted(set(subjects), key=lambda name: (digest([seed, name]), name))
    return tuple(sorted(order[:count]))


def exchanged(labels: Sequence[str], seed: int) -> list[str]:
    """The labels in a random order, in which they say nothing of the samples that they are given to."""
    return [labels[place] for place in np.random.default_rng([seed, 7]).permutation(len(labels))]


def _shuffled(subjects: Sequence[str], seed: int) -> list[str]:
    names = sorted(set(subjects))
    return [names[i] for i in np.random.default_rng(seed).permutation(len(names))]


def _split(names: Sequence[str], test: set[str]) -> Split:
    return Split(tuple(sorted(set(names) - test)), tuple(sorted(test)))
