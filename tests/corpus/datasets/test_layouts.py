"""What a scan says of a folder is what was written there: every face, and no other, and what is left out is told."""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.corpus.datasets.layouts import DATASETS, Face, Layout

from polyview.corpus.scan import Scan, scan
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


@pytest.mark.parametrize("dataset", DATASETS)
@CASES
@given(data=st.data())
def test_a_dataset_s_folder_is_scanned_as_what_it_holds(tmp_path: Path, dataset: str, data: st.DataObject) -> None:
    write, options = DATASETS[dataset]
    habits = data.draw(st.fixed_dictionaries({name: st.sampled_from(values) for name, values in options.items()}))
    root = tmp_path / "root"
    shutil.rmtree(root, ignore_errors=True)
    layout = Layout(root, np.random.default_rng(data.draw(st.integers(0, 999), label="seed")), habits)
    write(layout)
    expressions = tuple(sorted({face.expression for face in layout.faces}))
    found = scan(Corpus.model_validate({"dataset": dataset, "root": str(root), "expressions": expressions}))
    assert not differences(found, layout.faces, layout.left_out)
