"""Which class each training sample is taken to have: its label's, a pseudo-label, or one of its own."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from polyview.corpus.splits import exchanged, labelled
from polyview.language.pseudolabels import SampleLabels, assign
from polyview.modeling.model import MultiviewModel
from polyview.recipe import Experiment
from polyview.rendering.store import ViewStore
from polyview.training.augmentation import Share
from polyview.training.batches import Batches
from polyview.training.collectives import agree, pool
from polyview.training.precision import float32_products

CHUNK = 64


def known_classes(experiment: Experiment, batches: Batches) -> SampleLabels | None:
    """The classes that the labels say, all to be trusted; None, with no label read, if the recipe wants none.

    Only labels that may be read are: every other sample has a number of its own, beyond the classes'.
    """
    if experiment.language.prompts != "label":
        return None
    number = {name: index for index, name in enumerate(experiment.corpus.expressions)}
    every, rows = batches.store.labels("expression"), batches.rows
    labels = [every[row] for row in rows]
    if experiment.language.shuffled != "none":
        labels = exchanged(labels, experiment.seed)
    readable = labelled_samples(experiment, batches.store, rows)
    label = np.arange(len(number), len(number) + len(rows), dtype=np.int64)
    label[readable] = [number[labels[place]] for place in np.flatnonzero(readable)]
    return SampleLabels(label, np.ones(len(label), dtype=np.bool_), None if readable.all() else readable)


def labelled_samples(experiment: Experiment, store: ViewStore, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which of the training samples `rows` (N,) are of subjects whose labels may be read: (N,) bool."""
    subjects = store.labels("subject")
    owners = [subjects[row] for row in rows]
    return np.isin(owners, labelled(owners, experiment.language.labelled, experiment.seed))


def labelled_part(
    experiment: Experiment, store: ViewStore, rows: NDArray[np.int64]
) -> tuple[NDArray[np.bool_] | None, bool]:
    """Which training samples may have their label read, and whether batches have others too.

    None where it makes no difference to the batches: all may, or no term reads any. Where all terms need a label, and
    the other samples have no pseudo-label, a batch is of labelled samples alone.
    """
    language, objective = experiment.language, experiment.objective
    if language.prompts != "label" or not (objective.label_terms or objective.pair_terms):
        return None, False
    readable = labelled_samples(experiment, store, rows)
    if readable.all():
        return None, False
    # The others come beside a whole batch of labelled samples and not in its place, as in MixMatch (Berthelot et al.
    # 2019): drawn evenly, a batch of 16 would have a labelled sample now and then at 1 % of people, and CLIP's loss of
    # one sample is zero whatever it is like. With half a batch labelled, SMILE-VLM at 10 % of people had 62 % on the
    # quickstart's faces, and with a whole one 77 %, where CLIP on a whole one alone has 80 %.
    return readable, objective.terms != objective.label_terms or language.assigns


@float32_products("fp32")
def pseudo_classes(
    model: MultiviewModel, batches: Batches, tokens: Tensor, experiment: Experiment, share: Share
) -> SampleLabels:
    """The classes that the model as it is gives the samples by the prompts `tokens` (E, K, context) of each class.

    A sample is what its views have in common: their mean. A label that may be read stands, and where no
    term trains the text, the labelled faces take its place. The result is the same for any number of workers.
    """
    known = known_classes(experiment, batches)
    if known is not None and known.known is None:
        return known
    model.eval()
    embeddings = _mean_views(model, batches, share, tokens.device)
    with torch.no_grad():  # in inference mode a sharded model would get weights that cannot be trained
        anchors = model.encode_anchors(tokens).cpu().numpy()
    how = experiment.language.pseudo
    by_means = not experiment.objective.text_terms
    found = assign(embeddings, anchors, batches.owners, how, experiment.seed, known, by_means)
    # Machines may differ in the last bit, and a sample that is near a border with them.
    parts = {name: part for name, part in vars(found).items() if part is not None}
    return SampleLabels(
        **{name: agree(torch.from_numpy(part).to(tokens.device)).cpu().numpy() for name, part in parts.items()}
    )


@torch.no_grad()
def _mean_views(model: MultiviewModel, batches: Batches, share: Share, device: torch.device) -> NDArray[np.float32]:
    """The normalised mean over views of every sample, (N, D): each worker embeds some, and all get all.

    All call the model as often, since a sharded one computes where all of them do. Where one chunk ends and the next
    begins does not depend on the number of workers, so neither do the bits.
    """
    samples, chunk_size = len(batches.rows), max(1, CHUNK // batches.store.frames)
    means = torch.zeros(samples, model.width, device=device)
    for first in range(0, samples, share.size * chunk_size):
        start = first + share.rank * chunk_size
        chunk = np.arange(start, min(start + chunk_size, samples))
        found = model.mean_views(batches.images(chunk if len(chunk) else np.arange(1), device))
        means[start : start + chunk_size] = found[: len(chunk)]
    pooled: NDArray[np.float32] = pool(means).cpu().numpy()
    return pooled
