"""The weighted sum of the terms that a recipe asks for."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from polyview import recipe
from polyview.objectives.alignment import alignment
from polyview.objectives.decorrelation import decorrelation
from polyview.objectives.redundancy import redundancy


@dataclass(frozen=True, eq=False)
class Batch:
    """What the losses see of N samples: the global batch, gathered over all workers; text is None in vision-only runs.

    `views` (N, V, D), `fused` (N, D), `projections` (N, V, P) and `text` (K, D) are L2-normalised; `text` holds each
    distinct prompt once and `prompt_index` (N,) int64 says which one a sample has; `logit_scale` is a scalar.
    """

    views: Tensor
    projections: Tensor
    fused: Tensor
    text: Tensor | None
    prompt_index: Tensor | None
    logit_scale: Tensor


def total_loss(objective: recipe.Objective, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
    """The weighted sum of the objective's terms, and each term unweighted by its name in the recipe.

    Raises ValueError if a term needs text and the batch has none, or pairs of views and it has one view.
    """
    terms: dict[str, Tensor] = {}
    weights: dict[str, float] = {}
    if term := objective.decorrelation:
        terms["decorrelation"] = decorrelation(batch.projections, term.off_diagonal)
        weights["decorrelation"] = term.weight
    if objective.alignment:
        text, prompt_index = _text(batch, "alignment")
        terms["alignment"] = alignment(batch.views, batch.fused, text, prompt_index, batch.logit_scale)
        weights["alignment"] = objective.alignment.weight
    if objective.redundancy:
        text, prompt_index = _text(batch, "redundancy")
        terms["redundancy"] = redundancy(batch.fused, text[prompt_index], objective.redundancy.form)
        weights["redundancy"] = objective.redundancy.weight
    return torch.stack([weights[name] * terms[name] for name in terms]).sum(), terms


def _text(batch: Batch, term: str) -> tuple[Tensor, Tensor]:
    if batch.text is None or batch.prompt_index is None:
        raise ValueError(f"{term} needs text, and the batch has none")
    return batch.text, batch.prompt_index
