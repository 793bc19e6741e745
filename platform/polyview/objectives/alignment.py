"""A face's embedding should lie nearest the text that describes it."""

from __future__ import annotations

import torch
from torch import Tensor

from polyview.objectives.counts import occurrences
from polyview.objectives.float32 import in_float32


@in_float32
def alignment(
    views: Tensor,  # (N, V, D)
    fused: Tensor,  # (N, D)
    text: Tensor,  # (K, D)
    prompt_index: Tensor,  # (N,) int64
    logit_scale: Tensor,  # scalar
) -> Tensor:
    """CLIP's symmetric cross-entropy, of the fused embedding and of each view: (L(fused) + mean_v L(view v)) / 2.

    L(x) is defined on the N x N logits s_ij = logit_scale * <x_i, text[prompt_index[j]]>. Samples that share a prompt
    are positives of each other: the target of row i is uniform over the j with prompt_index[j] = prompt_index[i].
    The cross-entropies of the rows (image to text) and of the columns (text to image) are averaged.

    Where all prompts differ this is CLIP's loss and its minimum is 0. Where prompt k serves n_k samples the minimum is
    the targets' entropy, sum_k n_k/N log n_k, and equal embeddings give log N: with c equally frequent prompts a loss
    starts near log c above its minimum.

    `views` is (N, V, D), `fused` (N, D), `text` (K, D): each prompt once, all L2-normalised; `prompt_index` (N,) int64
    says which prompt a sample has; prompts that no sample has do not count. `logit_scale` is a scalar, the inverse of
    the temperature. All are the global batch. The result is a scalar in float32 or wider.
    Source: Radford et al. 2021, "CLIP", figure 3; over views and their fusion: SMILE-VLM, arXiv 2506.01203.
    """
    images = torch.cat([fused.unsqueeze(1), views], dim=1).transpose(0, 1)
    losses = _soft_clip(logit_scale * (images @ text.T), prompt_index)
    return (losses[0] + losses[1:].mean()) / 2


def _soft_clip(
    logits: Tensor,  # (B, N, K)
    prompt_index: Tensor,  # (N,) int64
) -> Tensor:
    """The loss of each of B sets of images, from their logits (B, N, K) with the K distinct prompts: (B,).

    The N x N logits repeat column k of these n_k times. So a row's log-sum-exp over N texts is the one over K prompts
    with log n_k added, a positive's logit is the same for all of a row's positives, and the n_k equal columns of
    prompt k count n_k times.
    """
    counts = occurrences(prompt_index, logits.shape[-1]).to(logits.dtype)
    positives = logits.gather(-1, prompt_index.expand(logits.shape[:-1]).unsqueeze(-1)).squeeze(-1)
    over_texts = torch.logsumexp(logits + counts.log(), dim=-1)
    over_images = torch.logsumexp(logits, dim=-2)[:, prompt_index]
    return ((over_texts + over_images) / 2 - positives).mean(-1)
