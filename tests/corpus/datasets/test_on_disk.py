"""The licensed datasets, as files of exactly their form."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import trimesh

from polyview.corpus.load import load_mesh
from polyview.corpus.manifest import Manifest
from polyview.corpus.mesh import Mesh
from polyview.corpus.scan import Scan, scan
from polyview.errors import UserError
from polyview.recipe import EXPRESSIONS, OWN_EXPRESSIONS, Corpus, Rendering
from polyview.rendering.cameras import Camera
from polyview.rendering.renderer import make_renderer

Writer = Callable[..., Path]
SIX = {"anger", "disgust", "fear", "happiness", "sadness", "surprise"}
BU4DFE_FOLDERS = ("Angry", "Disgust", "Fear", "Happy", "Sad", "Surprise")


def scanned(dataset: str, root: Path, **settings: object) -> Scan:
    return scan(Corpus.model_validate({"dataset": dataset, "root": str(root), **settings}))


def meshes(manifest: Manifest) -> Iterable[Mesh]:
    for path, texture in manifest.frame.select("path", "texture").iter_rows():
        yield load_mesh(path, texture, manifest.root, manifest.geometry)


def drawn(mesh: Mesh) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return make_renderer(Rendering(size=32, framing="whole", shading="color")).render(mesh, [Camera(0, 0)])[0]


@pytest.fixture
def bu3dfe(tmp_path: Path, wrl: Writer, bnd: Writer, picture: Writer) -> Path:
    for subject, ethnicity in (("F0001", "WH"), ("M0044", "AE")):
        for code in [
            "NE00",
            *(f"{name}{level:02d}" for name in ("AN", "DI", "FE", "HA", "SA", "SU") for level in (1, 4)),
        ]:
            stem = tmp_path / subject / f"{subject}_{code}{ethnicity}"
            wrl(Path(f"{stem}_F3D.wrl"), f"{stem.name}_F3D.bmp", quads=True)
            picture(Path(f"{stem}_F3D.bmp"))
            Path(f"{stem}_F2D.bmp").write_text("a frontal photograph, which is not the texture")
            bnd(Path(f"{stem}_F3D.bnd"))
            Path(f"{stem}_RAW.wrl").write_text("not to be read")
            Path(f"{stem}_RAW.pse").write_text("not to be read")
    (tmp_path / "F0001" / "copy of a scan.wrl").write_text("")
    return tmp_path


def test_bu3dfe(bu3dfe: Path) -> None:
    found = scanned("bu3dfe", bu3dfe)
    frame = found.manifest.frame
    assert len(frame) == 2 * 13
    assert set(frame["expression"]) == set(EXPRESSIONS)
    assert sorted(set(frame["intensity"])) == [0.0, 0.25, 1.0]
    assert found.manifest.subjects == ["F0001", "M0044"]
    assert found.skipped.rows() == [("F0001/copy of a scan.wrl", "its name is not such as F0001_AN01WH_F3D.wrl")]
    row = frame.row(by_predicate=pl.col("sample_id") == "F0001/F0001_HA04WH_F3D", named=True)
    assert (row["expression"], row["intensity"], row["frame"]) == ("happiness", 1.0, 0)
    assert row["texture"] == "F0001/F0001_HA04WH_F3D.bmp"
    for mesh in meshes(found.manifest):
        assert mesh.texture is not None
        assert mesh.nose is not None
        # The foremost vertex of the nose, whose landmarks are around (2, -6).
        assert np.allclose(mesh.nose[:2], [4, -5.5], atol=6)
    picture = drawn(mesh)
    assert (picture[16, 8] == [255, 0, 0]).all()
    assert (picture[16, 23] == [0, 0, 255]).all()


def test_the_photograph_of_bu3dfe_never_stands_in_for_the_texture(bu3dfe: Path) -> None:
    for texture in bu3dfe.rglob("*_F3D.bmp"):
        texture.rename(texture.with_suffix(".png") if "F0001" in texture.name else texture.with_suffix(".gone"))
    textures = dict(scanned("bu3dfe", bu3dfe).manifest.frame.select("sample_id", "texture").iter_rows())
    assert textures["F0001/F0001_HA04WH_F3D"] == "F0001/F0001_HA04WH_F3D.png"
    assert textures["M0044/M0044_HA04AE_F3D"] is None


def test_names_in_another_case_are_the_same_names(tmp_path: Path, wrl: Writer, bnt: Writer) -> None:
    wrl(tmp_path / "bu3dfe" / "F0001" / "F0001_an01wh_f3d.WRL")
    wrl(tmp_path / "bu4dfe" / "F001" / "HAPPY" / "000.WRL")
    bnt(tmp_path / "bosphorus" / "bs000" / "bs000_e_happy_0.BNT")
    for dataset, expression in (("bu3dfe", "anger"), ("bu4dfe", "happiness"), ("bosphorus", "happiness")):
        assert scanned(dataset, tmp_path / dataset).manifest.frame["expression"].to_list() == [expression]


def test_bu3dfe_s_protocol_subsets(tmp_path: Path) -> None:
    for number in range(1, 71):
        folder = tmp_path / f"F{number:04d}"
        folder.mkdir()
        for code in ("NE00", "AN01", "AN02", "AN03", "AN04"):
            (folder / f"{folder.name}_{code}WH_F3D.wrl").write_text("")
    everything = scanned("bu3dfe", tmp_path, subset="II").manifest
    chosen = scanned("bu3dfe", tmp_path, subset="I").manifest
    assert len(everything) == 70 * 5
    assert len(chosen.subjects) == 60
    assert len(chosen) == 60 * 3
    assert set(chosen.frame["intensity"]) == {0.0, 0.75, 1.0}
    assert chosen.fingerprint == scanned("bu3dfe", tmp_path, subset="I").manifest.fingerprint
    with pytest.raises(ValueError, match="subset is a protocol of bu3dfe"):
        Corpus(dataset="bu4dfe", root=str(tmp_path), subset="I")


@pytest.fixture
def bu4dfe(tmp_path: Path, wrl: Writer, bnd: Writer, picture: Writer) -> Path:
    (tmp_path / "BU_WrlViewer_V2").mkdir()
    for subject in ("F001", "M043"):
        for folder in BU4DFE_FOLDERS:
            for frame in range(5):
                stem = f"{subject}/{folder}/{frame:03d}"
                wrl(tmp_path / f"{stem}.wrl", f"{frame:03d}.jpg", separator=" ")
                picture(tmp_path / f"{stem}.jpg")
                bnd(tmp_path / "BU4DFE_BND_V1.1" / f"{stem}.bnd")
    return tmp_path


def test_bu4dfe(bu4dfe: Path) -> None:
    found = scanned("bu4dfe", bu4dfe)
    frame = found.manifest.frame
    assert len(frame) == 2 * 6 * 5
    assert set(frame["expression"]) == SIX
    assert frame["sequence"].n_unique() == 12
    assert found.skipped.is_empty()
    happy = frame.filter(frame["sequence"] == "F001_Happy")
    assert happy["frame"].to_list() == [0, 1, 2, 3, 4]
    assert happy["intensity"].arg_max() == 2
    mesh = next(iter(meshes(found.manifest)))
    assert mesh.texture is not None
    assert mesh.nose is not None
    (remark,) = found.remarks
    assert remark.startswith("the intensities of 12 sequences are guessed, from rest over the apex in the middle")


def test_frames_of_sequences_are_sampled(bu4dfe: Path) -> None:
    apex = scanned("bu4dfe", bu4dfe, frames="apex").manifest.frame
    assert len(apex) == 12
    assert set(apex["frame"]) == {2}
    assert set(scanned("bu4dfe", bu4dfe, every=2).manifest.frame["frame"]) == {0, 2, 4}
    (bu4dfe / "F001" / "Happy" / "000.wrl").unlink()
    few = scanned("bu4dfe", bu4dfe, every=2).manifest.frame
    assert few.filter(few["sequence"] == "F001_Happy")["frame"].to_list() == [1, 3]


def test_bosphorus(tmp_path: Path, bnt: Writer, picture: Writer) -> None:
    codes = ("N_N_0", "N_N_1", "E_HAPPY_0", "E_ANGER_0", "LFAU_12_0", "CAU_A12A15_0", "O_GLASSES_0", "YR_R10_0")
    for subject in ("bs000", "bs104"):
        for code in codes:
            stem = tmp_path / "BosphorusDB" / subject / f"{subject}_{code}"
            bnt(stem.with_suffix(".bnt"))
            picture(stem.with_suffix(".png"))
            stem.with_suffix(".lm3").write_text(
                f"# landmarks of {stem.name}\n\n2 landmarks:\n\nNose tip\n3.5 -4.0 100.0\nChin middle\n0 -50 40\n"
            )
            stem.with_suffix(".lm2").write_text("not to be read")
    (tmp_path / "BosphorusDB" / "bs000" / "odd.bnt").write_text("")
    found = scanned("bosphorus", tmp_path)
    assert set(found.manifest.frame["expression"]) == {"neutral", "happiness", "anger"}
    assert found.skipped["path"].to_list() == ["BosphorusDB/bs000/odd.bnt"]
    for mesh in meshes(found.manifest):
        assert mesh.nose is not None
        assert mesh.nose.tolist() == [3.5, -4.0, 100.0]
        assert mesh.texture is not None
    assert (drawn(mesh)[16, 8] == [255, 0, 0]).all()
    units = scanned("bosphorus", tmp_path, expressions=("lfau_12", "cau_a12a15", "o_glasses", "yr_r10"))
    assert len(units.manifest) == 8


def test_the_left_of_bosphorus_is_the_viewer_s(tmp_path: Path, bnt: Writer) -> None:
    stem = tmp_path / "bs000" / "bs000_N_N_0"
    bnt(stem.with_suffix(".bnt"))
    corners = "".join(
        f"{part} {side} {corner}\n{x} {y} {z}\n"
        for side, sign in (("left", -1), ("right", 1))
        for part, corner, x, y, z in (
            ("Outer", "eye corner", sign * 43, 30, 40),
            ("Inner", "eye corner", sign * 17, 30, 40),
        )
    )
    mouth = "Left mouth corner\n-25 -40 50\nRight mouth corner\n25 -40 50\n"
    stem.with_suffix(".lm3").write_text(f"7 landmarks:\n{corners}{mouth}Nose tip\n3 -4 100\n")
    as_scanned, upright = (
        next(iter(meshes(scanned("bosphorus", tmp_path, expressions=("neutral", "fear"), geometry=geometry).manifest)))
        for geometry in ({}, {"align": "landmarks"})
    )
    assert np.abs(upright.vertices[:, 2]).max() > 30
    # The nose stays in front of all else, and what was on the left stays there.
    assert upright.vertices[:, 2].max() < 5
    assert (np.sign(as_scanned.vertices[:, 0]) == np.sign(upright.vertices[:, 0] + 3)).mean() > 0.9


@pytest.mark.parametrize("suffix", ["obj", "wrl"])
def test_bp4d(tmp_path: Path, wrl: Writer, picture: Writer, suffix: str) -> None:
    for task in range(1, 9):
        folder = tmp_path / "F001" / f"T{task}"
        for frame in range(1, 5):
            mesh = wrl(folder / f"{frame:04d}.wrl", f"{frame:04d}.jpg")
            picture(folder / f"{frame:04d}.jpg")
            if suffix == "obj":
                mesh.unlink()
                trimesh.creation.icosphere(subdivisions=1, radius=80).export(folder / f"{frame:04d}.obj")
    codes = tmp_path / "AUCoding" / "AU_OCC" / "F001_T1.csv"
    codes.parent.mkdir(parents=True)
    codes.write_text("0,1,2,6,12\n1,0,0,0,1\n2,9,9,0,0\n4,0,0,1,1\n")
    (tmp_path / "M002.zip").write_bytes(b"PK")
    found = scanned("bp4d", tmp_path)
    assert set(found.manifest.frame["expression"]) == set(OWN_EXPRESSIONS["bp4d"])
    assert found.skipped.rows() == [("M002.zip", "an archive; unpack it first")]
    happy = found.manifest.frame.filter(found.manifest.frame["sequence"] == "F001_T1")
    assert happy["expression"].unique().to_list() == ["happiness"]
    assert happy["intensity"].to_list() == [0.5, 0.0, 0.0, 1.0]
    (remark,) = found.remarks
    assert "the intensities of 7 sequences are guessed" in remark
    assert remark.endswith("beside their subject or one folder above; the first is F001_T2")
    apex = scanned("bp4d", tmp_path, frames="apex").manifest.frame
    assert dict(apex.select("sequence", "frame").iter_rows())["F001_T1"] == 4
    assert next(iter(meshes(found.manifest))).texture is not None
    (tmp_path / "F001" / "T10").mkdir()
    with pytest.raises(UserError, match=r"this is BP4D\+"):
        scanned("bp4d", tmp_path)


@pytest.mark.parametrize(
    ("subjects", "codes", "root"),
    [
        (".", "AUCoding/AU_OCC", "."),
        ("Sequences(2D+3D)", "AUCoding/AU_OCC", "."),
        ("Sequences(2D+3D)", "AUCoding/AU_OCC", "Sequences(2D+3D)"),
        ("Sequences(2D+3D)", "Sequences(2D+3D)/AU_OCC", "."),
    ],
)
def test_the_codes_of_bp4d_lie_beside_the_subjects_or_one_folder_above(
    tmp_path: Path, wrl: Writer, subjects: str, codes: str, root: str
) -> None:
    for number in range(4):
        wrl(tmp_path / subjects / "F001" / "T1" / f"{number:04d}.wrl")
    (tmp_path / codes).mkdir(parents=True)
    (tmp_path / codes / "F001_T1.csv").write_text("0,1,2,6,12\n1,0,0,0,0\n2,1,0,1,1\n3,0,0,0,1\n")
    found = scanned("bp4d", tmp_path / root)
    assert found.manifest.frame["intensity"].to_list() == [0, 0, 1, 1 / 3]
    assert found.remarks == ()
    shifted = scanned("bp4d", tmp_path / root, code_shift=-1)
    assert shifted.manifest.frame["intensity"].to_list() == [0, 1, 1 / 3, 0]
    with pytest.raises(ValueError, match="code_shift is about the action units of bp4d"):
        Corpus(dataset="bu4dfe", root=str(tmp_path), code_shift=-1)


def test_coma(tmp_path: Path) -> None:
    face = trimesh.creation.icosphere(subdivisions=2, radius=0.1)
    for expression in ("bareteeth", "mouth_up"):
        for frame in (1, 2, 3):
            file = tmp_path / "FaceTalk_170725_00137_TA" / expression / f"{expression}.{frame:06d}.ply"
            file.parent.mkdir(parents=True, exist_ok=True)
            face.export(file)
    (tmp_path / "FaceTalk_170725_00137_TA" / "holiday").mkdir()
    found = scanned("coma", tmp_path)
    assert len(found.manifest) == 6
    assert found.manifest.frame["frame"].to_list() == [1, 2, 3, 1, 2, 3]
    assert found.skipped["path"].to_list() == ["FaceTalk_170725_00137_TA/holiday"]
    # Its files are in metres.
    assert all(np.isclose(mesh.vertices.max(), 100, atol=1) for mesh in meshes(found.manifest))
    assert len(set(drawn(next(iter(meshes(found.manifest)))).reshape(-1, 3)[:, 0].tolist())) > 1


@pytest.mark.parametrize("dataset", ["bu3dfe", "bu4dfe", "bosphorus", "bp4d", "coma"])
def test_a_wrong_root_says_what_was_expected_and_what_is_there(tmp_path: Path, dataset: str) -> None:
    with pytest.raises(UserError, match=rf"does not hold {dataset}: expected folders .* found nothing"):
        scanned(dataset, tmp_path)
    for name in ("photos", "notes", "a", "b", "c", "d"):
        (tmp_path / name).mkdir()
    with pytest.raises(UserError, match=r"found a, b, c, d, notes and 1 more"):
        scanned(dataset, tmp_path)
    with pytest.raises(UserError, match="is not a folder"):
        scanned(dataset, tmp_path / "gone")
