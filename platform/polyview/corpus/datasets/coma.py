"""CoMA (Ranjan et al., Generating 3D Faces using Convolutional Mesh Autoencoders, ECCV 2018).

12 subjects, each in twelve extreme expressions: `FaceTalk_170725_00137_TA/bareteeth/bareteeth.000001.ply`, meshes of
5,023 vertices (the topology of FLAME) in metres, without texture.
"""

from __future__ import annotations

from polyview.corpus.datasets.layout import add_sequence, find_subjects, wanted_folders
from polyview.corpus.manifest import Found
from polyview.recipe import OWN_EXPRESSIONS, Corpus

UNIT = 1000.0
"""Millimetres per unit of its files."""


def scan(corpus: Corpus) -> Found:
    """The faces, and what was skipped; the intensity of frames is a guess. Raises `UserError`."""
    findings, subjects = find_subjects(
        corpus,
        r"FaceTalk_\d+_\d+_TA",
        _spelt,
        "folders such as FaceTalk_170725_00137_TA with sequences such as bareteeth/bareteeth.000001.ply",
    )
    for subject in subjects:
        for folder in wanted_folders(findings, subject.place, OWN_EXPRESSIONS["coma"]):
            expression = folder.name.lower()
            others = "|".join(name for name in OWN_EXPRESSIONS["coma"] if name != expression)
            add_sequence(findings, folder, rf"(?!(?:{others})\.)[a-z_]+\.(\d+)\.ply", subject.name, expression)
    return findings.found()


def _spelt(name: str) -> str:
    return "FaceTalk" + name[len("FaceTalk") :].upper()
