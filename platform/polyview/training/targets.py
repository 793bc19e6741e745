"""What a step is made of: a batch of pictures, and the classes, people and prompts that they are to be told by."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from polyview.language.pseudolabels import SampleLabels
from polyview.training.batches import Batch


@dataclass(frozen=True, eq=False)
class Targets:
    """Of a global batch of N samples: label, prompt_index and subject (N,) int64, confident (N,) bool.

    tokens (K, context) int64 are a prompt of each class that is there, None where no term reads text. labelled and
    distinct are as in `BatchEmbeddings`.
    """

    label: Tensor
    confident: Tensor
    subject: Tensor
    prompt_index: Tensor
    tokens: Tensor | None = None
    labelled: Tensor | None = None
    distinct: Tensor | None = None

    @classmethod
    def of(cls, batch: Batch, labels: SampleLabels, owners: NDArray[np.int64], tokens: Tensor | None = None) -> Targets:
        """Those of a batch by the labels and the owners of all samples, and every class's prompts (E, K, context)."""
        chosen = batch.chosen.numpy()
        label = torch.from_numpy(labels.label[chosen])
        labelled = None if labels.known is None else places(labels.known[chosen])
        present, index = classes_present(label, labelled)
        return cls(
            label=label,
            confident=torch.from_numpy(labels.confident[chosen]),
            subject=torch.from_numpy(owners[chosen]),
            prompt_index=index,
            # One prompt a class and batch, so that none of a sample's own class is its negative.
            tokens=None if tokens is None else tokens[batch.draw % len(tokens), present],
            labelled=labelled,
            distinct=places(first_occurrences(chosen)),
        )

    def to(self, device: torch.device) -> Targets:
        """The same on a device."""
        there = {name: part for name, part in vars(self).items() if part is not None}
        return replace(self, **{name: part.to(device, non_blocking=True) for name, part in there.items()})


@dataclass(frozen=True, eq=False)
class Step:
    """What one worker takes a step on: its part of the pictures, and the targets of the global batch."""

    batch: Batch
    targets: Targets


def places(mask: NDArray[np.bool_]) -> Tensor | None:
    """Where the mask (N,) holds, int64; None if it holds everywhere."""
    return None if mask.all() else torch.from_numpy(np.flatnonzero(mask))


def first_occurrences(chosen: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which of the numbers (N,) none before them equals."""
    first = np.zeros(len(chosen), dtype=np.bool_)
    first[np.unique(chosen, return_index=True)[1]] = True
    return first


def classes_present(label: Tensor, labelled: Tensor | None) -> tuple[Tensor, Tensor]:
    """The classes that a batch's samples have, each once, (K,), and which of these each sample has, (N,).

    `label` (N,) are the samples' classes, of which those at the places `labelled` count, all if it is None: what the
    others have in the second result means nothing. Where none counts the first class is there: a tower reads something.
    """
    present = (label if labelled is None else label[labelled]).unique()
    if not len(present):
        present = label.new_zeros(1)
    return present, torch.searchsorted(present, label).clamp_(max=len(present) - 1)
