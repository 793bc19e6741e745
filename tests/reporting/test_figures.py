from __future__ import annotations

import hashlib
import itertools
import math
import os
import re
import subprocess
import sys
from functools import partial
from itertools import pairwise
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from polyview.analysis.effects import Effect
from polyview.analysis.inference import SeedScore
from polyview.analysis.statistics import Comparison
from polyview.reporting.figures.curves import draw_across, draw_training, draw_view_counts
from polyview.reporting.figures.intervals import draw_comparison, draw_effects, draw_forest
from polyview.reporting.figures.maps import UNASKED, draw_confusion, draw_embeddings, draw_parallel
from polyview.reporting.figures.style import PAGE, PALETTE, Drawing, Style, drawn, labels, pdf, series, svg
from polyview.reporting.paper import ONE_COLUMN, TWO_COLUMNS

ONE, TWO = Style(ONE_COLUMN, 8), Style(TWO_COLUMNS, 8)
METRIC = "linear/accuracy"
LEVELS = {"full": (0.7, 0.74, 0.72), "no text": (0.4,), "absent": (), "untrained": (0.3, 0.34)}
SCORES = {
    name: {seed: SeedScore(level, ratio=0.4) for seed, level in enumerate(levels)} for name, levels in LEVELS.items()
}
NAMES = (
    "full",
    "smile-vlm with pseudo-labels of all the people, fusion=attention, labelled=0.1",
    "smile-vlm with pseudo-labels of all the people, fusion=mean, labelled=0.1",
    "a_name_without_any_space_in_it_which_goes_on_and_on",
    "W" * 45,
    "[x] <script>",
    "_$x^2$",
    *(f"views={count}, fusion=mean" for count in (1, 2, 3, 5, 7)),
)
RANDOM = np.random.default_rng(0)
CURVE = {epoch: math.exp(-epoch / 9) for epoch in range(1, 30)}
CLASSES = ("neutral", "anger", "disgust", "fear", "happiness", "sadness", "surprise")


def seeds_at(level: float) -> dict[int, SeedScore]:
    return {seed: SeedScore(level + 0.01 * seed, ratio=0.4) for seed in range(3)}


TWELVE = {name: seeds_at(0.4 + 0.04 * place) for place, name in enumerate(NAMES)}
FIGURES: dict[str, Drawing] = {
    "comparison": partial(draw_comparison, TWELVE, "full", NAMES[-2:], METRIC),
    "forest": partial(
        draw_forest,
        [Comparison(name, 3, 0.7, 0.02, 3, 60, place / 99, -0.15, 0.2) for place, name in enumerate(NAMES)],
        NAMES[1],
        METRIC,
    ),
    "effects": partial(draw_effects, [Effect(f"{name} × {name}", 0.1, -0.1, 0.3) for name in NAMES], METRIC),
    "curves": partial(
        draw_training, {term: {name: [CURVE] for name in NAMES} for term in ("loss", "cosine/decorrelation")}, NAMES
    ),
    "view counts": partial(draw_view_counts, {count: seeds_at(0.5) for count in (1, 2, 3, 5, 7, 15)}, METRIC),
    "across": partial(
        draw_across,
        {name: {place: seeds_at(0.5) for place in (1, 2, 3, 4, 7, 140)} for name in NAMES},
        "full",
        "people whose labels are read, of 140",
        METRIC,
        True,
    ),
    "confusion": partial(draw_confusion, RANDOM.integers(5, 20, (7, 7)), CLASSES),
    "embeddings": partial(draw_embeddings, RANDOM.normal(size=(70, 8)).astype(np.float32), [*CLASSES] * 10, CLASSES),
    "search": partial(
        draw_parallel,
        {
            "model.fusion": ["attention over views", "first", "mean"],
            "language.pseudo.assign": ["sinkhorn", UNASKED, "kmeans"],
            "objective.redundancy.weight": [1e-5, 0.1, 1.0],
            "rendering.views.count": [3, 3, 3],
            METRIC: [50.0, 60.0, 70.0],
        },
        ["objective.redundancy.weight"],
        METRIC,
    ),
}


def as_svg(draw: Drawing, style: Style = PAGE) -> str:
    with drawn(draw, style) as figure:
        return svg(figure)


def as_pdf(draw: Drawing, style: Style = ONE) -> bytes:
    with drawn(draw, style) as figure:
        return pdf(figure)


def texts(draw: Drawing) -> list[str]:
    root = ElementTree.fromstring(as_svg(draw))
    return [(element.text or "").strip() for element in root.iter("{http://www.w3.org/2000/svg}text")]


def visible_texts(figure: Figure) -> list[Text]:
    """The texts that a reader sees; ticks beyond the ends of an axis have labels that are not drawn."""
    hidden = {
        id(tick.label1)
        for axes in figure.axes
        for axis in (axes.xaxis, axes.yaxis)
        for tick in axis.get_major_ticks()
        if not axes.axison or not min(axis.get_view_interval()) <= tick.get_loc() <= max(axis.get_view_interval())
    }
    found = [one for one in figure.findobj(Text) if isinstance(one, Text)]
    return [one for one in found if one.get_text() and one.get_visible() and id(one) not in hidden]


@pytest.mark.parametrize("style", [ONE, Style(ONE_COLUMN, 10), TWO, PAGE], ids=["one", "large", "two", "page"])
@pytest.mark.parametrize("name", FIGURES)
def test_no_text_of_a_figure_is_cut_off_or_covers_another(name: str, style: Style) -> None:
    with drawn(FIGURES[name], style) as figure:
        figure.draw_without_rendering()
        shown = visible_texts(figure)
        boxes = {one: one.get_window_extent() for one in shown}
        beyond = [
            one.get_text()
            for one, box in boxes.items()
            if box.x0 < -1 or box.y0 < -1 or box.x1 > figure.bbox.x1 + 1 or box.y1 > figure.bbox.y1 + 1
        ]
        upright = [one for one in shown if one.get_rotation() % 90 == 0]
        covered = [
            (one.get_text(), other.get_text())
            for one, other in itertools.combinations(upright, 2)
            if boxes[one].padded(-0.5).overlaps(boxes[other].padded(-0.5))
        ]
    assert beyond == []
    assert covered == []


@pytest.mark.parametrize("style", [ONE, TWO, Style(ONE_COLUMN, 9.5)], ids=["one", "two", "larger"])
@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_as_wide_and_its_letters_as_large_as_asked(name: str, style: Style) -> None:
    text = as_svg(FIGURES[name], style)
    width = re.search(r'width="([\d.]+)pt"', text)
    assert width
    assert float(width[1]) == pytest.approx(72 * style.width)
    assert {float(size) for size in re.findall(r"([\d.]+)px", text)} == {style.points}


def test_any_two_series_differ_in_more_than_colour() -> None:
    lines = [(str(one.dashes), one.mark) for one in map(series, range(40))]
    points = [(one.mark, one.fill) for one in map(series, range(24))]
    assert len({*lines}) == len(lines)
    assert len({*points}) == len(points)


@pytest.mark.parametrize("name", ["curves", "across"])
def test_lines_are_told_apart_without_colour_as_they_are_drawn(name: str) -> None:
    with drawn(FIGURES[name], ONE) as figure:
        handles = figure.legends[0].legend_handles
        looks = [(one.get_marker(), one.get_linestyle(), str(one._dash_pattern)) for one in handles]  # type: ignore
    assert len(looks) == len(NAMES)
    assert len({*looks}) == len(looks)


def test_points_of_a_class_are_told_apart_without_colour_as_they_are_drawn() -> None:
    many = [f"expression {number}" for number in range(20)]
    places = RANDOM.normal(size=(60, 4)).astype(np.float32)
    with drawn(partial(draw_embeddings, places, many * 3, many), ONE) as figure:
        looks = {(one.get_marker(), one.get_fillstyle()) for one in figure.axes[0].lines}
    assert len(looks) == len(many)


@pytest.mark.slow
def test_a_pdf_has_truetype_fonts_no_date_and_the_same_bytes_in_every_process() -> None:
    script = (
        "import hashlib, tests.reporting.test_figures as here\n"
        "print(hashlib.md5(here.as_pdf(here.FIGURES['forest'])).hexdigest())"
    )
    other = os.environ | {"PYTHONHASHSEED": "7"}
    said = subprocess.run([sys.executable, "-c", script], env=other, capture_output=True, text=True, check=True).stdout
    content = as_pdf(FIGURES["forest"])
    assert said.strip() == hashlib.md5(content).hexdigest()
    assert b"/CIDFontType2" in content
    assert b"/FontFile2" in content
    assert b"/Type3" not in content
    assert b"Date" not in content


def test_the_comparison_names_its_rows_and_its_axis() -> None:
    shown = texts(partial(draw_comparison, SCORES, "full", ["untrained"], METRIC))
    assert [name for name in SCORES if name not in shown] == []
    assert f"{METRIC}, %" in shown


def test_a_figure_is_the_same_every_time() -> None:
    first, second = (as_svg(partial(draw_comparison, SCORES, "full", ["untrained"], METRIC)) for _ in range(2))
    assert first == second


def test_the_forest_leaves_out_what_has_no_difference() -> None:
    comparisons = [
        Comparison("full", 3, 0.7, 0.02),
        Comparison("no text", 3, 0.6, 0.02, 3, 60, -0.1, -0.15, -0.05),
        Comparison("single", 1, 0.6, math.nan, 1, difference=-0.1),
    ]
    shown = texts(partial(draw_forest, comparisons, "full", METRIC))
    assert {"no text", "single"} <= set(shown)
    assert "full" not in shown
    assert any("points of linear/accuracy" in text for text in shown)


def test_curves_have_a_panel_per_term_and_one_legend() -> None:
    curve = {1: 2.0, 2: 1.5, 3: 1.2}
    histories = {"loss": {"full": [curve, {1: 2.1, 2: 1.4}], "other": [curve]}, "alignment": {"full": [curve]}}
    shown = texts(partial(draw_training, histories, ["full", "other", "untrained"]))
    assert shown.count("full") == shown.count("other") == 1
    assert "untrained" not in shown
    assert {"loss", "alignment"} <= set(shown)


@pytest.mark.parametrize("variants", [1, 9, 30])
def test_curves_take_any_number_of_variants(variants: int) -> None:
    names = [f"variant {n}" for n in range(variants)]
    shown = texts(partial(draw_training, {"loss": {name: [{1: 1.0 + n}] for n, name in enumerate(names)}}, names))
    assert sum(text.startswith("variant") for text in shown) == variants


def test_a_variant_has_one_colour_in_every_figure_of_a_study() -> None:
    alone = as_svg(
        partial(draw_training, {"redundancy": {"third": [{1: 2.0, 2: 1.5}]}}, ["full", "second", "third"])
    ).lower()
    assert PALETTE[2].lower() in alone
    assert PALETTE[0].lower() not in alone


def test_long_names_that_differ_at_their_ends_are_told_apart() -> None:
    names = [f"smile-vlm with pseudo-labels of all the people, labelled={share}" for share in (0.1, 1.0)]
    scores = {name: {0: SeedScore(0.5), 1: SeedScore(0.6)} for name in names}
    shown = texts(partial(draw_comparison, scores, "", [], METRIC))
    assert any("labelled=0.1" in text for text in shown)
    assert any("labelled=1.0" in text for text in shown)


def test_long_names_that_differ_in_their_middle_alone_are_shown_whole() -> None:
    names = [f"smile-vlm of {{people}} whose labels {kind} read, under both of the cameras" for kind in ("are", "may")]
    shown = labels([*names, "another that is long, and that has the same end: under both of the cameras"], 12)
    assert [" ".join(text.split()) for text in shown[:2]] == names
    assert "…" in shown[2]


@pytest.mark.parametrize("room", range(8, 24))
def test_a_shortened_name_repeats_no_letter(room: int) -> None:
    names = [f"labelled={share}, fusion={how}, weight=0.3" for share in (0.25, 1.0) for how in ("mean", "attention")]
    for name, shown in zip(names, labels(names, room), strict=True):
        head, _, tail = shown.partition("…\n…")
        assert " ".join(shown.split()) == name or (name.startswith(head) and len(head) + len(tail) < len(name))


def test_confusions_are_shares_of_the_true_class() -> None:
    counts = np.array([[3, 1, 0], [0, 8, 2], [0, 0, 0]])
    shown = texts(partial(draw_confusion, counts, ["anger", "fear", "joy"]))
    assert sorted(text for text in shown if text.isdigit()) == ["20", "25", "75", "80"]
    assert shown.count("anger") == 2


def test_colours_differ_in_lightness_too() -> None:
    def lightness(color: str) -> float:
        red, green, blue = (int(part, 16) / 255 for part in re.findall("..", color[1:]))
        return 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2

    levels = sorted(lightness(color) for color in PALETTE)
    assert all(after - before > 0.005 for before, after in pairwise(levels))
    assert levels[-1] < 0.5


def test_the_map_names_every_class_and_is_the_same_every_time() -> None:
    rng = np.random.default_rng(0)
    expressions = ["joy", "fear", "anger"] * 12
    centres = {"joy": 0, "fear": 8, "anger": 16}
    points = np.stack([rng.normal(centres[one], 0.1, 6) for one in expressions]).astype(np.float32)
    draw = partial(draw_embeddings, points, expressions, ["anger", "fear", "joy", "neutral"])
    assert {"anger", "fear", "joy", "neutral"} <= set(texts(draw))
    assert as_svg(draw) == as_svg(draw)


@pytest.mark.parametrize("weights", [[0.1, UNASKED, 0.3], [UNASKED] * 3])
def test_points_without_a_key_lie_before_its_axis_and_are_named(weights: list[object]) -> None:
    shown = " ".join(texts(partial(draw_parallel, {"weight": weights, "accuracy": [50.0, 60.0, 70.0]}, (), "accuracy")))
    assert "not asked" in shown
    assert "object" not in shown
