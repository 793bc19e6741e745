"""BP4D-Spontaneous (Zhang et al., BP4D-Spontaneous, Image and Vision Computing 2014).

41 subjects in eight tasks, each of which elicits one emotion: `F001/T1/000.obj` (or .wrl) with a picture beside it,
25 frames a second, and the action units that occur in each frame in `AUCoding/AU_OCC/F001_T1.csv`, beside the subjects
or beside the folder that holds them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePath

import polars as pl

from polyview.corpus.datasets.layout import add_sequence, find_subjects, wanted_folders
from polyview.corpus.formats.limits import in_any_case
from polyview.corpus.manifest import Found
from polyview.errors import UserError
from polyview.recipe import OWN_EXPRESSIONS, Corpus
from polyview.wording import agreeing, counted

_TASKS = {f"t{number}": emotion for number, emotion in enumerate(OWN_EXPRESSIONS["bp4d"], start=1)}
_CODES = ("AUCoding/AU_OCC", "AU_OCC", "AUCoding")

Strengths = dict[int, float | None]
"""By the number of a frame its intensity; none where its code is 9, which says that it was not coded."""


def scan(corpus: Corpus) -> Found:
    """The faces, and what was skipped. Raises `UserError`.

    A frame's intensity is the count of action units that occur in it, as a share of the most in its sequence, and
    0 where it is not coded; of a sequence without codes it is a guess; both are said. BP4D+ with all of its tasks is
    refused: they are others.
    """
    findings, subjects = find_subjects(
        corpus, r"[FM]\d{3}", str.upper, "folders F001 to M018 with tasks such as F001/T1/"
    )
    coded: dict[str, Strengths] = {}
    for subject in subjects:
        if in_any_case(subject.place, PurePath("T10")):
            raise UserError(
                f"corpus.root: {subject.place} has a task T10, so this is BP4D+, whose tasks elicit other emotions; "
                "read it as dataset folder, with a table"
            )
        for folder in wanted_folders(findings, subject.place, _TASKS):
            emotion = _TASKS[folder.name.lower()]
            table = f"{subject.name}_{folder.name.upper()}.csv"
            strengths = _strengths(subject.place.parent, table, corpus.code_shift)
            if strengths is not None:
                coded[f"{subject.name}_{folder.name}"] = strengths
            add_sequence(findings, folder, r"(\d+)\.(?:obj|wrl|ply)", subject.name, emotion, strengths)
    found = findings.found(f"no codes such as {_CODES[0]}/F001_T1.csv lie beside their subject or one folder above")
    return replace(found, remarks=(*found.remarks, *_on_meshes_without_code(found.rows, coded)))


def _on_meshes_without_code(faces: pl.DataFrame, coded: Mapping[str, Strengths]) -> Iterator[str]:
    """How many there are in the sequences that have codes."""
    meshes = [(film, frame) for film, frame in faces.select("sequence", "frame").iter_rows() if film in coded]
    without = [(film, frame) for film, frame in meshes if coded[film].get(frame) is None]
    if without:
        unknown = sum(frame in coded[film] for film, frame in without)
        films, first = len({film for film, _ in without}), without[0][0]
        have = agreeing(len(without), "has no code and is given", "have no code and are given")
        yield (
            f"{len(without)} of {counted(len(meshes), 'mesh', 'meshes')} {have} intensity 0, in {films} of "
            f"{counted(len(coded), 'film')} with codes; {unknown} of them {agreeing(unknown, 'is', 'are')} coded 9, "
            f"which is unknown; the first is {first}, with codes of {_span(coded[first])} and meshes of "
            f"{_span(frame for film, frame in meshes if film == first)}; where these count from different frames, set "
            "corpus.code_shift"
        )


def _span(frames: Iterable[int]) -> str:
    ordered = sorted(frames)
    return f"frames {ordered[0]} to {ordered[-1]}" if ordered else "no frame"


def _strengths(folder: Path, name: str, shift: int) -> Strengths | None:
    """Of each frame in the table; none where there is none. A table: frame numbers, then 0, 1 or 9 for each unit.

    folder: the one that holds the subjects; shift: what is added to a code's frame to get the mesh's number.
    """
    places = (in_any_case(place, PurePath(codes, name)) for place in (folder, folder.parent) for codes in _CODES)
    file = next((place for place in places if place and place.is_file()), None)
    if file is None:
        return None
    try:
        counts = _counts(file.read_bytes())
    except (pl.exceptions.PolarsError, OSError) as error:
        raise UserError(
            f"{file}: not a table of action units, with a frame's number and 0, 1 or 9 for each unit in a line: "
            f"{str(error).splitlines()[0]}"
        ) from None
    most = max(counts["active"].max() or 0, 1)
    return {frame + shift: None if active is None else active / most for frame, active in counts.iter_rows()}


def _counts(table: bytes) -> pl.DataFrame:
    """Of each frame how many units occur in it; null where none of them is coded."""
    head = table.partition(b"\n")[0]
    separator = max(",;\t", key=lambda mark: head.count(mark.encode()))
    codes = pl.read_csv(table, separator=separator, infer_schema=False).cast(pl.Float64).cast(pl.Int64)
    units = pl.col(codes.columns[1:])
    active = pl.when(pl.any_horizontal(units.is_in([0, 1]))).then(pl.sum_horizontal(units == 1))
    return codes.select(frame=codes.columns[0], active=active).drop_nulls("frame")
