from __future__ import annotations

import gzip
import json
import os
import struct
from pathlib import Path

import polars as pl
import pytest

from polyview.corpus import contents
from polyview.corpus.manifest import DRAWING, SCHEMA, Manifest
from polyview.errors import UserError
from polyview.studies.bundles.known_faces import KnownFaces


@pytest.fixture
def rows(tmp_path: Path) -> pl.DataFrame:
    for name in ("a.obj", "b.obj"):
        (tmp_path / name).write_text("v 0 0 0\n")
    return pl.DataFrame(
        {
            "sample_id": ["a", "b"],
            "subject": ["s2", "s1"],
            "expression": ["anger", "neutral"],
            "intensity": [0.8, 0.0],
            "sequence": ["a", "b"],
            "frame": [0, 0],
            "path": ["a.obj", "b.obj"],
            "texture": [None, None],
            "dataset": ["folder", "folder"],
        }
    )


def test_it_comes_back_as_it_was_saved(rows: pl.DataFrame, tmp_path: Path) -> None:
    manifest = Manifest.build(rows, str(tmp_path))
    manifest.save(tmp_path / "faces.parquet")
    again = Manifest.load(tmp_path / "faces.parquet")
    assert again.frame.equals(manifest.frame)
    assert (again.root, again.fingerprint) == (manifest.root, manifest.fingerprint)
    assert again.frame.schema == SCHEMA
    assert (len(again), again.subjects) == (2, ["s1", "s2"])


def test_the_order_of_rows_does_not_count(rows: pl.DataFrame, tmp_path: Path) -> None:
    forward, backward = (Manifest.build(each, str(tmp_path)) for each in (rows, rows.reverse()))
    assert forward.fingerprint == backward.fingerprint
    assert forward.frame.equals(backward.frame)


def test_the_fingerprint_changes_with_what_a_file_holds_and_not_with_its_time(
    rows: pl.DataFrame, tmp_path: Path
) -> None:
    before = Manifest.build(rows, str(tmp_path))
    former = before.former_fingerprints[-1]
    os.utime(tmp_path / "b.obj", (1, 1))
    touched = Manifest.build(rows, str(tmp_path))
    assert touched.fingerprint == before.fingerprint
    assert touched.former_fingerprints[-1] != former
    held = (tmp_path / "b.obj").read_text()
    (tmp_path / "b.obj").write_text(held.replace("0", "1", 1))
    assert Manifest.build(rows, str(tmp_path)).fingerprint != before.fingerprint
    (tmp_path / "b.obj").write_text(held)
    assert Manifest.build(rows, str(tmp_path)).fingerprint == before.fingerprint


def test_a_file_is_read_once_while_its_size_and_time_stay(
    rows: pl.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(contents, "JUST_WRITTEN", 0)
    before = Manifest.build(rows, str(tmp_path)).fingerprint
    with monkeypatch.context() as patch:
        patch.setattr(contents, "_digest", lambda path: pytest.fail(f"{path} was read again"))
        assert Manifest.build(rows, str(tmp_path)).fingerprint == before


def test_a_file_that_changed_and_was_given_its_former_time_is_read_again(
    rows: pl.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(contents, "JUST_WRITTEN", 0)
    before, path = Manifest.build(rows, str(tmp_path)).fingerprint, tmp_path / "b.obj"
    state, held = path.stat(), path.read_text()
    path.write_text(held.replace("0", "1", 1))
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert Manifest.build(rows, str(tmp_path)).fingerprint != before


def test_folders_that_change_names_are_told_apart_though_their_files_are_as_old_and_as_large(
    rows: pl.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(contents, "JUST_WRITTEN", 0)
    anger, fear = tmp_path / "anger", tmp_path / "fear"
    for folder in (anger, fear):
        folder.mkdir()
    for number in range(100):  # until both are of one tick of the clock, as files are that are unpacked
        faces = [folder / f"{number}.obj" for folder in (anger, fear)]
        for face in faces:
            file = os.open(face, os.O_CREAT | os.O_WRONLY)  # Path.write_text looks at the time, which then moves on
            os.write(file, face.parent.name[:4].encode())
            os.close(file)
        if len({face.stat().st_ctime_ns for face in faces}) == 1:
            break
    of_both = rows.with_columns(path=pl.Series([str(face.relative_to(tmp_path)) for face in faces]))
    before = Manifest.build(of_both, str(tmp_path)).fingerprint
    anger.rename(tmp_path / "other")
    fear.rename(anger)
    (tmp_path / "other").rename(fear)
    assert Manifest.build(of_both, str(tmp_path)).fingerprint != before


def test_where_nothing_can_be_remembered_files_are_read_again(
    rows: pl.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = Manifest.build(rows, str(tmp_path)).fingerprint
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert Manifest.build(rows, str(tmp_path)).fingerprint == before


@pytest.mark.parametrize("suffix", [".bnd", ".lm3", ".mtl"])
def test_the_fingerprint_changes_with_what_lies_beside_a_mesh(rows: pl.DataFrame, tmp_path: Path, suffix: str) -> None:
    before = Manifest.build(rows, str(tmp_path)).fingerprint
    (tmp_path / rows["path"][0]).with_suffix(suffix).write_text("1 0 0 0")
    assert Manifest.build(rows, str(tmp_path)).fingerprint != before
    (tmp_path / rows["path"][0]).with_suffix(".txt").write_text("notes")
    (tmp_path / rows["path"][0]).with_suffix(suffix).unlink()
    assert Manifest.build(rows, str(tmp_path)).fingerprint == before


def test_the_fingerprint_changes_with_landmarks_in_a_folder_of_their_own(rows: pl.DataFrame, tmp_path: Path) -> None:
    film = tmp_path / "F001" / "Sad"
    film.mkdir(parents=True)
    (film / "000.wrl").write_text("#VRML V2.0 utf8")
    of_film = rows.with_columns(path=pl.Series(["F001/Sad/000.wrl", rows["path"][1]]))
    before = Manifest.build(of_film, str(tmp_path)).fingerprint
    marked = tmp_path / "BU4DFE_BND_V1.1" / "F001" / "Sad" / "000.bnd"
    marked.parent.mkdir(parents=True)
    marked.write_text("1 0 0 0")
    assert Manifest.build(of_film, str(tmp_path)).fingerprint != before


def test_the_fingerprint_changes_with_a_row(rows: pl.DataFrame, tmp_path: Path) -> None:
    relabelled = rows.with_columns(expression=pl.lit("fear"))
    assert Manifest.build(rows, str(tmp_path)).fingerprint != Manifest.build(relabelled, str(tmp_path)).fingerprint


def test_rows_that_do_not_fit_are_refused(rows: pl.DataFrame) -> None:
    with pytest.raises(UserError, match="lacks the columns subject"):
        Manifest.build(rows.drop("subject"), "")
    with pytest.raises(UserError, match="'a' more than once"):
        Manifest.build(pl.concat([rows, rows]), "")
    with pytest.raises(UserError, match="wrong types"):
        Manifest.build(rows.with_columns(intensity=pl.lit("strong")), "")
    with pytest.raises(UserError, match="empty cells in expression"):
        Manifest.build(rows.with_columns(expression=pl.lit(None)), "")


def test_what_is_no_manifest_is_refused(rows: pl.DataFrame, tmp_path: Path) -> None:
    rows.write_parquet(tmp_path / "plain.parquet")
    (tmp_path / "text.parquet").write_text("no parquet")
    for name, reason in [("gone", "no such manifest"), ("plain", "not a manifest"), ("text", "not readable")]:
        with pytest.raises(UserError, match=reason):
            Manifest.load(tmp_path / f"{name}.parquet")


def test_the_summary_counts_by_expression(rows: pl.DataFrame) -> None:
    more = rows.with_columns(sample_id=pl.col("sample_id") + "2", subject=pl.lit("s3"))
    assert Manifest.build(pl.concat([rows, more]), "").summary().rows() == [
        ("anger", 2, 2, 2),
        ("neutral", 2, 2, 2),
        ("all", 4, 3, 4),
    ]


def glb(tree: object) -> bytes:
    """A binary glTF 2 file of this tree alone."""
    text = json.dumps(tree).encode()
    text += b" " * (-len(text) % 4)
    return struct.pack("<4sIIII", b"glTF", 2, 20 + len(text), len(text), 0x4E4F534A) + text


REFERRING = {
    "a.obj": ("mtllib other.mtl\nv 0 0 0\n", "other.mtl"),
    "picture.obj": ("v 0 0 0\nmtllib ../looks/skin 1.mtl\n", "looks/skin.png"),
    "packed.obj.gz": (gzip.compress(b"mtllib other.mtl\n"), "other.mtl"),
    "a.glb": (glb({"images": [{"uri": "skin.png"}]}), "skin.png"),
    "encoded.glb": (glb({"images": [{"uri": "my%20skin.png"}]}), "my skin.png"),
    "literal.glb": (glb({"images": [{"uri": "my%20skin.png"}]}), "my%20skin.png"),
    "a.gltf": ('{"buffers": [{"uri": "a.bin"}], "images": [{"uri": "data:x"}, {}]}', "a.bin"),
    "a.ply": ("ply\nformat ascii 1.0\ncomment TextureFile Skin.png\nend_header\n", "skin.png"),
    "a.wrl": ('#VRML V2.0 utf8\nImageTexture { url [ "skin.png" ] }', "skin.png"),
}


@pytest.mark.parametrize("mesh", REFERRING)
def test_the_fingerprint_changes_with_what_a_mesh_names(
    rows: pl.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mesh: str
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(contents, "JUST_WRITTEN", 0)
    (tmp_path / "looks").mkdir()
    (tmp_path / "looks" / "skin 1.mtl").write_text("newmtl skin\nmap_Kd -s 1 1 skin.png\n")
    held, named = REFERRING[mesh]
    (tmp_path / "meshes").mkdir()
    file = tmp_path / "meshes" / mesh
    file.write_bytes(held if isinstance(held, bytes) else held.encode())
    of_mesh = rows.with_columns(path=pl.Series([f"meshes/{mesh}", rows["path"][1]]))

    def build() -> Manifest:
        return Manifest.build(of_mesh, str(tmp_path))

    place = tmp_path / named if "/" in named else file.parent / named
    without = build()
    fingerprints = {without.fingerprint}
    for content in ("one", "other"):
        place.write_text(content)
        fingerprints.add(build().fingerprint)
        assert build().former_fingerprints[1] == without.former_fingerprints[1]
    assert len(fingerprints) == 3
    place.unlink()
    assert build().fingerprint == without.fingerprint


def test_no_mesh_has_a_file_outside_of_the_dataset_hashed(rows: pl.DataFrame, tmp_path: Path) -> None:
    root = tmp_path / "faces"
    root.mkdir()
    (root / "a.obj").write_text("mtllib ../outside.mtl\nmtllib /dev/zero\n")
    of_mesh = rows.with_columns(path=pl.lit("a.obj"))
    before = Manifest.build(of_mesh, str(root)).fingerprint
    (tmp_path / "outside.mtl").write_text("newmtl a\n")
    assert Manifest.build(of_mesh, str(root)).fingerprint == before


def test_faces_that_are_drawn_in_another_way_have_another_name_and_keep_it(
    rows: pl.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build() -> Manifest:
        return Manifest.build(rows, "")

    before = build()
    monkeypatch.setattr("polyview.corpus.manifest.DRAWING", DRAWING + 1)
    after = build()
    assert not after.is_called(before.fingerprint)
    assert after.is_of_faces(before.fingerprint)
    assert not after.is_of_faces(Manifest.build(rows.head(1), "").fingerprint)
    assert not set(after.former_fingerprints) & {before.fingerprint, *before.former_fingerprints}
    after.save(tmp_path / "faces.parquet")
    loaded = Manifest.load(tmp_path / "faces.parquet")
    assert loaded.is_called(after.fingerprint)
    assert loaded.former_fingerprints == after.former_fingerprints
    KnownFaces.of(after).save(tmp_path / "known.parquet")
    assert KnownFaces.load(tmp_path / "known.parquet").fingerprint == after.fingerprint
