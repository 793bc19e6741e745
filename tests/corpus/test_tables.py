"""Tables as people bring them: however they are written, nothing of them is lost without a word."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from polyview.corpus.inspection import inspect
from polyview.corpus.labels import meanings, nearest
from polyview.corpus.scan import Scan, scan
from polyview.errors import UserError
from polyview.recipe import EXPRESSIONS, Corpus

Encode = Callable[[str], bytes]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "a").mkdir()
    for number in range(20):
        (tmp_path / "a" / f"{number}.obj").touch()
    return tmp_path


def scanned(root: Path, table: str | bytes, **settings: object) -> Scan:
    (root / "faces.csv").write_bytes(table.encode() if isinstance(table, str) else table)
    return scan(
        Corpus.model_validate({"dataset": "folder", "root": str(root), "table": "faces.csv", **settings}, strict=False)
    )


def labelled(root: Path, labels: list[str], **settings: object) -> Scan:
    rows = "".join(f"a/{number}.obj,anna,{label}\n" for number, label in enumerate(labels))
    return scanned(root, f"path,subject,expression\n{rows}", **settings)


def of_subjects(root: Path, subjects: list[str]) -> Scan:
    rows = "".join(f"a/{number}.obj,{subject},anger\n" for number, subject in enumerate(subjects))
    return scanned(root, f"path,subject,expression\n{rows}")


PLAIN = "path,subject,expression,intensity\na/0.obj,Gräfin É,neutral,\na/1.obj,Gräfin É,anger,0.5\n"


@pytest.mark.parametrize(
    "write",
    [
        lambda text: text.encode(),
        lambda text: text.encode("utf-8-sig"),
        lambda text: text.encode("latin-1"),
        lambda text: text.encode("utf-16"),
        lambda text: text.encode("utf-16-le"),
        lambda text: text.encode("utf-16-be"),
        lambda text: text.replace(",", ";").replace("0.5", "0,5").encode("cp1252"),
        lambda text: ("sep=;\r\n" + text.replace(",", ";").replace("\n", "\r\n")).encode("utf-8-sig"),
        lambda text: text.replace(",", "\t").encode("utf-16"),
        lambda text: text.replace(",", "|").encode(),
        lambda text: text.replace(",", " , ").encode(),
        lambda text: text.replace("path,subject", " Path,SUBJECT").encode(),
        lambda text: text.replace("a/", "a\\").encode(),
        lambda text: text.replace("a/", "./a/../a/").encode(),
        lambda text: text.replace("\n", ",,\n").encode(),
        lambda text: text.replace("\n", "\n\n").encode() + b",,,\n",
        lambda text: text.replace("\n", "\r").encode(),
        lambda text: re.sub(r"[^,\n]+", r'"\g<0>"', text).encode(),
        lambda text: text.replace("\n", "\n7,", 2).replace("path", ",path", 1).encode(),
    ],
)
def test_one_table_however_it_is_written(root: Path, write: Encode) -> None:
    found = scanned(root, write(PLAIN))
    assert found.manifest.frame.select("sample_id", "path", "subject", "expression", "intensity").rows() == [
        ("a/0.obj", "a/0.obj", "Gräfin É", "neutral", 0.0),
        ("a/1.obj", "a/1.obj", "Gräfin É", "anger", 0.5),
    ]
    assert found.skipped.is_empty()
    assert (found.unused, found.remarks) == (0, ())


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        (b"PK\x03\x04", r"faces.csv: not readable: it is a workbook or an archive; save it as CSV"),
        (b"path,Path,subject,expression\n", "more than one column is called path"),
        (
            b"path,subject,expression\na/0.obj,anna,anger,0,5\n",
            "line 2 has 5 cells, and the first line names 3 columns",
        ),
        (
            b'path,subject,expression\na/0.obj,"anna,anger\na/1.obj,anna,anger\n',
            r"line 2: unexpected end of data; is a quotation mark not closed\?",
        ),
        (b"\xff\xfep\0a", "faces.csv"),
        (b"\xff\xfep", "faces.csv: not readable"),
        (b"path,subject,expression,frame\na/0.obj,anna,anger,1.5\n", "line 2: frame '1.5' is not a whole number"),
        (b"path,subject,expression,frame\na/0.obj,anna,anger,1e30\n", "line 2: frame '1e30' is not a whole number"),
        (b"path,subject,expression,intensity\n\na/0.obj,anna,anger,inf\n", "line 3: intensity 'inf' is not a number"),
    ],
)
def test_a_table_that_cannot_be_read_is_refused_in_one_line(root: Path, table: bytes, reason: str) -> None:
    with pytest.raises(UserError, match=reason) as error:
        scanned(root, table)
    assert str(error.value).startswith("corpus.table: ")
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("table", ["", "\n\n", "path,subject,expression\n"])
def test_a_table_of_no_face_is_told_so(root: Path, table: str) -> None:
    with pytest.raises(
        UserError, match=r"^corpus\.table: .*faces\.csv lists no face; under a line of the columns' names"
    ):
        scanned(root, table)


def test_a_table_of_pandas(root: Path) -> None:
    frame = pl.DataFrame(
        {
            "path": ["a/0.obj", "a/1.obj", "a/2.obj"],
            "Subject": [1.0, float("nan"), 2.0],
            "expression": pl.Series(["happy", "angry", "Anger"], dtype=pl.Categorical),
            "frame": [None, 1.0, 3.0],
            "row": [7, 8, 9],
            "embedding": [[0.1], [0.2], [0.3]],
        }
    )
    frame.write_parquet(root / "faces.parquet")
    found = scan(Corpus(dataset="folder", root=str(root), table="faces.parquet"))
    assert found.manifest.frame.select("subject", "expression", "frame").rows() == [
        ("1", "happiness", 0),
        ("2", "anger", 3),
    ]
    assert found.skipped.rows() == [("a/1.obj", "row 2 has no subject")]


def test_columns_that_are_not_read_are_named(root: Path) -> None:
    found = scanned(root, "path,subject,expression,Age,intensty,frames\na/0.obj,anna,anger,30,0.5,7\n")
    assert found.remarks == (
        "columns of the table that are not read: age, intensty (nearest: intensity), frames (nearest: frame)",
    )


def test_a_frame_without_intensity_is_no_apex_where_others_of_its_film_have_one(root: Path) -> None:
    strengths = ("", "", "0.4", "0.8", "0.3")
    films = "".join(
        f"a/{5 * film + frame}.obj,p{film},anger,{frame},{strength if film else ''}\n"
        for film in (0, 1)
        for frame, strength in enumerate(strengths)
    )
    head = "path,subject,expression,frame,intensity\n"
    apexes = scanned(root, head + films, frames="apex")
    assert apexes.manifest.frame.select("subject", "frame", "intensity").rows() == [("p0", 2, 1.0), ("p1", 3, 0.8)]
    assert [note for note in apexes.remarks if "are given 0" in note] == [
        "2 frames have no intensity where others of their film have one, and are given 0; the first is a/5.obj"
    ]


def test_labels_are_understood_however_they_are_written(root: Path) -> None:
    labels = ["happy", "Neutral", "Happiness", "HAPPY ", "surprised", "HA", "joy", "E_HAPPY", "Angry", " fearful"]
    labels += ["sad", "DI", "NE", "no expression", "SUR", "Disgusted"]
    found = labelled(root, labels)
    assert (len(found.manifest), found.unused, found.remarks) == (len(labels), 0, ())
    counts = dict(found.manifest.frame.group_by("expression").len().iter_rows())
    assert counts == {
        "happiness": 6, "neutral": 3, "surprise": 2, "anger": 1, "fear": 1, "sadness": 1, "disgust": 2
    }  # fmt: skip
    neutral = found.manifest.frame.filter(pl.col("expression") == "neutral")
    assert neutral["intensity"].to_list() == [0.0] * 3


def test_the_recipe_s_own_names_come_first(root: Path) -> None:
    found = labelled(root, ["joy", "happy", "HA", "Smirk", "calm"], expressions=["joy", "smirk", "calm"])
    assert found.manifest.frame["expression"].to_list() == ["joy", "joy", "joy", "smirk", "calm"]
    both = labelled(root, ["joy", "happy", "Joy"], expressions=["joy", "happiness"])
    assert both.manifest.frame["expression"].to_list() == ["joy", "happiness", "joy"]


@pytest.mark.parametrize(
    "labels",
    [
        ["AU12", "AU1+2", "AU1_2"],
        ["arousal", "arousal+", "arousal-"],
        ["1", "-1"],
        ["3.5", "35"],
    ],
)
def test_labels_that_differ_in_what_they_mean_stay_apart(root: Path, labels: list[str]) -> None:
    written = [*labels, *(label.lower() for label in labels)]
    found = labelled(root, written, expressions=labels)
    assert found.manifest.frame.sort("path")["expression"].value_counts()["count"].to_list() == [2] * len(labels)
    alone = labelled(root, labels, expressions=[labels[0], "fear"])
    assert alone.manifest.frame["expression"].to_list() == labels[:1]


def test_labels_that_differ_in_writing_alone_are_one(root: Path) -> None:
    written = [
        "Happy-Smile",
        "happy smile",
        "happy_smile",
        "HappySmile",
        "AU1 + 2",
        "au1+2",
        "arousal -",
        "arousal\u2212",
    ]
    found = labelled(root, written, expressions=["happy_smile", "AU1+2", "arousal-"])
    assert dict(found.manifest.frame.group_by("expression").len().iter_rows()) == {
        "happy_smile": 4, "AU1+2": 2, "arousal-": 2
    }  # fmt: skip


def test_two_listed_expressions_that_are_one_label_are_refused(root: Path) -> None:
    with pytest.raises(
        UserError, match=r"^corpus\.expressions: 'Smile' and 's_mile' are one label, .*; list one"
    ) as told:
        labelled(root, ["smile"], expressions=["Smile", "fear", "s_mile"])
    assert len(str(told.value).splitlines()) == 1


def test_no_expression_is_written_as_another_is() -> None:
    known = meanings(EXPRESSIONS)
    assert {known[name] for name in EXPRESSIONS} == set(EXPRESSIONS)
    assert nearest("hapyness", EXPRESSIONS) == "happiness"
    assert nearest("3", EXPRESSIONS) is None


def test_labels_that_are_not_used_are_listed_with_their_count(root: Path) -> None:
    found = labelled(root, ["happy", "hapyness", "Contempt", "contempt", "hapyness", "3"])
    assert (len(found.manifest), found.unused) == (1, 5)
    assert found.remarks == (
        "2 faces are left out, of expressions that corpus.expressions does not list: contempt (2)",
        "3 faces are left out for labels that are not understood: 'hapyness' (2, nearest: happiness), '3' (1); "
        "correct the labels, or list them in corpus.expressions",
    )
    with pytest.raises(UserError, match="it has 1, 2"):
        labelled(root, ["1", "2"])


def test_what_frames_and_intensity_leave_out_is_said(root: Path) -> None:
    rows = "".join(f"a/{number}.obj,anna,anger,q,{number},{number / 8}\n" for number in range(8))
    table = f"path,subject,expression,sequence,frame,intensity\n{rows}"
    found = scanned(root, table, every=2, intensity=[0.5, 1.0])
    assert (len(found.manifest), found.unused) == (2, 6)
    assert found.remarks == (
        "4 frames are left out by corpus.frames and corpus.every",
        "2 faces are left out by corpus.intensity, 0.5 to 1",
    )


def test_an_intensity_that_is_none_is_skipped_with_its_reason(root: Path) -> None:
    found = scanned(root, "path,subject,expression,intensity\na/0.obj,anna,anger,3\na/1.obj,anna,anger,1\n")
    assert found.skipped.rows() == [("a/0.obj", "its intensity 3.0 is not between 0 and 1")]


@pytest.mark.parametrize(("neutral", "strong"), [("0", "60"), ("0", "1.5"), ("", "100")])
def test_intensities_in_percent_are_refused_and_not_skipped_one_by_one(root: Path, neutral: str, strong: str) -> None:
    rows = "".join(f"a/{number}.obj,anna,anger,{strong}\n" for number in range(4))
    table = f"path,subject,expression,intensity\na/4.obj,anna,neutral,{neutral}\n{rows}"
    with pytest.raises(UserError, match=rf"line 3: intensity '{strong}' is not from 0 to 1.*100 of percentages"):
        scanned(root, table)


def test_a_number_that_is_none_in_a_pattern_is_told_of_the_pattern(root: Path) -> None:
    (root / "a" / "anna_anger_12345678901234567890.obj").touch()
    corpus = Corpus(dataset="folder", root=str(root / "a"), pattern="{subject}_{expression}_{frame}.obj")
    with pytest.raises(UserError, match=r"^corpus.pattern: anna_anger_\d+.obj: frame '\d+' is not a whole number"):
        scan(corpus)


def test_a_person_is_one_however_much_space_is_around_the_name(root: Path) -> None:
    found = of_subjects(root, ["1", "1 ", " 1", "\t1"])
    assert found.manifest.subjects == ["1"]
    assert found.remarks == ()


@pytest.mark.parametrize(
    "subjects",
    [
        ["1", "01"],
        ["Anna", "anna"],
        ["Anna B", "AnnaB"],
        ["s1", "s001"],
        ["s-01", "s_01", "s01"],
        ["anna", "anna\u200b", "\ufeffanna"],
        ["1", "1.0"],
        ["José", unicodedata.normalize("NFD", "José")],
    ],
)
def test_people_who_differ_in_writing_alone_are_told_of(root: Path, subjects: list[str]) -> None:
    found = of_subjects(root, [*subjects, "other", "10", "100"])
    (remark,) = (one for one in found.remarks if not one.startswith("no two"))
    assert remark.startswith(
        "subjects that differ by case, space, punctuation, leading zeros or the encoding of a letter alone: "
    )
    assert all(repr(subject) in remark or ascii(subject) in remark for subject in subjects)
    assert len(set(remark.split(": ")[1].split(";")[0].split(" and "))) == len(subjects)
    assert "'10'" not in remark


@pytest.mark.parametrize("subjects", [["राम", "रामा"], ["นิ", "นี"], ["F0001", "M0001"], ["1-1", "11"], ["_", "-"]])
def test_people_who_differ_by_a_letter_are_not_told_of(root: Path, subjects: list[str]) -> None:
    assert not [one for one in of_subjects(root, subjects).remarks if one.startswith("subjects")]


@pytest.mark.parametrize("nobody", ["", " ", '""', "nan", "NaN", "null", "None", "<NA>", "NA", " - ", "?"])
def test_a_face_of_nobody_is_refused_by_its_line(root: Path, nobody: str) -> None:
    found = of_subjects(root, ["anna", nobody, "bert"])
    assert found.manifest.subjects == ["anna", "bert"]
    assert found.skipped.rows() == [("a/1.obj", "line 3 has no subject")]


@pytest.mark.parametrize("nothing", ["NA", "-", "?"])
def test_films_and_expressions_of_no_name_are_none(root: Path, nothing: str) -> None:
    rows = f"a/0.obj,anna,anger,{nothing}\na/1.obj,bert,anger,{nothing}\na/2.obj,anna,{nothing},q\n"
    found = scanned(root, f"path,subject,expression,sequence\n{rows}")
    assert found.manifest.frame["sequence"].to_list() == ["a/0.obj", "a/1.obj"]
    assert found.skipped.rows() == [("a/2.obj", "line 4 has no expression")]
    with pytest.raises(UserError, match=f"line 2: frame '{re.escape(nothing)}' is not a whole number"):
        scanned(root, f"path,subject,expression,frame\na/0.obj,anna,anger,{nothing}\n")


def test_a_folder_may_be_called_as_an_empty_cell_is(root: Path) -> None:
    (root / "NA").mkdir()
    (root / "NA" / "Angry.obj").touch()
    found = scan(Corpus(dataset="folder", root=str(root), pattern="{subject}/{expression}.obj"))
    assert found.manifest.subjects == ["NA"]


def test_a_folder_s_name_is_trimmed_too(root: Path) -> None:
    for person in ("anna", "anna "):
        (root / person).mkdir()
        (root / person / "Angry.obj").touch()
    found = scan(Corpus(dataset="folder", root=str(root), pattern="{subject}/{expression}.obj"))
    assert found.manifest.frame.filter(pl.col("subject") == "anna")["expression"].to_list() == ["anger", "anger"]


def test_files_that_are_not_there_are_named(root: Path) -> None:
    (root / "b.obj").symlink_to(root / "fetched later")
    table = "path,subject,expression,texture\na/0.obj,anna,anger,skin.png\na/gone.obj,anna,anger,\nb.obj,anna,fear,\n"
    found = scanned(root, table)
    assert len(found.manifest) == 3
    assert found.remarks == (
        "3 of 4 files are not there: a/gone.obj, b.obj, skin.png; 1 of them is a link to what is not here: fetch it "
        "first",
    )


@pytest.mark.timeout(60)
def test_a_pipe_is_no_file_and_nobody_waits_for_its_writer(root: Path) -> None:
    os.mkfifo(root / "a" / "pipe.obj")
    found = scanned(root, "path,subject,expression\na/pipe.obj,anna,anger\na/0.obj,anna,anger\n")
    assert found.remarks == ("1 of 2 files is not there: a/pipe.obj",)


@pytest.mark.parametrize(
    "path", ["C:\\faces\\0.obj", "\\\\server\\faces\\0.obj", "..\\0.obj", "/elsewhere/0.obj", "a\0.obj"]
)
def test_a_path_of_another_machine_lies_outside(root: Path, path: str) -> None:
    found = scanned(root, f"path,subject,expression\n{path},anna,anger\na/0.obj,anna,fear\n")
    assert found.skipped.rows() == [(path, "the mesh lies outside of the dataset's folder")]


def test_a_mesh_that_is_named_twice_in_two_ways(root: Path) -> None:
    table = f"path,subject,expression\na/0.obj,anna,anger\na\\0.obj,anna,anger\n{root}{os.sep}a/0.obj,anna,anger\n"
    found = scanned(root, table)
    assert len(found.manifest) == 1
    assert found.skipped.rows() == [("a/0.obj", "named a second time")] * 2


def test_a_file_that_is_said_to_show_different_faces_is_told(root: Path) -> None:
    rows = "a/0.obj,anna,happy\na/1.obj,bert,happy\nA/0.obj,anna,anger\na/1.obj,bert,Happiness\n"
    found = scanned(root, f"path,subject,expression\n{rows}")
    told = (
        "1 of 2 files is said to show different faces, as a/0.obj: happiness of anna or anger of anna; correct the "
        "table: rows with a sample_id of their own all count, else the first row"
    )
    assert (len(found.manifest), found.remarks[0]) == (2, told)
    numbered = "".join(f"{number},{row}\n" for number, row in enumerate(rows.splitlines()))
    both = scanned(root, f"sample_id,path,subject,expression\n{numbered}")
    assert (len(both.manifest), both.remarks) == (4, (told,))


def test_rows_of_one_sample_id_and_faces_of_as_many_subjects_are_told(root: Path) -> None:
    table = "sample_id,path,subject,expression\nx,a/0.obj,1,anger\nx,a/1.obj,2,anger\ny,a/2.obj,3,fear\n"
    found = scanned(root, table)
    assert found.skipped.rows() == [("a/1.obj", "another row has its sample_id x too")]
    (told,) = found.remarks
    assert told.startswith("no two of the 2 faces are of one subject; if subjects are numbers of files")
    assert scanned(root, table.replace("3,fear", "1,fear")).remarks == ()


def test_a_column_says_the_unit_of_each_file(root: Path) -> None:
    for number in range(4):
        (root / "a" / f"{number}.obj").write_text("v -1 -1 0\nv 1 -1 0\nv 1 1 0\nf 1 2 3\n")
    rows = "".join(f"a/{n}.obj,anna,anger,{unit}\n" for n, unit in enumerate(("m", "cm", "76.5", "")))
    manifest = scanned(root, f"path,subject,expression,unit\n{rows}", geometry={"unit": 50.0}).manifest
    assert manifest.frame["unit"].to_list() == [1000.0, 10.0, 76.5, None]
    assert inspect(manifest)[0] == "20 to 2000 mm large, of 4 meshes looked at"
    bare = "".join(f"a/{n}.obj,anna,anger,\n" for n in range(4))
    without = scanned(root, f"path,subject,expression\n{bare}".replace(",\n", "\n")).manifest
    assert scanned(root, f"path,subject,expression,unit\n{bare}").manifest.fingerprint == without.fingerprint
    assert "unit" not in without.frame.columns


@pytest.mark.parametrize("unit", ["inches", "0", "-1", "inf"])
def test_a_unit_that_is_none_is_refused(root: Path, unit: str) -> None:
    with pytest.raises(UserError, match=f"line 2: unit '{unit}' is not m, cm, mm, um or the millimetres"):
        scanned(root, f"path,subject,expression,unit\na/0.obj,anna,anger,{unit}\n")


@pytest.mark.parametrize("column", ["unit", "frame"])
def test_a_comma_that_may_divide_thousands_is_no_decimal_mark(root: Path, column: str) -> None:
    with pytest.raises(UserError, match=f"line 2: {column} '1,000' is not "):
        scanned(root, f"path;subject;expression;{column}\na/0.obj;anna;anger;1,000\n")
    decimal = scanned(root, "path;subject;expression;unit\na/0.obj;anna;anger;0,001\n")
    assert decimal.manifest.frame["unit"].to_list() == [0.001]


def test_files_are_found_in_another_case_and_in_another_form_of_unicode(root: Path) -> None:
    composed, decomposed = (unicodedata.normalize(form, "Zoë") for form in ("NFC", "NFD"))
    for folder in (decomposed, "Émile".upper()):
        (root / folder).mkdir()
        (root / folder / "Smile.OBJ").touch()
        (root / folder / "Skin.png").touch()
    rows = f"{composed}/smile.obj,zoe,anger,{composed}\\SKIN.PNG\nE\u0301mile/SMILE.obj,zoe,anger,\n"
    found = scanned(root, f"path,subject,expression,texture\n{rows}")
    assert found.manifest.frame["path"].sort().to_list() == sorted([f"{decomposed}/Smile.OBJ", "ÉMILE/Smile.OBJ"])
    assert found.manifest.frame["texture"].drop_nulls().to_list() == [f"{decomposed}/Skin.png"]
    assert found.remarks == ()


def test_the_very_name_comes_first_and_of_several_alike_none_is_guessed(root: Path) -> None:
    for name in ("One.obj", "ONE.obj", "Two.obj", "TWO.obj"):
        (root / name).touch()
    found = scanned(root, "path,subject,expression\nOne.obj,anna,anger\ntwo.obj,anna,anger\nA/0.obj,anna,anger\n")
    assert found.manifest.frame["path"].to_list() == ["One.obj", "a/0.obj", "two.obj"]
    assert found.remarks == ("1 of 3 files is not there: two.obj",)


def test_one_file_under_two_spellings_is_one(root: Path) -> None:
    found = scanned(root, "path,subject,expression\na/0.obj,anna,anger\nA/0.OBJ,anna,anger\n")
    assert found.skipped.rows() == [("a/0.obj", "named a second time")]
