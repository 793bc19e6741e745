"""What a mesh alone tells of its unit and of its axes: guesses, made only where they are clear."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from polyview.corpus.mesh import Mesh, MeshError, middle_half
from polyview.corpus.symmetry import is_alike_across

Points = NDArray[np.float64]

UNITS = {"metres": 1000.0, "centimetres": 10.0, "millimetres": 1.0, "micrometres": 0.001}
HEAD, BUST, BODY = (100.0, 450.0), (450.0, 1000.0), (1000.0, 2300.0)
"""Millimetres that the longest side of a face or head has, of one with shoulders, and of a whole person."""

_UNIT_CUBE, _HEAD_HEIGHT = (0.9, 2.1), 220.0
_SLIM, _NARROW, _FLAT = 3.5, 2.2, 5.0
"""A mesh so many times as long as it is deep is a person rather than a head. Where it would be a head in another unit,
it is so many times as long as wide too, or that many times as long as deep: a mask of a face is not that narrow.
"""
_OPEN = 0.3
"""Share of its area that a scan of a face turns to one side; a closed head turns none."""
_STRAIGHT = 0.85
_CLEAR = 1.4
"""How many times as good the better of two readings must be to be believed."""
_BULGING = 0.3
"""How closely the depth of a face goes with the distance from its middle, at least; that of a flat piece does not."""
_ENOUGH_POINTS, _ENOUGH_FACES = 10_000, 4_000
"""A mesh shows its unit and axes in so many that are spread over it."""
_GRID = 24
_FACE, _BRIDGE, _BESIDE = 60.0, 6.0, 14.0
"""Millimetres around the tip of a nose in which the face is, to both sides of it its bridge, and to its steep end."""
_MOST = 0.75
_AT_ITS_SIDE = 0.12
"""Share of a mesh's width from its end within which the nose of half a face is; that of a whole one, if that is turned
by 40 degrees.
"""
_FEW = 5
_RARE = 0
"""The axis that hardly any program has upwards: with x there, a face lies on its side."""
_FAR_LONGER = 1.4


class Way(NamedTuple):
    """An axis of the file, 0 to 2, and the way along it, 1 or -1."""

    axis: int
    sign: int

    @classmethod
    def named(cls, name: str) -> Way:
        """That which a recipe calls such as -y."""
        return cls("xyz".index(name[-1]), -1 if name.startswith("-") else 1)

    def __str__(self) -> str:
        return ("-" if self.sign < 0 else "") + "xyz"[self.axis]

    @property
    def vector(self) -> NDArray[np.float32]:
        """(3,) of length one."""
        direction = np.zeros(3, np.float32)
        direction[self.axis] = self.sign
        return direction


UPRIGHT = (Way.named("y"), Way.named("z"))


def turn_to(up: Way, front: Way) -> NDArray[np.float32]:
    """(3, 3) what turns points in rows (points @ turn) so that `up` becomes y and `front` becomes z."""
    return np.stack([np.cross(up.vector, front.vector), up.vector, front.vector], axis=1)


def nearest_ways(axes: Points) -> tuple[Way, Way]:
    """The ways of up and front that are nearest to a face's own axes, which are rows: left, up and out."""
    _, up, front = axes
    upright = int(np.abs(up).argmax())
    out = int(np.abs(np.where(np.arange(3) == upright, 0, front)).argmax())
    return Way(upright, 1 if up[upright] > 0 else -1), Way(out, 1 if front[out] > 0 else -1)


def extent(mesh: Mesh) -> str:
    """The mesh's sides in words, such as 0.14 x 0.18 x 0.076."""
    return " x ".join(f"{side:.3g}" for side in mesh.sides)


def guess_unit(mesh: Mesh) -> tuple[float, str]:
    """Millimetres per unit of the file, and the unit's name; raises `MeshError` where no unit makes it a head."""
    sides = mesh.sides
    longest = float(sides.max())
    if _is_of_person(sides) and (person := _unit_within(longest, BODY)):
        return person
    if head := _unit_within(longest, HEAD):
        return head
    if _UNIT_CUBE[0] <= longest <= _UNIT_CUBE[1]:
        return _HEAD_HEIGHT / longest, "a unit cube"
    if more := _unit_within(longest, BUST) or _unit_within(longest, BODY):
        return more
    raise MeshError(
        f"{extent(mesh)} units large, which is no head in {', '.join(UNITS)} or a unit cube; "
        "set corpus.geometry.unit to the millimetres of one unit"
    )


def _is_of_person(sides: Points) -> bool:
    smallest, middle, longest = np.sort(sides).tolist()
    narrow = longest > _NARROW * middle or _unit_within(longest, HEAD) is None
    return longest > _FLAT * smallest or (longest > _SLIM * smallest and narrow)


def _unit_within(longest: float, sizes: tuple[float, float]) -> tuple[float, str] | None:
    fitting = [(unit, name) for name, unit in UNITS.items() if sizes[0] <= longest * unit < sizes[1]]
    return fitting[0] if fitting else None


def guess_axes(mesh: Mesh) -> tuple[Way, Way] | None:
    """The ways in which up and front of a face or head lie; None where it does not show.

    An open scan looks where its surface does and bulges; of a closed head, the nose is the sharpest of its ends. The
    surface is alike on both sides of the axis from ear to ear; a nose falls off steeper below its tip than above.
    """
    points = mesh.vertices[:: max(1, len(mesh.vertices) // _ENOUGH_POINTS)].astype(np.float64)
    front = _front_of_scan(mesh) or _front_of_head(points)
    if front is None:
        return None
    others = [axis for axis in range(3) if axis != front.axis]
    lopsided = [_lopsidedness(points, across=others[one], along=others[1 - one], front=front) for one in (0, 1)]
    upright = others[0] if lopsided[1] < lopsided[0] else others[1]
    if max(lopsided) < _CLEAR * min(lopsided):
        upright = max(others, key=lambda axis: float(np.ptp(points[:, axis])))
    if upright == _RARE and not _is_upright(points, upright, others[0] if upright == others[1] else others[1], front):
        upright = others[0] if upright == others[1] else others[1]
    return Way(upright, _upward(points, upright, front)), front


def _is_upright(points: Points, upright: int, across: int, front: Way) -> bool:
    """Whether what is hardly ever so is so: the mesh is far longer along an axis than across, or its face shows it.

    A face with its ears and neck, or with a box around it, is as wide as it is tall.
    """
    sides = np.ptp(points, axis=0)
    return bool(sides[upright] >= _FAR_LONGER * sides[across]) or is_alike_across(
        points, across, upright, front.vector.astype(np.float64)
    )


def _front_of_scan(mesh: Mesh) -> Way | None:
    """Where an open surface looks: along the axis that its area is turned to, to the side to which it bulges."""
    corners = mesh.vertices[mesh.faces[:: max(1, len(mesh.faces) // _ENOUGH_FACES)]].astype(np.float64)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    areas, whole = np.linalg.norm(normals, axis=1), normals.sum(axis=0)
    size = np.linalg.norm(whole)
    axis = int(np.abs(whole).argmax())
    if size < _OPEN * areas.sum() or abs(whole[axis]) < _STRAIGHT * size:
        return None
    middles = corners.mean(axis=1) - np.average(corners.mean(axis=1), axis=0, weights=areas)
    outward = (np.delete(middles, axis, axis=1) ** 2).sum(axis=1)
    spread = middles[:, axis].std() * outward.std()
    bulge = -float(np.average(middles[:, axis] * (outward - np.average(outward, weights=areas)), weights=areas))
    if abs(bulge) <= _BULGING * spread:
        return None
    return Way(axis, 1 if bulge > 0 else -1)


def _front_of_head(points: Points) -> Way | None:
    """The end with the smallest tip, compared with the end across from it: a nose, across from the back of a head."""
    tips = {Way(axis, sign): _tip(points, axis, sign) for axis in range(3) for sign in (1, -1)}
    sharpness = {way: tips[Way(way.axis, -way.sign)] / size if size else 0.0 for way, size in tips.items()}
    best = max(sharpness, key=sharpness.__getitem__)
    if sharpness[best] < 2 * _CLEAR:
        return None
    return Way(2, 1) if sharpness[Way(2, 1)] * _CLEAR > sharpness[best] else best


def shows_backs(mesh: Mesh) -> bool:
    """Whether most of the triangles that lie foremost turn their backs to the front, as they are wound."""
    a, b, c = mesh.vertices[mesh.faces[:: max(1, len(mesh.faces) // _ENOUGH_FACES)]].astype(np.float64).swapaxes(0, 1)
    forward = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    middles = (a + b + c) / 3
    order = middles[:, 2].argsort()
    foremost = np.zeros(_GRID * _GRID)
    foremost[_cells(middles[order, :2])] = forward[order]  # of those in one cell, the last and foremost stays
    return bool(np.count_nonzero(foremost < 0) > _MOST * np.count_nonzero(foremost))


def lies_to_one_side(mesh: Mesh) -> bool:
    """Whether what lies foremost, as a nose does, is at the left or the right end of the mesh: as of half a face."""
    points = mesh.vertices
    count = max(_FEW, len(points) // 200)
    if len(points) <= count:
        return False
    across = points[:, 0].astype(np.float64)
    foremost = float(np.median(across[np.argpartition(points[:, 2], -count)[-count:]]))
    share = (foremost - across.min()) / max(float(np.ptp(across)), 1e-9)
    return not _AT_ITS_SIDE < share < 1 - _AT_ITS_SIDE


def _tip(points: Points, axis: int, sign: int) -> float:
    """How wide the end of the surface is there: the spread of what lies within a fortieth of its depth.

    Nothing where too few points lie there: a spike is no nose.
    """
    depth = sign * points[:, axis]
    end = points[depth > depth.max() - np.ptp(depth) / 40]
    if len(end) < _FEW:
        return 0.0
    return float(np.delete(end, axis, axis=1).std(axis=0).prod() ** 0.5)


def _lopsidedness(points: Points, across: int, along: int, front: Way) -> float:
    """How much the relief differs from its mirror image across an axis."""
    relief = _relief(points, across, along, front)
    return float(np.nanmean(np.abs(relief - relief[::-1]))) / max(float(np.nanstd(relief)), 1e-9) + 1e-3


def _relief(points: Points, across: int, along: int, front: Way) -> Points:
    """(G, G) how far the surface comes forward in each cell of a grid; nan where it is not."""
    relief = np.full(_GRID * _GRID, -np.inf)
    np.maximum.at(relief, _cells(points[:, [across, along]]), front.sign * points[:, front.axis])
    return np.where(np.isfinite(relief), relief, np.nan).reshape(_GRID, _GRID)


def _cells(flat: Points) -> NDArray[np.int64]:
    """The number of the grid's cell in which each of (N, 2) places lies."""
    places = (flat - flat.min(axis=0)) / np.maximum(np.ptp(flat, axis=0), 1e-9) * (_GRID - 1e-6)
    cells: NDArray[np.int64] = places.astype(np.int64) @ np.array([_GRID, 1])
    return cells


def _upward(points: Points, upright: int, front: Way) -> int:
    """The way up along an axis: that along which the nose falls off less; the axis's own where that is not clear.

    The lean of the face is taken out first: of one that looks up, the forehead falls off as steeply as below a nose.
    """
    height, sideways, forward = points[:, upright], points[:, 3 - upright - front.axis], points[:, front.axis]
    forward = front.sign * forward
    middle = middle_half(height) & middle_half(sideways)
    if not middle.any():  # there is no surface in the middle, and so no nose
        return 1
    foremost = points[np.where(middle, forward, -np.inf).argmax()]
    around = np.linalg.norm(points - foremost, axis=1) <= _FACE
    offset = height - height[around].mean()
    forward = forward - offset * (offset @ (forward * around)) / max(float(offset**2 @ around), 1e-9)
    tip = np.where(middle & around, forward, -np.inf).argmax()
    bridge = np.abs(sideways - sideways[tip]) <= _BRIDGE
    above, below = (bridge & (np.abs(height - height[tip] - side) <= _BESIDE / 2) for side in (_BESIDE, -_BESIDE))
    if not (above.any() and below.any()):
        return 1
    falls = [float(forward[tip] - np.median(forward[beside])) for beside in (above, below)]
    return -1 if falls[0] > _CLEAR * falls[1] else 1
