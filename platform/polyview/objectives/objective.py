"""The weighted sum of the terms that a recipe asks for."""

from __future__ import annotations

from dataclasses import dataclass, replace

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

PER_SAMPLE = ("views", "projections", "fused", "prompt_index", "label", "confident", "subject", "class_logits")


@dataclass(frozen=True, eq=False)
class BatchEmbeddings:
    """What the losses see of N samples: the global batch, gathered over all workers.

    `views`, `fused`, `projections` and `text` are L2-normalised; `text` holds each distinct prompt once and
    `prompt_index` says which one a sample has. Both are None in vision-only runs. `label` is the sample's class or
    pseudo-label, or its own number where neither is known; `confident` says whether the label is to be trusted, and
    `subject` who it is. `class_logits` are the supervised head's, None without one.

    `labelled` are the places of the samples that have a label or pseudo-label, `distinct` those of each sample's first
    occurrence; None stands for all. Terms that read labels or text look at the former alone. Terms that compare views
    look at the latter: a sample that was drawn twice would be pushed away from itself, and count twice.
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
    labelled: Tensor | None = None  # (L,) int64
    distinct: Tensor | None = None  # (M,) int64

    def at(self, places: Tensor | None) -> BatchEmbeddings:
        """Some of the samples, or all of them if `places` is None."""
        if places is None:
            return self
        parts = {name: getattr(self, name) for name in PER_SAMPLE}
        chosen = {
            name: part.index_select(0, places.to(part.device)) for name, part in parts.items() if part is not None
        }
        return replace(self, **chosen, labelled=None, distinct=None)


def total_loss(objective: terms.Objective, batch: BatchEmbeddings) -> tuple[Tensor, dict[str, Tensor]]:
    """The weighted sum of the objective's terms, and each term unweighted by its name in the recipe.

    A term whose samples the batch has none of is zero, with a gradient of zero.
    Raises ValueError if a term needs text, or the supervised head, and the batch has none, or pairs of views and it
    has one view.
    """
    values = {name: _value(getattr(objective, name), _part(objective, name, batch)) for name in objective.terms}
    weighted = [getattr(objective, name).weight * value for name, value in values.items()]
    return torch.stack(weighted).sum(), values


def _part(objective: terms.Objective, name: str, batch: BatchEmbeddings) -> BatchEmbeddings:
    """The samples of the batch that a term looks at."""
    if name in objective.label_terms:
        return batch.at(batch.labelled)
    return batch.at(batch.distinct) if name in objective.view_terms else batch


def _nothing(batch: BatchEmbeddings) -> Tensor:
    """Zero that hangs on all that a term may reach: distributed gradients wait for every parameter."""
    reached = (batch.views, batch.projections, batch.fused, batch.text, batch.logit_scale, batch.class_logits)
    return 0 * torch.stack([part.sum() for part in reached if part is not None]).sum()


def _value(term: object, batch: BatchEmbeddings) -> Tensor:
    if not len(batch.fused):
        return _nothing(batch)
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
