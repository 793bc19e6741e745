"""BU-3DFE (Yin et al., A 3D Facial Expression Database for Facial Behavior Research, FG 2006).

100 subjects, six expressions at four levels and neutral: `F0001/F0001_AN01WH_F3D.wrl`, with `_F2D.bmp` beside it.
"""

from __future__ import annotations

import re

import numpy as np
import polars as pl

from polyview.corpus.datasets.layout import Findings, find_subjects, picture_beside
from polyview.recipe import Corpus

_SUBJECT = r"[FM]\d{4}"
_NAME = re.compile(rf"({_SUBJECT})_(AN|DI|FE|HA|SA|SU|NE)0?([0-4])[A-Z]{{2}}_F3D")
_EXPRESSIONS = {
    "NE": "neutral",
    "AN": "anger",
    "DI": "disgust",
    "FE": "fear",
    "HA": "happiness",
    "SA": "sadness",
    "SU": "surprise",
}
_SUBSET_SUBJECTS = 60
_SUBSET_INTENSITY = 0.75


def scan(corpus: Corpus) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The manifest rows, and what was skipped; levels 1 to 4 are intensities 0.25 to 1. Raises `UserError`.

    Raw scans (`_RAW.wrl`) are left out without a word.
    """
    findings, subjects = find_subjects(
        corpus, _SUBJECT, "folders F0001 to M0044 with files such as F0001_AN01WH_F3D.wrl"
    )
    for folder in subjects:
        for file in sorted(folder.iterdir()):
            if file.suffix.lower() != ".wrl" or file.stem.upper().endswith("_RAW"):
                continue
            match = _NAME.fullmatch(file.stem)
            if match is None or match[1] != folder.name:
                findings.leave_out(file, f"its name is not such as {folder.name}_AN01WH_F3D.wrl")
                continue
            texture = picture_beside(file, file.stem.replace("_F3D", "_F2D"))
            findings.add(file, match[1], _EXPRESSIONS[match[2]], int(match[3]) / 4, file.stem, 0, texture)
    return _subset(findings, corpus)


def _subset(findings: Findings, corpus: Corpus) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Subset I is drawn once and for all, since the literature does not say which 60 subjects it took."""
    found, skipped = findings.tables()
    if corpus.subset != "I":
        return found, skipped
    subjects = found["subject"].unique().sort().to_list()
    order = np.random.default_rng(0).permutation(len(subjects))[:_SUBSET_SUBJECTS]
    strong = (pl.col("expression") == "neutral") | (pl.col("intensity") >= _SUBSET_INTENSITY)
    return found.filter(pl.col("subject").is_in([subjects[i] for i in order]) & strong), skipped
