"""The weighted sum of the terms that a recipe asks for."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from polyview.objectives.alignment import alignment
from polyview.objectives.contrast import contrast
from polyview.objectives.decorrelation import decorrelation
from polyview.objectives.joint import joint
from polyview.objectives.margin import margin
from polyview.objectives.redundancy import redundancy
from polyview.objectives.simclr import simclr
from polyview.objectives.supervised import supervised
from polyview.objectives.triplet import triplet
from polyview.recipe import objective as terms


@dataclass(frozen=True, eq=False)
class BatchEmbeddings:
    """What the losses see of N samples: the global batch, gathered over all workers.

    `views`, `fused`, `projections` and `text` are L2-normalised; `text` holds each distinct prompt once and
    `prompt_index` says which one a sample has. Both are None in vision-only runs. `label` is the sample's class or
    pseudo-label, or its own number where neither is known; `confident` says whether the label is to be trusted, and
    `subject` who it is. `class_logits` are the supervised head's, None without one.
    """

    views: Tensor  # (N, V, D)
    projections: Tensor  # (N, V, P)
    fused: Tensor  # (N, D)
    text: Tensor | None  # (K, D)
    prompt_index: Tensor | None  # (N,) int64
    logit_scale: Tensor  # scalar
    label: Tensor  # (N,) int64
    confident: Tensor  # (N,) bool
    subject: Tensor  # (N,) int64
    class_logits: Tensor | None = None  # (N, classes)


def total_loss(objective: terms.Objective, batch: BatchEmbeddings) -> tuple[Tensor, dict[str, Tensor]]:
    """The weighted sum of the objective's terms, and each term unweighted by its name in the recipe.

    Raises ValueError if a term needs text, or the supervised head, and the batch has none, or pairs of views and it
    has one view.
    """
    values = {name: _value(getattr(objective, name), batch) for name in objective.terms}
    weighted = [getattr(objective, name).weight * value for name, value in values.items()]
    return torch.stack(weighted).sum(), values


def _value(term: object, batch: BatchEmbeddings) -> Tensor:
    grouped = (batch.projections, batch.label, batch.confident, batch.subject)
    match term:
        case terms.Decorrelation():
            return decorrelation(batch.projections, term.off_diagonal)
        case terms.Alignment():
            text, prompt_index = _text(batch)
            return alignment(batch.views, batch.fused, text, prompt_index, batch.logit_scale)
        case terms.Redundancy():
            text, prompt_index = _text(batch)
            return redundancy(batch.fused, text, prompt_index, term.form)
        case terms.Joint():
            return joint(batch.projections)
        case terms.Contrast():
            return contrast(*grouped, term.margin, term.temperature)
        case terms.SimCLR():
            return simclr(batch.projections, term.temperature)
        case terms.Margin():
            return margin(*grouped, term.margin)
        case terms.Triplet():
            return triplet(*grouped, term.margin)
        case terms.Supervised():
            if batch.class_logits is None:
                raise ValueError("supervised needs the head's logits, and the batch has none")
            return supervised(batch.class_logits, batch.label)
        case _:
            raise TypeError(f"{term!r} is no term of an objective")


def _text(batch: BatchEmbeddings) -> tuple[Tensor, Tensor]:
    if batch.text is None or batch.prompt_index is None:
        raise ValueError("alignment and redundancy need text, and the batch has none")
    return batch.text, batch.prompt_index
