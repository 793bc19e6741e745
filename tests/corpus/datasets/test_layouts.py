"""What a scan says of a folder is what was written there: every face, and no other, and what is left out is told."""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.corpus.datasets.folders import NAMES, TABLES, listed, named
from tests.corpus.datasets.layouts import DATASETS, Chance, Face, Habits, Layout

from polyview.corpus.scan import Scan, scan
from polyview.errors import UserError
from polyview.recipe import Corpus

CASES = settings(
    max_examples=16,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def differences(found: Scan, faces: Iterable[Face], left_out: Iterable[str]) -> list[str]:
    """How a scan differs from the truth, in words."""
    truth = {face.path: face for face in faces}
    rows = {row["path"]: row for row in found.manifest.frame.iter_rows(named=True)}
    lines = [f"not found: {path}" for path in truth.keys() - rows.keys()]
    lines += [f"found, and is no face: {path}" for path in rows.keys() - truth.keys()]
    told = set(found.skipped["path"])
    lines += [f"left out in silence: {path}" for path in set(left_out) - told]
    lines += [f"told, and is nothing: {path}" for path in told - set(left_out)]
    films = defaultdict(set)
    for path in truth.keys() & rows.keys():
        row, face = rows[path], truth[path]
        said = (row["subject"], row["expression"], round(row["intensity"], 6), row["frame"], row["texture"])
        true = (face.subject, face.expression, round(face.intensity, 6), face.frame, face.texture)
        if said != true:
            lines.append(f"{path}: {said} is not {true}")
        films[face.film].add((row["subject"], row["expression"], row["sequence"]))
    several = [film for film, names in films.items() if len(names) > 1]
    lines += [f"frames of one film are of several: {film}" for film in several]
    if len(set().union(*films.values())) < len(films):
        lines.append("frames of several films are of one")
    return sorted(lines)


def drawn(data: st.DataObject, options: Mapping[str, Sequence[Any]]) -> tuple[Chance, Habits]:
    habits = data.draw(st.fixed_dictionaries({name: st.sampled_from(values) for name, values in options.items()}))
    return np.random.default_rng(data.draw(st.integers(0, 999), label="seed")), habits


def emptied(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


@pytest.mark.parametrize("dataset", DATASETS)
@CASES
@given(data=st.data())
def test_a_dataset_s_folder_is_scanned_as_what_it_holds(tmp_path: Path, dataset: str, data: st.DataObject) -> None:
    write, options = DATASETS[dataset]
    layout = Layout(emptied(tmp_path / "root"), *drawn(data, options))
    write(layout)
    expressions = tuple(sorted({face.expression for face in layout.faces}))
    found = scan(Corpus.model_validate({"dataset": dataset, "root": str(layout.root), "expressions": expressions}))
    assert not differences(found, layout.faces, layout.left_out)


def of_folder(root: Path, faces: Iterable[Face], **settings: str) -> Scan:
    own = {"dataset": "folder", "root": str(root), "expressions": tuple(sorted({face.expression for face in faces}))}
    return scan(Corpus.model_validate(own | settings))


@CASES
@given(data=st.data())
def test_a_table_is_scanned_as_what_it_says(tmp_path: Path, data: st.DataObject) -> None:
    root = emptied(tmp_path / "root")
    faces, table = listed(root, *drawn(data, TABLES))
    assert not differences(of_folder(root, faces, table=table), faces, [])


@CASES
@given(data=st.data())
def test_names_are_read_as_what_they_say_or_are_told(tmp_path: Path, data: st.DataObject) -> None:
    root = emptied(tmp_path / "root")
    faces, pattern = named(root, *drawn(data, NAMES))
    try:
        found = of_folder(root, faces, pattern=pattern)
    except UserError:  # it is refused, for some expression is told by no name without doubt
        return
    told = set(found.skipped["path"])
    assert not differences(found, [face for face in faces if face.path not in told], told)
