"""From a dataset, wherever it lies, to a manifest."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from polyview.corpus.datasets import facekit, folder, synthetic
from polyview.corpus.manifest import Manifest
from polyview.errors import UserError
from polyview.recipe import Corpus

_DATASETS = {"synthetic": synthetic.scan, "facekit": facekit.scan, "folder": folder.scan}


@dataclass
class Scan:
    """What was found, and what was left out: `skipped` has the columns path and reason."""

    manifest: Manifest
    skipped: pl.DataFrame


def scan(corpus: Corpus) -> Scan:
    """Find the faces of `corpus`, of its expressions and intensities; neutral faces stay at any intensity.

    Raises `UserError` where the dataset is not at its root, or nothing of it is left.
    """
    found, skipped = _DATASETS[corpus.dataset](corpus)
    kept = found.filter(pl.col("expression").is_in(corpus.expressions) & _within(*corpus.intensity))
    if kept.is_empty():
        raise UserError(f"corpus: {_nothing_left(corpus, found, skipped)}")
    root = str(Path(corpus.root).expanduser().resolve()) if corpus.root and corpus.dataset != "synthetic" else ""
    return Scan(Manifest.build(kept, root), skipped)


def _within(low: float, high: float) -> pl.Expr:
    return (pl.col("expression") == "neutral") | pl.col("intensity").is_between(low, high)


def _nothing_left(corpus: Corpus, found: pl.DataFrame, skipped: pl.DataFrame) -> str:
    if found.is_empty():
        first = f"; the first: {skipped['path'][0]}: {skipped['reason'][0]}" if len(skipped) else ""
        return f"no face of {corpus.dataset} can be used, {len(skipped)} were skipped{first}"
    present = ", ".join(found["expression"].unique().sort())
    low, high = corpus.intensity
    return (
        f"none of the {len(found)} faces of {corpus.dataset} has an expression of {', '.join(corpus.expressions)} "
        f"at an intensity of {low:g} to {high:g}; it has {present}"
    )
