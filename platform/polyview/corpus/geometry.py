"""What is done to a mesh between its file and its pictures: each step a setting of the recipe."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from itertools import combinations
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from polyview.corpus.films import FilmGuess
from polyview.corpus.formats.landmarks import Landmarks
from polyview.corpus.mesh import Mesh, MeshError, nose_tip
from polyview.corpus.orientation import (
    HEAD,
    UPRIGHT,
    Way,
    guess_axes,
    guess_unit,
    lies_to_one_side,
    nearest_ways,
    shows_backs,
    turn_to,
)
from polyview.corpus.units import USUAL, unit_in
from polyview.recipe import Axes, Geometry

Vector = NDArray[np.float64]
Number = TypeVar("Number", np.float32, np.uint8)

_HEAD_HEIGHT = 260.0
"""Millimetres from the top of a person within which the face is."""
_NOSE_BEHIND = 5.0
"""Millimetres that a nose cannot lie behind the plane of eyes and mouth, unless their left and right are swapped."""
_LANDMARK_REACH = 0.25
"""Share of the mesh's longest side within which a landmark is of it: the middle of an open mouth lies off it."""
_ON_MESH = 0.1, 20.0
"""Share of the mesh's size, and millimetres, within which a landmark lies on it: the middle of an eye is a bit off."""
_TURNED = 0.7
"""Cosine of how far a surface around eyes and mouth is turned from where the face looks, at least."""
_CLOSEST = {True: 0.07, False: 0.015}
"""Share of the size of a head, and of what is no head, that eyes and mouth are apart at least; the eyes of a child are
45 mm apart.
"""
_INNER = 2.0, 98.0
"""Percent of the vertices between which most of a mesh lies."""
_NOSE_REACH = 25.0
"""Millimetres from the middle of the nose's outline within which its tip is."""

_OUT_OF_PLACE = 20.0
"""Millimetres by which the nose that a frame shows by itself may miss that of its film, and nothing is said."""

_BACKS = (
    "turned with the backs of their triangles to the front camera: they look away (corpus.geometry.axes), are "
    "mirrored, or are wound clockwise; look at the sheet"
)
_HALF = "with what lies foremost at one side: half of a face, or one that looks sideways; look at the sheet"
_APART = (
    f"with what looks like a nose more than {_OUT_OF_PLACE:.0f} mm from that of the film: all of a film is framed "
    "around the median of its frames' noses; look at the sheet (rendering.framing: whole needs no nose)"
)


def prepared(mesh: Mesh, landmarks: Landmarks | None, geometry: Geometry, film: FilmGuess | None = None) -> Mesh:
    """The mesh in millimetres, without spikes and small holes, aligned and cropped: whatever of it is asked for.

    Where the nose is not known and a step needs it, it is taken to be the foremost point of the middle of the mesh; of
    a frame of a `film`, to be where the film's is. What was guessed is in the mesh's `guesses`. Raises `MeshError`
    where alignment needs landmarks that are not there, no unit makes the mesh a head, or nothing is left.
    """
    mesh, axes, nose_is_known = _cleaned(mesh, landmarks, geometry, film)
    if film is not None and film.nose is not None and not nose_is_known:
        mesh = _with_nose_of_film(mesh, film.nose)
    if geometry.align == "landmarks":
        if axes is None:
            raise MeshError("corpus.geometry.align: landmarks needs both eyes and the mouth marked")
        mesh = _turned(mesh, axes.T.astype(np.float32))
    if geometry.align != "none":
        mesh = _centred(mesh)
    found = [told for told, is_so in ((_BACKS, shows_backs(mesh)), (_HALF, lies_to_one_side(mesh))) if is_so]
    mesh = replace(mesh, guesses=(*mesh.guesses, *found))
    return cropped(mesh, geometry.crop) if geometry.crop else mesh


def _cleaned(
    mesh: Mesh, landmarks: Landmarks | None, geometry: Geometry, film: FilmGuess | None
) -> tuple[Mesh, Vector | None, bool]:
    """The mesh before alignment, the face's own axes where landmarks tell them, and whether they tell the nose."""
    mesh.check()
    unit, of_unit = _unit(mesh, geometry.unit, film)
    mesh = _in_millimetres(mesh, unit)
    turn, of_axes = _turn(mesh, geometry, landmarks)
    if turn is not None:
        mesh = _turned(mesh, turn)
    scale = np.float32(unit) * (np.eye(3, dtype=np.float32) if turn is None else turn)
    marked = None if landmarks is None else _placed_landmarks(landmarks, scale)
    _check_places(mesh, marked)
    mesh = replace(mesh, guesses=(*mesh.guesses, *of_unit, *of_axes))
    nose, axes = _nose_and_axes(mesh, marked)
    mesh = _with_face_found(replace(mesh, nose=nose))
    if geometry.spikes:
        mesh = without_spikes(mesh, geometry.spikes)
    if geometry.holes:
        mesh = with_holes_closed(mesh, geometry.holes)
    return mesh, axes, nose is not None


def shown_nose(
    mesh: Mesh, landmarks: Landmarks | None, geometry: Geometry, film: FilmGuess | None
) -> NDArray[np.float32]:
    """The tip (3,) of the nose of a file's mesh, millimetres, before alignment; raises `MeshError` as `prepared` does.

    Of a frame of a `film`, it is the frame's own, in the film's unit.
    """
    return nose_tip(_cleaned(mesh, landmarks, geometry, film)[0])


def shown_axes(mesh: Mesh, landmarks: Landmarks | None, unit: float | str | None) -> tuple[Way, Way] | None:
    """The ways in which up and front of a file's mesh lie by what it shows; raises `MeshError` as `prepared` does."""
    return _clear_axes(_in_millimetres(mesh, _unit(mesh, unit)[0]), landmarks)


def shown_unit(mesh: Mesh) -> str:
    """The name of the unit that a file's mesh is taken to have by itself; raises `MeshError` as `prepared` does."""
    return next(filter(None, map(unit_in, _unit(mesh, "auto")[1])), USUAL)


def _clear_axes(mesh: Mesh, landmarks: Landmarks | None) -> tuple[Way, Way] | None:
    """As landmarks tell, or else the surface; None also where a mesh in millimetres without any is more than a head."""
    axes = None if landmarks is None else _face_axes(landmarks)
    if axes is not None:
        return nearest_ways(axes)
    return None if mesh.sides.max() > HEAD[1] else guess_axes(mesh)


def without_spikes(mesh: Mesh, medians: float) -> Mesh:
    """The mesh without the faces that have an edge longer than `medians` times the median edge."""
    a, b, c = (mesh.vertices[mesh.faces[:, corner]] for corner in range(3))
    edges = np.stack([np.linalg.norm(b - a, axis=1), np.linalg.norm(c - b, axis=1), np.linalg.norm(a - c, axis=1)])
    return _with_faces(mesh, edges.max(axis=0) <= medians * np.median(edges))


def cropped(mesh: Mesh, radius: float) -> Mesh:
    """The faces that lie as a whole within `radius` millimetres of the tip of the nose."""
    near = np.linalg.norm(mesh.vertices - nose_tip(mesh), axis=1) <= radius
    return _with_faces(mesh, near[mesh.faces].all(axis=1))


def with_holes_closed(mesh: Mesh, largest: int) -> Mesh:
    """The mesh with each hole of at most `largest` edges closed by triangles around its middle.

    Vertices at one place count as one, so that seams of the texture are no holes. The middle's colour and texture
    coordinates are the mean of those around it.
    """
    rims = [rim for rim in _rims(mesh) if len(rim) <= largest]
    if not rims:
        return mesh
    first = len(mesh.vertices)
    fans = [
        np.stack([np.roll(rim, -1), rim, np.full(len(rim), first + number)], axis=1) for number, rim in enumerate(rims)
    ]
    return replace(
        mesh,
        vertices=_with_means(mesh.vertices, rims),
        faces=np.concatenate([mesh.faces, *fans]).astype(np.int32),
        colors=None if mesh.colors is None else _with_means(mesh.colors, rims),
        uv=None if mesh.uv is None else _with_means(mesh.uv, rims),
    )


def _rims(mesh: Mesh) -> list[NDArray[np.int64]]:
    """The vertices around each hole, in the order in which the faces beside it run; tangled rims are left out."""
    _, welded = np.unique(mesh.vertices, axis=0, return_inverse=True)
    count = np.int64(len(mesh.vertices))
    own = mesh.faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2).astype(np.int64)
    edges = welded[own]
    open_edges = ~np.isin(edges[:, 0] * count + edges[:, 1], edges[:, 1] * count + edges[:, 0])
    after: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for (start, end), vertex in zip(edges[open_edges].tolist(), own[open_edges, 0].tolist(), strict=True):
        after[start].append((end, vertex))
    rims = []
    while after:
        start = next(iter(after))
        rim, place, tangled = [], start, False
        while place in after:
            ways = after.pop(place)
            tangled |= len(ways) > 1
            place, vertex = ways[0]
            rim.append(vertex)
        if place == start and not tangled and len(rim) > 2:
            rims.append(np.array(rim))
    return rims


def _with_means(values: NDArray[Number], rims: list[NDArray[np.int64]]) -> NDArray[Number]:
    means = np.array([values[rim].mean(axis=0) for rim in rims])
    return np.concatenate([values, means.astype(values.dtype)])


def _with_faces(mesh: Mesh, kept: NDArray[np.bool_]) -> Mesh:
    """The mesh with these faces only, and with the vertices that they use."""
    if not kept.any():
        raise MeshError("corpus.geometry leaves nothing of the mesh")
    used, renumbered = np.unique(mesh.faces[kept], return_inverse=True)
    return replace(
        mesh,
        vertices=mesh.vertices[used],
        faces=renumbered.reshape(-1, 3).astype(np.int32),
        colors=None if mesh.colors is None else mesh.colors[used],
        uv=None if mesh.uv is None else mesh.uv[used],
    )


def _unit(mesh: Mesh, told: float | str | None, film: FilmGuess | None = None) -> tuple[float, tuple[str, ...]]:
    """Millimetres per unit, and what was guessed of it if it is not plain."""
    if told != "auto":
        return (1.0 if told is None else float(told)), ()
    unit, name = guess_unit(mesh)
    if film is not None and film.unit is not None:
        unit, name = film.unit
    return unit, () if unit == 1.0 else (f"taken to be in {name} (corpus.geometry.unit: {unit:g})",)


def _turn(
    mesh: Mesh, geometry: Geometry, landmarks: Landmarks | None
) -> tuple[NDArray[np.float32] | None, tuple[str, ...]]:
    """What turns the mesh upright and to the front, where anything does, and what was guessed of it."""
    if isinstance(geometry.axes, Axes):
        return turn_to(Way.named(geometry.axes.up), Way.named(geometry.axes.front)), ()
    ways = None if geometry.axes is None else _clear_axes(mesh, landmarks)
    if ways is None or ways == UPRIGHT:
        return None, ()
    return turn_to(*ways), (f"turned upright (corpus.geometry.axes: {{up: {ways[0]}, front: {ways[1]}}})",)


def _with_face_found(mesh: Mesh) -> Mesh:
    """The mesh with the nose of a bust or a body, which is not its foremost point: it is looked for in the head."""
    height = float(mesh.sides[1])
    if mesh.nose is not None or height <= HEAD[1]:
        return mesh
    head = mesh.vertices[mesh.vertices[:, 1] >= mesh.vertices[:, 1].max() - _HEAD_HEIGHT]
    doubt = f"{height:.0f} mm tall, its face looked for at the top (rendering.framing: whole shows all of it)"
    return replace(mesh, nose=nose_tip(replace(mesh, vertices=head)), guesses=(*mesh.guesses, doubt))


def _with_nose_of_film(mesh: Mesh, nose: tuple[float, float, float]) -> Mesh:
    """The mesh with the nose where its film has it; it is said where the mesh shows another."""
    place = np.array(nose, dtype=np.float32)
    is_apart = np.linalg.norm(nose_tip(mesh) - place) > _OUT_OF_PLACE
    return replace(mesh, nose=place, guesses=(*mesh.guesses, *([_APART] if is_apart else [])))


def _placed_landmarks(landmarks: Landmarks, turn: NDArray[np.float32]) -> Landmarks:
    points = {part.name: getattr(landmarks, part.name) for part in fields(landmarks)}
    return replace(landmarks, **{name: None if point is None else point @ turn for name, point in points.items()})


def _check_places(mesh: Mesh, landmarks: Landmarks | None) -> None:
    """Raises `MeshError` where a landmark lies far from the mesh and was not cut off, or all lie too close together."""
    if landmarks is None:
        return
    points = _points(landmarks)
    distances = {name: float(np.linalg.norm(mesh.vertices - point, axis=1).min()) for name, point in points.items()}
    reach, size = _LANDMARK_REACH * mesh.sides.max(), _size_of_most(mesh)
    far = {name: distance for name, distance in distances.items() if distance > reach}
    if far and not _is_cut(mesh, landmarks, distances):
        name, distance = next(iter(far.items()))
        raise MeshError(
            f"landmarks: the {name.replace('_', ' ')} lies {distance:.3g} mm from the mesh, so they are in "
            "another unit or of another mesh; correct their file, or take it away"
        )
    apart = [points[name] for name in ("right_eye", "left_eye", "mouth") if name in points]
    spread = _spread(apart)
    if len(apart) > 1 and spread < _CLOSEST[HEAD[0] <= size < HEAD[1]] * size:
        raise MeshError(
            f"landmarks: eyes and mouth lie within {spread:.3g} mm on a mesh of {size:.3g} mm, so they are in another "
            "unit; correct their file, or take it away"
        )


def _is_cut(mesh: Mesh, landmarks: Landmarks, distances: Mapping[str, float]) -> bool:
    """Whether it is a part of the face that the landmarks are of, so that some are of what is cut off.

    Then others lie on the mesh, whose surface looks there where the face does, and none lies farther away than a face
    is large.
    """
    points, axes = _points(landmarks), _face_axes(landmarks)
    largest = min(_ON_MESH[0] * _size_of_most(mesh), _ON_MESH[1])
    on_mesh = [points[name] for name, distance in distances.items() if distance <= largest]
    if axes is None or len(on_mesh) < 2 or max(distances.values()) > _spread([*points.values()]):
        return False
    corners = mesh.vertices[mesh.faces].astype(np.float64)
    around = np.min([np.linalg.norm(corners[:, 0] - point, axis=1) for point in on_mesh], axis=0) <= 2 * largest
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])[around].sum(axis=0)
    return bool(abs(normal @ axes[2]) > _TURNED * np.linalg.norm(normal))


def _points(landmarks: Landmarks) -> dict[str, Vector]:
    """Those that are marked, by name."""
    named = {part.name: getattr(landmarks, part.name) for part in fields(landmarks)}
    return {name: point.astype(np.float64) for name, point in named.items() if point is not None}


def _spread(points: Sequence[Vector]) -> float:
    """The distance of those of some points that are farthest from each other."""
    return max((float(np.linalg.norm(one - other)) for one, other in combinations(points, 2)), default=0.0)


def _size_of_most(mesh: Mesh) -> float:
    """The mesh's longest side without the outermost vertices, of which some may be spikes."""
    inner = np.percentile(mesh.vertices.astype(np.float64), _INNER, axis=0)
    return float((inner[1] - inner[0]).max())


def _in_millimetres(mesh: Mesh, unit: float) -> Mesh:
    if unit == 1.0:
        return mesh
    with np.errstate(over="ignore"):
        return replace(
            mesh,
            vertices=mesh.vertices * np.float32(unit),
            nose=None if mesh.nose is None else mesh.nose * np.float32(unit),
        )


def _nose_and_axes(mesh: Mesh, landmarks: Landmarks | None) -> tuple[NDArray[np.float32] | None, Vector | None]:
    """The tip of the nose, and the face's own axes as rows (x to its left, y up, z out); none where not known.

    y runs from the mouth to the middle of the eyes, z is normal to the plane of eyes and mouth. Raises `MeshError`
    where the nose lies behind that plane.
    """
    if landmarks is None:
        return mesh.nose, None
    mouth, nose, nose_middle = map(_precise, (landmarks.mouth, landmarks.nose, landmarks.nose_middle))
    axes = _face_axes(landmarks)
    _check_sides(axes, mouth, nose_middle if nose is None else nose)
    if nose is None and nose_middle is not None and axes is not None:
        vertices = mesh.vertices.astype(np.float64)
        near = np.linalg.norm(vertices - nose_middle, axis=1) <= _NOSE_REACH
        if near.any():
            nose = vertices[np.where(near, vertices @ axes[2], -np.inf).argmax()]
    return (mesh.nose if nose is None else nose.astype(np.float32)), axes


def _check_sides(axes: Vector | None, mouth: Vector | None, nose: Vector | None) -> None:
    if axes is None or mouth is None or nose is None:
        return
    if (nose - mouth) @ axes[2] < -_NOSE_BEHIND:
        raise MeshError("landmarks: the nose lies behind the eyes and the mouth, so left and right are swapped in them")


def _face_axes(landmarks: Landmarks) -> Vector | None:
    """The face's own axes as rows (x to its left, y up, z out); none unless both eyes and the mouth tell them."""
    right, left, mouth = map(_precise, (landmarks.right_eye, landmarks.left_eye, landmarks.mouth))
    if right is None or left is None or mouth is None:
        return None
    up = (right + left) / 2 - mouth
    out = np.cross(left - right, up)
    if min(np.linalg.norm(up), np.linalg.norm(out)) < 1e-9:
        return None
    up, out = up / np.linalg.norm(up), out / np.linalg.norm(out)
    return np.stack([np.cross(up, out), up, out])


def _precise(point: NDArray[np.float32] | None) -> Vector | None:
    return None if point is None else point.astype(np.float64)


def _turned(mesh: Mesh, turn: NDArray[np.float32]) -> Mesh:
    return replace(mesh, vertices=mesh.vertices @ turn, nose=None if mesh.nose is None else mesh.nose @ turn)


def _centred(mesh: Mesh) -> Mesh:
    """The mesh with the tip of its nose at the origin."""
    return replace(mesh, vertices=mesh.vertices - nose_tip(mesh), nose=np.zeros(3, dtype=np.float32))
