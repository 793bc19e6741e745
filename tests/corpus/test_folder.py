from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import trimesh
from PIL import Image

from polyview.corpus.load import load_mesh
from polyview.corpus.mesh import MeshError
from polyview.corpus.scan import Scan, scan
from polyview.errors import UserError
from polyview.recipe import Corpus

EXPRESSIONS = ("neutral", "anger")
BALL = trimesh.creation.icosphere(subdivisions=1)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A dataset's folder with two good meshes, beside a mesh that does not belong to it."""
    folder = tmp_path / "faces"
    (folder / "deep").mkdir(parents=True)
    BALL.export(folder / "one.ply")
    BALL.export(folder / "deep" / "two.obj")
    BALL.export(tmp_path / "outside.ply")
    return folder


def scanned(root: Path, table: str, **settings: object) -> Scan:
    (root / "faces.csv").write_text(table)
    return scan(
        Corpus.model_validate(
            {"dataset": "folder", "root": str(root), "table": "faces.csv", "expressions": EXPRESSIONS, **settings}
        )
    )


def test_three_columns_are_enough(root: Path) -> None:
    found = scanned(root, "path,subject,expression\none.ply,7,neutral\ndeep/two.obj,8,anger\n")
    assert found.skipped.is_empty()
    rows = {row["sample_id"]: row for row in found.manifest.frame.iter_rows(named=True)}
    assert rows["one.ply"]["intensity"] == 0.0
    assert rows["deep/two.obj"] == {
        "sample_id": "deep/two.obj",
        "subject": "8",
        "expression": "anger",
        "intensity": 1.0,
        "sequence": "deep/two.obj",
        "frame": 0,
        "path": "deep/two.obj",
        "texture": None,
        "dataset": "folder",
    }
    assert Path(found.manifest.root) == root
    for row in rows.values():
        mesh = load_mesh(row["path"], row["texture"], found.manifest.root)
        assert (len(mesh.vertices), len(mesh.faces)) == (len(BALL.vertices), len(BALL.faces))


def test_given_columns_are_kept(root: Path) -> None:
    found = scanned(
        root,
        "sample_id,path,subject,expression,intensity,sequence,frame\n"
        "a,one.ply,x,anger,0.25,q,4\nb,deep/two.obj,y,anger,0.75,q,5\n",
    )
    assert found.manifest.frame.select("sample_id", "intensity", "sequence", "frame").rows() == [
        ("a", 0.25, "q", 4),
        ("b", 0.75, "q", 5),
    ]


def test_frames_make_films_of_a_person_and_expression(root: Path) -> None:
    rows = "one.ply,x,anger,2\ndeep/two.obj,x,anger,1\n"
    found = scanned(root, f"path,subject,expression,frame\n{rows}", frames="rise")
    assert found.manifest.frame.select("sequence", "frame").unique().sort("frame").rows()[0] == ("x_anger", 1)
    whole = scanned(root, f"path,subject,expression,frame\n{rows}").manifest.frame
    assert set(whole["sequence"]) == {"x_anger"}


def test_films_whose_frames_have_no_order_are_told(root: Path) -> None:
    told = "1 of 1 sequence has several frames of one number, as q, so that their order is the table's; a column or"
    for header, rows in (
        ("path,subject,expression,sequence", "one.ply,x,anger,q\ndeep/two.obj,x,anger,q\n"),
        ("path,subject,expression,sequence,frame", "one.ply,x,anger,q,3\ndeep/two.obj,x,anger,q,3\n"),
    ):
        assert [note for note in scanned(root, f"{header}\n{rows}").remarks if note.startswith(told)]
    ordered = scanned(root, "path,subject,expression,sequence,frame\none.ply,x,anger,q,3\ndeep/two.obj,x,anger,q,4\n")
    assert not [note for note in ordered.remarks if "frames of one number" in note]


@pytest.mark.parametrize(
    ("numbers", "gap"),
    [
        ((1, 2, 4, 5), "between 2 and 4"),
        ((90, 3, 2, 1), "between 3 and 90"),
        ((10, 20, 40), "between 20 and 40"),
        ((0, 33, 67, 100), None),
        ((1, 10, 19), None),
        ((1, 90), None),
        ((4, 4, 5), None),
    ],
)
def test_films_that_lack_frames_are_told(root: Path, numbers: Iterable[int], gap: str | None) -> None:
    rows = "".join(f"{number},one.ply,x,anger,q,{frame}\n" for number, frame in enumerate(numbers))
    found = scanned(root, f"sample_id,path,subject,expression,sequence,frame\n{rows}9,one.ply,y,anger,q,7\n")
    told = f"1 of 2 sequences has gaps in the numbers of their frames, as q {gap}; the frames that are there count as"
    assert [note.startswith(told) for note in found.remarks if "gaps" in note] == [True] * (gap is not None)


def test_expressions_and_intensities_that_were_not_asked_for_are_left_out(root: Path) -> None:
    table = "path,subject,expression,intensity\none.ply,1,neutral,0\ndeep/two.obj,2,anger,0.4\n"
    assert len(scanned(root, table, intensity=(0.5, 1.0)).manifest) == 1
    assert len(scanned(root, table, expressions=("anger", "fear")).manifest) == 1
    with pytest.raises(UserError, match=r"none of the 2 faces .* it has anger, neutral"):
        scanned(root, table, expressions=("sadness", "fear"))
    with pytest.raises(UserError, match=r"no face of joy; it has anger, neutral"):
        scanned(root, table, expressions=("joy", "anger"))


def test_what_cannot_be_used_is_skipped_with_its_reason(root: Path) -> None:
    (root / "notes.txt").write_text("not a mesh")
    outside = root.parent / "outside.ply"
    found = scanned(
        root,
        "path,subject,expression,texture\none.ply,1,neutral,\n../outside.ply,1,anger,\n"
        f"{outside},1,anger,\ngone.ply,1,anger,\nnotes.txt,1,anger,\none.ply,2,anger,\n"
        "deep/two.obj,,anger,\n,1,anger,\n",
    )
    # A mesh that is not there is the renderer's to set aside: it counts towards max_rejected.
    assert found.manifest.frame["path"].to_list() == ["gone.ply", "one.ply"]
    assert found.skipped.rows() == [
        ("../outside.ply", "the mesh lies outside of the dataset's folder"),
        (str(outside), "the mesh lies outside of the dataset's folder"),
        ("notes.txt", "format .txt is not among .obj .wrl .bnt .ply .stl .off .glb .gltf"),
        ("one.ply", "named a second time"),
        ("deep/two.obj", "line 8 has no subject"),
        ("line 9", "line 9 has no path"),
    ]


def test_a_table_that_leaves_nothing_says_why(root: Path) -> None:
    with pytest.raises(UserError, match=r"1 were skipped; the first: notes.txt: format .txt"):
        scanned(root, "path,subject,expression\nnotes.txt,1,anger\n")
    with pytest.raises(UserError, match="lacks expression; its columns are path, subject"):
        scanned(root, "path,subject\none.ply,1\n")
    with pytest.raises(UserError, match=r"corpus.table"):
        scanned(root, "path,subject,expression,intensity\none.ply,1,anger,much\n")
    with pytest.raises(UserError, match="neither here nor in"):
        scan(Corpus(dataset="folder", root=str(root), table="other.csv"))
    with pytest.raises(UserError, match=r"^corpus\.table: ~nosuch/faces\.csv: there is no user nosuch"):
        scan(Corpus(dataset="folder", root=str(root), table="~nosuch/faces.csv"))
    with pytest.raises(UserError, match=r"corpus.table is needed"):
        scan(Corpus(dataset="folder", root=str(root)))
    with pytest.raises(UserError, match="is not a folder"):
        scan(Corpus(dataset="folder", root=str(root / "nowhere"), table="faces.csv"))


def test_a_pattern_says_who_shows_what(root: Path) -> None:
    for name in ("7/anger/000.obj", "7/anger/001.obj", "8/neutral/000.obj"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        BALL.export(root / name)
    corpus = Corpus(dataset="folder", root=str(root), pattern="{subject}/{expression}/{frame}.obj")
    found = scan(corpus)
    assert found.manifest.frame.select("subject", "expression", "sequence", "frame", "intensity").rows() == [
        ("7", "anger", "7_anger", 0, 1.0),
        ("7", "anger", "7_anger", 1, 1.0),
        ("8", "neutral", "8_neutral", 0, 0.0),
    ]
    assert found.skipped["path"].to_list() == ["deep/two.obj", "one.ply"]
    with pytest.raises(UserError, match=r"none of 5 meshes fits {subject}-{expression}.stl; the first is 7/anger"):
        scan(corpus.model_copy(update={"pattern": "{subject}-{expression}.stl"}))
    with pytest.raises(UserError, match=r"needs {subject} and {expression}"):
        scan(corpus.model_copy(update={"pattern": "{subject}/{person}.obj"}))


def of_pattern(root: Path, pattern: str, names: list[str], **settings: object) -> Scan:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return scan(Corpus.model_validate({"dataset": "folder", "root": str(root), "pattern": pattern, **settings}))


@pytest.mark.parametrize(
    ("pattern", "name", "fields"),
    [
        ("{expression}/{subject}{frame}.obj", "happy/anna12.obj", ("anna", "happiness", 12, 1.0)),
        ("{subject}/{expression}{frame}.obj", "s01/happy10.obj", ("s01", "happiness", 10, 1.0)),
        ("{subject}/{expression}{frame}.obj", "s01/happy-10.obj", ("s01", "happiness", 10, 1.0)),
        ("{subject}/{expression}{frame}.obj", "s01/arousal-10.obj", ("s01", "arousal-", 10, 1.0)),
        ("{subject}/{expression}/*{frame}.obj", "s01/happy/img0012.obj", ("s01", "happiness", 12, 1.0)),
        ("{subject}/{frame}{expression}.obj", "s01/12happy.obj", ("s01", "happiness", 12, 1.0)),
        ("{subject}/{expression}{intensity}.obj", "s01/happy0.25.obj", ("s01", "happiness", 0, 0.25)),
        ("{subject}/{expression}{intensity}.obj", "s01/happy.25.obj", ("s01", "happiness", 0, 0.25)),
        ("{subject}_{expression}.obj", "anna_b_happy.obj", ("anna_b", "happiness", 0, 1.0)),
        ("{subject}_{expression}.obj", "s_01_no_expression.obj", ("s_01", "neutral", 0, 0.0)),
        ("{subject}_{expression}.obj", "s01_in_pain.obj", ("s01", "pain", 0, 1.0)),
        ("{subject}_{expression}_*.obj", "bs000_E_HAPPY_0.obj", ("bs000", "happiness", 0, 1.0)),
        ("{subject}_{expression}.obj", "s01_mouth_open.obj", ("s01", "mouth_open", 0, 1.0)),
    ],
)
def test_a_name_is_read_so_that_no_number_is_cut_and_its_expression_is_understood(
    tmp_path: Path, pattern: str, name: str, fields: tuple[object, ...]
) -> None:
    found = of_pattern(tmp_path, pattern, [name], expressions=(fields[1], "fear"))
    assert found.manifest.frame.select("subject", "expression", "frame", "intensity").rows() == [fields]


def test_a_name_that_can_be_read_in_two_ways_is_skipped_with_both(tmp_path: Path) -> None:
    found = of_pattern(tmp_path, "{subject}_{expression}.obj", ["s01_happy.obj", "s02_mouth_open.obj"])
    assert found.manifest.subjects == ["s01"]
    assert found.skipped.rows() == [
        (
            "s02_mouth_open.obj",
            "its name may be subject s02_mouth, expression open or subject s02, expression mouth_open; list its "
            "expression in corpus.expressions, or say in a corpus.table what it is",
        )
    ]
    with pytest.raises(
        UserError, match=r"1 were skipped; the first: s02_mouth_open\.obj: its name may be subject s02_"
    ):
        of_pattern(tmp_path / "b", "{subject}_{expression}.obj", ["s02_mouth_open.obj"])


@pytest.mark.parametrize(
    "fields", ["{subject}{expression}", "{subject}*{expression}", "{intensity}{frame}_{expression}_{subject}"]
)
def test_fields_without_a_border_are_refused(tmp_path: Path, fields: str) -> None:
    with pytest.raises(
        UserError, match=r"^corpus\.pattern: nothing says where {\w+} ends and {\w+} begins in"
    ) as error:
        of_pattern(tmp_path, f"{fields}.obj", ["s01happy.obj"])
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(("frames", "count"), [("all", 12), ("rise", 8), ("apex", 4)])
def test_films_of_one_name_are_others_where_person_or_expression_is_another(
    root: Path, frames: str, count: int
) -> None:
    for subject in ("7", "8"):
        for expression in ("anger", "neutral"):
            (root / subject / expression / "01").mkdir(parents=True)
            for frame in range(3):
                BALL.export(root / subject / expression / "01" / f"{frame}.obj")
    found = scan(
        Corpus(
            dataset="folder",
            root=str(root),
            pattern="{subject}/{expression}/{sequence}/{frame}.obj",
            frames=frames,
            expressions=EXPRESSIONS,
        )
    )
    films = found.manifest.frame.group_by("subject", "expression", "sequence").len()
    assert films.sort("subject", "expression").rows() == [
        (subject, expression, "01", count // 4) for subject in ("7", "8") for expression in ("anger", "neutral")
    ]
    assert found.manifest.summary()["sequence"].to_list() == [2, 2, 4]
    told = [note for note in found.remarks if "their middle is taken for the apex" in note]
    assert [note.partition(" films")[0] for note in told] == ([] if frames == "all" else ["2 of 2"])


def of_films(root: Path, pattern: str, files: Iterable[str], frames: str = "apex") -> pl.DataFrame:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        BALL.export(root / file)
    corpus = {"dataset": "folder", "root": str(root), "pattern": pattern, "frames": frames, "expressions": EXPRESSIONS}
    return scan(Corpus.model_validate(corpus, strict=False)).manifest.frame


def test_frames_whose_names_tell_their_intensity_are_one_film(tmp_path: Path) -> None:
    strengths = (0.1, 0.4, 0.7, 0.9, 0.2)
    files = [f"{who}/anger/{frame}_{strength}.obj" for who in "ab" for frame, strength in enumerate(strengths)]
    apexes = of_films(tmp_path, "{subject}/{expression}/{frame}_{intensity}.obj", files)
    assert apexes.select("subject", "frame", "intensity").rows() == [("a", 3, 0.9), ("b", 3, 0.9)]


def test_films_that_only_their_intensity_tells_apart_stay_apart(tmp_path: Path) -> None:
    files = [f"a/anger_{strength}/{frame}.obj" for strength in (0.25, 1.0) for frame in range(3)]
    films = of_films(tmp_path, "{subject}/{expression}_{intensity}/{frame}.obj", files, "all")
    assert films.group_by("sequence").agg(pl.col("intensity").unique(), pl.len()).sort("sequence").rows() == [
        ("a_anger_0.25", [0.25], 3),
        ("a_anger_1.0", [1.0], 3),
    ]


def test_what_systems_hide_or_leave_behind_is_no_face(tmp_path: Path) -> None:
    litter = ["a/._anger.obj", ".Trash-0/b/anger.obj", ".hidden/anger.obj", "__MACOSX/a/anger.obj"]
    faces = of_films(tmp_path, "{subject}/{expression}.obj", ["a/anger.obj", *litter], "all")
    assert faces["path"].to_list() == ["a/anger.obj"]


def test_a_name_that_does_not_fit_the_pattern_is_said_to(tmp_path: Path) -> None:
    for name in ("a/anger.obj", "b/ANGER.OBJ"):
        (tmp_path / name).parent.mkdir()
        BALL.export(tmp_path / name, file_type="obj")
    pattern = "{subject}/{expression}.obj"
    corpus = Corpus(dataset="folder", root=str(tmp_path), pattern=pattern, expressions=EXPRESSIONS)
    assert scan(corpus).skipped.rows() == [("b/ANGER.OBJ", f"its name does not fit corpus.pattern, {pattern}")]


def test_what_lies_among_meshes_as_if_it_were_one_is_said_not_to_be_read(tmp_path: Path) -> None:
    not_read = ["a/fear.fbx", "a/takes.MP4", "b.zip", "c.tar.gz", "c/anger.obj.bz2", "d.7z"]
    read = ["a/anger.obj", "e/anger.obj.gz"]
    once_more = ["a.zip", "E.tar.gz", "a/anger.blend", "a/Anger.obj.zip"]
    beside = ["a/anger.jpg", "a/anger.mtl", "a/landmarks.npy", "faces.csv", "README.md", "e/notes.txt.gz", "e/x.pdf"]
    for name in (*read, *not_read, *once_more, *beside):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        BALL.export(tmp_path / name, file_type="obj")
    corpus = Corpus(dataset="folder", root=str(tmp_path), pattern="{subject}/{expression}.*", expressions=EXPRESSIONS)
    found = scan(corpus)
    assert found.manifest.frame["path"].to_list() == read
    reasons = dict(found.skipped.rows())
    assert sorted(reasons) == not_read
    archive, formats = "an archive; unpack it first", ".obj .wrl .bnt .ply .stl .off .glb .gltf"
    assert {reasons[name] for name in not_read[2:]} == {archive}
    assert reasons["a/fear.fbx"] == f"format .fbx is not among {formats}"
    assert reasons["a/takes.MP4"] == f"format .mp4 is not among {formats}"
    # A table that names them is told the same.
    (tmp_path / "faces.csv").write_text("path,subject,expression\n" + "".join(f"{one},a,fear\n" for one in not_read))
    listed = corpus.model_copy(update={"pattern": None, "table": "faces.csv"})
    with pytest.raises(UserError, match=r"6 were skipped; the first: a/fear\.fbx: format \.fbx is not among"):
        scan(listed)
    with (tmp_path / "faces.csv").open("a") as table:
        table.write("a/anger.obj,a,anger\n")
    assert dict(scan(listed).skipped.rows()) == reasons


def test_a_name_that_is_not_utf8_is_skipped_and_others_are_read(tmp_path: Path) -> None:
    latin = os.fsdecode(b"c\xe4cilie")
    found = of_pattern(tmp_path, "{subject}/{expression}.obj", ["anna/happy.obj", f"{latin}/happy.obj"])
    assert found.manifest.subjects == ["anna"]
    assert found.skipped.rows() == [("c\ufffdcilie/happy.obj", "its name is not UTF-8; rename it")]
    with pytest.raises(UserError, match=r"corpus.root: .*/c\ufffdcilie: its name is not UTF-8; rename it"):
        scan(Corpus(dataset="folder", root=str(tmp_path / latin), pattern="{subject}_{expression}.obj"))


def test_a_folder_of_archives_alone_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.zip").touch()
    corpus = Corpus(dataset="folder", root=str(tmp_path), pattern="{subject}/{expression}.obj")
    with pytest.raises(UserError, match=r"holds no mesh .*\); it holds a\.zip: an archive; unpack it first$"):
        scan(corpus)


def test_films_are_told_apart_by_their_intensity_for_everybody_or_for_nobody(tmp_path: Path) -> None:
    files = ["a_anger_L1_005.obj", "a_anger_L2_005.obj", "b_anger_L1_005.obj", "b_anger_L2_006.obj"]
    films = of_films(tmp_path, "{subject}_{expression}_L{intensity}_{frame}.obj", files, "all")
    # Two of strength 2 are left out: intensities are from 0 to 1.
    assert films["sequence"].to_list() == ["a_anger_1", "b_anger_1"]


def test_a_link_that_leads_nowhere_is_a_face_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir(parents=True)
    (tmp_path / "b" / "anger.obj").symlink_to("../objects/b")
    faces = of_films(tmp_path, "{subject}/{expression}.obj", ["a/anger.obj"], "all")
    assert faces["subject"].to_list() == ["a", "b"]
    with pytest.raises(MeshError, match=r"^a link to what is not there: fetch it"):
        load_mesh("b/anger.obj", None, str(tmp_path))


@pytest.mark.parametrize("suffix", ["obj", "ply", "stl", "off", "glb"])
def test_formats(tmp_path: Path, suffix: str) -> None:
    BALL.export(tmp_path / f"ball.{suffix}")
    mesh = load_mesh(f"ball.{suffix}", None, str(tmp_path))
    assert np.allclose(
        np.sort(mesh.vertices[mesh.faces].reshape(-1, 9).sum(axis=0)),
        np.sort(BALL.triangles.reshape(-1, 9).sum(axis=0)),
        atol=1e-3,
    )


def test_vertex_colours_come_along(tmp_path: Path) -> None:
    ball = BALL.copy()
    ball.visual.vertex_colors = np.tile([10, 200, 30, 255], (len(ball.vertices), 1))
    ball.export(tmp_path / "ball.ply")
    mesh = load_mesh("ball.ply", None, str(tmp_path))
    assert mesh.colors is not None
    assert (mesh.colors == [10, 200, 30]).all()


def test_a_texture_comes_along(tmp_path: Path) -> None:
    Image.new("RGB", (4, 2), (250, 0, 0)).save(tmp_path / "skin.png")
    (tmp_path / "face.obj").write_text(
        "v 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 0 1\nf 1/1 2/2 3/3\n",
    )
    mesh = load_mesh("face.obj", "skin.png", str(tmp_path))
    assert mesh.uv is not None
    assert mesh.uv.tolist() == [[0, 0], [1, 0], [0, 1]]
    assert mesh.texture is not None
    assert mesh.texture.shape == (2, 4, 3)
    (tmp_path / "skin.png").write_bytes(b"broken")
    with pytest.raises(MeshError, match=r"texture skin.png is not readable"):
        load_mesh("face.obj", "skin.png", str(tmp_path))


def ply(count: int, vertices: str, face: str) -> bytes:
    return (
        f"ply\nformat ascii 1.0\nelement vertex {count}\nproperty float x\nproperty float y\nproperty float z\n"
        f"element face 1\nproperty list uchar int vertex_indices\nend_header\n{vertices}{face}"
    ).encode()


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("empty.obj", b"", "empty: 0 vertices, 0 faces"),
        ("empty.ply", b"", "not readable as .ply"),
        ("points.obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\n", "a point cloud: 3 points and no triangles"),
        ("truncated.ply", BALL.export(file_type="ply")[:600], "the file is cut"),
        ("truncated.stl", BALL.export(file_type="stl")[:600], "declares 80 faces and holds 10.32: the file is cut"),
        ("garbage.glb", b"glTF" + bytes(40), "not readable as .glb"),
        ("words.obj", b"v one two three\nf 1 2 3\n", "'one' at byte 2 is not a number"),
        ("nan.ply", ply(3, "0 0 0\nnan 0 0\n0 1 0\n", "3 0 1 2\n"), "is not a number"),
        ("range.ply", ply(3, "0 0 0\n1 0 0\n0 1 0\n", "3 0 1 99\n"), "face index 99 of 3 vertices"),
        ("range.obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 99\n", "face index 98 of 3 vertices"),
        ("scan.xyz", b"0 0 0\n", "format .xyz is not among"),
    ],
)
def test_a_bad_file_is_refused_in_words(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(MeshError) as error:
        load_mesh(name, None, str(tmp_path))
    assert reason in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_a_file_that_went_away_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MeshError, match="no such file"):
        load_mesh("gone.obj", None, str(tmp_path))


@pytest.mark.parametrize("words", ["very", "slightly", "Not", "a_bit", "happily", "not_very"])
def test_a_word_of_degree_before_an_expression_is_no_part_of_a_name(tmp_path: Path, words: str) -> None:
    read = ["anna_maria_happy.obj", "person_a_sad.obj", "s01_surprised.obj", "very_happy.obj"]
    doubted = f"s01_{words}_happy.obj"
    for name in (*read, doubted):
        BALL.export(tmp_path / name, file_type="obj")
    found = of_pattern(tmp_path, "{subject}_{expression}.obj", [])
    assert found.manifest.frame["subject"].to_list() == ["anna_maria", "person_a", "s01", "very"]
    ((path, reason),) = found.skipped.rows()
    assert path == doubted
    assert reason.startswith(
        f"its name may be subject s01_{words}, expression happy or subject s01, expression {words}"
    )
    listed = of_pattern(tmp_path, "{subject}_{expression}.obj", [], expressions=(*EXPRESSIONS, f"{words}_happy"))
    assert listed.skipped.is_empty()
    assert ("s01", f"{words}_happy") in listed.manifest.frame.select("subject", "expression").rows()


def test_people_who_lie_deeper_than_the_pattern_has_them_are_told_of_with_the_pattern_that_fits(tmp_path: Path) -> None:
    names = ["group1/s01/happy.obj", "group1/s02/sad.obj", "group2/s01/sad.obj"]
    with pytest.raises(UserError, match=r"none of 3 meshes fits .*; \*/{subject}/{expression}\.obj would, in which"):
        of_pattern(tmp_path, "{subject}/{expression}.obj", names)
    found = of_pattern(tmp_path, "*/{subject}/{expression}.obj", ["s03/happy.obj"])
    assert found.manifest.frame["subject"].to_list() == ["s01", "s02", "s01"]
    (told,) = (line for line in found.remarks if "several folders" in line)
    assert told.startswith("1 of 2 people lies in several folders, as s01 in group1 and group2, and each is taken for")
    mixed = of_pattern(tmp_path, "{subject}/{expression}.obj", [])
    assert mixed.manifest.frame["subject"].to_list() == ["s03"]
    assert all(
        reason.endswith("; */{subject}/{expression}.obj would, in which * is any folder")
        for _, reason in mixed.skipped.rows()
    )


@pytest.mark.parametrize("pattern", ["{sequence}/{subject}/{expression}.obj", "{expression}/*/{subject}.obj"])
def test_people_in_folders_that_a_pattern_reads_or_who_lie_in_one_are_not_doubted(tmp_path: Path, pattern: str) -> None:
    names = [pattern.format(sequence=take, subject="s01", expression="sad").replace("*", "all") for take in "ab"]
    assert not [line for line in of_pattern(tmp_path, pattern, names).remarks if "several folders" in line]
