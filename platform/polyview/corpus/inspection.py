"""A look at a few of a manifest's meshes: how large they are, what was guessed of them, whether they have colour."""

from __future__ import annotations

from collections import Counter

from polyview.corpus.load import load_mesh
from polyview.corpus.manifest import Manifest
from polyview.corpus.mesh import Mesh, MeshError
from polyview.wording import counted

LOOKED_AT = 8


def inspect(manifest: Manifest, count: int = LOOKED_AT) -> list[str]:
    """What `count` meshes, spread over the manifest, are like: a line for each thing worth knowing."""
    rows = manifest.frame[:: max(1, len(manifest) // count)].head(count)
    meshes: list[Mesh] = []
    lines: list[str] = []
    for row in rows.iter_rows(named=True):
        path = row["path"]
        try:
            meshes.append(load_mesh(path, row["texture"], manifest.root, manifest.geometry, row.get("unit")))
        except MeshError as error:
            lines.append(f"cannot be used: {path}: {error}")
    if meshes:
        guesses = Counter(guess for mesh in meshes for guess in mesh.guesses)
        told = [f"{number} of {len(meshes)} {guess}" for guess, number in guesses.most_common()]
        lines = [_sizes(meshes), _colours(meshes), *told, *lines]
    return lines


def _sizes(meshes: list[Mesh]) -> str:
    longest = [float(mesh.sides.max()) for mesh in meshes]
    return f"{min(longest):.0f} to {max(longest):.0f} mm large, of {counted(len(meshes), 'mesh', 'meshes')} looked at"


def _colours(meshes: list[Mesh]) -> str:
    textured = sum(mesh.texture is not None and mesh.uv is not None for mesh in meshes)
    coloured = sum(mesh.colors is not None for mesh in meshes)  # no mesh that shows a picture has any
    grey = len(meshes) - textured - coloured
    return f"{textured} of {len(meshes)} with a texture, {coloured} with colours, {grey} plain grey"
