"""What the datasets that lie on disk share: finding their folders, and rows for their files."""

from __future__ import annotations

import itertools
import math
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

import polars as pl

from polyview.corpus.datasets.unread import PACKED, is_archive
from polyview.corpus.formats.limits import (
    FORMATS,
    LEADS_NOWHERE,
    entries,
    format_of,
    in_any_case,
    is_broken_link,
    name_unpacked,
)
from polyview.corpus.manifest import SCHEMA, SEQUENCE, SKIPPED, Found
from polyview.errors import UserError
from polyview.recipe import Corpus
from polyview.storage.names import NOT_UTF8, is_text, shown
from polyview.wording import counted

_PICTURES = (".jpg", ".png", ".bmp", ".jpeg")
_NAMES_SHOWN = 5
_MOST_DIGITS = 18
"""Those of a number that a column of whole numbers holds in any case."""


@dataclass(frozen=True)
class Subject:
    """A person and the folder, the archive or the broken link of that name; the name is as the dataset spells it."""

    name: str
    place: Path


@dataclass
class Findings:
    """The rows of a scan, and the files that were left out, with reasons.

    expected: what the root of the dataset holds; subjects: all whose folders, archives or broken links are there;
    films: how each sequence was spelt first; places: where each frame was found first; repeated: by folder the files
    that were found elsewhere before; bare: the folders of sequences without a mesh, and what the sequences are called.
    """

    dataset: str
    root: Path
    expected: str
    subjects: Sequence[Subject] = ()
    rows: list[dict[str, Any]] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    films: dict[tuple[str, str], str] = field(default_factory=dict)
    places: dict[tuple[str, str, int], Path] = field(default_factory=dict)
    repeated: dict[Path, list[Path]] = field(default_factory=lambda: defaultdict(list))
    bare: dict[Path, tuple[str, str]] = field(default_factory=dict)

    def add(
        self,
        file: Path,
        subject: str,
        expression: str,
        intensity: float | None,
        sequence: str,
        frame: int,
        texture: Path | None,
    ) -> None:
        """A face, unless its subject has that frame in another file already; files are below the root.

        intensity: None where it is to be guessed, which `found` does of all parts of a sequence together.
        """
        sequence = self.films.setdefault((subject, sequence.casefold()), sequence)
        first = self.places.setdefault((subject, sequence, frame), file)
        if first != file:
            self.repeated[file.parent].append(first)
            return
        path = file.relative_to(self.root)
        if not is_text(path):
            self.leave_out(file, NOT_UTF8)
            return
        self.rows.append(
            {
                "sample_id": str(without_gz(path).with_suffix("")),
                "subject": subject,
                "expression": expression,
                "intensity": intensity,
                "sequence": sequence,
                "frame": frame,
                "path": str(path),
                "texture": None if texture is None else str(texture.relative_to(self.root)),
                "dataset": self.dataset,
            }
        )

    def leave_out(self, file: Path, reason: str) -> None:
        self.left_out.append((shown(file.relative_to(self.root)), reason))

    def found(self, measure: str = "the dataset does not tell them") -> Found:
        """What `scan` of a dataset gives; `measure` says why intensities were guessed.

        They are by the usual course, from rest over the apex in the middle and back: sin(pi (i + 1/2) / n). That is a
        guess, not a measurement, and noted as one.
        """
        rows = pl.DataFrame(self.rows, schema=SCHEMA)
        guessed = rows.filter(pl.col("intensity").is_null())["sequence"].unique(maintain_order=True)
        remark = (
            f"the intensities of {counted(len(guessed), 'sequence')} are guessed, from rest over the apex in the "
            f"middle and back: {measure}; the first is {guessed[0]}"
            if len(guessed)
            else None
        )
        turn = math.pi * (pl.col("frame").rank("ordinal").over(SEQUENCE) - 0.5) / pl.len().over(SEQUENCE)
        rows = rows.with_columns(pl.col("intensity").fill_null(turn.sin()))
        left_out = [*self._absent(), *self._bare(), *self._twice(), *self.left_out]
        skipped = pl.DataFrame(left_out, schema=SKIPPED, orient="row")
        return Found(rows, skipped, (remark,) if remark else ())

    def _absent(self) -> Iterator[tuple[str, str]]:
        """Those of whom no face is found, and why."""
        present = {row["subject"] for row in self.rows}
        for subject in self.subjects:
            if subject.name not in present:
                yield shown(subject.place.relative_to(self.root)), self._why_absent(subject)

    def _why_absent(self, subject: Subject) -> str:
        """Several datasets call their subjects alike, so what is in the folder may be of another one."""
        if not is_text(subject.place):
            return NOT_UTF8
        if subject.place.is_dir():
            found = _names_in(subject.place)
            return f"no face of {subject.name} is found in it: expected {self.expected}; found {found}"
        return LEADS_NOWHERE if is_broken_link(subject.place) else PACKED

    def _bare(self) -> Iterator[tuple[str, str]]:
        """Sequences without a mesh, here or elsewhere, in the folder of a person that has meshes of others."""
        people = {self.root / PurePath(row["path"]).parent.parent for row in self.rows}
        for folder, (subject, sequence) in self.bare.items():
            if folder.parent in people and (subject, sequence.casefold()) not in self.films:
                yield shown(folder.relative_to(self.root)), f"no mesh lies in it; found {_names_in(folder)}"

    def _twice(self) -> Iterator[tuple[str, str]]:
        for folder, files in self.repeated.items():
            first = files[0].relative_to(self.root)
            count = counted(len(files), "mesh in it is", "meshes in it are")
            yield shown(folder.relative_to(self.root)), f"{count} there already, as {first}; remove the copy"


def find_subjects(
    corpus: Corpus, pattern: str, spelt: Callable[[str], str], expected: str
) -> tuple[Findings, list[Subject]]:
    """Whose folders are in the dataset's root or one below it: their names match in any case, and are `spelt` so.

    Those in the root come first, sorted by name. Raises `UserError` that says what was expected, and what is there.
    """
    root = Path(corpus.root or "").expanduser().resolve()
    if not root.is_dir():
        raise UserError(f"corpus.root: {root} is not a folder; set it to where {corpus.dataset} lies")

    def name_of(entry: Path) -> str | None:
        name = _stem(entry) if is_archive(entry) else entry.name
        return spelt(name) if re.fullmatch(pattern, name, re.IGNORECASE) else None

    outer = entries(root)
    others = [entry for entry in outer if entry.is_dir() and not name_of(entry)]
    closed = [folder for folder in others if not os.access(folder, os.R_OK | os.X_OK, effective_ids=True)]
    inner = [entry for folder in others if folder not in closed for entry in entries(folder)]
    named = [Subject(name, entry) for entry in (*outer, *inner) if (name := name_of(entry))]
    folders = [subject for subject in named if subject.place.is_dir()]
    absent = [subject for subject in named if is_archive(subject.place) or is_broken_link(subject.place)]
    if not folders:
        raise UserError(
            f"corpus.root: {root} does not hold {corpus.dataset}: expected {expected}; found {_names_in(root)}"
        )
    findings = Findings(corpus.dataset, root, expected, [*folders, *absent])
    for folder in closed:
        findings.leave_out(folder, "a folder that this user may not read")
    people = {subject.place for subject in named}
    parts = {place.parent for place in people} - {root}
    for folder in (entry for entry in (*others, *inner) if entry.is_dir() and entry not in (*people, *parts, *closed)):
        if folder.parent in (root, *parts) and (mesh := _mesh_of_a_person(folder)):
            findings.leave_out(folder, f"its name is not that of a person, expected {expected}; it holds {mesh}")
    return findings, folders


def _mesh_of_a_person(folder: Path) -> str | None:
    """The first mesh where a person's folder has its own: in it, or in those in it."""
    inner = entries(folder)
    below = (mesh for entry in inner if entry.is_dir() for mesh in meshes_in(entry, *FORMATS))
    mesh = next(itertools.chain(meshes_in(folder, *FORMATS), below), None)
    return shown(mesh.relative_to(folder)) if mesh else None


def _stem(archive: Path) -> str:
    return archive.name.partition(".")[0]


def add_sequence(
    findings: Findings,
    folder: Path,
    pattern: str,
    subject: str,
    expression: str,
    strengths: Mapping[int, float | None] | None = None,
) -> None:
    """Rows for the numbered meshes of a folder; `pattern` matches their unpacked names and captures the number.

    strengths: the intensity of frames by number, 0 where it is not known. Without them it is guessed.
    """
    frames: dict[int, Path] = {}
    sequence = f"{subject}_{folder.name}"
    meshes = meshes_in(folder, ".wrl", ".obj", ".ply")
    if not meshes:
        findings.bare[folder] = subject, sequence
    for file in meshes:
        match = re.fullmatch(pattern, without_gz(file).name, re.IGNORECASE)
        if match is None:
            findings.leave_out(file, f"its name is not that of a numbered frame of {folder.name}")
        elif len(match[1]) > _MOST_DIGITS:
            findings.leave_out(file, f"a frame's number has at most {_MOST_DIGITS} digits")
        elif int(match[1]) in frames:
            findings.leave_out(file, f"frame {int(match[1])} is there a second time")
        else:
            frames[int(match[1])] = file
    for number, file in sorted(frames.items()):
        strength = None if strengths is None else strengths.get(number) or 0.0
        findings.add(file, subject, expression, strength, sequence, number, picture_beside(file))


def meshes_in(folder: Path, *formats: str) -> list[Path]:
    """The files in a folder that are of these formats, packed or not, sorted."""
    return [entry for entry in entries(folder) if format_of(entry.name) in formats]


def without_gz(file: Path) -> Path:
    """The file as it is called without the `.gz` of what gzip has packed."""
    return file.with_name(name_unpacked(file.name))


def picture_beside(file: Path) -> Path | None:
    """The picture in the file's folder that has its name, in any case."""
    candidates = (PurePath(without_gz(file).stem + suffix) for suffix in _PICTURES)
    found = (in_any_case(file.parent, candidate) for candidate in candidates)
    return next((picture for picture in found if picture and picture.is_file()), None)


def wanted_folders(findings: Findings, parent: Path, names: Iterable[str]) -> Sequence[Path]:
    """The folders in `parent` with these names; others are left out, as are archives of them, with the reason."""
    known, inner = set(names), entries(parent)
    folders = [entry for entry in inner if entry.is_dir()]
    for folder in folders:
        if folder.name.lower() not in known:
            findings.leave_out(folder, f"not one of {', '.join(sorted(known))}")
    packed = known - {folder.name.lower() for folder in folders}
    for entry in inner:
        if is_archive(entry) and _stem(entry).lower() in packed:
            findings.leave_out(entry, PACKED)
    return [folder for folder in folders if folder.name.lower() in known]


def _names_in(root: Path) -> str:
    names = sorted(shown(entry.name) for entry in root.iterdir())
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return (", ".join(names[:_NAMES_SHOWN]) or "nothing") + more
