"""A table for a paper: what its rows and columns are, and the numbers that others have published."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator

from polyview.recipe.evaluation import MetricName
from polyview.recipe.schema import FileName, Line, Model

_SOURCE = re.compile(r"arXiv:\d{4}\.\d{4,5}(v\d+)?|doi:10\.\d{4,9}/\S+")


def _identified(source: str) -> str:
    if not _SOURCE.fullmatch(source):
        raise ValueError(f"{source!r} is neither arXiv:YYMM.NNNNN nor doi:10.NNNN/…")
    return source


def _percent(value: float) -> float:
    if not (value == 0 or 1 < value <= 100):
        raise ValueError(f"{value:g} is no score in percent" + (f"; {100 * value:g}?" if 0 < value <= 1 else ""))
    return value


Source = Annotated[str, AfterValidator(_identified)]
Percent = Annotated[float, AfterValidator(_percent)]


class Published(Model):
    """Scores that others have published of a method: shown apart in a table, never tested against or averaged."""

    method: Line
    source: Source = Field(description="arXiv:YYMM.NNNNN or doi:10.NNNN/…")
    values: dict[MetricName, Percent] = Field(min_length=1, description="in percent, by the metric of their column")
    protocol: str = Field("", description="how it was measured, as far as the source says")
    same_protocol: bool | None = Field(None, description="whether that is the study's own protocol; null: not known")


class Layout(Model):
    """What a table shows of its studies, and how."""

    caption: str = ""
    metrics: tuple[MetricName, ...] = Field((), description="a column for each; empty: each study's own metric")
    rows: Literal["method", "variant"] = Field(
        "method", description="with method, a study that goes across several values has a column for each of them"
    )
    columns: Literal["study", "metric", "protocol"] = Field("study", description="what columns are grouped by")
    spread: Literal["interval", "deviation"] = Field(
        "interval", description="behind ±: half the 95 % interval for other people, or the deviation over seeds"
    )

    @field_validator("metrics")
    @classmethod
    def _are_different(cls, metrics: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(metrics)) < len(metrics):
            raise ValueError(f"metrics repeat: {list(metrics)}")
        return metrics


class TableStudy(Model):
    """One of the studies of a table."""

    study: str = Field(description="its file or bundle, as seen from the table's")
    set: dict[str, Any] = Field({}, description="keys of it that have other values here, such as corpus.root")
    label: Line | None = Field(None, description="its name in the table, if not its own")
    published: tuple[Published, ...] = Field((), description="beside those of the study's own file")


class TableOfStudies(Layout):
    """A table over several studies, in a file of its own."""

    name: FileName
    studies: tuple[TableStudy, ...] = Field(min_length=1, description="a name alone is that of its file")
