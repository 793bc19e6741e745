"""VRML 2.0 (.wrl): one IndexedFaceSet with its picture, as BU-3DFE and BU-4DFE write it (ISO/IEC 14772-1)."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from polyview.corpus.formats.limits import Companions
from polyview.corpus.formats.numbers import as_indices, read_numbers
from polyview.corpus.formats.polygons import surface
from polyview.corpus.mesh import Mesh, MeshError

_WORD = re.compile(rb'"([^"]*)"|#[^\r\n]*|[{}\[\]]|[^\s,{}\[\]"#]+')
_ARRAYS = {
    (b"Coordinate", b"point"): "points",
    (b"TextureCoordinate", b"point"): "uv",
    (b"Color", b"color"): "colors",
    (b"IndexedFaceSet", b"coordIndex"): "corners",
    (b"IndexedFaceSet", b"texCoordIndex"): "uv_corners",
    (b"IndexedFaceSet", b"colorIndex"): "color_corners",
}
_MOST_WORDS = 100_000
"""Outside of the arrays that are read: a face's file has a few dozen."""


def read(data: bytes, companions: Companions) -> Mesh:
    """The mesh of a .wrl file; raises `MeshError`. Transformations are not applied: scans have none."""
    if not data.startswith(b"#VRML V2.0"):
        raise MeshError("not a VRML 2.0 file: it does not begin with #VRML V2.0")
    arrays, picture, clockwise = _parse(data)
    if "points" not in arrays or "corners" not in arrays:
        raise MeshError("holds no IndexedFaceSet with both point and coordIndex")
    mesh = surface(
        _rows(arrays["points"], 3, "point"),
        as_indices(arrays["corners"]),
        _rows(arrays["uv"], 2, "texture point") if "uv" in arrays else None,
        as_indices(arrays["uv_corners"]) if arrays.get("uv_corners", np.empty(0)).size else None,
        _colors(arrays),
    )
    return Mesh(
        vertices=mesh.vertices,
        faces=np.ascontiguousarray(mesh.faces[:, ::-1]) if clockwise else mesh.faces,
        colors=mesh.colors,
        uv=mesh.uv,
        texture=companions.picture(picture),
    )


def _parse(data: bytes) -> tuple[dict[str, NDArray[np.float64]], str | None, bool]:
    """The arrays of the face set, the name of its picture, and whether its faces are clockwise."""
    text = np.frombuffer(data, dtype=np.uint8)
    arrays: dict[str, NDArray[np.float64]] = {}
    picture: str | None = None
    clockwise = False
    nodes: list[bytes] = []
    before, place = b"", 0
    for _ in range(_MOST_WORDS):
        match = _WORD.search(data, place)
        if match is None:
            return arrays, picture, clockwise
        word, place = match[0], match.end()
        if word.startswith(b"#"):
            continue
        if word == b"{":
            nodes.append(before)
        elif word == b"}" and nodes:
            nodes.pop()
        elif word == b"[" and nodes and (nodes[-1], before) in _ARRAYS:
            name = _ARRAYS[nodes[-1], before]
            if name in arrays:
                raise MeshError("holds several surfaces; a face must be one")
            arrays[name], place = read_numbers(text, place)
        elif word.startswith(b'"') and before == b"url" and nodes[-1:] == [b"ImageTexture"]:
            picture = picture or match[1].decode("utf-8", "replace")
        elif before == b"ccw":
            clockwise = word == b"FALSE"
        # A bracket leaves the field's name standing: url may be a list.
        before = before if word == b"[" else word
    raise MeshError(f"more than {_MOST_WORDS} words outside of its arrays: not a face's mesh")


def _rows(values: NDArray[np.float64], columns: int, name: str) -> NDArray[np.float64]:
    if len(values) % columns:
        raise MeshError(f"{len(values)} numbers are no whole count of {name}s of {columns}: the file is cut or broken")
    return values.reshape(-1, columns)


def _colors(arrays: dict[str, NDArray[np.float64]]) -> NDArray[np.uint8] | None:
    """(V, 3) the vertices' colours, where there is one for each vertex."""
    if "colors" not in arrays or "color_corners" in arrays or arrays["colors"].size != arrays["points"].size:
        return None
    colors: NDArray[np.uint8] = (np.nan_to_num(arrays["colors"]).clip(0, 1) * 255).round().astype(np.uint8)
    return colors.reshape(-1, 3)
