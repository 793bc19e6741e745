"""A bundle that somebody has changed is refused, in a line that names the file."""

from __future__ import annotations

import io
import json
import shutil
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tests.studies.bundles.helpers import Files, read, refused, write

from polyview.studies.bundles.archive import CONTENTS, MOST_BYTES

pytestmark = pytest.mark.slow


def test_every_byte_that_was_changed_is_told_by_its_file(
    capsys: pytest.CaptureFixture[str], made: Path, elsewhere: Path
) -> None:
    files = read(made)
    for name, content in files.items():
        middle = len(content) // 2
        changed = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        told = refused(capsys, "report", write(elsewhere / "changed.zip", files | {name: changed}, declare=False))
        assert told.startswith(f"{elsewhere / 'changed.zip'}: ")
        assert name in told or name == CONTENTS
    assert [path.name for path in elsewhere.iterdir()] == ["changed.zip"]


def put(path: Path, name: str, kind: int = stat.S_IFREG, times: int = 1) -> None:
    """Add a file of such a name and kind to a zip."""
    with zipfile.ZipFile(path, "a") as archive:
        for _ in range(times):
            info = zipfile.ZipInfo(name)
            info.external_attr = (kind | 0o777) << 16
            archive.writestr(info, "/etc/passwd")


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda path: put(path, "more.json"), "more.json was added: bundle.json does not declare it"),
        (lambda path: put(path, "../more.json"), "'../more.json' leads out of the bundle"),
        (lambda path: put(path, "trials/../../more.json"), "'trials/../../more.json' leads out of the bundle"),
        (lambda path: put(path, "/tmp/more.json"), "'/tmp/more.json' leads out of the bundle"),
        (lambda path: put(path, "C:more.json"), "'C:more.json' leads out of the bundle"),
        (lambda path: put(path, "..\\more.json"), "leads out of the bundle"),
        (lambda path: put(path, "./more.json"), "'./more.json' is no plain name of a file"),
        (lambda path: put(path, "trials/", stat.S_IFDIR), "'trials/' is no plain name of a file"),
        (lambda path: put(path, "link", stat.S_IFLNK), "'link' is a link or another special file"),
        (lambda path: put(path, "study.json"), "study.json is in it twice"),
        (lambda path: put(path, "Study.JSON"), "study.json is in it twice"),
        (lambda path: put(path, CONTENTS), "bundle.json is in it twice"),
        (lambda path: path.write_bytes(path.read_bytes()[:-100]), "not readable as a bundle"),
        (lambda path: path.write_bytes(b"PK\x03\x04"), "not readable as a bundle"),
    ],
)
def test_what_no_bundle_has_is_refused_before_anything_is_unpacked(
    capsys: pytest.CaptureFixture[str], made: Path, elsewhere: Path, change: Callable[[Path], object], told: str
) -> None:
    path = Path(shutil.copy(made, elsewhere / "asked.zip"))
    change(path)
    for verb in ("report", "rerun"):
        assert told in refused(capsys, verb, path)
    assert not (elsewhere / "home").exists()


def with_about(files: Files, **changes: object) -> Files:
    return files | {CONTENTS: json.dumps(json.loads(files[CONTENTS]) | changes).encode()}


def test_files_that_are_missing_of_another_size_or_too_large_are_refused(
    capsys: pytest.CaptureFixture[str], made: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, path = read(made), elsewhere / "asked.zip"
    without = {name: content for name, content in files.items() if name != "study.json"}
    assert "study.json is missing: bundle.json declares it" in refused(capsys, "report", write(path, without, False))
    longer = files | {"study.json": files["study.json"] + b" "}
    assert "study.json has" in refused(capsys, "report", write(path, longer, False))
    last = dict(sorted(files.items(), key=lambda one: one[0] == CONTENTS))
    assert "its first file is not bundle.json" in refused(capsys, "report", write(path, last, False))
    monkeypatch.setattr("polyview.studies.bundles.archive.MOST_BYTES", 10_000)
    assert "and 10.0 kB is the most; not unpacked" in refused(capsys, "report", made)
    assert MOST_BYTES > 10_000


def test_another_format_and_a_bundle_json_that_is_none_are_told(
    capsys: pytest.CaptureFixture[str], made: Path, elsewhere: Path
) -> None:
    files, path = read(made), elsewhere / "asked.zip"
    told = refused(capsys, "report", write(path, with_about(files, format=2)))
    assert "a bundle of format 2, and this polyview reads format 1" in told
    assert "study: Field required" in refused(capsys, "report", write(path, files | {CONTENTS: b'{"format": 1}'}))
    told = refused(capsys, "report", write(path, files | {"trials/run.sh": b"rm"}))
    assert "trials/run.sh is no file that a bundle has" in told
    for content in (b"[" * 100_000, b"no json", b"[]"):
        assert str(path) in refused(capsys, "report", write(path, files | {CONTENTS: content}, False))


Change = Callable[[Files], Files]


def one(files: Files, part: str) -> str:
    """The first file with this in its name."""
    return next(name for name in files if part in name)


def in_json(part: str, change: Callable[[Any], object]) -> Change:
    """Changes what is in a file of JSON."""

    def changed(files: Files) -> Files:
        content = json.loads(files[one(files, part)])
        change(content)
        return files | {one(files, part): json.dumps(content).encode()}

    return changed


def in_table(part: str, change: Callable[[pl.DataFrame], pl.DataFrame]) -> Change:
    """Changes what is in a table."""

    def changed(files: Files) -> Files:
        source, written = io.BytesIO(files[one(files, part)]), io.BytesIO()
        geometry = {"geometry": pl.read_parquet_metadata(source).get("geometry", "")}
        change(pl.read_parquet(source)).write_parquet(written, metadata=geometry)
        return files | {one(files, part): written.getvalue()}

    return changed


def better(record: Any) -> None:
    record["scores"]["knn/accuracy"] = 0.99


def all_right(record: Any) -> None:
    """Every face is recognised, in the scores and in the confusions."""
    counts = record["confusions"]["knn"]
    record["confusions"]["knn"] = [
        [sum(row) * (place == other) for other in range(len(row))] for place, row in enumerate(counts)
    ]
    record["scores"] |= {f"knn/{measure}": 1.0 for measure in ("accuracy", "uf1", "uar")}


def in_recipe(part: str, **changes: str) -> Callable[[Any], object]:
    """Other settings in a part of a study's recipe."""
    return lambda study: study["experiment"][part].update(changes)


def trained_on(record: Any) -> None:
    record["train_subjects"] = record["test_subjects"]


def first(column: str, value: str) -> Callable[[pl.DataFrame], pl.DataFrame]:
    """Another value in the first row."""
    changed = pl.when(pl.int_range(pl.len()) == 0).then(pl.lit(value)).otherwise(column)
    return lambda table: table.with_columns(changed.alias(column))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (in_json("record.json", better), "its knn/accuracy is 0.99, and its own confusions make it 0."),
        (in_json("record.json", all_right), "what knn predicted does not make the confusions of the record"),
        (in_json("record.json", lambda one: one["experiment"].update(seed=7)), "its recipe is that of trial "),
        (in_json("record.json", lambda one: one.update(manifest="0" * 16)), "it is of other faces than the study's"),
        (in_json("record.json", trained_on), " is trained on and scored"),
        (in_json("record.json", lambda one: one.clear()), "record.json: not a trial's record"),
        (in_table("predictions", first("sample", "nobody")), "nobody of "),
        (in_table("predictions", first("subject", "nobody")), "nobody is scored, and is no test subject"),
        (in_table("predictions", first("prediction", "joy")), "it names the class joy, which the record has not"),
        (in_table("predictions", lambda one: one.tail(-1)), "does not make the confusions of the record"),
        (in_table("predictions", lambda one: one.drop("score")), "its columns are not those of predictions"),
        (lambda files: files | {one(files, "predictions"): b"PAR1"}, "predictions.parquet: not readable"),
        (in_table("manifests/", first("expression", "surprise")), "its rows have the fingerprint "),
        (in_table("manifests/", lambda one: one.drop("subject")), "its columns are not those of a manifest"),
        (in_json("study.json", lambda one: one.update(seeds=[0])), "record.json: the study has no such trial"),
        (in_json("study.json", lambda one: one.update(name="other")), "bundle.json tells of "),
        (in_json("study.json", lambda one: one.update(sedes=[0])), "sedes: unknown key"),
        (in_json("study.json", lambda one: one.update(experiment="/etc/passwd")), "study.json: 1 error"),
        (in_json("study.json", in_recipe("corpus", root="/etc")), "corpus.root is /etc, and a bundle names no place"),
        (in_json("study.json", in_recipe("language", file="/etc/passwd")), "language.file: unknown key"),
        (lambda files: files | {"study.json": b"a: &a [b, b]"}, "study.json: not readable as JSON"),
        (lambda files: with_about(files, results=3), "bundle.json tells of "),
        (lambda files: {name: files[name] for name in files if name != one(files, "record")}, "bundle.json tells of "),
    ],
)
def test_what_does_not_fit_together_is_refused_though_its_hashes_are_made_anew(
    capsys: pytest.CaptureFixture[str], made: Path, elsewhere: Path, change: Change, told: str
) -> None:
    path = write(elsewhere / "asked.zip", change(read(made)))
    found = refused(capsys, "report", path)
    assert found.startswith(f"{path}: ")
    assert told in found
    assert "/polyview-" not in found, "the folder that it was unpacked to is nobody's business"
