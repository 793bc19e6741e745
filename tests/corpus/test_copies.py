"""Meshes that lie in a folder several times: told where they are said to be different faces."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from tests.corpus.on_disk import face_of, write_obj

from polyview.corpus import contents
from polyview.corpus.scan import scan
from polyview.recipe import Corpus

FACES = ("anna/anger.obj", "anna/fear.obj", "bert/anger.obj", "bert/fear.obj")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for face in FACES:
        (tmp_path / face).parent.mkdir(exist_ok=True)
        write_obj(tmp_path / face, face_of(*face.removesuffix(".obj").split("/")))
    return tmp_path


def remarks(root: Path) -> str:
    """What a scan says, but for guesses of how the meshes lie."""
    corpus = Corpus(
        dataset="folder", root=str(root), pattern="{subject}/{expression}.obj", expressions=("anger", "fear")
    )
    return "\n".join(scan(corpus).remarks)


@pytest.mark.parametrize("put", [shutil.copy, os.symlink])
@pytest.mark.parametrize("again", ["bert/anger.obj", "anna/fear.obj"])
def test_a_mesh_that_is_there_as_two_faces_is_told(root: Path, put: Callable[[Path, Path], object], again: str) -> None:
    (root / again).unlink()
    put(root / "anna" / "anger.obj", root / again)
    subject, expression = again.removesuffix(".obj").split("/")
    assert (
        f"1 of 3 different meshes is there several times, as anna/anger.obj, {again}: anger of anna or {expression} "
        f"of {subject}; leave each there once, or a face may be both trained on and tested on"
    ) in remarks(root)


def test_different_meshes_are_not_told(root: Path) -> None:
    assert "several times" not in remarks(root)


def test_one_surface_under_two_pictures_is_two_faces(root: Path) -> None:
    for number, person in enumerate(("anna", "bert")):
        (root / person / "anger.obj").write_text("mtllib face.mtl\nv 0 0 0\nv 1 0 0\nv 1 1 0\nf 1 2 3\n")
        (root / person / "face.mtl").write_text("newmtl skin\nmap_Kd skin.png\n")
        Image.new("RGB", (2, 2), (number, 0, 0)).save(root / person / "skin.png")
    assert "several times" not in remarks(root)


def test_what_holds_nothing_is_no_copy(root: Path) -> None:
    for face in FACES[:2]:
        (root / face).write_bytes(b"")
    for face in FACES[2:]:
        (root / face).unlink()
        (root / face).symlink_to(root / "gone.obj")
    assert "several times" not in remarks(root)


def test_what_cannot_be_read_is_no_copy(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(root / "cache"))
    monkeypatch.setattr(contents, "_digest", lambda _path: None)
    assert "several times" not in remarks(root)


def test_no_file_is_read_twice_though_nothing_can_be_remembered(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(root / FACES[0]))  # which is no folder
    read, digest = [], contents._digest
    monkeypatch.setattr(contents, "_digest", lambda path: read.append(path) or digest(path))
    remarks(root)
    assert sorted(read) == [root / face for face in FACES]
