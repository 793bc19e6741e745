"""How well each class is recognised."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from polyview.analysis.comparisons import scores
from polyview.analysis.findings import as_measured
from polyview.analysis.outcome import Outcome, confusions_of, scored_people
from polyview.reporting.rows import NONE
from polyview.reporting.sections.section import Section


def classes(outcome: Outcome) -> list[Section]:
    """How many of each class are recognised, by variant."""
    probe = outcome.study.metric.partition("/")[0]
    recalls: dict[str, dict[str, float]] = {}
    for variant in scores(outcome, outcome.study.metric):
        names, counted = confusions_of(outcome, variant)
        if probe in counted:
            recalls[variant] = dict(zip(names, _recalls(counted[probe]), strict=True))
    baseline = np.array([*recalls.get(outcome.study.baseline, {}).values()])
    if np.isnan(baseline).all():
        return []
    every = list(dict.fromkeys(name for shares in recalls.values() for name in shares))
    rows = [["variant", *every]]
    for variant, shares in recalls.items():
        rows.append([variant, *(f"{100 * shares[name]:.1f}" if shares.get(name, -1) >= 0 else NONE for name in every)])
    least, most = np.nanmin(baseline), np.nanmax(baseline)
    hardest, easiest = (_listed([*recalls[outcome.study.baseline]], baseline == level) for level in (least, most))
    text = (
        f"Percent of each class that {probe} recognises (recall), seeds summed: on these {scored_people(outcome)} "
        f"“{outcome.study.baseline}” knows {easiest} best ({100 * most:.1f}) and {hardest} least ({100 * least:.1f})."
    )
    return [Section("Class by class", "classes", [as_measured(text)], rows)]


def _recalls(counts: NDArray[np.int64]) -> list[float]:
    """Of each class the share that is recognised, nan where nobody shows it; counts: (K, K), rows true."""
    true = counts.sum(axis=1)
    return np.divide(counts.diagonal(), true, out=np.full(len(true), np.nan), where=true > 0).tolist()


def _listed(names: Sequence[str], chosen: NDArray[np.bool_]) -> str:
    *some, last = itertools.compress(names, chosen)
    return f"{', '.join(some)} and {last}" if some else last
