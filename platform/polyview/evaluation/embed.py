"""Embeddings of a store's samples: what probes are asked about."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from polyview.modeling.model import MultiviewModel
from polyview.recipe import Experiment
from polyview.rendering.cameras import Camera
from polyview.rendering.store import ViewStore
from polyview.training.batches import to_images
from polyview.training.loop import class_tokens
from polyview.training.precision import float32_products

BATCH = 256


@torch.inference_mode()
@float32_products("fp32")
def embed(
    model: MultiviewModel, store: ViewStore, rows: NDArray[np.int64], cameras: Sequence[Camera], device: torch.device
) -> NDArray[np.float32]:
    """Fused embeddings (N, D) float32, L2-normalised, of the samples `rows` seen by `cameras`."""
    model = model.to(device).eval()
    angles = torch.tensor([[camera.yaw, camera.pitch] for camera in cameras], device=device)
    parts, size = [], max(1, BATCH // store.frames)
    for start in range(0, len(rows), size):
        images = to_images(torch.from_numpy(store.gather(rows[start : start + size], cameras)).to(device))
        parts.append(model.fuse(model.encode_views(images), angles).cpu().numpy())
    return np.concatenate(parts)


def raw_pixels(store: ViewStore, rows: NDArray[np.int64], cameras: Sequence[Camera]) -> NDArray[np.float32]:
    """All views' pixels in a row, (N, V·S·S·3) float32 in [0, 1]: the features that any embedding must beat.

    Of films, the pixels of all frames, T times as many.
    """
    return store.gather(rows, cameras).reshape(len(rows), -1).astype(np.float32) / np.float32(255)


@torch.inference_mode()
@float32_products("fp32")
def anchors(model: MultiviewModel, experiment: Experiment, device: torch.device) -> NDArray[np.float32]:
    """One text embedding per class (K, D): the normalised mean over the class's prompts."""
    tokens = class_tokens(experiment).to(device)
    return model.to(device).eval().encode_anchors(tokens).cpu().numpy()
