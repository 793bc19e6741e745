"""A report's figures for a paper: each as PDF and SVG in the size that it is printed in, and LaTeX that shows them."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from polyview.analysis.outcome import Outcome
from polyview.errors import UserError
from polyview.reporting.figures.style import FONT, Style, drawn, pdf, svg
from polyview.reporting.latex import escape
from polyview.reporting.pictures import Picture, pictures
from polyview.storage.home import check_output, replacing

FLOATS = "figures.tex"
HEAD = "figures made by polyview, "
ONE_COLUMN, TWO_COLUMNS = 3.25, 6.75
"""Inches that fit a column, and the text's width, of the two-column styles of IEEE, ACM and CVF."""


def write_figures(outcome: Outcome, folder: Path, style: Style) -> list[tuple[Picture, float]]:
    """Put every figure of a study into a folder as KEY.pdf and KEY.svg, and figures.tex beside them.

    Returns the figures with their heights in inches. Raises `UserError` where nothing has a result that could be drawn,
    a name has a letter that the font lacks, the folder cannot be made, or it has files of these names from elsewhere.
    """
    found = pictures(outcome)
    if not found:
        raise UserError(f"{outcome.study.name}: no trial has a result to be drawn; polyview ablate runs the study")
    files: dict[str, bytes] = {}
    heights: list[float] = []
    with _all_letters():
        for picture in found:
            with drawn(picture.draw, style) as figure:
                files |= {f"{picture.key}.pdf": pdf(figure), f"{picture.key}.svg": svg(figure).encode()}
                heights.append(figure.get_figheight())
    files[FLOATS] = _latex_lines(outcome, found, style).encode()
    is_own = _is_own(folder / FLOATS)
    for name in files:
        check_output(folder / name, lambda _: is_own)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: cannot be made a folder ({error.strerror}); -o takes another") from None
    for name, content in files.items():
        with replacing(folder / name) as temporary:
            temporary.write_bytes(content)
            temporary.chmod(0o644)
    return list(zip(found, heights, strict=True))


def left_from_before(folder: Path, written: Sequence[tuple[Picture, float]]) -> list[str]:
    """The figures in a folder that were not written now: of an earlier call, and so perhaps of other results."""
    new = {picture.key for picture, _ in written}
    return sorted(
        path.stem for path in folder.glob("*.pdf") if path.stem not in new and path.with_suffix(".svg").is_file()
    )


def _is_own(floats: Path) -> bool:
    """Whether a file is one that `_latex_lines` has made, beside figures of then."""
    return floats.is_file() and HEAD in floats.read_text(encoding="utf-8", errors="replace").partition("\n")[0]


@contextmanager
def _all_letters() -> Iterator[None]:
    """Raises `UserError` where a letter could not be drawn: a box would stand in its place."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        yield
    if lacking := {int(code) for one in told for code in re.findall(r"Glyph (\d+) .*missing", str(one.message))}:
        letters = "".join(map(chr, sorted(lacking)))
        raise UserError(f"the font of figures, {FONT}, lacks {letters}; rename what has them, which changes no result")


def _latex_lines(outcome: Outcome, found: Sequence[Picture], style: Style) -> str:
    """A float for each figure, in its own size: to scale one would scale its letters."""
    name = "figure" if style.width <= ONE_COLUMN else "figure*"
    floats = [
        "\n".join(
            [
                rf"\begin{{{name}}}",
                r"  \centering",
                rf"  \includegraphics{{{picture.key}.pdf}}",
                rf"  \caption{{{escape(picture.line)}}}",
                rf"  \label{{fig:{picture.key}}}",
                rf"\end{{{name}}}",
            ]
        )
        for picture in found
    ]
    head = [
        f"% {outcome.study.name}: {HEAD}{style.width:g} inches wide, with letters of {style.points:g} points.",
        r"% Needs graphicx, and \graphicspath{{FOLDER/}} with the folder of this file, from where the paper lies.",
    ]
    return "\n\n".join(["\n".join(head), *floats]) + "\n"
