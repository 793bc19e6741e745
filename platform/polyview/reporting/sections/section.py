"""A part of a report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from polyview.analysis.findings import Finding
from polyview.reporting.figures.style import Drawing


@dataclass(frozen=True)
class Section:
    """A part of a report. `rows` begin with their heads; `log` is shown as it is.

    `caption` says what the figure shows, and `basis` of how many, if that is not of all seeds and test subjects.
    """

    title: str
    key: str
    sentences: Sequence[Finding] = ()
    rows: Sequence[Sequence[str]] = ()
    figure: Drawing | None = None
    caption: str = ""
    basis: str = ""
    log: str = ""
