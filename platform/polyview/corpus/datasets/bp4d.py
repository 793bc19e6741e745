"""BP4D-Spontaneous (Zhang et al., BP4D-Spontaneous, Image and Vision Computing 2014).

41 subjects in eight tasks, each of which elicits one emotion: `F001/T1/000.obj` (or .wrl) with a picture beside it,
25 frames a second, and the action units that occur in each frame in `AUCoding/AU_OCC/F001_T1.csv`, beside the subjects
or beside the folder that holds them.
"""

from __future__ import annotations

from pathlib import Path, PurePath

import polars as pl

from polyview.corpus.datasets.layout import add_sequence, find_subjects, wanted_folders
from polyview.corpus.formats.limits import in_any_case
from polyview.corpus.manifest import Found
from polyview.errors import UserError
from polyview.recipe import OWN_EXPRESSIONS, Corpus

_TASKS = {f"t{number}": emotion for number, emotion in enumerate(OWN_EXPRESSIONS["bp4d"], start=1)}
_CODES = ("AUCoding/AU_OCC", "AU_OCC", "AUCoding")


def scan(corpus: Corpus) -> Found:
    """The faces, and what was skipped. Raises `UserError`.

    A frame's intensity is the count of action units that occur in it, as a share of the most in its sequence, and
    0 where it is not coded; of a sequence without codes it is a guess, which is said. BP4D+ with all of its tasks is
    refused: they are others.
    """
    findings, subjects = find_subjects(
        corpus, r"[FM]\d{3}", str.upper, "folders F001 to M018 with tasks such as F001/T1/"
    )
    for subject in subjects:
        if in_any_case(subject.place, PurePath("T10")):
            raise UserError(
                f"corpus.root: {subject.place} has a task T10, so this is BP4D+, whose tasks elicit other emotions; "
                "read it as dataset folder, with a table"
            )
        for folder in wanted_folders(findings, subject.place, _TASKS):
            emotion = _TASKS[folder.name.lower()]
            strengths = _strengths(subject.place.parent, f"{subject.name}_{folder.name.upper()}.csv", corpus.code_shift)
            add_sequence(findings, folder, r"(\d+)\.(?:obj|wrl|ply)", subject.name, emotion, strengths)
    return findings.found(f"no codes such as {_CODES[0]}/F001_T1.csv lie beside their subject or one folder above")


def _strengths(folder: Path, name: str, shift: int) -> dict[int, float] | None:
    """Of each coded frame; none where there are no codes. A table: frame numbers, then 0, 1 or 9 for each unit.

    folder: the one that holds the subjects; shift: what is added to a code's frame to get the mesh's number.
    """
    places = (place / codes / name for place in (folder, folder.parent) for codes in _CODES)
    file = next((place for place in places if place.is_file()), None)
    if file is None:
        return None
    try:
        codes = pl.read_csv(file, infer_schema=False).cast(pl.Float64).cast(pl.Int64)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise UserError(f"{file}: not a table of action units: {str(error).splitlines()[0]}") from None
    units = codes.columns[1:]
    counts = codes.select(codes.columns[0], active=pl.sum_horizontal(pl.col(units) == 1))
    most = max(counts["active"].max() or 0, 1)
    return {frame + shift: active / most for frame, active in counts.drop_nulls().iter_rows()}
