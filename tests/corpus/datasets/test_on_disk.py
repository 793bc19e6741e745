"""The licensed datasets, as files of exactly their form."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import trimesh
from tests.corpus.on_disk import (
    write_bnt,
    write_bosphorus,
    write_bp4d,
    write_bu3dfe,
    write_bu4dfe,
    write_codes,
    write_wrl,
)

from polyview.corpus.load import load_mesh
from polyview.corpus.manifest import Manifest
from polyview.corpus.mesh import Mesh
from polyview.corpus.scan import Scan, scan
from polyview.errors import UserError
from polyview.recipe import EXPRESSIONS, OWN_EXPRESSIONS, Corpus, Rendering
from polyview.rendering.cameras import Camera
from polyview.rendering.renderer import make_renderer

SIX = {"anger", "disgust", "fear", "happiness", "sadness", "surprise"}


def scanned(dataset: str, root: Path, **settings: object) -> Scan:
    return scan(Corpus.model_validate({"dataset": dataset, "root": str(root), **settings}))


def meshes(manifest: Manifest) -> Iterable[Mesh]:
    for path, texture in manifest.frame.select("path", "texture").iter_rows():
        yield load_mesh(path, texture, manifest.root, manifest.geometry)


def drawn(mesh: Mesh) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return make_renderer(Rendering(size=32, framing="whole", shading="color")).render(mesh, [Camera(0, 0)])[0]


@contextmanager
def as_ordinary_user() -> Iterator[None]:
    """Root may read everything; for whoever runs this as root, it is nobody within."""
    own = os.geteuid()
    os.seteuid(own or 65534)
    try:
        yield
    finally:
        os.seteuid(own)


@pytest.fixture
def bu3dfe(tmp_path: Path) -> Path:
    write_bu3dfe(tmp_path, ("F0001WH", "M0044AE"), levels=(1, 4))
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


def test_names_in_another_case_are_the_same_names(tmp_path: Path) -> None:
    write_wrl(tmp_path / "bu3dfe" / "F0001" / "F0001_an01wh_f3d.WRL")
    write_wrl(tmp_path / "bu4dfe" / "F001" / "HAPPY" / "000.WRL")
    write_bnt(tmp_path / "bosphorus" / "bs000" / "bs000_e_happy_0.BNT")
    for dataset, expression in (("bu3dfe", "anger"), ("bu4dfe", "happiness"), ("bosphorus", "happiness")):
        assert scanned(dataset, tmp_path / dataset).manifest.frame["expression"].to_list() == [expression]


def test_people_are_found_at_the_root_and_one_below_in_any_case(tmp_path: Path) -> None:
    write_wrl(tmp_path / "bu3dfe" / "F0001" / "F0001_AN01WH_F3D.wrl")
    write_wrl(tmp_path / "bu3dfe" / "f0002" / "f0002_an01wh_f3d.wrl")
    write_wrl(tmp_path / "bu3dfe" / "Males" / "M0001" / "M0001_AN01WH_F3D.wrl")
    write_wrl(tmp_path / "bu4dfe" / "f001" / "Happy" / "000.wrl")
    write_bnt(tmp_path / "bosphorus" / "BS002" / "bs002_E_ANGER_0.bnt")
    write_wrl(tmp_path / "bp4d" / "f001" / "t1" / "0001.wrl")
    write_codes(tmp_path / "bp4d", "F001_T1", {1: (0, 0, 1, 1)})
    face = trimesh.creation.icosphere(subdivisions=1, radius=0.1)
    sequence = tmp_path / "coma" / "facetalk_170725_00137_ta" / "Cheeks_in"
    sequence.mkdir(parents=True)
    face.export(sequence / "Cheeks_in.000001.ply")
    found = {name: scanned(name, tmp_path / name) for name in ("bu3dfe", "bu4dfe", "bosphorus", "bp4d", "coma")}
    assert {
        name: (one.manifest.subjects, *one.manifest.frame["expression"].unique()) for name, one in found.items()
    } == {
        "bu3dfe": (["F0001", "F0002", "M0001"], "anger"),
        "bu4dfe": (["F001"], "happiness"),
        "bosphorus": (["bs002"], "anger"),
        "bp4d": (["F001"], "happiness"),
        "coma": (["FaceTalk_170725_00137_TA"], "cheeks_in"),
    }
    assert found["bp4d"].remarks == ()


def test_people_of_whom_nothing_is_read_are_told(tmp_path: Path) -> None:
    write_wrl(tmp_path / "F001" / "Happy" / "000.wrl")
    (tmp_path / "F002" / "Happy").mkdir(parents=True)
    (tmp_path / "Males").mkdir()
    for name in ("F001.zip", "F003.RAR", "F004.tar.gz", "Males/M001.7z", "Males/notes.zip", "F005", "F006.txt"):
        (tmp_path / name).touch()
    found = scanned("bu4dfe", tmp_path)
    assert found.manifest.subjects == ["F001"]
    assert found.skipped.rows() == [
        (
            "F002",
            "no face of F002 is found in it: expected folders F001 to M043 with sequences such as F001/Angry/000.wrl; "
            "found Happy",
        ),
        ("F003.RAR", "an archive; unpack it first"),
        ("F004.tar.gz", "an archive; unpack it first"),
        ("Males/M001.7z", "an archive; unpack it first"),
    ]


def test_a_copy_of_a_person_does_not_count_and_parts_of_a_person_do(tmp_path: Path) -> None:
    write_bu3dfe(tmp_path / "BU_3DFE", ("F0001WH",), levels=(1,))
    before = scanned("bu3dfe", tmp_path).manifest
    write_bu3dfe(tmp_path / "BU_3DFE - Copy", ("F0001WH",), levels=(1,))
    found = scanned("bu3dfe", tmp_path)
    assert found.manifest.fingerprint == before.fingerprint
    first = "BU_3DFE/F0001/F0001_AN01WH_F3D.wrl"
    assert found.skipped.rows() == [
        ("BU_3DFE - Copy/F0001", f"7 meshes in it are there already, as {first}; remove the copy")
    ]
    for place in ("part1/F001/Angry", "part2/F001/Sad", "part3/F001/Angry"):
        write_wrl(tmp_path / "films" / place / "000.wrl")
    films = scanned("bu4dfe", tmp_path / "films")
    assert films.manifest.frame["path"].to_list() == ["part1/F001/Angry/000.wrl", "part2/F001/Sad/000.wrl"]
    assert films.skipped["path"].to_list() == ["part3/F001/Angry"]


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
    assert scanned("bu3dfe", tmp_path, subset="I").remarks == ()
    for number in range(60, 71):
        (tmp_path / f"F{number:04d}").rename(tmp_path / f"absent {number}")
    fewer = scanned("bu3dfe", tmp_path, subset="I")
    assert len(fewer.manifest.subjects) == 59
    assert fewer.remarks == ("subset I has 60 subjects, and there are 59: all of them are taken",)
    with pytest.raises(ValueError, match="subset is a protocol of bu3dfe"):
        Corpus(dataset="bu4dfe", root=str(tmp_path), subset="I")


def test_subjects_are_drawn_once_and_for_all_from_those_who_show_everything(tmp_path: Path) -> None:
    for number in range(20):
        codes = ("ANGER", "FEAR", "HAPPY") if number % 4 else ("ANGER", "HAPPY")
        folder = tmp_path / f"bs{number:03d}"
        folder.mkdir()
        for code in codes:
            (folder / f"{folder.name}_E_{code}_0.bnt").touch()
    three = ("anger", "fear", "happiness")
    drawn = {count: scanned("bosphorus", tmp_path, expressions=three, subjects=count) for count in (5, 10, 15)}
    for count, found in drawn.items():
        assert len(found.manifest.subjects) == count
        assert len(found.manifest) == 3 * count
        assert found.remarks == (
            f"{count} people are drawn by corpus.subjects, from the 15 of 20 who show every one of corpus.expressions",
        )
    assert set(drawn[5].manifest.subjects) < set(drawn[10].manifest.subjects)
    again = scanned("bosphorus", tmp_path, expressions=three, subjects=10)
    assert again.manifest.fingerprint == drawn[10].manifest.fingerprint
    assert len(scanned("bosphorus", tmp_path, expressions=("anger", "happiness"), subjects=20).manifest) == 40
    with pytest.raises(UserError, match=r"corpus.subjects is 16, and 15 of the 20 people of bosphorus show every one"):
        scanned("bosphorus", tmp_path, expressions=three, subjects=16)


def test_an_expression_that_is_listed_and_that_nobody_shows_is_told(bu4dfe: Path) -> None:
    assert len(scanned("bu4dfe", bu4dfe).remarks) == 1
    told = scanned("bu4dfe", bu4dfe, expressions=("fear", "anger", "neutral")).remarks
    assert told[-1].startswith("no face of bu4dfe shows neutral, which corpus.expressions lists: no score speaks of it")


@pytest.fixture
def bu4dfe(tmp_path: Path) -> Path:
    return write_bu4dfe(tmp_path, ("F001", "M043"), frames=5)


def test_a_person_who_is_a_link_to_nowhere_is_told(bu4dfe: Path) -> None:
    (bu4dfe / "F002").symlink_to("objects/F002")
    assert scanned("bu4dfe", bu4dfe).skipped.rows() == [
        ("F002", "a link to what is not there: fetch it, as by git annex get or dvc pull")
    ]


def test_a_film_that_is_still_packed_is_told(bu4dfe: Path) -> None:
    shutil.make_archive(str(bu4dfe / "F001" / "Sad"), "zip", bu4dfe / "F001" / "Sad")
    assert not scanned("bu4dfe", bu4dfe).skipped.rows()  # it is unpacked too
    shutil.rmtree(bu4dfe / "F001" / "Sad")
    assert scanned("bu4dfe", bu4dfe).skipped.rows() == [("F001/Sad.zip", "an archive; unpack it first")]


def test_a_film_without_a_mesh_is_told_unless_it_is_found_elsewhere(bu4dfe: Path) -> None:
    assert scanned("bu4dfe", bu4dfe).skipped.is_empty()  # the landmarks lie in folders of such names
    inner = bu4dfe / "F001" / "Sad" / "Sad"
    inner.mkdir()
    for file in [*inner.parent.glob("*.*")]:
        file.rename(inner / file.name)
    shutil.rmtree(bu4dfe / "M043" / "Fear")
    (bu4dfe / "M043" / "Fear").mkdir()
    assert scanned("bu4dfe", bu4dfe).skipped.rows() == [
        ("F001/Sad", "no mesh lies in it; found Sad"),
        ("M043/Fear", "no mesh lies in it; found nothing"),
    ]


def test_meshes_in_a_folder_of_another_name_than_a_person_s_are_told(bu4dfe: Path) -> None:
    (bu4dfe / "part").mkdir()
    (bu4dfe / "M043").rename(bu4dfe / "part" / "M043")
    write_wrl(bu4dfe / "F0002" / "Sad" / "000.wrl")
    write_wrl(bu4dfe / "part" / "F001 (2)" / "Sad" / "000.wrl")
    write_wrl(bu4dfe / "sample.wrl" / "face.wrl")
    (bu4dfe / "notes").mkdir()
    expected = (
        "its name is not that of a person, expected folders F001 to M043 with sequences such as F001/Angry/000.wrl"
    )
    assert set(scanned("bu4dfe", bu4dfe).skipped.rows()) == {
        ("F0002", f"{expected}; it holds Sad/000.wrl"),
        ("part/F001 (2)", f"{expected}; it holds Sad/000.wrl"),
        ("sample.wrl", f"{expected}; it holds face.wrl"),
    }


def test_a_frame_of_a_number_that_is_too_long_is_told(bu4dfe: Path) -> None:
    number = "20260101123456789012"
    write_wrl(bu4dfe / "F001" / "Sad" / f"{number}.wrl")
    (row,) = scanned("bu4dfe", bu4dfe).skipped.rows()
    assert row == (f"F001/Sad/{number}.wrl", "a frame's number has at most 18 digits")


def test_names_that_are_not_utf8_are_told_as_far_as_they_can_be_read(bu4dfe: Path) -> None:
    (bu4dfe / "F001" / "Sad").rename(bu4dfe / "F001" / os.fsdecode(b"traurig\xe4"))
    latin = bu4dfe / os.fsdecode(b"M\xe4nner")
    latin.mkdir()
    (bu4dfe / "M043").rename(latin / "M043")
    found = scanned("bu4dfe", bu4dfe)
    assert found.manifest.subjects == ["F001"]
    told = dict(found.skipped.rows())
    assert told["F001/traurig\ufffd"].startswith("not one of angry")
    assert told["M\ufffdnner/M043"] == "its name is not UTF-8; rename it"


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


def test_bosphorus(tmp_path: Path) -> None:
    codes = ("N_N_0", "N_N_1", "E_HAPPY_0", "E_ANGER_0", "LFAU_12_0", "CAU_A12A15_0", "O_GLASSES_0", "YR_R10_0")
    write_bosphorus(tmp_path, ("bs000", "bs104"), codes)
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


def test_the_left_of_bosphorus_is_the_viewer_s(tmp_path: Path) -> None:
    stem = tmp_path / "bs000" / "bs000_N_N_0"
    write_bnt(stem.with_suffix(".bnt"))
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
def test_bp4d(tmp_path: Path, suffix: str) -> None:
    write_bp4d(tmp_path, ("F001",), frames=4, suffix=suffix)
    write_codes(tmp_path, "F001_T1", {1: (0, 0, 0, 1), 2: (9, 9, 0, 0), 4: (0, 0, 1, 1)})
    (tmp_path / "M002.zip").write_bytes(b"PK")
    found = scanned("bp4d", tmp_path)
    assert set(found.manifest.frame["expression"]) == set(OWN_EXPRESSIONS["bp4d"])
    assert found.skipped.rows() == [("M002.zip", "an archive; unpack it first")]
    happy = found.manifest.frame.filter(found.manifest.frame["sequence"] == "F001_T1")
    assert happy["expression"].unique().to_list() == ["happiness"]
    assert happy["intensity"].to_list() == [0.5, 0.0, 0.0, 1.0]
    remark, uncoded = found.remarks
    assert uncoded.startswith(
        "1 of 4 meshes has no code and is given intensity 0, in 1 of 1 film with codes; 0 of them"
    )
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
    tmp_path: Path, subjects: str, codes: str, root: str
) -> None:
    for number in range(4):
        write_wrl(tmp_path / subjects / "F001" / "T1" / f"{number:04d}.wrl")
    (tmp_path / codes).mkdir(parents=True)
    (tmp_path / codes / "F001_T1.csv").write_text("0,1,2,6,12\n1,0,0,0,0\n2,1,0,1,1\n3,0,0,0,1\n")
    found = scanned("bp4d", tmp_path / root)
    assert found.manifest.frame["intensity"].to_list() == [0, 0, 1, 1 / 3]
    (remark,) = found.remarks
    assert remark.startswith("1 of 4 meshes has no code")
    shifted = scanned("bp4d", tmp_path / root, code_shift=-1)
    assert shifted.manifest.frame["intensity"].to_list() == [0, 1, 1 / 3, 0]
    with pytest.raises(ValueError, match="code_shift is about the action units of bp4d"):
        Corpus(dataset="bu4dfe", root=str(tmp_path), code_shift=-1)


def test_codes_of_bp4d_that_are_of_other_frames_or_9_are_told(tmp_path: Path) -> None:
    write_bp4d(tmp_path, ("F001",), frames=3)
    table = [(0, 0, 0, 0), (1, 0, 0, 0), (1, 1, 0, 0)]
    for task, start in ((1, 1), (2, 2000), (3, 0)):
        write_codes(tmp_path, f"F001_T{task}", dict(enumerate(table, start)))
    write_codes(tmp_path, "F001_T4", dict.fromkeys((1, 2, 3), (9, 9, 9, 9)))
    found = scanned("bp4d", tmp_path)
    assert found.remarks[1] == (
        "7 of 12 meshes have no code and are given intensity 0, in 3 of 4 films with codes; 3 of them are coded 9, "
        "which is unknown; the first is F001_T2, with codes of frames 2000 to 2002 and meshes of frames 1 to 3; where "
        "these count from different frames, set corpus.code_shift"
    )
    shifted = scanned("bp4d", tmp_path, code_shift=-1999).manifest.frame
    assert shifted.filter(pl.col("sequence") == "F001_T2")["intensity"].to_list() == [0, 0.5, 1]


def test_codes_of_bp4d_may_have_semicolons(tmp_path: Path) -> None:
    write_bp4d(tmp_path, ("F001",), frames=2)
    for task, text in ((1, "0;1;2\n1;0;1\n2;1;1\n"), (2, "0\t1\t2\n1\t0\t1\n2\t1\t1\n")):
        write_codes(tmp_path, f"F001_T{task}", {}).write_text(text)
    found = scanned("bp4d", tmp_path).manifest.frame
    coded = found.filter(pl.col("sequence").is_in(["F001_T1", "F001_T2"]))
    assert coded["intensity"].to_list() == [0.5, 1, 0.5, 1]
    write_codes(tmp_path, "F001_T1", {}).write_text("frame 1 2\n1 0 1\n")
    with pytest.raises(
        UserError, match=r"F001_T1\.csv: not a table of action units, with a frame's number and 0, 1 or 9"
    ):
        scanned("bp4d", tmp_path)


def test_coma(tmp_path: Path) -> None:
    face = trimesh.creation.icosphere(subdivisions=2, radius=0.1)
    for expression in ("bareteeth", "mouth_up"):
        for frame in (1, 2, 3):
            file = tmp_path / "FaceTalk_170725_00137_TA" / expression / f"{expression}.{frame:06d}.ply"
            file.parent.mkdir(parents=True, exist_ok=True)
            face.export(file)
    (tmp_path / "FaceTalk_170725_00137_TA" / "holiday").mkdir()
    strange = "FaceTalk_170725_00137_TA/mouth_up/eyebrow.000001.ply"
    face.export(tmp_path / strange)
    found = scanned("coma", tmp_path)
    assert len(found.manifest) == 6
    assert found.manifest.frame["frame"].to_list() == [1, 2, 3, 1, 2, 3]
    assert found.skipped["path"].to_list() == ["FaceTalk_170725_00137_TA/holiday", strange]
    assert found.skipped["reason"][1] == "its name is not that of a numbered frame of mouth_up"
    assert strange.removesuffix(".ply") not in found.manifest.frame["sample_id"]
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


@pytest.mark.parametrize(("dataset", "of"), [("bp4d", "bu4dfe"), ("bu4dfe", "bp4d")])
def test_a_dataset_that_is_taken_for_another_with_subjects_of_such_names_is_shown(
    tmp_path: Path, dataset: str, of: str
) -> None:
    if of == "bp4d":
        write_bp4d(tmp_path, ("F001",), frames=1)
    else:
        write_bu4dfe(tmp_path, ("F001",), frames=1)
    expected, found = {
        "bp4d": ("tasks such as F001/T1/", "Angry, Disgust, Fear, Happy, Sad and 1 more"),
        "bu4dfe": ("sequences such as F001/Angry/000.wrl", "T1, T2, T3, T4, T5 and 3 more"),
    }[dataset]
    with pytest.raises(UserError, match=f"no face of F001 is found in it: expected .* {expected}; found {found}"):
        scanned(dataset, tmp_path)


def test_a_folder_that_may_not_be_read_is_told_and_does_not_stop_a_scan() -> None:
    root = Path(tempfile.mkdtemp(prefix="polyview-"))  # pytest's own folders are closed to other users
    try:
        write_bu3dfe(root / "first part", ("F0001WH",), levels=(4,))
        write_bu3dfe(root / "second part", ("M0044AE",), levels=(4,))
        root.chmod(0o755)
        assert scanned("bu3dfe", root).manifest.subjects == ["F0001", "M0044"]
        (root / "second part").chmod(0)
        with as_ordinary_user():
            found = scanned("bu3dfe", root)
        assert found.manifest.subjects == ["F0001"]
        assert ("second part", "a folder that this user may not read") in found.skipped.rows()
    finally:
        (root / "second part").chmod(0o755)
        shutil.rmtree(root)
