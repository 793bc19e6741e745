"""Pages of MLflow's user interface, prepared: which runs and columns they list, and which charts they draw.

MLflow keeps a shared view of an experiment's page as one of its tags, and opens it by the name of that tag.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from polyview.analysis.outcome import CURVES, RESULTS
from polyview.tracking.entities import STARTED_TAG, legal

KIND_TAG = "polyview.kind"
VIEW_TAG, NOTE_TAG, EXPERIMENT_KIND_TAG = "mlflow.sharedViewState.", "mlflow.note.content", "mlflow.experimentKind"
MODEL_TRAINING = "custom_model_development"
LONGEST_NOTE = 19_000
FIXED_COLUMNS = {"attributes.`Run Name`": 170, "runDateAndNestInfo": 120}
"""Columns that the page always has, with their widths in pixels."""


def link(experiment: str, view: str) -> str:
    """Where a server has an experiment's prepared page."""
    mode = "CHART" if view == CURVES else "TABLE"
    return (
        f"#/experiments/{experiment}/runs?workflowType=machine_learning&compareRunsMode={mode}&viewStateShareKey={view}"
    )


def views(metric: str, terms: Iterable[str]) -> dict[str, str]:
    """The prepared pages by name: what the variants' results are, and how the trials learned.

    metric: that of the study. terms: those of the loss.
    """
    return {
        RESULTS: json.dumps(_results(legal(metric))),
        CURVES: json.dumps(_curves(legal(metric), list(terms))),
    }


def note(text: str, links: Mapping[str, str]) -> str:
    """A description in markdown, with links, cut at a line's end where MLflow would cut it anywhere."""
    heads = " · ".join(f"[{name}]({address})" for name, address in links.items())
    kept = text
    if len(kept) > LONGEST_NOTE:
        kept = kept[:LONGEST_NOTE].rpartition("\n")[0] + "\n\nThe rest is in the artifact report.html."
    return f"{heads}\n\n{kept}" if heads else kept


def _results(metric: str) -> dict[str, Any]:
    """A row per variant, in the study's order, and its mean as a bar."""
    widths = {"verdict": 75, metric: 115, "difference": 85, "interval": 125, "p": 70, "seeds": 60, "varied": 420}
    columns = {_column("tags", name): width for name, width in widths.items()}
    section = _section("Mean over seeds")
    return {
        **_rows("variant"),
        "orderByKey": _column("tags", "order"),
        "orderByAsc": True,
        "selectedColumns": [*columns],
        "columnOrder": [*FIXED_COLUMNS, *columns],
        "columnWidths": FIXED_COLUMNS | columns,
        "groupBy": None,
        **_charts([section], [_chart("BAR", section, metric)]),
    }


def _curves(metric: str, terms: Sequence[str]) -> dict[str, Any]:
    """Trials grouped by variant, with what they learned by epoch."""
    losses, shares, speed = map(_section, ("Loss terms", "Shares of the gradient", "Training"))
    charts = [_chart("LINE", losses, name) for name in ("loss", *terms)]
    charts += [_chart("LINE", shares, f"share/{name}") for name in terms]
    charts += [_chart("LINE", speed, name) for name in ("samples_per_second", "lr")]
    group = {"aggregateFunction": "average", "groupByKeys": [{"mode": "tag", "groupByData": "variant"}]}
    # Sorted by its own time of creation, the list would have the runs of variants too, as parents of what it lists.
    return {
        **_rows("trial"),
        "orderByKey": _column("tags", STARTED_TAG),
        "orderByAsc": False,
        "selectedColumns": [_column("tags", "seed"), _column("metrics", metric)],
        "columnOrder": [],
        "columnWidths": {},
        "groupBy": group,
        **_charts([losses, shares, speed], charts),
    }


def _rows(kind: str) -> dict[str, Any]:
    return {
        "searchFilter": f"tags.`{KIND_TAG}` = '{kind}'",
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "modelVersionFilter": "All Runs",
        "datasetsFilter": [],
        "runsExpanded": {},
        "runsPinned": [],
        "runsHidden": [],
        "runsVisibilityMap": {},
        "runsHiddenMode": "SHOW_ALL",
        "groupsExpanded": {},
        "viewMaximized": False,
        "runListHidden": False,
        "autoRefreshEnabled": True,
        "useGroupedValuesInCharts": True,
        "hideEmptyCharts": True,
    }


def _charts(sections: list[dict[str, Any]], charts: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "compareRunSections": sections,
        "compareRunCharts": charts,
        "isAccordionReordered": True,
        "globalLineChartConfig": {"xAxisKey": "step", "lineSmoothness": 0, "selectedXAxisMetricKey": ""},
    }


def _column(kind: str, name: str) -> str:
    return f"{kind}.`{name}`"


def _section(name: str) -> dict[str, Any]:
    """A group of charts; MLflow puts every metric that has no chart in a section of its own."""
    return {"uuid": _id(name), "name": name, "display": True, "isReordered": True, "deleted": False} | {
        "isGenerated": False
    }


def _chart(kind: str, section: Mapping[str, Any], metric: str) -> dict[str, Any]:
    chart = {
        "uuid": _id(f"{section['name']} {metric}"),
        "type": kind,
        "metricSectionId": section["uuid"],
        "deleted": False,
        "isGenerated": True,
        "runsCountToCompare": 100,
        "metricKey": metric,
    }
    if kind == "LINE":
        chart |= {"selectedMetricKeys": [metric], "selectedYAxisMetricKey": metric, "scaleType": "linear"}
        chart |= {"xAxisKey": "step", "xAxisScaleType": "linear", "lineSmoothness": 0, "useGlobalLineSmoothing": True}
        chart |= {"yAxisKey": "metric", "yAxisExpressions": [], "selectedXAxisMetricKey": "", "range": _RANGE}
        chart |= {"useGlobalXaxisKey": True, "ignoreOutliers": False, "showPoints": True}
    return chart


_RANGE = {"xMin": None, "xMax": None, "yMin": None, "yMax": None}


def _id(name: str) -> str:
    """The same for the same name, so that a page that is prepared again is the same page."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"polyview/{name}"))
