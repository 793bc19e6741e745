"""Small heads of which everything is known, and whether a mesh that was read is the same surface with the same look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from polyview.corpus.mesh import Mesh

Points = NDArray[np.float64]
Colors = NDArray[np.uint8]
Polygon = tuple[int, ...]
Triangle = tuple[int, ...]
"""Three numbers of places, the lowest first and the others in the order in which they are seen from outside."""

PLAIN = (199, 199, 199)
"""What a part without a look shows beside parts that have one."""
WITHIN = np.array([(1, 1, 1), (4, 1, 1), (1, 4, 1), (1, 1, 4)]) / np.array([[3], [6], [6], [6]])
"""Where in a triangle its colours are compared."""
SECTORS, RINGS = 6, 5


@dataclass(frozen=True, eq=False)
class Part:
    """A closed surface, seen from outside counter-clockwise.

    points: (V, 3), millimetres; polygons: indices into points; places: (U, 2) texture coordinates, upward;
    laid: indices into places, in step with polygons.
    look: `none`, or what has the colours: `vertex` (V, 3), `face` (P, 3), `material` (1, 3), `picture` (H, W, 3).
    """

    points: Points
    polygons: list[Polygon]
    places: Points
    laid: list[Polygon]
    look: str
    colors: Colors

    def seen(self) -> tuple[list[Polygon], NDArray[np.float64]]:
        """The triangles that the polygons are, fan by fan, and their colours (T, 4, 3) at the places within."""
        triangles = [fan for polygon in self.polygons for fan in fans(polygon)]
        of_polygon = [number for number, polygon in enumerate(self.polygons) for _ in fans(polygon)]
        corners = np.array(triangles)
        match self.look:
            case "vertex":
                shown = WITHIN @ self.colors[corners].astype(np.float64)
            case "face":
                shown = self.colors[of_polygon][:, np.newaxis].repeat(len(WITHIN), axis=1)
            case "picture":
                own = np.array([fan for polygon in self.laid for fan in fans(polygon)])
                shown = looked_up(self.colors, WITHIN @ self.places[own])
            case _:
                shown = np.broadcast_to(self.colors[0], (len(corners), len(WITHIN), 3))
        return triangles, shown.astype(np.float64)

    def with_own_places(self) -> Part:
        """The same with a point for each pair of a point and a texture coordinate, so that one index serves both."""
        pairs = sorted(
            {pair for both in zip(self.polygons, self.laid, strict=True) for pair in zip(*both, strict=True)}
        )
        number = {pair: place for place, pair in enumerate(pairs)}
        polygons = [
            tuple(number[pair] for pair in zip(*both, strict=True))
            for both in zip(self.polygons, self.laid, strict=True)
        ]
        points, places = (list(column) for column in zip(*pairs, strict=True))
        colors = self.colors[points] if self.look == "vertex" else self.colors
        return Part(self.points[points], polygons, self.places[places], polygons, self.look, colors)

    def turned_inside_out(self) -> Part:
        """The same polygons, each from the same corner in the other direction."""
        return replace(
            self,
            polygons=[polygon[:1] + polygon[:0:-1] for polygon in self.polygons],
            laid=[polygon[:1] + polygon[:0:-1] for polygon in self.laid],
        )

    def in_triangles(self) -> Part:
        """The same with the triangles of its polygons as polygons."""
        kept = [number for number, polygon in enumerate(self.polygons) for _ in fans(polygon)]
        return replace(
            self,
            polygons=[fan for polygon in self.polygons for fan in fans(polygon)],
            laid=[fan for polygon in self.laid for fan in fans(polygon)],
            colors=self.colors[kept] if self.look == "face" else self.colors,
        )


def fans(polygon: Polygon) -> list[Polygon]:
    """The triangles of a polygon, all with its first corner."""
    return [(polygon[0], *polygon[place : place + 2]) for place in range(1, len(polygon) - 1)]


def head(looks: Sequence[str], cut: str, plain: tuple[int, int, int] = PLAIN, tile: int = 0) -> list[Part]:
    """A head with a nose, and then an eye and a tooth, as many as there are looks.

    cut: `triangles`, `quads` (with caps of more corners), or `mixed`; plain: the colour of parts that have none;
    tile: how far from their picture, which repeats, texture coordinates lie.
    """
    forms = [((0.0, 0.0, 0.0), 90.0, 40.0), ((35.0, 25.0, 95.0), 14.0, 0.0), ((-5.0, -40.0, 100.0), 9.0, 0.0)]
    places, polygons, laid = _cut(cut)
    parts = []
    for number, ((centre, radius, nose), look) in enumerate(zip(forms, looks, strict=False)):
        points = np.array(centre) + radius * _ball()
        points[RINGS // 2 * SECTORS, 2] += nose
        count = {"vertex": len(points), "face": len(polygons)}.get(look, 1)
        colors = np.array([plain], np.uint8) if look == "none" else _colors(look, count, number)
        parts.append(Part(points, polygons, places + np.array([tile, -number * tile]), laid, look, colors))
    return parts


def _ball() -> Points:
    ring, sector = np.divmod(np.arange(RINGS * SECTORS), SECTORS)
    down, around = 0.4 + ring * (np.pi - 0.8) / (RINGS - 1), 2 * np.pi * sector / SECTORS
    return np.column_stack([np.sin(down) * np.sin(around), 1.25 * np.cos(down), np.sin(down) * np.cos(around)])


def _cut(cut: str) -> tuple[Points, list[Polygon], list[Polygon]]:
    """Texture coordinates, and the polygons of a ball in the numbers of points and of those."""
    row, column = np.divmod(np.arange(RINGS * (SECTORS + 1)), SECTORS + 1)
    places = np.column_stack([0.1 + 0.8 * column / SECTORS, 0.9 - 0.8 * row / (RINGS - 1)])
    every = {"triangles": 1, "mixed": 3}.get(cut, 1000)
    of_points, of_places = (
        [
            own
            for number, polygon in enumerate(polygons)
            for own in (fans(polygon) if number % every == every - 1 else [polygon])
        ]
        for polygons in _polygons()
    )
    return places, of_points, of_places


def _polygons() -> tuple[list[Polygon], list[Polygon]]:
    """Quads around, and a cap at either end; the same in the numbers of texture coordinates, which have a seam."""

    def around(width: int, ring: int, sector: int) -> Polygon:
        top, below = ring * width, (ring + 1) * width
        return top + sector % width, below + sector % width, below + (sector + 1) % width, top + (sector + 1) % width

    sites = [(ring, sector) for ring in range(RINGS - 1) for sector in range(SECTORS)]
    last, last_place = (RINGS - 1) * SECTORS, (RINGS - 1) * (SECTORS + 1)
    caps = [tuple(range(SECTORS)), tuple(range(last + SECTORS - 1, last - 1, -1))]
    laid = [tuple(range(SECTORS)), tuple(range(last_place + SECTORS - 1, last_place - 1, -1))]
    return (
        [around(SECTORS, *site) for site in sites] + caps,
        [around(SECTORS + 1, *site) for site in sites] + laid,
    )


def _colors(look: str, count: int, number: int) -> Colors:
    """Colours that no other part has."""
    if look == "picture":
        return pictured(number)
    if look == "material":
        return np.array([np.roll([210, 90, 30], number)], np.uint8)
    return np.random.default_rng(number).integers(90, 170, (count, 3)).astype(np.uint8)


def pictured(number: int) -> Colors:
    """A picture that is redder to the right and greener upward, and as blue as no other."""
    picture = np.empty((24 + 8 * number, 32, 3), np.uint8)
    picture[..., 0] = np.linspace(20, 230, 32)[np.newaxis]
    picture[..., 1] = np.linspace(220, 30, len(picture))[:, np.newaxis]
    picture[..., 2] = 40 + 80 * number
    return picture


def looked_up(picture: Colors, places: Points) -> Points:
    """(..., 3) what a picture shows at places (..., 2), upward, between its pixels."""
    height, width = picture.shape[:2]
    right, down = places[..., 0] % 1 * width - 0.5, (1 - places[..., 1] % 1) * height - 0.5
    left, top = np.floor(right).astype(int), np.floor(down).astype(int)
    share, below = (right - left)[..., np.newaxis], (down - top)[..., np.newaxis]
    rows, columns = (top % height, (top + 1) % height), (left % width, (left + 1) % width)
    upper, lower = (picture[row, columns[0]] * (1 - share) + picture[row, columns[1]] * share for row in rows)
    return upper * (1 - below) + lower * below


def differences(mesh: Mesh, parts: Sequence[Part], tolerance: float) -> list[str]:
    """What of a mesh is not as the parts are, in words; nothing where it is the same surface and shows the same.

    tolerance: levels by which colours may differ.
    """
    places = np.unique(np.concatenate([part.points for part in parts]).round(3), axis=0)
    tree: Any = cKDTree(places)
    truth: dict[Triangle, NDArray[np.float64]] = {}
    for part in parts:
        triangles, shown = part.seen()
        _, own = tree.query(part.points)
        truth |= dict(_keyed(own[np.array(triangles)], shown, places))
    far, own = tree.query(mesh.vertices.astype(np.float64))
    used = np.unique(mesh.faces)
    if len(used) and far[used].max() > 0.01:
        return [
            f"{(far[used] > 0.01).sum()} of {len(used)} vertices are where none should be, up to {far[used].max():g}"
        ]
    keyed = _keyed(own[mesh.faces], _shown(mesh), places)
    found = dict(keyed)
    if len(found) != len(keyed):
        return [f"{len(keyed) - len(found)} triangles are there twice"]
    if found.keys() != truth.keys():
        turned = {(a, c, b) for a, b, c in found.keys() - truth.keys()} & truth.keys()
        return [
            f"{len(truth.keys() - found.keys())} triangles of {len(truth)} are missing, "
            f"{len(found.keys() - truth.keys())} are added; {len(turned)} are turned inside out"
        ]
    if all(part.look == "none" for part in parts):
        return [] if mesh.colors is None and mesh.texture is None else ["shows colours, and the head has none"]
    wrong = [key for key in truth if np.abs(truth[key] - found[key]).max() > tolerance]
    if not wrong:
        return []
    key = wrong[0]
    return [f"{len(wrong)} of {len(truth)} triangles show wrong colours: {found[key].round()} not {truth[key].round()}"]


def _keyed(
    triangles: NDArray[np.int64], shown: NDArray[np.float64], places: Points
) -> list[tuple[Triangle, NDArray[np.float64]]]:
    """Each triangle that has an area, with its colours in the order of its corners."""
    keyed = []
    for triangle, colors in zip(triangles.tolist(), shown, strict=True):
        a, b, c = places[triangle]
        if np.linalg.norm(np.cross(b - a, c - a)) > 1e-3:
            first = triangle.index(min(triangle))
            keyed.append(
                (
                    tuple(np.roll(triangle, -first).tolist()),
                    np.concatenate([colors[:1], np.roll(colors[1:], -first, 0)]),
                )
            )
    return keyed


def _shown(mesh: Mesh) -> NDArray[np.float64]:
    """(F, 4, 3) the colours of a mesh at the places within each of its triangles."""
    if mesh.uv is not None and mesh.texture is not None:
        return looked_up(mesh.texture, WITHIN @ mesh.uv[mesh.faces].astype(np.float64))
    if mesh.colors is not None:
        return WITHIN @ mesh.colors[mesh.faces].astype(np.float64)
    return np.broadcast_to(np.array(PLAIN, np.float64), (len(mesh.faces), len(WITHIN), 3))
