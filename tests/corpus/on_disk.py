"""Small files of exactly the forms that the licensed datasets have, of people and expressions that differ."""

from __future__ import annotations

import itertools
import struct
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import trimesh
from numpy.typing import NDArray
from PIL import Image

from polyview.recipe import EXPRESSIONS, OWN_EXPRESSIONS

Values = NDArray[np.float64]
Surface = Callable[[Values, Values], Values]
"""How far in front (N,) a face is at x and y, millimetres."""

ROWS, COLUMNS = 12, 16
BACKGROUND = -1e9
SIX = EXPRESSIONS[1:]
BU3DFE_CODES = dict(zip(("AN", "DI", "FE", "HA", "SA", "SU"), SIX, strict=True))
BU4DFE_FOLDERS = dict(zip(("Angry", "Disgust", "Fear", "Happy", "Sad", "Surprise"), SIX, strict=True))
BOSPHORUS_CODES = dict(zip(("ANGER", "DISGUST", "FEAR", "HAPPY", "SADNESS", "SURPRISE"), SIX, strict=True))
BP4D_TASKS = {f"T{number}": emotion for number, emotion in enumerate(OWN_EXPRESSIONS["bp4d"], 1)}
"""What the datasets call what a face shows, and what the field calls it."""


def nose_bump(x: Values, y: Values) -> Values:
    """A face as little as can be: a bowl with a nose at (3, -4)."""
    return 80 - (x**2 + y**2) / 80 + 20 * np.exp(-((x - 3) ** 2 + (y + 4) ** 2) / 200)


def face_of(subject: str, expression: str, strength: float = 1.0) -> Surface:
    """A bowl with a nose that a person and an expression dent, each in three places of its own around the nose."""

    def surface(x: Values, y: Values) -> Values:
        depth = nose_bump(x, y)
        for name, height in ((subject, 3.0), (expression, 8.0 * strength)):
            rng = np.random.default_rng(zlib.crc32(name.encode()))
            for angle, radius in zip(rng.uniform(0, 2 * np.pi, 3), rng.uniform(28, 45, 3), strict=True):
                off = (x - radius * np.cos(angle)) ** 2 + (y - radius * np.sin(angle)) ** 2
                depth = depth - height * np.exp(-off / 150)
        return depth

    return surface


def _grid() -> tuple[Values, Values]:
    x, y = np.meshgrid(np.linspace(-60, 60, COLUMNS), np.linspace(60, -60, ROWS))
    return x.ravel(), y.ravel()


def _polygons(quads: bool) -> NDArray[np.int64]:
    index = np.arange(ROWS * COLUMNS).reshape(ROWS, COLUMNS)
    a, b, c, d = (part.ravel() for part in (index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]))
    return np.stack([a, b, c, d], 1) if quads else np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])


def write_picture(file: Path) -> Path:
    """A picture that is red on its left and blue on its right."""
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[:, :4, 0] = pixels[:, 4:, 2] = 255
    Image.fromarray(pixels).save(file)
    return file


def write_wrl(
    file: Path,
    picture: str | None = None,
    quads: bool = False,
    separator: str = ", ",
    surface: Surface = nose_bump,
) -> Path:
    """The face as VRML, in quads or triangles, as BU-3DFE (", ") or BU-4DFE (" ") separate numbers."""
    x, y = _grid()
    polygons = _polygons(quads)

    def array(values: NDArray[np.generic], form: str) -> str:
        end = separator.strip() + "\n"
        return "[\n" + end.join(separator.join(form % value for value in row) for row in values) + "\n]"

    corners = array(np.column_stack([polygons, np.full(len(polygons), -1)]), "%d")
    uv = np.stack([x / 120 + 0.5, y / 120 + 0.5], 1)
    appearance = f'appearance Appearance {{ texture ImageTexture {{ url "{picture}" }} }}' if picture else ""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(
        "#VRML V2.0 utf8\n# a scan\nTransform { children [ Shape {\n"
        f"{appearance}\ngeometry IndexedFaceSet {{ solid FALSE creaseAngle 1.5\n"
        f"coord DEF face Coordinate {{ point {array(np.stack([x, y, surface(x, y)], 1), '%.6f')} }}\n"
        f"coordIndex {corners}\n"
        f"texCoord TextureCoordinate {{ point {array(uv, '%.6f')} }}\ntexCoordIndex {corners}\n"
        "} } ] }\n"
    )
    return file


def write_bnt(file: Path, upward: bool = True, surface: Surface = nose_bump) -> Path:
    """The face as a range scan with a frame of background, its v upward or downward."""
    x, y = _grid()
    v = y / 120 + 0.5
    values = np.stack([x, y, surface(x, y), x / 120 + 0.5, v if upward else 1 - v])
    frame = np.ones((ROWS, COLUMNS), dtype=bool)
    frame[1:-1, 1:-1] = False
    values[:3, frame.ravel()] = BACKGROUND
    name = b"bs000_E_HAPPY_0.png"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(
        struct.pack("<HHdH", ROWS, COLUMNS, BACKGROUND, len(name))
        + name
        + struct.pack("<I", values.size)
        + values.astype("<f8").tobytes()
    )
    return file


def write_bnd(file: Path) -> Path:
    """83 landmarks around the middles of the eyes, the nose and the mouth of the face, and an empty 84th."""
    middles = {(0, 8): (-30, 30), (8, 16): (30, 30), (36, 48): (2, -6), (48, 68): (0, -35)}
    points = np.zeros((83, 3))
    for (start, end), (x, y) in middles.items():
        angles = np.linspace(0, 2 * np.pi, end - start, endpoint=False)
        points[start:end] = np.stack([x + 4 * np.cos(angles), y + 4 * np.sin(angles), np.full(len(angles), 80.0)], 1)
    rows = [f"{index:6d}  {x:.4f}  {y:.4f}  {z:.4f}" for index, (x, y, z) in enumerate(points)]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(rows) + "\n\n")
    return file


def write_obj(file: Path, surface: Surface = nose_bump) -> Path:
    """The face as Wavefront OBJ, without a texture."""
    x, y = _grid()
    file.parent.mkdir(parents=True, exist_ok=True)
    trimesh.Trimesh(np.stack([x, y, surface(x, y)], 1), _polygons(quads=False), process=False).export(file)
    return file


def write_bu3dfe(root: Path, subjects: Iterable[str], levels: Sequence[int] = (1, 2, 3, 4)) -> Path:
    """BU-3DFE's folder: subjects such as F0001WH, the last two letters their ancestry, with six expressions each."""
    for subject, code in itertools.product(subjects, ("NE00", *_codes(levels))):
        folder, expression, level = subject[:-2], code[:2], int(code[2:])
        stem = root / folder / f"{folder}_{code}{subject[-2:]}"
        write_wrl(
            Path(f"{stem}_F3D.wrl"),
            f"{stem.name}_F3D.bmp",
            quads=True,
            surface=face_of(folder, BU3DFE_CODES.get(expression, "neutral"), level / 4),
        )
        write_picture(Path(f"{stem}_F3D.bmp"))
        Path(f"{stem}_F2D.bmp").write_text("a frontal photograph, which is not the texture")
        write_bnd(Path(f"{stem}_F3D.bnd"))
        Path(f"{stem}_RAW.wrl").write_text("not to be read")
        Path(f"{stem}_RAW.pse").write_text("not to be read")
    return root


def _codes(levels: Sequence[int]) -> list[str]:
    return [f"{expression}{level:02d}" for expression in BU3DFE_CODES for level in levels]


def write_bu4dfe(root: Path, subjects: Iterable[str], frames: int) -> Path:
    """BU-4DFE's folder: six films of so many frames for each subject, such as F001."""
    (root / "BU_WrlViewer_V2").mkdir(parents=True)
    for subject, folder, frame in itertools.product(subjects, BU4DFE_FOLDERS, range(frames)):
        stem = f"{subject}/{folder}/{frame:03d}"
        surface = face_of(subject, BU4DFE_FOLDERS[folder], np.sin(np.pi * (frame + 0.5) / frames))
        write_wrl(root / f"{stem}.wrl", f"{frame:03d}.jpg", separator=" ", surface=surface)
        write_picture(root / f"{stem}.jpg")
        write_bnd(root / "BU4DFE_BND_V1.1" / f"{stem}.bnd")
    return root


def write_bosphorus(root: Path, subjects: Iterable[str], codes: Sequence[str]) -> Path:
    """Bosphorus' folder: for each subject, such as bs000, the scans of these codes, such as E_HAPPY_0."""
    for subject, code in itertools.product(subjects, codes):
        stem = root / "BosphorusDB" / subject / f"{subject}_{code}"
        shown = BOSPHORUS_CODES.get(code.removeprefix("E_").removesuffix("_0"), code)
        write_bnt(stem.with_suffix(".bnt"), surface=face_of(subject, shown))
        write_picture(stem.with_suffix(".png"))
        stem.with_suffix(".lm3").write_text(
            f"# landmarks of {stem.name}\n\n2 landmarks:\n\nNose tip\n3.5 -4.0 100.0\nChin middle\n0 -50 40\n"
        )
        stem.with_suffix(".lm2").write_text("not to be read")
    return root


def write_bp4d(root: Path, subjects: Iterable[str], frames: int, suffix: str = "wrl") -> Path:
    """BP4D's folder without codes: eight sequences of so many frames for each subject, such as F001."""
    for subject, task, frame in itertools.product(subjects, BP4D_TASKS, range(1, frames + 1)):
        stem = root / subject / task / f"{frame:04d}"
        surface = face_of(subject, BP4D_TASKS[task], frame / frames)
        if suffix == "obj":
            write_obj(stem.with_suffix(".obj"), surface)
        else:
            write_wrl(stem.with_suffix(".wrl"), f"{stem.name}.jpg", surface=surface)
        write_picture(stem.with_suffix(".jpg"))
    return root


def write_codes(root: Path, sequence: str, active: Mapping[int, Sequence[int]]) -> Path:
    """BP4D's table of a sequence such as F001_T1: by frame, whether action units 1, 2, 6 and 12 occur."""
    file = root / "AUCoding" / "AU_OCC" / f"{sequence}.csv"
    file.parent.mkdir(parents=True, exist_ok=True)
    rows = [(0, 1, 2, 6, 12), *((frame, *units) for frame, units in active.items())]
    file.write_text("".join(",".join(map(str, row)) + "\n" for row in rows))
    return file
