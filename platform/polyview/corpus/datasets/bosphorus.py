"""Bosphorus (Savran et al., Bosphorus Database for 3D Face Analysis, BioID 2008).

105 subjects: `bs000/bs000_E_HAPPY_0.bnt`, with a picture `.png` and landmarks `.lm3` beside it.
"""

from __future__ import annotations

import re

from polyview.corpus.datasets.layout import find_subjects, meshes_in, picture_beside, without_gz
from polyview.corpus.manifest import Found
from polyview.recipe import Corpus

_NAME = re.compile(r"(bs\d{3})_([A-Z]+_.+)_(\d+)", re.IGNORECASE)
_EXPRESSIONS = {
    "N_N": "neutral",
    "E_ANGER": "anger",
    "E_DISGUST": "disgust",
    "E_FEAR": "fear",
    "E_HAPPY": "happiness",
    "E_SADNESS": "sadness",
    "E_SURPRISE": "surprise",
}


def scan(corpus: Corpus) -> Found:
    """The faces, and what was skipped. Raises `UserError`.

    Action units, occlusions and rotations are expressions of their own: their code in small letters, such as
    `lfau_12`, `o_glasses`, `yr_r10`.
    """
    findings, subjects = find_subjects(
        corpus, r"bs\d{3}", str.lower, "folders bs000 to bs104 with files such as bs000_N_N_0.bnt"
    )
    for subject in subjects:
        for file in meshes_in(subject.place, ".bnt"):
            name = without_gz(file).stem
            match = _NAME.fullmatch(name)
            if match is None or match[1].lower() != subject.name:
                findings.leave_out(file, f"its name is not such as {subject.name}_E_HAPPY_0.bnt")
                continue
            expression = _EXPRESSIONS.get(match[2].upper(), match[2].lower())
            intensity = 0.0 if expression == "neutral" else 1.0
            findings.add(file, subject.name, expression, intensity, name, 0, picture_beside(file))
    return findings.found()
