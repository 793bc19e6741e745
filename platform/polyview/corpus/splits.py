"""Who is trained on and who is set aside: no subject is ever on both sides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from polyview.errors import UserError


@dataclass(frozen=True)
class Split:
    """Subjects to train on and subjects to test on; disjoint, each sorted."""

    train: tuple[str, ...]
    test: tuple[str, ...]


def holdout(subjects: Sequence[str], share: float, seed: int) -> Split:
    """Set a random `share` of the subjects aside, at least one and not all; repeats in `subjects` do not count.

    Raises `UserError` where there are fewer than two subjects.
    """
    names = sorted(set(subjects))
    if len(names) < 2:
        raise UserError(
            f"corpus: {len(names)} subject(s) cannot be split into training and test; at least 2 are needed"
        )
    count = min(max(round(share * len(names)), 1), len(names) - 1)
    order = np.random.default_rng(seed).permutation(len(names))
    return Split(
        train=tuple(sorted(names[i] for i in order[count:])),
        test=tuple(sorted(names[i] for i in order[:count])),
    )
