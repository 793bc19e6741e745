"""BU-4DFE (Yin et al., A High-Resolution 3D Dynamic Facial Expression Database, FG 2008).

101 subjects, six sequences each, 25 frames a second: `F001/Angry/000.wrl`, with `000.jpg` beside it.
"""

from __future__ import annotations

from polyview.corpus.datasets.layout import add_sequence, find_subjects, wanted_folders
from polyview.corpus.manifest import Found
from polyview.recipe import Corpus

_EXPRESSIONS = {
    "angry": "anger",
    "disgust": "disgust",
    "fear": "fear",
    "happy": "happiness",
    "sad": "sadness",
    "surprise": "surprise",
}


def scan(corpus: Corpus) -> Found:
    """The faces, and what was skipped; the intensity of frames is a guess. Raises `UserError`."""
    findings, subjects = find_subjects(
        corpus, r"[FM]\d{3}", str.upper, "folders F001 to M043 with sequences such as F001/Angry/000.wrl"
    )
    for subject in subjects:
        for folder in wanted_folders(findings, subject.place, _EXPRESSIONS):
            add_sequence(findings, folder, r"(\d+)\.wrl", subject.name, _EXPRESSIONS[folder.name.lower()])
    return findings.found()
