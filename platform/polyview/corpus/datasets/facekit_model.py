"""Reading ICT-FaceKit's files: .obj shapes of one topology, and the regions and landmarks that its README lists."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from polyview.corpus.expressions import ACTION_UNITS
from polyview.corpus.head.landmarks import HAIRLINE, NOSE_TO_AXIS
from polyview.errors import UserError

Single = NDArray[np.float32]

MATERIALS = ("skin", "lips", "brows", "hair", "teeth", "gums", "mouth", "white", "iris", "pupil")
_NEUTRAL = "generic_neutral_mesh.obj"
_INDICES = "vertex_indices.json"
_NOSE_TIP = 30  # among the landmarks
_MILLIMETRES = 10.0  # the files are in centimetres

# README, "Face Model Topology": first vertex of each part that is kept. Lacrimal fluid, eye blend, eye occlusion,
# irises (under a cornea that we do not see through) and lashes would hide the eyes, and are left out.
_PARTS = (
    (0, 11248, "skin"),
    (11248, 13294, "mouth"),
    (13294, 14062, "skin"),
    (14062, 17039, "gums"),
    (17039, 21451, "teeth"),
    (21451, 22221, "white"),
    (23021, 23791, "white"),
)
_SHAPES: dict[int, dict[str, float]] = {
    1: {"browInnerUp": 1.0},
    2: {"browOuterUp": 1.0},
    4: {"browDown": 1.0},
    5: {"eyeWide": 1.0},
    6: {"cheekSquint": 1.0},
    7: {"eyeSquint": 1.0},
    9: {"noseSneer": 1.0},
    10: {"mouthUpperUp": 1.0},
    12: {"mouthSmile": 1.0},
    14: {"mouthDimple": 1.0},
    15: {"mouthFrown": 1.0},
    16: {"mouthLowerDown": 1.0},
    17: {"mouthShrugLower": 0.8},
    20: {"mouthStretch": 1.0},
    23: {"mouthPress": 0.7, "mouthRollLower": 0.35, "mouthRollUpper": 0.35},
    25: {"mouthUpperUp": 0.3, "mouthLowerDown": 0.5, "jawOpen": 0.06},
    26: {"jawOpen": 0.6},
}


@dataclass(frozen=True, eq=False)
class Model:
    """The model in millimetres, float32, its parts that are seen from outside; origin between the ears.

    neutral: (V, 3); identities: (I, 3 V); left_units, right_units: (units, 3 V) what each half of the face adds
    material: (V,) index into `materials`; nose: row of the nose's tip
    """

    neutral: Single
    faces: NDArray[np.int32]
    identities: Single
    left_units: Single
    right_units: Single
    materials: tuple[str, ...]
    material: NDArray[np.int8]
    nose: int


def find_model(root: Path) -> Path:
    """The folder of the model's files: `root` or the FaceXModel in it; raises `UserError` where there is none."""
    for folder in (root, root / "FaceXModel"):
        if (folder / _NEUTRAL).is_file():
            return folder
    if not root.is_dir():
        raise UserError(f"corpus.root: {root} is not a folder; expected ICT-FaceKit's, with FaceXModel/{_NEUTRAL}")
    found = sorted(path.name for path in root.iterdir())[:5]
    raise UserError(
        f"corpus.root: {root} is not ICT-FaceKit's folder: expected FaceXModel/{_NEUTRAL}, "
        f"found {', '.join(found) if found else 'nothing'}"
    )


@cache
def read_model(folder: Path) -> Model:
    """Read the whole model, once per process; raises `UserError` that names the file that is missing or broken."""
    neutral = _vertices(folder / _NEUTRAL)
    landmarks = _landmarks(folder / _INDICES)
    names = sorted(path.name for path in folder.glob("identity[0-9][0-9][0-9].obj"))
    if not names:
        raise UserError(f"{folder}: no identity shapes (identity000.obj, identity001.obj, ...)")
    kept, materials = _kept(len(neutral))
    shapes = _ShapeReader(folder, neutral, kept)
    left, right = zip(*(shapes.unit(unit) for unit in ACTION_UNITS), strict=True)
    seen = neutral[kept]
    return Model(
        neutral=seen,
        faces=_seen_faces(folder / _NEUTRAL, kept, len(neutral)),
        identities=np.stack([shapes.difference(name) for name in names]),
        left_units=np.stack(left),
        right_units=np.stack(right),
        materials=MATERIALS,
        material=_paint_regions(seen, materials, neutral[landmarks]),
        nose=int(np.flatnonzero(kept == landmarks[_NOSE_TIP])[0]),
    )


class _ShapeReader:
    """Differences of the folder's shapes to the neutral face, on the vertices that are kept."""

    def __init__(self, folder: Path, neutral: Single, kept: NDArray[np.intp]) -> None:
        self.folder, self.neutral, self.kept = folder, neutral, kept

    def difference(self, name: str) -> Single:
        """(3 V,) what the shape in file `name` adds."""
        vertices = _vertices(self.folder / name)
        if vertices.shape != self.neutral.shape:
            raise UserError(f"{self.folder / name}: {len(vertices)} vertices, expected {len(self.neutral)}")
        return (vertices - self.neutral)[self.kept].ravel()

    def unit(self, unit: int) -> tuple[Single, Single]:
        """What the left and the right half add for an action unit; a shape without sides is half of each."""
        left, right = np.zeros((2, 3 * len(self.kept)), dtype=np.float32)
        for shape, weight in _SHAPES[unit].items():
            if (self.folder / f"{shape}_L.obj").is_file():
                left += weight * self.difference(f"{shape}_L.obj")
                right += weight * self.difference(f"{shape}_R.obj")
            else:
                whole = 0.5 * weight * self.difference(f"{shape}.obj")
                left += whole
                right += whole
        return left, right


def _vertices(file: Path) -> Single:
    """(V, 3) the vertices of an .obj whose `v` lines stand together, in millimetres."""
    text = b"\n" + _read(file)
    start, last = text.find(b"\nv "), text.rfind(b"\nv ")
    block = text[max(start, 0) : text.find(b"\n", last + 1)].replace(b"\nv", b"\n")
    try:
        values = np.array(block.split(), dtype=np.float32)
        return values.reshape(-1, 3) * np.float32(_MILLIMETRES)
    except ValueError as error:
        raise UserError(f"{file}: its vertices are not readable: {error}") from None


def _landmarks(file: Path) -> NDArray[np.intp]:
    """The 68 Multi-PIE landmarks as rows of the neutral face."""
    try:
        return np.array(json.loads(_read(file))["idx_to_landmark_verts"], dtype=np.intp)
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{file}: no idx_to_landmark_verts in it ({error})") from None


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise UserError(f"{file}: {error.strerror}; ICT-FaceKit's folder is not complete") from None


def _kept(count: int) -> tuple[NDArray[np.intp], NDArray[np.int8]]:
    """Rows of the vertices that are kept, and the material of each."""
    rows = np.concatenate([np.arange(min(start, count), min(end, count)) for start, end, _ in _PARTS])
    lengths = [min(end, count) - min(start, count) for start, end, _ in _PARTS]
    materials = np.repeat([MATERIALS.index(name) for _, _, name in _PARTS], lengths)
    return rows, materials.astype(np.int8)


def _seen_faces(file: Path, kept: NDArray[np.intp], count: int) -> NDArray[np.int32]:
    """Triangles between kept vertices; polygons are split into fans."""
    triangles = []
    for line in _read(file).splitlines():
        if line.startswith(b"f "):
            corners = [int(corner.partition(b"/")[0]) - 1 for corner in line.split()[1:]]
            triangles += [(corners[0], corners[i], corners[i + 1]) for i in range(1, len(corners) - 1)]
    place = np.full(count, -1, dtype=np.int32)
    place[kept] = np.arange(len(kept))
    faces = place[np.array(triangles, dtype=np.intp).reshape(-1, 3)]
    return faces[(faces >= 0).all(axis=1)]


def _paint_regions(vertices: Single, materials: NDArray[np.int8], landmarks: Single) -> NDArray[np.int8]:
    """The materials with lips, brows and hair told from skin, iris and pupil from white, by the 68 landmarks."""
    material = materials.copy()
    skin = materials == MATERIALS.index("skin")
    x, y, z = (vertices - landmarks[_NOSE_TIP]).T
    azimuth = np.degrees(np.arctan2(np.abs(x), z + NOSE_TO_AXIS))
    front = vertices[:, 2] > landmarks[[36, 45], 2].mean() - 15
    brows = np.minimum(_distance(vertices, landmarks[17:22]), _distance(vertices, landmarks[22:27])) < 2.7
    material[skin & (y > np.interp(azimuth, *HAIRLINE))] = MATERIALS.index("hair")
    material[skin & front & brows] = MATERIALS.index("brows")
    material[skin & front & _within(vertices, landmarks[48:60])] = MATERIALS.index("lips")
    for side in (vertices[:, 0] > 0, vertices[:, 0] < 0):
        eye = np.flatnonzero((materials == MATERIALS.index("white")) & side)
        if len(eye):
            material[eye] = _paint_eyeball(vertices[eye])
    return material


def _paint_eyeball(vertices: Single) -> NDArray[np.intp]:
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    radius = np.hypot(*(vertices - (low + high) / 2)[:, :2].T)
    ahead = vertices[:, 2] > high[2] - 6
    names = np.select([ahead & (radius < 2.4), ahead & (radius < 6.2)], ["pupil", "iris"], "white")
    return np.array([MATERIALS.index(name) for name in names])


def _distance(vertices: Single, line: Single) -> Single:
    """(V,) distance to a polyline."""
    distances = []
    for start, end in itertools.pairwise(line):
        direction = end - start
        along = np.clip((vertices - start) @ direction / (direction @ direction), 0, 1)
        distances.append(np.linalg.norm(vertices - start - along[:, None] * direction, axis=1))
    return np.min(distances, axis=0)


def _within(vertices: Single, outline: Single) -> NDArray[np.bool_]:
    """(V,) whether a vertex, seen from the front, lies within a closed outline (even-odd rule)."""
    x, y = vertices[:, 0], vertices[:, 1]
    inside = np.zeros(len(vertices), dtype=bool)
    for (ax, ay), (bx, by) in itertools.pairwise([*outline[:, :2], outline[0, :2]]):
        if ay != by:
            inside ^= ((ay > y) != (by > y)) & (x < ax + (y - ay) * (bx - ax) / (by - ay))
    return inside
