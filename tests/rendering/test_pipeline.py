from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import psutil
import pytest
import trimesh
from threadpoolctl import threadpool_info, threadpool_limits

from polyview.corpus.datasets import synthetic
from polyview.corpus.formats.limits import READING
from polyview.corpus.load import load_mesh
from polyview.corpus.manifest import SCHEMA, Manifest
from polyview.corpus.mesh import Mesh
from polyview.errors import UserError
from polyview.recipe import Corpus, Generator, Rendering
from polyview.rendering import pipeline
from polyview.rendering.cameras import Camera
from polyview.rendering.pipeline import RenderSummary, is_rendered, render
from polyview.rendering.renderer import make_renderer
from polyview.rendering.shards import rows_per_shard
from polyview.rendering.store import ViewStore, part_path
from polyview.storage.home import Home

pytestmark = pytest.mark.usefixtures("local_ray")

RECIPE = Rendering(size=32)
RIG = (Camera(-30, 0), Camera(0, 0), Camera(30, 0))
FACES = 300
BROKEN = {7: b"", 150: b"ply\nformat ascii 1.0\nelement vertex 9\n", 299: b"garbage"}


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory, head: Mesh) -> Manifest:
    """Three hundred rows over seven heads in PLY files, and three files that are no mesh."""
    root = tmp_path_factory.mktemp("faces")
    for number in range(7):
        vertices = head.vertices * (1 + 0.05 * number)
        trimesh.Trimesh(vertices, head.faces, vertex_colors=head.colors, process=False).export(root / f"{number}.ply")
    for number, content in BROKEN.items():
        (root / f"broken{number}.ply").write_bytes(content)
    paths = [f"broken{number}.ply" if number in BROKEN else f"{number % 7}.ply" for number in range(FACES)]
    rows = pl.DataFrame({"sample_id": [f"face{number:03d}" for number in range(FACES)], "path": paths})
    blank = {"intensity": 1.0, "frame": 0, "texture": None}
    rows = rows.with_columns(pl.lit(blank.get(c, "x")).alias(c) for c in SCHEMA if c not in rows)
    return Manifest.build(rows, str(root))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def summary(manifest: Manifest, home: Home) -> RenderSummary:
    return render(manifest, RECIPE, RIG, home, max_rejected=0.1)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def end_what_ray_left(session: int) -> None:
    """Ray's workers outlive a killed driver for seconds, each in a process group of its own, and go on writing."""
    left = [process for process in psutil.process_iter() if _session(process.pid) == session]
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    _, alive = psutil.wait_procs(left, timeout=120)
    assert not alive


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return None


def times(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_views_in_the_store_are_the_renderers(manifest: Manifest, summary: RenderSummary) -> None:
    store = ViewStore.open(summary.store)
    renderer = make_renderer(RECIPE)
    paths = store.labels("path")
    for row in (0, 100, len(store) - 1):
        expected = renderer.render(load_mesh(paths[row], None, manifest.root), RIG)
        np.testing.assert_array_equal(store.gather(np.array([row]), RIG)[0], expected)


def test_meshes_that_cannot_be_used_are_set_aside_with_a_reason(manifest: Manifest, summary: RenderSummary) -> None:
    store = ViewStore.open(summary.store)
    assert (summary.rendered, summary.rejected) == (FACES - 3, 3)
    assert store.rejected["sample_id"].to_list() == [f"face{number:03d}" for number in sorted(BROKEN)]
    assert all(len(reason) > 5 for reason in store.rejected["reason"])
    assert set(store.sample_ids) == set(manifest.frame["sample_id"]) - set(store.rejected["sample_id"])


def test_too_many_unusable_meshes_are_an_error_that_says_where_to_look(
    manifest: Manifest, home: Home, summary: RenderSummary
) -> None:
    with pytest.raises(UserError, match=r"3 of 300 meshes .*max_rejected=0.005.*broken7.ply.*rejected.parquet"):
        render(manifest, RECIPE, RIG, home, max_rejected=0.005)
    assert summary.reasons.is_file()


def test_a_second_render_touches_nothing_and_needs_neither_ray_nor_a_compiler(
    manifest: Manifest, home: Home, summary: RenderSummary, tmp_path: Path
) -> None:
    manifest.save(tmp_path / "faces.parquet")
    before = times(summary.store)
    script = f"""
import sys
from pathlib import Path
from polyview.corpus.manifest import Manifest
from polyview.storage.home import Home
from polyview.recipe import Corpus, Generator, Rendering
from polyview.rendering.cameras import Camera
from polyview.rendering.pipeline import render
rig = (Camera(-30, 0), Camera(0, 0), Camera(30, 0))
manifest = Manifest.load(Path({str(tmp_path / "faces.parquet")!r}))
again = render(manifest, Rendering(size=32), rig, Home(Path({str(home.root)!r})), 0.1)
print(again.cached, again.rendered, again.rejected, "ray" in sys.modules, "numba" in sys.modules)
"""
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert said.split() == ["True", "297", "3", "False", "False"]
    assert times(summary.store) == before


def test_a_render_cut_short_goes_on_at_the_shard_and_ends_the_same(
    manifest: Manifest, home: Home, summary: RenderSummary
) -> None:
    whole = contents(summary.store)
    part = part_path(summary.store, RIG)
    kept = part / "shard-00000.arrow"
    written = kept.stat().st_mtime_ns
    for name in ("store.json", "rejected.parquet", "shard-00001.arrow"):
        (part / name).unlink()
    (part / ".shard-00001.arrow.k1ll3d.arrow").touch()
    progress: list[tuple[int, int]] = []
    again = render(manifest, RECIPE, RIG, home, 0.1, lambda done, total: progress.append((done, total)))
    assert not again.cached
    assert contents(again.store) == whole
    assert kept.stat().st_mtime_ns == written
    assert progress[0] == (FACES - rows_per_shard(3, 32), FACES)
    assert progress[-1] == (FACES, FACES)


@pytest.mark.parametrize("damage", ["cut", "emptied", "gone", "another", "no table"])
def test_damaged_files_of_a_store_are_made_anew_and_the_others_stay(
    manifest: Manifest, tmp_path: Path, damage: str
) -> None:
    few, home = Manifest.build(manifest.frame.head(130), manifest.root), Home(tmp_path)
    first = render(few, RECIPE, RIG, home, 0.1)
    assert is_rendered(few, RECIPE, RIG, home)
    whole, part = contents(first.store), part_path(first.store, RIG)
    shards = sorted(part.glob("shard-*.arrow"))
    harmed = part / "rejected.parquet" if damage == "no table" else shards[1]
    kept = {"cut": whole[str(harmed.relative_to(first.store))][:-100], "another": shards[2].read_bytes()}
    harmed.unlink()
    if damage not in ("gone", "no table"):
        harmed.write_bytes(kept.get(damage, b""))
    before = times(first.store)
    assert not is_rendered(few, RECIPE, RIG, home)
    again = render(few, RECIPE, RIG[1:], home, 0.1)
    assert not again.cached
    assert again.damaged == (harmed,)
    assert contents(again.store) == whole
    assert all(path.stat().st_mtime_ns == before[path] for path in shards if path != harmed)
    assert not render(few, RECIPE, RIG, home, 0.1).damaged


def test_with_further_cameras_only_they_are_drawn_and_what_is_damaged(manifest: Manifest, tmp_path: Path) -> None:
    few, home = Manifest.build(manifest.frame.head(130), manifest.root), Home(tmp_path)
    part = part_path(render(few, RECIPE, RIG[:2], home, 0.1).store, RIG[:2])
    untouched, harmed = sorted(part.glob("shard-*.arrow"))[:2]
    written = untouched.stat().st_mtime_ns
    harmed.write_bytes(b"")
    again = render(few, RECIPE, RIG, home, 0.1)
    assert untouched.stat().st_mtime_ns == written
    assert {len(one.cameras) for one in ViewStore.open(again.store).parts} == {1, 2}
    ViewStore.open(again.store).gather(np.arange(again.rendered), RIG)


def test_a_worker_has_one_thread_whatever_the_environment_asks_for(
    manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[int] = []

    def read(*arguments: Any) -> Mesh:
        threads.extend(library["num_threads"] for library in threadpool_info())
        return load_mesh(*arguments)

    monkeypatch.setattr(pipeline, "load_mesh", read)
    cameras = (Camera(0.0, 0.0),)
    writer = pipeline.ShardWriter(tmp_path, manifest.root, manifest.geometry, RECIPE, cameras)
    row = manifest.frame.row(0, named=True)
    job = {"shard": 0, **{name: [row[name]] for name in ("sample_id", "path", "texture")}}
    with threadpool_limits(limits=2):
        assert writer(job)["error"] == ""
    assert threads
    assert set(threads) == {1}


def test_two_processes_do_the_work_once(manifest: Manifest, tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _: render(manifest, RECIPE, RIG[:2], Home(tmp_path), 0.1), range(2)))
    assert both[0].store == both[1].store
    assert sorted(summary.cached for summary in both) == [False, True]
    assert {summary.rendered for summary in both} == {FACES - 3}


def test_another_recipe_or_manifest_is_another_store(manifest: Manifest, home: Home, summary: RenderSummary) -> None:
    few = Manifest.build(manifest.frame.head(2), manifest.root)
    stores = {
        render(few, RECIPE, RIG, home, 0.1).store,
        render(few, RECIPE.model_copy(update={"albedo": "grey"}), RIG, home, 0.1).store,
        render(few, RECIPE.model_copy(update={"outputs": ("depth",)}), RIG, home, 0.1).store,
        summary.store,
    }
    assert len(stores) == 4


def test_more_cameras_of_the_same_faces_render_only_the_new_ones(manifest: Manifest, tmp_path: Path) -> None:
    home, few = Home(tmp_path), Manifest.build(manifest.frame.head(70), manifest.root)
    first = render(few, RECIPE, RIG[1:2], home, 0.1)
    front = part_path(first.store, RIG[1:2])
    untouched = times(front)
    reader = ViewStore.open(first.store)
    more = render(few, RECIPE, RIG, home, 0.1)
    assert more.store == first.store
    assert not more.cached
    assert times(front) == untouched
    assert [len(part.cameras) for part in sorted(ViewStore.open(more.store).parts, key=lambda p: len(p.cameras))] == [
        1,
        2,
    ]
    assert reader.cameras == RIG[1:2]
    together = render(few, RECIPE, RIG, Home(tmp_path / "other"), 0.1)
    rows = np.arange(len(ViewStore.open(more.store)))
    np.testing.assert_array_equal(
        ViewStore.open(more.store).gather(rows, RIG), ViewStore.open(together.store).gather(rows, RIG)
    )
    assert render(few, RECIPE, RIG[::2], home, 0.1).cached


def test_what_a_broken_off_request_left_goes_once_others_have_its_cameras(manifest: Manifest, tmp_path: Path) -> None:
    few = Manifest.build(manifest.frame.head(70), manifest.root)
    store = render(few, RECIPE, RIG[:2], Home(tmp_path), 0.1).store
    (part_path(store, RIG[:2]) / "store.json").unlink()
    render(few, RECIPE, RIG[:1], Home(tmp_path), 0.1)
    assert part_path(store, RIG[:2]).is_dir()
    render(few, RECIPE, RIG[1:], Home(tmp_path), 0.1)
    assert {path.name for path in store.glob("*-views-*")} == {part_path(store, rig).name for rig in (RIG[:1], RIG[1:])}


def test_faces_that_have_gone_since_are_noticed(manifest: Manifest, head: Mesh, tmp_path: Path) -> None:
    for number in range(2):
        trimesh.Trimesh(head.vertices, head.faces, process=False).export(tmp_path / f"{number}.ply")
    rows = manifest.frame.head(2).with_columns(path=pl.Series(["0.ply", "1.ply"]))
    mine = Manifest.build(rows, str(tmp_path))
    home = Home(tmp_path / "home")
    store = render(mine, RECIPE, RIG[:1], home, 0.5).store
    (tmp_path / "1.ply").unlink()
    with pytest.raises(UserError, match="not the same meshes can be read"):
        render(mine, RECIPE, RIG, home, 0.5)
    assert ViewStore.open(store).cameras == RIG[:1]


def test_a_render_killed_in_the_middle_is_finished_to_the_same_bytes(
    manifest: Manifest, summary: RenderSummary, tmp_path: Path
) -> None:
    manifest.save(tmp_path / "faces.parquet")
    script = f"""
import os, signal
from pathlib import Path
from polyview.corpus.manifest import Manifest
from polyview.storage.home import Home
from polyview.recipe import Corpus, Generator, Rendering
from polyview.rendering.cameras import Camera
from polyview.rendering.pipeline import render
def die(done, total):
    if 0 < done < total:
        os.kill(os.getpid(), signal.SIGKILL)
rig = (Camera(-30, 0), Camera(0, 0), Camera(30, 0))
manifest = Manifest.load(Path({str(tmp_path / "faces.parquet")!r}))
render(manifest, Rendering(size=32), rig, Home(Path({str(tmp_path)!r})), 0.1, die)
"""
    killed = subprocess.Popen([sys.executable, "-c", script], start_new_session=True)
    assert killed.wait() == -signal.SIGKILL
    end_what_ray_left(killed.pid)
    (part,) = (tmp_path / "views").glob("*/*-views-*")
    assert list(part.glob("shard-*.arrow"))
    assert not (part / "store.json").exists()
    progress: list[tuple[int, int]] = []
    again = render(manifest, RECIPE, RIG, Home(tmp_path), 0.1, lambda done, total: progress.append((done, total)))
    assert progress[0][0] > 0
    assert contents(again.store) == contents(summary.store)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of two megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"only root may mount a small disk: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_leaves_no_half_shard(manifest: Manifest, small_disk: Path, tmp_path: Path) -> None:
    home = Home(small_disk)
    with pytest.raises(UserError, match=r"cannot be written \(No space left on device\)$"):
        render(manifest, RECIPE, RIG, home, 0.1)
    (part,) = (small_disk / "views").glob("*/*-views-*")
    whole = render(manifest, RECIPE, RIG, Home(tmp_path / "large"), 0.1)
    assert not (part / "store.json").exists()
    for shard in part.glob("*.arrow"):
        assert shard.read_bytes() == (part_path(whole.store, RIG) / shard.name).read_bytes()


def test_a_fault_in_a_worker_is_one_line(manifest: Manifest, tmp_path: Path) -> None:
    few = Manifest.build(manifest.frame.head(2), manifest.root)
    folder = part_path(render(few, RECIPE, RIG, Home(tmp_path), 0.1).store, RIG)
    (folder / "store.json").unlink()
    (folder / "shard-00000.arrow").unlink()
    (folder / "shard-00000.arrow").mkdir()
    with pytest.raises(UserError, match=r"a shard cannot be written \(Is a directory\)$"):
        render(few, RECIPE, RIG, Home(tmp_path), 0.1)


def test_files_that_are_read_in_another_way_are_drawn_anew_and_generated_faces_are_not(
    manifest: Manifest, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    render(manifest, RECIPE, RIG, home, max_rejected=0.1)
    generated = synthetic.scan(Corpus(generator=Generator(subjects=1, sequences=1))).rows
    heads = Manifest.build(generated, "")
    render(heads, RECIPE, RIG, home, max_rejected=0.0)
    assert is_rendered(manifest, RECIPE, RIG, home)
    monkeypatch.setattr("polyview.corpus.formats.limits.READING", READING + 1)
    assert not is_rendered(Manifest.build(manifest.frame, manifest.root), RECIPE, RIG, home)
    assert is_rendered(Manifest.build(generated, ""), RECIPE, RIG, home)
