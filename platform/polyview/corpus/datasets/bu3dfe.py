"""BU-3DFE (Yin et al., A 3D Facial Expression Database for Facial Behavior Research, FG 2006).

100 subjects, six expressions at four levels and neutral: `F0001/F0001_AN01WH_F3D.wrl`. Its texture is `_F3D.bmp`, two
side views in one picture; `_F2D.bmp` is a frontal photograph that no texture coordinate belongs to.
"""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import polars as pl

from polyview.corpus.datasets.layout import Findings, find_subjects, meshes_in, picture_beside, without_gz
from polyview.corpus.manifest import Found
from polyview.recipe import Corpus

_SUBJECT = r"[FM]\d{4}"
_SHOWN = r"(NE(?=00?[A-Z])|(?:AN|DI|FE|HA|SA|SU)(?=0?[1-4]))0?([0-4])"
_NAME = re.compile(rf"({_SUBJECT})_{_SHOWN}[A-Z]{{2}}_F3D", re.IGNORECASE)
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


def scan(corpus: Corpus) -> Found:
    """The faces, and what was skipped; levels 1 to 4 are intensities 0.25 to 1. Raises `UserError`.

    Raw scans (`_RAW.wrl`) are left out without a word.
    """
    findings, subjects = find_subjects(
        corpus, _SUBJECT, str.upper, "folders F0001 to M0044 with files such as F0001_AN01WH_F3D.wrl"
    )
    for subject in subjects:
        for file in meshes_in(subject.place, ".wrl"):
            name = without_gz(file).stem
            if name.upper().endswith("_RAW"):
                continue
            match = _NAME.fullmatch(name)
            if match is None or match[1].upper() != subject.name:
                findings.leave_out(file, f"its name is not such as {subject.name}_AN01WH_F3D.wrl")
                continue
            expression, level = _EXPRESSIONS[match[2].upper()], int(match[3])
            findings.add(file, subject.name, expression, level / 4, name, 0, picture_beside(file))
    return _subset(findings, corpus)


def _subset(findings: Findings, corpus: Corpus) -> Found:
    """Subset I is drawn once and for all, since the literature does not say which 60 subjects it took."""
    found = findings.found()
    if corpus.subset != "I":
        return found
    subjects = found.rows["subject"].unique().sort().to_list()
    order = np.random.default_rng(0).permutation(len(subjects))[:_SUBSET_SUBJECTS]
    strong = (pl.col("expression") == "neutral") | (pl.col("intensity") >= _SUBSET_INTENSITY)
    rows = found.rows.filter(pl.col("subject").is_in([subjects[i] for i in order]) & strong)
    fewer = f"subset I has {_SUBSET_SUBJECTS} subjects, and there are {len(subjects)}: all of them are taken"
    remarks = (*found.remarks, fewer) if len(subjects) < _SUBSET_SUBJECTS else found.remarks
    return replace(found, rows=rows, remarks=remarks)
