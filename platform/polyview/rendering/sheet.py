"""A contact sheet: what was rendered, at a glance."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from polyview.errors import UserError
from polyview.rendering.cameras import Camera
from polyview.rendering.store import ViewStore
from polyview.storage.home import replacing

CELL = 160
"""The least width of a view on the sheet, pixels; smaller ones are enlarged by a whole factor."""

_GAP, _HEADER, _CAPTION, _TEXT = 6, 28, 190, 14
_SOFTWARE = "polyview sheet"
_MADE_HERE = PngInfo()
_MADE_HERE.add_text("Software", _SOFTWARE)
_PAPER, _INK = (250, 250, 250), (30, 30, 30)


def contact_sheet(store: ViewStore, rows: Sequence[int], out: Path) -> None:
    """Write a PNG of some of the store's rows: samples down, views across (all outputs), with captions.

    Raises `UserError` for a row that the store does not have, and where there is none.
    """
    if not rows:
        raise UserError(
            f"{store.folder}: no face is in it, so there is nothing to draw; the store's rejected.parquet says why the "
            "meshes could not be used"
        )
    beyond = [row for row in rows if not 0 <= row < len(store)]
    if beyond:
        raise UserError(f"{store.folder}: no row {beyond[0]}; it has {len(store)}, counted from 0")
    columns = [(output, camera) for output in store.outputs for camera in store.cameras]
    views = np.concatenate(
        [store.gather(np.asarray(rows, np.int64), store.cameras, output) for output in store.outputs], axis=1
    )
    cell = store.size * -(-CELL // store.size)
    step = cell + _GAP
    sheet = Image.new("RGB", (_CAPTION + len(columns) * step, _HEADER + len(rows) * step), _PAPER)
    pen, font = ImageDraw.Draw(sheet), ImageFont.truetype(_font(), _TEXT)
    for column, (output, camera) in enumerate(columns):
        middle = _CAPTION + column * step + cell // 2
        title = f"{output}, {_direction(camera)}" if len(store.outputs) > 1 else _direction(camera)
        pen.text((middle, _HEADER // 2), _fitted(title, font, cell), _INK, font, anchor="mm")
    for line, caption in enumerate(_captions(store, rows)):
        top = _HEADER + line * step
        fitted = "\n".join(_fitted(part, font, _CAPTION - 2 * _GAP) for part in caption.splitlines())
        pen.multiline_text((_GAP, top + cell // 2), fitted, _INK, font, anchor="lm", spacing=5)
        for column in range(len(columns)):
            view = Image.fromarray(views[line, column]).resize((cell, cell), Image.Resampling.NEAREST)
            sheet.paste(view, (_CAPTION + column * step, top))
    with replacing(out) as temporary:
        sheet.save(temporary, format="PNG", pnginfo=_MADE_HERE)


def _font() -> Path:
    """The file of DejaVu Sans, which comes with matplotlib: Pillow's own font lacks accents and Greek letters."""
    from matplotlib import get_data_path

    return Path(get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")


def is_sheet(path: Path) -> bool:
    """Whether a file is a picture that `contact_sheet` has made."""
    try:
        with Image.open(path) as picture:
            return picture.info.get("Software") == _SOFTWARE
    except (OSError, SyntaxError, ValueError):  # as Pillow has it for what is no picture
        return False


def _direction(camera: Camera) -> str:
    yaw = f"yaw {camera.yaw:+g}°" if camera.yaw else "front"
    return f"{yaw}, pitch {camera.pitch:+g}°" if camera.pitch else yaw


def _captions(store: ViewStore, rows: Sequence[int]) -> list[str]:
    columns = [store.labels(name) for name in ("expression", "intensity", "subject", "sequence", "frame")]
    captions = []
    for row in rows:
        expression, intensity, subject, sequence, frame = (column[row] for column in columns)
        captions.append(f"{expression} {float(intensity):.2f}\nsubject {subject}\n{sequence}\nframe {frame}")
    return captions


def _fitted(line: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, width: int) -> str:
    """The line, cut off where it would be wider than that."""
    while font.getlength(line) > width:
        line = f"{line[:-2]}…"
    return line


def one_of_each_expression(store: Path) -> tuple[ViewStore, list[int]]:
    """The store, and the row of the first face of each expression."""
    views = ViewStore.open(store)
    first = {label: row for row, label in reversed(list(enumerate(views.labels("expression"))))}
    return views, [first[label] for label in sorted(first)]
