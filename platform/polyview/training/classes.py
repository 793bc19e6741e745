"""Which class each training sample is taken to have: its label's, a pseudo-label, or one of its own."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from polyview.language.pseudolabels import SampleLabels, assign
from polyview.modeling.model import MultiviewModel, normalised
from polyview.recipe import Experiment
from polyview.training.augmentation import Share
from polyview.training.batches import Batches
from polyview.training.collectives import agree, pool

CHUNK = 64


def known_classes(experiment: Experiment, batches: Batches) -> SampleLabels | None:
    """The classes that the labels say, all to be trusted; None, with no label read, if the recipe wants none."""
    if experiment.language.prompts != "label":
        return None
    number = {name: index for index, name in enumerate(experiment.corpus.expressions)}
    labels = batches.store.labels("expression")
    label = np.array([number[labels[row]] for row in batches.rows], dtype=np.int64)
    return SampleLabels(label, np.ones(len(label), dtype=np.bool_))


def pseudo_classes(
    model: MultiviewModel, batches: Batches, tokens: Tensor, experiment: Experiment, share: Share
) -> SampleLabels:
    """The classes that the model as it is gives the samples by the prompts `tokens` (E, K, context) of each class.

    A sample is what its views have in common: their mean. The result is the same for any number of workers.
    """
    model.eval()
    embeddings = _mean_views(model, batches, share, tokens.device)
    with torch.inference_mode():
        anchors = model.encode_anchors(tokens).cpu().numpy()
    how = experiment.language.pseudo
    found = assign(embeddings, anchors, batches.owners, how, experiment.seed)
    # Machines may differ in the last bit, and a sample that is near a border with them.
    label, confident = (agree(torch.from_numpy(part).to(tokens.device)).cpu() for part in vars(found).values())
    return SampleLabels(label.numpy(), confident.numpy())


@torch.no_grad()
def _mean_views(model: MultiviewModel, batches: Batches, share: Share, device: torch.device) -> NDArray[np.float32]:
    """The normalised mean over views of every sample, (N, D): each worker embeds some, and all get all.

    Where one chunk ends and the next begins does not depend on the number of workers, so neither do the bits.
    """
    samples, chunk_size = len(batches.rows), max(1, CHUNK // batches.store.frames)
    means = torch.zeros(samples, model.width, device=device)
    for start in range(share.rank * chunk_size, samples, share.size * chunk_size):
        chunk = np.arange(start, min(start + chunk_size, samples))
        means[start : start + chunk_size] = normalised(model.encode_views(batches.images(chunk).to(device)).mean(dim=1))
    pooled: NDArray[np.float32] = pool(means).cpu().numpy()
    return pooled
