"""What tests of bundles share: commands and what they say, and zips that somebody has changed."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path

import pytest

from polyview.cli import main
from polyview.recipe import load_study
from polyview.studies.bundles.archive import CONTENTS
from polyview.trials.design import REFERENCES, plan

Files = dict[str, bytes]
PIXELS = {**REFERENCES["raw pixels"], "evaluation.probes": ["linear", "knn"], "objective": {"alignment": {}}}
"""Probes on pixels: a trial of such a recipe trains nothing."""


class Said:
    """What a command printed, and how it ended."""

    def __init__(self, capsys: pytest.CaptureFixture[str], *words: object) -> None:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
        self.code = ended.value.code or 0
        self.out, self.err = capsys.readouterr()


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """What a command is refused with, behind the size of the bundle that it had opened."""
    said = Said(capsys, *words)
    assert said.code == 2, said.out + said.err
    assert "Traceback" not in said.err
    return said.err.partition("polyview: ")[2].rstrip("\n")


def read(path: Path) -> Files:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write(path: Path, files: Files, declare: bool = True) -> Path:
    """A zip of these files; their hashes are declared anew, as a forger would do, or left as they are."""
    if declare:
        told = json.loads(files[CONTENTS])
        told["members"] = [
            {"path": name, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in files.items()
            if name != CONTENTS
        ]
        files = files | {CONTENTS: json.dumps(told).encode()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def ids_of(study_file: Path) -> list[str]:
    return [trial.id for trial in plan(load_study(study_file))]
