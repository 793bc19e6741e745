"""The same head, whose truth is known, through every format and habit of writing: it must be read as the same head."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.corpus.formats.heads import PLAIN, Part, differences, head
from tests.corpus.formats.writers import HABITS, WRITERS

from polyview.corpus.formats.reader import read_mesh

CASES = settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
LOOKS = {
    ".obj": ["none", "picture", "vertex", "material"],
    ".ply": ["none", "picture", "vertex", "face"],
    ".off": ["none", "vertex", "face", "material"],
    ".stl": ["none", "face"],
    ".wrl": ["none", "picture", "vertex", "face", "material"],
    ".glb": ["none", "picture", "vertex", "material"],
}
"""What a part can show in each format."""
TOLERANCE = 9.0
"""Levels by which colours may differ: as JPEG, as 15 bits, and as whole numbers that lay a picture leave them."""


def lists_of_looks(suffix: str) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(LOOKS[suffix]), min_size=1, max_size=3)


def head_of(suffix: str, looks: list[str], habits: dict[str, Any]) -> list[Part]:
    """The head with these looks; a file that has colours for all vertices has none of its own for a face."""
    if suffix in (".ply", ".off") and "vertex" in looks:
        looks = ["vertex" if look == "face" else look for look in looks]
    if suffix == ".stl" and habits["kind"] == "ascii":
        looks = ["none"] * len(looks)
    return head(looks, habits.get("cut", "mixed"), (255, 255, 255) if suffix == ".glb" else PLAIN)


def habits_of(suffix: str) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({name: st.sampled_from(values) for name, values in HABITS[suffix].items()})


def read_differences(folder: Path, suffix: str, parts: list[Part], habits: dict[str, Any]) -> list[str]:
    """What is read otherwise than it was written."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    name = WRITERS[suffix](folder, parts, habits)
    mesh = read_mesh(name, None, str(folder))
    mesh.check()
    return differences(mesh, parts, TOLERANCE)


@pytest.mark.parametrize("suffix", WRITERS)
@CASES
@given(data=st.data())
def test_the_same_head_is_read_from_every_format(tmp_path: Path, suffix: str, data: st.DataObject) -> None:
    habits = data.draw(habits_of(suffix), label="habits")
    parts = head_of(suffix, data.draw(lists_of_looks(suffix), label="looks"), habits)
    assert not read_differences(tmp_path / "head", suffix, parts, habits)
