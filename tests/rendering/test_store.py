from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from polyview.corpus.manifest import SCHEMA, Manifest
from polyview.errors import UserError
from polyview.recipe import Rendering
from polyview.rendering.cameras import Camera
from polyview.rendering.shards import read_shard, rows_per_shard, shard_path, write_shard
from polyview.rendering.store import ViewStore, column_names, finish_part, part_path

SIZE, RIG = 16, (Camera(-30, 0), Camera(0, 0), Camera(30, 0))
NAMES = [camera.name for camera in RIG]
SHARDS = (4, 0, 5, 2)
VIEWS = np.random.default_rng(0).integers(0, 256, (sum(SHARDS), len(RIG), SIZE, SIZE, 3), np.uint8)


def manifest_of(sample_ids: list[str], labels: list[str]) -> Manifest:
    rows = pl.DataFrame({"sample_id": sample_ids, "expression": labels})
    blank = {"intensity": 1.0, "frame": 0, "texture": None}
    return Manifest.build(rows.with_columns(pl.lit(blank.get(c, "x")).alias(c) for c in SCHEMA if c not in rows), "")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of 11 samples and 2 rejected ones, in 4 shards, one of them without a row."""
    path = tmp_path_factory.mktemp("store")
    everyone = [f"s{number:02d}" for number in range(sum(SHARDS))] + ["zz1", "zz2"]
    labels = [("happiness", "fear")[number % 2] for number in range(len(everyone))]
    manifest = manifest_of(everyone, labels)
    manifest.save(path / "manifest.parquet")
    start = 0
    for number, rows in enumerate(SHARDS):
        bad = [{"sample_id": f"zz{number}", "path": "x", "reason": "empty"}] if number in (1, 2) else []
        views = VIEWS[start : start + rows].swapaxes(0, 1)
        write_shard(shard_path(path, number), everyone[start : start + rows], NAMES, views, bad)
        start += rows
    finish_part(path, manifest, Rendering(size=SIZE), RIG, len(SHARDS))
    return path


@pytest.fixture(scope="module")
def store(folder: Path) -> ViewStore:
    return ViewStore.open(folder)


@given(
    rows=st.lists(st.integers(0, len(VIEWS) - 1), max_size=20),
    columns=st.lists(st.integers(0, len(RIG) - 1), max_size=4),
)
def test_gather_is_indexing(store: ViewStore, rows: list[int], columns: list[int]) -> None:
    gathered = store.gather(np.array(rows, np.int64), [RIG[column] for column in columns])
    np.testing.assert_array_equal(gathered, VIEWS[np.ix_(rows, columns)])
    assert gathered.dtype == np.uint8


def test_what_a_store_says_of_itself(store: ViewStore) -> None:
    assert len(store) == len(store.sample_ids) == 11
    assert store.sample_ids == sorted(store.sample_ids)
    assert (store.cameras, store.size) == (RIG, SIZE)
    assert store.rejected.to_dicts() == [
        {"sample_id": "zz1", "path": "x", "reason": "empty"},
        {"sample_id": "zz2", "path": "x", "reason": "empty"},
    ]
    assert len(store.manifest) == 13


def test_labels_follow_the_rows(store: ViewStore) -> None:
    of_sample = dict(zip(store.manifest.frame["sample_id"], store.manifest.frame["expression"], strict=True))
    assert store.labels("expression") == [of_sample[sample_id] for sample_id in store.sample_ids]


def test_a_camera_that_was_not_rendered_is_named(store: ViewStore) -> None:
    with pytest.raises(KeyError, match=r"yaw\+45_pitch\+00.*it has yaw-30"):
        store.gather(np.array([0], np.int64), [Camera(45, 0)])


def test_polars_reads_the_shards_as_they_are(folder: Path) -> None:
    frame = pl.read_ipc(folder / "shard-00002.arrow")
    assert frame.schema == {"sample_id": pl.String, **{name: pl.Array(pl.UInt8, (SIZE, SIZE, 3)) for name in NAMES}}
    np.testing.assert_array_equal(frame[NAMES[1]].to_numpy(), VIEWS[4:9, 1])


def test_pyarrow_reads_the_shards_as_they_are(folder: Path) -> None:
    table = pa.ipc.open_file(folder / "shard-00000.arrow").read_all()
    first: NDArray[np.uint8] = np.array(table[NAMES[2]][0].as_py(), np.uint8)
    np.testing.assert_array_equal(first, VIEWS[0, 2])


def test_hugging_face_datasets_reads_the_shards_as_they_are(folder: Path, tmp_path: Path) -> None:
    from datasets import load_dataset

    shards = sorted(map(str, folder.glob("shard-*.arrow")))
    faces = load_dataset("arrow", data_files=shards, split="train", cache_dir=str(tmp_path))
    assert faces.column_names == ["sample_id", *NAMES]
    assert faces["sample_id"][:] == [f"s{number:02d}" for number in range(len(VIEWS))]
    np.testing.assert_array_equal(np.array(faces[6][NAMES[1]], np.uint8), VIEWS[6, 1])


def test_views_are_read_from_the_map_without_a_copy(folder: Path) -> None:
    before = pa.total_allocated_bytes()
    store = ViewStore.open(folder)
    store.gather(np.arange(len(store)), RIG)
    assert pa.total_allocated_bytes() - before < VIEWS[:, 0].nbytes / 2


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> ViewStore:
    """The same views in two parts, by other shards: the side cameras with their depth, then the front."""
    path = tmp_path_factory.mktemp("parts")
    manifest = manifest_of([f"s{number:02d}" for number in range(len(VIEWS))], ["fear"] * len(VIEWS))
    rendering = Rendering(size=SIZE, outputs=("depth",))
    for columns, shards in (([0, 2], (4, 7)), ([1], (10, 1))):
        rig, start = [RIG[column] for column in columns], 0
        part = part_path(path, rig)
        manifest.save(part / "manifest.parquet")
        for number, rows in enumerate(shards):
            chunk = VIEWS[start : start + rows, columns].swapaxes(0, 1)
            ids = manifest.frame["sample_id"].to_list()[start : start + rows]
            both = np.concatenate([chunk, 255 - chunk])
            write_shard(shard_path(part, number), ids, column_names(rig, rendering), both, [])
            start += rows
        finish_part(part, manifest, rendering, rig, len(shards))
    return ViewStore.open(path)


def test_parts_read_as_one(parts: ViewStore) -> None:
    rows = np.array([10, 0, 3, 3, 7], np.int64)
    assert parts.cameras == RIG
    assert len(parts) == len(parts.sample_ids) == len(VIEWS)
    np.testing.assert_array_equal(parts.gather(rows, RIG[::-1]), VIEWS[rows][:, ::-1])


def test_a_part_is_a_store_of_its_own(parts: ViewStore) -> None:
    alone = ViewStore.open(part_path(parts.folder, RIG[1:2]))
    np.testing.assert_array_equal(alone.gather(np.arange(len(VIEWS)), RIG[1:2]), VIEWS[:, 1:2])


def test_further_outputs_are_read_by_name(parts: ViewStore, store: ViewStore) -> None:
    rows = np.array([2, 9], np.int64)
    np.testing.assert_array_equal(parts.gather(rows, RIG, "depth"), 255 - VIEWS[rows])
    np.testing.assert_array_equal(parts.gather(rows, RIG, "shaded"), VIEWS[rows])
    with pytest.raises(KeyError, match="no output normal; it has shaded, depth"):
        parts.gather(rows, RIG, "normal")
    assert parts.depth is not None
    assert parts.depth.unit == "millimetres"
    assert store.depth is None


def test_a_shard_says_where_its_pixels_begin_and_one_without_rows_the_same_each_time(folder: Path) -> None:
    begins = read_shard(shard_path(folder, 2)).offsets
    whole = shard_path(folder, 2).read_bytes()
    for column, begin in enumerate(begins):
        assert whole[begin : begin + VIEWS[4, column].nbytes] == VIEWS[4, column].tobytes()
    assert read_shard(shard_path(folder, 1)).offsets == (0,) * len(RIG)


def test_pixels_begin_with_a_cache_line_whatever_the_samples_are_called(folder: Path, tmp_path: Path) -> None:
    for number in range(len(SHARDS)):
        assert {begin % 64 for begin in read_shard(shard_path(folder, number)).offsets} == {0}
    for length in range(1, 40):
        write_shard(tmp_path / "shard.arrow", ["s" * length, "ü"], NAMES, VIEWS[:2].swapaxes(0, 1), [])
        assert {begin % 64 for begin in read_shard(tmp_path / "shard.arrow").offsets} == {0}


@pytest.mark.parametrize("name", ["shard-00000.arrow", "manifest.parquet", "rejected.parquet", "doubts.parquet"])
@pytest.mark.parametrize("kept", [None, 0, 100])
def test_what_is_gone_or_cut_is_named_with_the_remedy(
    folder: Path, tmp_path: Path, name: str, kept: int | None
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    content = (copy / name).read_bytes()
    (copy / name).unlink()
    if kept is not None:
        (copy / name).write_bytes(content[:kept])
    damaged = ViewStore.open(copy)
    if name == "doubts.parquet":
        if kept is not None:  # earlier versions had none
            with pytest.raises(UserError, match=rf"copy/{name}: gone or damaged; delete the folder that it is in"):
                damaged.doubts  # noqa: B018
        return
    with pytest.raises(UserError, match=rf"copy/{name}: gone or damaged; delete the folder that it is in, and render"):
        damaged.gather(np.arange(len(damaged.sample_ids)), RIG)


def test_a_shard_whose_pixels_have_changed_is_named(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    shard = shard_path(copy, 2)
    content = bytearray(shard.read_bytes())
    content[read_shard(shard).offsets[1] + 7] ^= 16
    shard.write_bytes(content)
    damaged = ViewStore.open(copy)
    damaged.gather(np.arange(SHARDS[0]), RIG)
    with pytest.raises(UserError, match=r"shard-00002\.arrow: gone or damaged; delete the folder that it is in"):
        damaged.gather(np.arange(len(damaged)), RIG)


def test_a_store_of_earlier_versions_has_no_checksums_and_opens(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    contents = json.loads((tmp_path / "store.json").read_text())
    assert len(contents.pop("checksums")) == len(SHARDS)
    (tmp_path / "store.json").write_text(json.dumps(contents))
    assert np.array_equal(ViewStore.open(tmp_path).gather(np.arange(sum(SHARDS)), RIG), VIEWS)


def test_an_incomplete_store_is_not_opened(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no complete view store; `polyview render`"):
        ViewStore.open(tmp_path)


def test_a_store_of_another_version_says_so(tmp_path: Path) -> None:
    (tmp_path / "store.json").write_text('{"schema_version": 99}')
    with pytest.raises(UserError, match="not of this version"):
        ViewStore.open(tmp_path)


@given(st.integers(1, 40), st.integers(16, 1024))
def test_a_shard_fits_in_memory(views: int, size: int) -> None:
    rows = rows_per_shard(views, size)
    assert rows == 1 or rows * views * size * size * 3 <= 32 << 20
    assert 1 <= rows <= 64
