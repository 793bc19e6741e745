"""How training went: losses, and each term's share of the gradient, by epoch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from polyview.analysis.outcome import Outcome, finished
from polyview.recipe import Study
from polyview.recipe.objective import Objective

LEAST_SHARE = 0.02
"""A term with less of the gradient than this has hardly taken part in training."""
TERMS = tuple(Objective.model_fields)


def loss_curves(outcome: Outcome) -> dict[str, dict[str, list[dict[int, float]]]]:
    """Term -> variant -> one curve (epoch -> value) per seed, for the loss and each term of the objective."""
    return _curves(outcome, ["loss", *TERMS])


def share_curves(outcome: Outcome) -> dict[str, dict[str, list[dict[int, float]]]]:
    """The same of each term's share of the gradient, `share/…`, and of its cosine with the others', `cosine/…`."""
    return _curves(outcome, [f"{kind}/{term}" for term in TERMS for kind in ("share", "cosine")])


def idle_terms(outcome: Outcome) -> dict[str, float]:
    """The terms that a variant leaves out though they had hardly any gradient in the baseline: the largest share."""
    return {
        term: share
        for term in _removed_terms(outcome.study)
        if (share := _largest_share(outcome, term)) is not None and share < LEAST_SHARE
    }


def _removed_terms(study: Study) -> list[str]:
    keys = [key for removed in study.remove.values() for key in ([removed] if isinstance(removed, str) else removed)]
    return [term for term in TERMS if f"objective.{term}" in keys]


def _largest_share(outcome: Outcome, term: str) -> float | None:
    """The mean over the baseline's seeds of the largest share that a term had in any epoch; None if not recorded."""
    shares = [
        max(epoch.metrics.get(f"share/{term}", -1.0) for epoch in record.history)
        for _, record in finished(outcome, outcome.study.baseline)
        if record.history
    ]
    recorded = [share for share in shares if share >= 0]
    return float(np.mean(recorded)) if recorded else None


def _curves(outcome: Outcome, metrics: Sequence[str]) -> dict[str, dict[str, list[dict[int, float]]]]:
    found: dict[str, dict[str, list[dict[int, float]]]] = {}
    for term in metrics:
        for trial, record in finished(outcome):
            curve = {epoch.epoch: epoch.metrics[term] for epoch in record.history if term in epoch.metrics}
            if curve:
                found.setdefault(term, {}).setdefault(trial.variant, []).append(curve)
    return found
