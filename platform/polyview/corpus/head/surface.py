"""The average head with eyes and lips closed: a grid around the head, cut open along both eyes and the mouth,
with eyeballs, teeth, the inside of the mouth and ears as parts of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

from polyview.corpus.head import landmarks as at

Array = NDArray[np.float64]

# Height of a row in the middle of the face: half width, depth of the front, depth of the back, rise to the sides.
_PROFILE = np.array(
    [
        (140.0, 3.0, 3.0, 3.0, 0.0),
        (137.5, 24.0, 26.0, 28.0, 0.0),
        (133.0, 38.0, 42.0, 46.0, 0.0),
        (125.0, 52.0, 58.0, 64.0, 0.0),
        (108.0, 66.0, 77.0, 83.0, 0.0),
        (90.0, 72.5, 86.0, 92.0, 0.0),
        (70.0, 75.0, 90.5, 96.0, 0.0),
        (55.0, 75.0, 91.0, 97.0, 0.0),
        (40.0, 73.5, 87.5, 95.0, 0.0),
        (20.0, 71.5, 86.0, 90.0, 0.0),
        (0.0, 69.5, 86.0, 80.0, 0.0),
        (-20.0, 66.5, 88.0, 70.0, 0.6),
        (-36.0, 63.5, 89.0, 65.0, 3.5),
        (-50.0, 61.0, 87.0, 62.0, 10.5),
        (-65.0, 58.5, 86.0, 60.0, 22.0),
        (-74.0, 56.5, 83.0, 60.0, 29.0),
        (-79.0, 53.0, 76.0, 60.0, 31.0),
        (-82.0, 50.0, 64.0, 60.0, 30.0),
        (-86.0, 48.0, 52.0, 60.0, 26.0),
        (-95.0, 49.0, 44.0, 60.0, 15.0),
        (-120.0, 53.0, 42.0, 62.0, 0.0),
    ]
)
_ROWS = (  # from, to, spacing
    (140.0, 124.0, 3.2),
    (124.0, 66.0, 4.4),
    (66.0, 45.0, 1.9),
    (45.0, at.EYE_Y, 1.35),
    (at.EYE_Y, 26.0, 1.35),
    (26.0, 4.0, 2.4),
    (4.0, -13.0, 1.5),
    (-13.0, -23.0, 2.0),
    (-23.0, at.MOUTH_Y, 1.3),
    (at.MOUTH_Y, -43.0, 1.3),
    (-43.0, -79.0, 2.8),
    (-79.0, -120.0, 4.0),
)
FACE, EYEBALL, UPPER_MOUTH, LOWER_MOUTH, EAR = range(5)


@dataclass(frozen=True, eq=False)
class Surface:
    """Vertices of the average head at rest, eyes and lips closed, and what is known of each.

    vertices: (V, 3); anchors: (V, 3) the place on the face that a vertex follows (an eyeball's is its centre)
    faces: (F, 3); part: (V,) one of FACE, EYEBALL, ...; side: (V,) +1 above a cut, -1 below it, else 0
    azimuth: (V,) degrees from the middle of the face, 0 to 180
    shade: (V,) what the teeth, mouth, iris painters need to know of a vertex: a code of the part's own
    """

    vertices: Array
    anchors: Array
    faces: NDArray[np.int32]
    part: NDArray[np.int8]
    side: NDArray[np.int8]
    azimuth: Array
    shade: NDArray[np.int8]

    @property
    def front(self) -> Array:
        """(V,) 1 on the face, falling to 0 at the ears and behind."""
        return smoothstep(5.0, 45.0, self.anchors[:, 2])


@cache
def average_surface() -> Surface:
    """The average head at rest; made once per process."""
    pieces = [
        _skin(),
        *(_eyeball(sign) for sign in (1, -1)),
        *_mouth(),
        *(_ear(sign) for sign in (1, -1)),
    ]
    return _joined(pieces)


def smoothstep(low: float, high: float, value: Array) -> Array:
    """0 at `low`, 1 at `high` (which may be the smaller), smooth between."""
    t = np.clip((value - low) / (high - low), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def bump(x: Array, y: Array, centre: tuple[float, float], width: tuple[float, float]) -> Array:
    """A Gaussian of height 1 with these standard deviations."""
    return np.exp(-0.5 * (((x - centre[0]) / width[0]) ** 2 + ((y - centre[1]) / width[1]) ** 2))


def eye_surface(dx: Array, dy: Array, sign: Array | float, margin: float = 0.0) -> Array:
    """Height of the eyeball's front over its centre, `margin` outside of it; NaN beside it.

    An ellipsoid wider than the eye is, so that the white reaches both corners, sheared back to the temple.
    """
    a, b, c = (axis + margin for axis in at.EYE_AXES)
    with np.errstate(invalid="ignore"):
        height: Array = c * np.sqrt(1.0 - (dx / a) ** 2 - (dy / b) ** 2) - at.EYE_SHEAR * sign * dx
    return height


def relief(x: Array, y: Array) -> Array:
    """How far the face stands out of the plain head at (x, y)."""
    ax = np.abs(x)

    def b(height: float, cx: float, cy: float, sx: float, sy: float) -> Array:
        return height * bump(ax, y, (cx, cy), (sx, sy))

    brows = b(3.0, 22, 54, 17, 6) + b(1.5, 0, 52, 8, 6) - b(2.5, 66, 62, 10, 18)
    sockets = -b(6.5, 30, 37, 13, 8.5) - b(5.0, 14, 38, 5, 8) + b(3.0, 49, 34, 5, 8)
    cheeks = b(3.5, 44, 12, 13, 11) - b(2.0, 46, -28, 12, 16) - b(1.5, 27, -14, 5, 12)
    mouth = b(2.0, 0, -28, 20, 14) - b(2.2, 28, -33, 4, 5) - b(1.0, 0, -18, 2.6, 5) + b(0.6, 4.5, -19, 2, 5)
    lips = (
        b(4.5, 0, -27.6, 14, 3.0)
        + b(5.5, 0, -37.0, 13, 3.6)
        - b(3.5, 0, at.MOUTH_Y, 18, 1.2) * smoothstep(28.0, 18.0, ax)
    )
    chin = -b(4.0, 0, -48.5, 17, 4.5) + b(5.5, 0, -66, 13, 9)
    return brows + sockets + cheeks + mouth + lips + chin + _nose(ax, y)


def _nose(ax: Array, y: Array) -> Array:
    ridge = PchipInterpolator(
        [-15, -12, -9.5, -6, -2.5, 2, 10, 25, 38, 46, 56], [0, 2.5, 7, 14.5, 18.5, 18.3, 14.5, 9, 3.5, 1, 0]
    )
    width = np.interp(y, [-13, -6, 0, 10, 25, 42], [4.0, 6.0, 8.5, 8.0, 7.0, 8.0])
    # The lower edge rises from the tip to the wings.
    level = np.clip(y - 0.028 * ax**2 * smoothstep(6.0, -4.0, y), -15, 56)
    height = ridge(level)
    flank = np.exp(-((ax / width) ** 2))
    root = 3.0 * bump(ax, y, (0, 8), (16, 16))
    wings = 10.5 * bump(ax, y, (12.2, -2.0), (4.0, 4.0)) - 1.5 * bump(ax, y, (17.5, 2.5), (3, 4))
    tip = 2.5 * bump(ax, y, (0, 0.0), (7.5, 5.5))
    return height * flank + root + wings + tip - 2.5 * bump(ax, y, at.NOSTRIL, (2.6, 1.8))


def skin_height(x: Array, y: Array) -> Array:
    """z of the front of the average face at (x, y), for what is put behind it."""
    half, depth = (PchipInterpolator(_PROFILE[::-1, 0], _PROFILE[::-1, i])(y) for i in (1, 2))
    return depth * np.sqrt(np.clip(1 - (x / half) ** 2, 0, 1)) + relief(x, y)


def _columns() -> Array:
    """Azimuths in radians, from the back over the subject's right, the face and the left, symmetric."""
    side = np.arcsin(np.arange(0.015, 0.72, 0.030))
    temple = np.linspace(side[-1], np.pi / 2, 14)[1:]
    back = np.linspace(np.pi / 2, np.pi, 11)[1:-1]
    half = np.concatenate([side, temple, back])
    return np.concatenate([-half[::-1], half])


def _row_heights() -> Array:
    pieces = [np.linspace(top, low, max(round((top - low) / step), 1) + 1)[:-1] for top, low, step in _ROWS]
    return np.concatenate([*pieces, [_ROWS[-1][1]]])


def _skin() -> Surface:
    azimuth, height = (grid.ravel() for grid in np.meshgrid(_columns(), _row_heights()))
    half, front, back, rise = (PchipInterpolator(_PROFILE[::-1, 0], _PROFILE[::-1, i])(height) for i in range(1, 5))
    cosine = np.cos(azimuth)
    x = half * np.sin(azimuth)
    y = height + rise * (1.0 - np.clip(cosine, 0.0, 1.0))
    z = np.where(cosine > 0, front, back) * cosine
    z = z + relief(x, y) * smoothstep(10.0, 55.0, z)
    y = y + 1.2 * bump(np.abs(x), y, (0, -8.5), (12, 2.2))
    vertices = np.stack([x, y, z], axis=1)
    columns, rows = len(_columns()), len(_row_heights())
    faces = _grid_faces(rows, columns, closed=True)
    crown = np.array([[0.0, 140.6, 0.0]])
    fan = [(len(vertices), i, (i + 1) % columns) for i in range(columns)]
    skin = _piece(
        np.concatenate([vertices, crown]), np.concatenate([faces, fan]), FACE, azimuth=np.append(np.abs(azimuth), 0.0)
    )
    return _cut(skin, columns)


def _cut(skin: Surface, columns: int) -> Surface:
    """Open the skin along the eyes and the mouth: each vertex on a cut is doubled, the lower faces take the double."""
    x = skin.vertices[:, 0]
    row = np.arange(len(x)) // columns
    eye_row, mouth_row = (int(np.argmin(np.abs(_row_heights() - height))) for height in (at.EYE_Y, at.MOUTH_Y))
    on_eye = (row == eye_row) & (np.abs(np.abs(x) - at.EYE_X) < at.EYE_HALF_WIDTH)
    on_mouth = (row == mouth_row) & (np.abs(x) < at.MOUTH_HALF_WIDTH)
    cut = np.flatnonzero((on_eye | on_mouth) & (skin.vertices[:, 2] > 0))
    double = np.arange(len(x))
    double[cut] = len(x) + np.arange(len(cut))
    below = np.isin(row[skin.faces].min(axis=1), (eye_row, mouth_row))
    faces = np.where(below[:, None], double[skin.faces], skin.faces)
    side = np.zeros(len(x) + len(cut), dtype=np.int8)
    side[cut], side[len(x) :] = 1, -1
    return Surface(
        vertices=np.concatenate([skin.vertices, skin.vertices[cut]]),
        anchors=np.concatenate([skin.anchors, skin.anchors[cut]]),
        faces=faces.astype(np.int32),
        part=np.concatenate([skin.part, skin.part[cut]]),
        side=side,
        azimuth=np.concatenate([skin.azimuth, skin.azimuth[cut]]),
        shade=np.concatenate([skin.shade, skin.shade[cut]]),
    )


PUPIL, IRIS, LIMBUS, WHITE = range(4)
_RINGS = (  # radius in millimetres; two rings in one place make a sharp edge
    (1.1, PUPIL),
    (2.2, PUPIL),
    (2.2, IRIS),
    (4.6, IRIS),
    (5.9, LIMBUS),
    (5.9, WHITE),
    (8.0, WHITE),
    (10.0, WHITE),
    (12.0, WHITE),
    (13.2, WHITE),
)


def _eyeball(sign: int) -> Surface:
    spokes = 24
    angle = np.arange(spokes) * 2 * np.pi / spokes
    points, codes = [np.zeros((1, 2))], [PUPIL]
    for radius, code in _RINGS:
        stretch = 1.0 + smoothstep(5.9, 13.2, np.array([radius])) * (at.EYE_AXES[0] / at.EYE_AXES[1] - 1.0)
        points.append(np.stack([radius * stretch * np.cos(angle), radius * np.sin(angle)], axis=1))
        codes += [code] * spokes
    dx, dy = np.concatenate(points).T
    centre = np.array([sign * at.EYE_X, *at.EYE_CENTRE])
    vertices = centre + np.stack([dx, dy, eye_surface(dx, dy, float(sign))], axis=1)
    around = np.arange(spokes)
    fan = np.stack([np.zeros(spokes, dtype=int), 1 + around, 1 + (around + 1) % spokes], axis=1)
    rings = _grid_faces(len(_RINGS), spokes, closed=True)
    radii = np.repeat([radius for radius, _ in _RINGS], spokes)
    rings = 1 + rings[np.ptp(radii[rings], axis=1) > 0]
    anchors = np.broadcast_to([sign * at.EYE_X, at.EYE_Y, 80.0], vertices.shape)
    return _piece(vertices, np.concatenate([fan, rings]), EYEBALL, anchors=anchors, shade=np.array(codes))


TOOTH, GAP, GUM, THROAT = range(4)


def _mouth() -> tuple[Surface, ...]:
    upper = _teeth((-25.0, -28.0, -31.0, -34.0), -25.0, UPPER_MOUTH)
    lower = _teeth((-35.0, -38.0, -41.5, -45.0), -45.0, LOWER_MOUTH)
    return (upper, lower, *_throat())


def _teeth(heights: Sequence[float], gum: float, part: int) -> Surface:
    """An arch of teeth whose row of vertices at height `gum` is gum."""
    x, y = (grid.ravel() for grid in np.meshgrid(np.linspace(-22.0, 22.0, 23), np.array(heights)))
    gap = np.arange(len(x)) % 23 % 4 == 3
    codes = np.select([y == gum, gap], [GUM, GAP], TOOTH)
    faces = _grid_faces(len(heights), 23, closed=False)
    return _piece(np.stack([x, y, 79.5 - x**2 / 34.0], axis=1), faces, part, shade=codes)


def _throat() -> tuple[Surface, Surface]:
    """Dark sheets behind the lips: one hangs from the skull, one rises from the jaw, and they overlap."""

    def sheet(heights: Sequence[float], depths: Sequence[float], halves: Sequence[float], part: int) -> Surface:
        across, y = (grid.ravel() for grid in np.meshgrid(np.linspace(-1, 1, 15), np.array(heights)))
        x = across * np.repeat(halves, 15)
        # Deep in the middle and close to the skin at the sides: a bowl that no camera looks around.
        depth = 5.0 + np.repeat(depths, 15) * (1.0 - (x / 38.0) ** 2)
        z = skin_height(x, np.maximum(y, at.MOUTH_Y - 2)) - depth
        faces = _grid_faces(len(heights), 15, closed=False)
        return _piece(np.stack([x, y, z], axis=1), faces, part, shade=np.full(len(x), THROAT))

    return (
        sheet((-17.0, -24.0, -40.0, -64.0), (6.0, 8.0, 23.0, 25.0), (37.0, 37.0, 26.0, 12.0), UPPER_MOUTH),
        sheet((-33.0, -40.0, -46.0, -52.0), (21.0, 15.0, 8.0, 6.0), (35.0, 32.0, 28.0, 22.0), LOWER_MOUTH),
    )


def _ear(sign: int) -> Surface:
    radii, spokes = np.array([0.15, 0.45, 0.7, 0.86, 1.0]), 20
    angle = np.arange(spokes) * 2 * np.pi / spokes
    r, a = (grid.ravel() for grid in np.meshgrid(radii, angle, indexing="ij"))
    along = r * np.cos(a) * (1.0 + 0.18 * np.sin(a)) * 16.0
    up = r * np.sin(a) * 30.0
    out = np.interp(r, radii, [1.0, 1.0, 4.0, 5.0, 2.5]) + 0.42 * np.clip(-along + 10.0, 0, None)
    vertices = np.stack([sign * (68.0 + out), 12.0 + up - 0.12 * along, -8.0 + along - 0.1 * up], axis=1)
    faces = _grid_faces(len(radii), spokes, closed=True)
    return _piece(vertices, faces[:, ::-1] if sign > 0 else faces, EAR, azimuth=np.full(len(r), np.pi / 2))


def _grid_faces(rows: int, columns: int, closed: bool) -> NDArray[np.int64]:
    """Two triangles per cell of a row-major grid, first row on top, columns to the subject's left."""
    width = columns if closed else columns - 1
    row, column = (grid.ravel() for grid in np.meshgrid(np.arange(rows - 1), np.arange(width), indexing="ij"))
    following = (column + 1) % columns
    a, b = row * columns + column, row * columns + following
    c, d = a + columns, b + columns
    return np.concatenate([np.stack([a, c, d], axis=1), np.stack([a, d, b], axis=1)])


def _joined(pieces: Sequence[Surface]) -> Surface:
    starts = np.cumsum([0, *(len(piece.vertices) for piece in pieces[:-1])])
    arrays = {each.name: np.concatenate([getattr(piece, each.name) for piece in pieces]) for each in fields(Surface)}
    arrays["faces"] = np.concatenate([piece.faces + start for piece, start in zip(pieces, starts, strict=True)])
    arrays["faces"] = arrays["faces"].astype(np.int32)
    return Surface(**arrays)


def _piece(
    vertices: Array,
    faces: NDArray[np.int64],
    part: int,
    anchors: Array | None = None,
    azimuth: Array | None = None,
    shade: NDArray[np.int64] | None = None,
) -> Surface:
    count = len(vertices)
    return Surface(
        vertices=vertices,
        anchors=vertices if anchors is None else anchors,
        faces=faces.astype(np.int32),
        part=np.full(count, part, dtype=np.int8),
        side=np.zeros(count, dtype=np.int8),
        azimuth=np.zeros(count) if azimuth is None else np.degrees(azimuth),
        shade=np.zeros(count, dtype=np.int8) if shade is None else shade.astype(np.int8),
    )
