from __future__ import annotations

import math
import re
from itertools import pairwise
from xml.etree import ElementTree

import numpy as np
import pytest

from polyview.analysis.inference import SeedScore
from polyview.analysis.statistics import Comparison
from polyview.reporting import figures

LEVELS = {"full": (0.7, 0.74, 0.72), "no text": (0.4,), "absent": (), "untrained": (0.3, 0.34)}
SCORES = {
    name: {seed: SeedScore(level, ratio=0.4) for seed, level in enumerate(levels)} for name, levels in LEVELS.items()
}


def texts(svg: str) -> list[str]:
    root = ElementTree.fromstring(svg)
    return [(element.text or "").strip() for element in root.iter("{http://www.w3.org/2000/svg}text")]


def test_the_comparison_names_its_rows_and_its_axis() -> None:
    shown = texts(figures.comparison(SCORES, "full", ["untrained"], "linear/accuracy"))
    assert [name for name in SCORES if name not in shown] == []
    assert "linear/accuracy, %" in shown


def test_a_figure_is_the_same_every_time() -> None:
    first, second = (figures.comparison(SCORES, "full", ["untrained"], "linear/accuracy") for _ in range(2))
    assert first == second


def test_the_forest_leaves_out_what_has_no_difference() -> None:
    comparisons = [
        Comparison("full", 3, 0.7, 0.02),
        Comparison("no text", 3, 0.6, 0.02, 3, 60, -0.1, -0.15, -0.05),
        Comparison("single", 1, 0.6, math.nan, 1, difference=-0.1),
    ]
    shown = texts(figures.forest(comparisons, "full", "linear/accuracy"))
    assert {"no text", "single"} <= set(shown)
    assert "full" not in shown
    assert any("points of linear/accuracy" in text for text in shown)


def test_curves_have_a_panel_per_term_and_one_legend() -> None:
    curve = {1: 2.0, 2: 1.5, 3: 1.2}
    histories = {"loss": {"full": [curve, {1: 2.1, 2: 1.4}], "other": [curve]}, "alignment": {"full": [curve]}}
    shown = texts(figures.curves(histories, ["full", "other", "untrained"]))
    assert shown.count("full") == shown.count("other") == 1
    assert "untrained" not in shown
    assert {"loss", "alignment"} <= set(shown)


@pytest.mark.parametrize("variants", [1, 9, 30])
def test_curves_take_any_number_of_variants(variants: int) -> None:
    names = [f"variant {n}" for n in range(variants)]
    shown = texts(figures.curves({"loss": {name: [{1: 1.0 + n}] for n, name in enumerate(names)}}, names))
    assert sum(text.startswith("variant") for text in shown) == variants


def test_a_variant_has_one_colour_in_every_figure_of_a_study() -> None:
    alone = figures.curves({"redundancy": {"third": [{1: 2.0, 2: 1.5}]}}, ["full", "second", "third"])
    assert figures.PALETTE[2].lower() in alone.lower()
    assert figures.PALETTE[0].lower() not in alone.lower()


def test_long_names_that_differ_at_their_ends_are_told_apart() -> None:
    names = [f"smile-vlm with pseudo-labels of all the people, labelled={share}" for share in (0.1, 1.0)]
    scores = {name: {0: SeedScore(0.5), 1: SeedScore(0.6)} for name in names}
    shown = texts(figures.comparison(scores, "", [], "linear/accuracy"))
    assert any("labelled=0.1" in text for text in shown)
    assert any("labelled=1.0" in text for text in shown)


def test_confusions_are_shares_of_the_true_class() -> None:
    shown = texts(figures.confusion(np.array([[3, 1, 0], [0, 8, 2], [0, 0, 0]]), ["anger", "fear", "joy"]))
    assert sorted(text for text in shown if text.isdigit()) == ["20", "25", "75", "80"]
    assert shown.count("anger") == 2


def test_colours_differ_in_lightness_too() -> None:
    def lightness(color: str) -> float:
        red, green, blue = (int(part, 16) / 255 for part in re.findall("..", color[1:]))
        return 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2

    levels = sorted(lightness(color) for color in figures.PALETTE)
    assert all(after - before > 0.005 for before, after in pairwise(levels))
    assert levels[-1] < 0.5


def test_the_map_names_every_class_and_is_the_same_every_time() -> None:
    rng = np.random.default_rng(0)
    labels = ["joy", "fear", "anger"] * 12
    centres = {"joy": 0, "fear": 8, "anger": 16}
    points = np.stack([rng.normal(centres[label], 0.1, 6) for label in labels]).astype(np.float32)
    svg = figures.embedding_map(points, labels, ["anger", "fear", "joy", "neutral"])
    assert {"anger", "fear", "joy", "neutral"} <= set(texts(svg))
    assert svg == figures.embedding_map(points, labels, ["anger", "fear", "joy", "neutral"])


@pytest.mark.parametrize("weights", [[0.1, figures.UNASKED, 0.3], [figures.UNASKED] * 3])
def test_points_without_a_key_lie_below_its_axis_and_are_named(weights: list[object]) -> None:
    drawn = figures.parallel({"weight": weights, "accuracy": [50.0, 60.0, 70.0]}, (), "accuracy")
    assert "not asked" in drawn
    assert "object" not in drawn
