from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

Writer = Callable[..., Path]

ROWS, COLUMNS = 12, 16
BACKGROUND = -1e9


def nose_bump(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """A face as little as can be: a bowl with a nose at (3, -4)."""
    return 80 - (x**2 + y**2) / 80 + 20 * np.exp(-((x - 3) ** 2 + (y + 4) ** 2) / 200)


def grid() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    x, y = np.meshgrid(np.linspace(-60, 60, COLUMNS), np.linspace(60, -60, ROWS))
    return x.ravel(), y.ravel()


@pytest.fixture
def picture() -> Writer:
    def write(file: Path) -> Path:
        """A picture that is red on its left and blue on its right."""
        file.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.zeros((8, 8, 3), np.uint8)
        pixels[:, :4, 0] = pixels[:, 4:, 2] = 255
        Image.fromarray(pixels).save(file)
        return file

    return write


@pytest.fixture
def wrl() -> Writer:
    def write(file: Path, picture: str | None = None, quads: bool = False, separator: str = ", ") -> Path:
        """The face as VRML, in quads or triangles, as BU-3DFE (", ") or BU-4DFE (" ") separate numbers."""
        x, y = grid()
        index = np.arange(ROWS * COLUMNS).reshape(ROWS, COLUMNS)
        a, b, c, d = (part.ravel() for part in (index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]))
        polygons = (
            np.stack([a, b, c, d], 1) if quads else np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])
        )

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
            f"coord DEF face Coordinate {{ point {array(np.stack([x, y, nose_bump(x, y)], 1), '%.6f')} }}\n"
            f"coordIndex {corners}\n"
            f"texCoord TextureCoordinate {{ point {array(uv, '%.6f')} }}\ntexCoordIndex {corners}\n"
            "} } ] }\n"
        )
        return file

    return write


@pytest.fixture
def bnt() -> Writer:
    def write(file: Path, upward: bool = True) -> Path:
        """The face as a range scan with a frame of background, its v upward or downward."""
        x, y = grid()
        z = nose_bump(x, y)
        v = y / 120 + 0.5
        values = np.stack([x, y, z, x / 120 + 0.5, v if upward else 1 - v])
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

    return write


@pytest.fixture
def bnd() -> Writer:
    def write(file: Path) -> Path:
        """83 landmarks around the middles of the eyes, the nose and the mouth of the face, and an empty 84th."""
        middles = {(0, 8): (-30, 30), (8, 16): (30, 30), (36, 48): (2, -6), (48, 68): (0, -35)}
        points = np.zeros((83, 3))
        for (start, end), (x, y) in middles.items():
            angles = np.linspace(0, 2 * np.pi, end - start, endpoint=False)
            points[start:end] = np.stack(
                [x + 4 * np.cos(angles), y + 4 * np.sin(angles), np.full(len(angles), 80.0)], 1
            )
        rows = [f"{index:6d}  {x:.4f}  {y:.4f}  {z:.4f}" for index, (x, y, z) in enumerate(points)]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("\n".join(rows) + "\n\n")
        return file

    return write
