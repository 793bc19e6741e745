"""The joints of a glTF file: where its nodes are, and where the vertices go that hang on them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


def places(nodes: list[dict[str, Any]]) -> dict[int, Matrix]:
    """(4, 4) from each node's own coordinates to those of the scene, by the node's number; none of nodes in a ring."""
    below = {child for node in nodes for child in node.get("children", [])}
    waiting = [(number, np.eye(4)) for number in range(len(nodes)) if number not in below]
    found: dict[int, Matrix] = {}
    while waiting:
        number, above = waiting.pop()
        found[number] = above @ _own_place(nodes[number])
        waiting += [(child, found[number]) for child in nodes[number].get("children", [])]
    return found


def _own_place(node: dict[str, Any]) -> Matrix:
    from trimesh.transformations import quaternion_matrix  # takes a second, as trimesh does

    if "matrix" in node:
        return np.array(node["matrix"], np.float64).reshape(4, 4).T
    across, up, forward, real = node.get("rotation", (0, 0, 0, 1))
    place = np.array(quaternion_matrix([real, across, up, forward]), np.float64)
    place[:3, :3] *= node.get("scale", (1, 1, 1))
    place[:3, 3] = node.get("translation", (0, 0, 0))
    return place


def bent(
    positions: NDArray[np.float64], moves: Matrix, sets: Iterable[tuple[NDArray[Any], NDArray[np.float64]]]
) -> NDArray[np.float64]:
    """(V, 3) where the joints bring the vertices; those that hang on no joint stay.

    moves (J, 4, 4): what each joint does to a vertex; sets: joints (V, 4) and their weights (V, 4), up to so many.
    """
    sums, weight = np.zeros_like(positions), np.zeros((len(positions), 1))
    for joints, weights in sets:
        for joint, own in zip(joints.T, weights.T[:, :, np.newaxis], strict=True):
            if own.any():
                turned = np.einsum("vij,vj->vi", moves[joint, :3, :3], positions)
                sums += own * (turned + moves[joint, :3, 3])
                weight += own
    return np.where(weight > 0, sums / np.maximum(weight, np.finfo(np.float64).tiny), positions)
