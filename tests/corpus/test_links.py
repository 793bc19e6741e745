"""Datasets whose files are symbolic links, as DVC, git-annex and shared archives lay them out."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.corpus.on_disk import write_picture, write_wrl

from polyview.corpus.load import load_mesh
from polyview.corpus.mesh import MeshError
from polyview.corpus.scan import Scan, scan
from polyview.recipe import Corpus

FACE = (
    "mtllib face.mtl\nusemtl skin\nv 0 0 0\nv 1 0 0\nv 1 1 0\nvt 0 0\nvt 1 0\nvt 1 1\nf 1/1 2/2 3/3\n",
    "newmtl skin\nmap_Kd {picture}\n",
)


def write_face(folder: Path, picture: str = "skin.png") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in zip(("face.obj", "face.mtl"), FACE, strict=True):
        (folder / name).write_text(text.format(picture=picture))


def moved_to_store(folder: Path, store: Path) -> None:
    """Each file of the folder as a link to a nameless file elsewhere."""
    store.mkdir()
    for number, file in enumerate(sorted(folder.iterdir())):
        file.rename(store / f"{number:032x}")
        file.symlink_to(store / f"{number:032x}")


def scanned(root: Path, table: str) -> Scan:
    file = root.parent / "faces.csv"
    file.write_text("path,subject,expression\n" + table)
    return scan(Corpus(dataset="folder", root=str(root), table=str(file)))


def has_its_picture(found: Scan) -> bool:
    (row,) = found.manifest.frame.iter_rows(named=True)
    return load_mesh(row["path"], row["texture"], found.manifest.root).texture is not None


def test_files_that_are_links_to_a_store(tmp_path: Path) -> None:
    root = tmp_path / "faces"
    write_face(root / "anna")
    write_picture(root / "anna" / "skin.png")
    moved_to_store(root / "anna", tmp_path / "store")
    assert has_its_picture(scanned(root, "anna/face.obj,anna,anger\n"))


def test_a_folder_that_is_a_link_to_an_archive(tmp_path: Path) -> None:
    archive, root = tmp_path / "archive", tmp_path / "faces"
    write_picture(archive / "skin.png")
    write_face(archive, picture=str(archive / "skin.png"))
    root.mkdir()
    (root / "anna").symlink_to(archive)
    for path in ("anna/face.obj", archive / "face.obj", root / "anna" / "face.obj"):
        found = scanned(root, f"{path},anna,anger\n")
        assert found.manifest.frame["path"].to_list() == ["anna/face.obj"]
        assert has_its_picture(found)


def test_a_root_that_is_a_link(tmp_path: Path) -> None:
    archive, root = tmp_path / "archive", tmp_path / "faces"
    write_picture(archive / "skin.png")
    write_face(archive)
    root.symlink_to(archive)
    for path in ("face.obj", root / "face.obj", archive / "face.obj"):
        assert has_its_picture(scanned(root, f"{path},anna,anger\n"))


def test_a_pattern_follows_links_and_does_not_go_round_in_circles(tmp_path: Path) -> None:
    root = tmp_path / "faces"
    write_face(tmp_path / "archive" / "anger")
    root.mkdir()
    for person in ("anna", "bert"):
        (root / person).symlink_to(tmp_path / "archive")
    (tmp_path / "archive" / "again").symlink_to(tmp_path / "archive")
    (root / "all").symlink_to(root)
    found = scan(Corpus(dataset="folder", root=str(root), pattern="{subject}/{expression}/face.obj"))
    assert found.manifest.frame["path"].to_list() == ["anna/anger/face.obj", "bert/anger/face.obj"]


def test_a_licensed_dataset_of_links(tmp_path: Path) -> None:
    root, subject = tmp_path / "BU-3DFE", tmp_path / "BU-3DFE" / "F0001"
    write_wrl(subject / "F0001_AN01WH_F3D.wrl", "F0001_AN01WH_F3D.bmp")
    write_picture(subject / "F0001_AN01WH_F3D.bmp")
    moved_to_store(subject, tmp_path / "store")
    assert has_its_picture(scan(Corpus(dataset="bu3dfe", root=str(root))))


def test_what_a_material_names_stays_inside_even_behind_a_link(tmp_path: Path) -> None:
    archive, root = tmp_path / "archive", tmp_path / "faces"
    secret = write_picture(tmp_path / "secret.png")
    root.mkdir()
    (root / "anna").symlink_to(archive)
    for name in (str(secret), "../../secret.png", "../anna/../../secret.png"):
        write_face(archive, picture=name)
        with pytest.raises(MeshError, match="lies outside of the dataset's folder"):
            load_mesh("anna/face.obj", None, str(root))
