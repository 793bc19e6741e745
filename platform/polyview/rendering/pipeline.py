"""From a manifest to a complete view store, in parallel: one Ray Data row is one shard.

A store's folder is named by the faces and by how they are drawn, but not by the cameras. What is asked for and not
there yet becomes a part of its own in it (see `store`): a part is complete or not, and never changed, so whoever
reads the others is not disturbed. A render that was cut short continues at the shard if the same cameras are asked
for; what it left is taken away once other parts have all its cameras.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from threadpoolctl import threadpool_limits

from polyview.corpus.films import FilmGuess
from polyview.corpus.formats.limits import reading_of
from polyview.corpus.load import load_mesh
from polyview.corpus.manifest import OPTIONAL, Manifest, drawing_of
from polyview.corpus.mesh import MeshError
from polyview.corpus.units import USUAL, on_units, unit_in
from polyview.errors import UserError
from polyview.parallel import in_parallel, start_ray
from polyview.recipe import Geometry, Rendering, digest
from polyview.rendering.cameras import Camera
from polyview.rendering.damage import damaged_files, reopen_part
from polyview.rendering.doubts import doubt_of, summary_of
from polyview.rendering.films import film_guesses
from polyview.rendering.renderer import backend_of, make_renderer
from polyview.rendering.shards import Shard, read_shard, rows_per_shard, shard_columns, shard_path, write_shard
from polyview.rendering.store import (
    SCHEMA_VERSION,
    Part,
    ViewStore,
    column_names,
    complete_parts,
    fetch_contents,
    finish_part,
    part_path,
)
from polyview.storage.home import Home, locked
from polyview.storage.mirror import address, fetch_once, files, remove, resolve
from polyview.wording import counted

REASONS_SHOWN = 3


@dataclass
class RenderSummary:
    """What a render did.

    cached: the store had all cameras already. rendered, rejected: samples in the store. reasons: the table that says
    why samples were rejected. doubts: what was guessed of the meshes and is suspicious about the views, a line each.
    damaged: the files of the store that were gone or cut, and were made anew.
    """

    store: Path
    cached: bool
    rendered: int
    rejected: int
    reasons: Path
    seconds: float
    doubts: list[str]
    damaged: tuple[Path, ...] = ()


@dataclass(frozen=True)
class ShardWriter:
    """What a worker needs to know, beside the samples, to make a shard.

    faces: the fingerprint of the manifest that they are of.
    """

    folder: Path
    root: str
    geometry: Geometry
    rendering: Rendering
    cameras: tuple[Camera, ...]
    faces: str = ""

    def __call__(self, job: dict[str, Any]) -> dict[str, Any]:
        """Make the job's shard; what a user can fix comes back as `error`, for Ray buries exceptions in tracebacks."""
        try:
            # Each worker has one CPU: threads of BLAS, as OMP_NUM_THREADS may ask for, would wait for one another.
            with threadpool_limits(limits=1):
                made = self._write(job)
        except UserError as error:
            return {"error": str(error)}
        except OSError as error:
            return {"error": f"{self.folder}: a shard cannot be written ({error.strerror})"}
        return {"shard": job["shard"], "made": json.dumps(made), "error": ""}

    def _write(self, job: dict[str, Any]) -> Shard:
        """Load and draw the job's samples, set aside those that cannot be read, write the shard."""
        fetch_once(resolve(self.root), self.faces)
        renderer = make_renderer(self.rendering)
        columns, size = column_names(self.cameras, self.rendering), self.rendering.size
        views = np.empty((len(columns), len(job["sample_id"]), size, size, 3), np.uint8)
        sample_ids: list[str] = []
        rejected: list[dict[str, str]] = []
        doubts: list[dict[str, str]] = []
        units, films = (job.get(name) or [None] * len(job["path"]) for name in ("unit", "film"))
        rows = zip(job["sample_id"], job["path"], job["texture"], units, films, strict=True)
        for sample_id, path, texture, unit, told in rows:
            try:
                film = FilmGuess.model_validate_json(told) if told else None
                mesh = load_mesh(path, texture, self.root, self.geometry, unit, film)
                drawn = views[:, len(sample_ids)] = renderer.render(mesh, self.cameras)
                sample_ids.append(sample_id)
                view = doubt_of(drawn[: len(self.cameras)], mesh, self.cameras, self.rendering)
                said = [*(("guess", guess) for guess in mesh.guesses), *([("view", view)] if view else [])]
                doubts += [{"sample_id": sample_id, "path": path, "kind": kind, "reason": text} for kind, text in said]
            except MeshError as error:
                rejected.append({"sample_id": sample_id, "path": path, "reason": str(error)})
        path = shard_path(self.folder, job["shard"])
        write_shard(path, sample_ids, columns, views[:, : len(sample_ids)], rejected, doubts)
        return read_shard(path)


def render(
    manifest: Manifest,
    rendering: Rendering,
    cameras: Sequence[Camera],
    home: Home,
    max_rejected: float,
    on_progress: Callable[[int, int], None] | None = None,
) -> RenderSummary:
    """Draw every face of the manifest from every camera into a store under `home`, unless it is there already.

    Only the cameras that the store lacks are rendered, and shards that are damaged; where all are there, Ray is not
    even started. A render that was cut short continues at the shard. `on_progress` is called with samples done and in
    all.
    Raises `UserError` if more than the share `max_rejected` of the samples cannot be read or have suspicious views,
    or the disk is full.
    """
    started = time.monotonic()
    folder = home.stores / _store_name(manifest, rendering)
    fetch_contents(folder)
    cached, damaged = _is_whole(folder, cameras), dict[Part, list[Path]]()
    if not cached:
        with locked(folder / ".lock"):
            fetch_contents(folder)
            damaged = _damaged(folder, cameras)  # or no more: another process may have drawn them meanwhile
            for part, files_of_it in damaged.items():
                reopen_part(part.folder, files_of_it)
                _add_part(folder, manifest, rendering, part.cameras, on_progress)
            missing = _missing(folder, cameras)
            if missing:
                _add_part(folder, manifest, rendering, missing, on_progress)
            cached = not damaged and not missing
    store = ViewStore.open(folder)
    reasons = store.parts[0].folder / "rejected.parquet"
    if len(store.rejected) > max_rejected * len(manifest):
        raise UserError(_too_many_rejected(store.rejected, len(manifest), max_rejected, reasons))
    doubts = [*_on_units(store, manifest), *summary_of(store.doubts, len(manifest))]
    suspicious = store.doubts.filter(pl.col("kind") == "view")["sample_id"].n_unique()
    if suspicious > max_rejected * len(manifest):
        raise UserError(
            f"{doubts[-1]}. That is more than corpus.max_rejected={max_rejected:g} allows; look at them with "
            f"polyview sheet {address(folder)}"
        )
    seconds = time.monotonic() - started
    mended = tuple(path for found in damaged.values() for path in found)
    return RenderSummary(folder, cached, len(store), len(store.rejected), reasons, seconds, doubts, mended)


def _on_units(store: ViewStore, manifest: Manifest) -> list[str]:
    """Says so where the faces are not all taken to be in one unit, of those that nobody told it of."""
    if manifest.geometry.unit != "auto":
        return []
    told = manifest.frame["unit"] if "unit" in manifest.frame.columns else pl.Series([None] * len(manifest))
    guessed = manifest.frame.filter(told.is_null(), pl.col("sample_id").is_in(store.sample_ids))["path"]
    guesses = store.doubts.filter(pl.col("kind") == "guess").select("path", "reason")
    units = {path: unit for path, reason in guesses.iter_rows() if (unit := unit_in(reason))}
    return on_units({path: units.get(path, USUAL) for path in guessed})


def is_rendered(manifest: Manifest, rendering: Rendering, cameras: Sequence[Camera], home: Home) -> bool:
    """Whether `render` would find all of it there already."""
    folder = home.stores / _store_name(manifest, rendering)
    fetch_contents(folder)
    return _is_whole(folder, cameras)


def _is_whole(folder: Path, cameras: Sequence[Camera]) -> bool:
    return not _missing(folder, cameras) and not _damaged(folder, cameras)


def _damaged(folder: Path, cameras: Sequence[Camera]) -> dict[Part, list[Path]]:
    """The complete parts with any of the cameras of which files are gone or cut, and these files."""
    parts = [part for part in map(Part.open, complete_parts(folder)) if set(part.cameras) & set(cameras)]
    return {part: damaged for part in parts if (damaged := damaged_files(part))}


def _missing(folder: Path, cameras: Sequence[Camera]) -> tuple[Camera, ...]:
    """The cameras that no complete part of the store has."""
    there = {camera for part in complete_parts(folder) for camera in Part.open(part).cameras}
    return tuple(sorted(set(cameras) - there))


def _store_name(manifest: Manifest, rendering: Rendering) -> str:
    # Today's, which are not those of a manifest kept from earlier.
    reading = reading_of(manifest.frame["path"])
    drawing = drawing_of(manifest.frame, manifest.root, manifest.geometry)
    return digest(
        {
            "schema": SCHEMA_VERSION,
            "drawing": drawing,
            "fingerprint": manifest.fingerprint,
            "rendering": rendering.model_dump(mode="json", exclude={"views", "backend"}),
            "backend": backend_of(rendering),
        }
        | ({"reading": reading} if reading else {})
    )


def _add_part(
    store: Path,
    manifest: Manifest,
    rendering: Rendering,
    cameras: tuple[Camera, ...],
    on_progress: Callable[[int, int], None] | None,
) -> None:
    """Draw some cameras of all faces; raises `UserError` where the faces are not those of the store's other parts."""
    folder, others = part_path(store, cameras), [Part.open(part) for part in complete_parts(store)]
    try:
        manifest.save(folder / "manifest.parquet")
        shards, known = _fill_part(folder, manifest, rendering, cameras, on_progress)
        finish_part(folder, manifest, rendering, cameras, shards, known)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror})") from None
    if others and Part.open(folder).sample_ids() != others[0].sample_ids():
        remove(folder)
        raise UserError(
            f"{address(store)}: not the same meshes can be read as when its first views were rendered; "
            "see that the dataset is whole, or delete the folder and render anew"
        )
    _remove_overtaken(store)


def _fill_part(
    folder: Path,
    manifest: Manifest,
    rendering: Rendering,
    cameras: tuple[Camera, ...],
    on_progress: Callable[[int, int], None] | None,
) -> tuple[int, dict[int, Shard]]:
    """Write the shards that are not there yet; returns how many the part has, and what those written are."""
    jobs = _shard_jobs(manifest.frame, rows_per_shard(len(column_names(cameras, rendering)), rendering.size))
    there = set(files(folder, "shard-*.arrow"))
    missing = [job for job in jobs if shard_path(folder, job["shard"]) not in there]
    done = len(manifest) - sum(len(job["sample_id"]) for job in missing)
    made: dict[int, Shard] = {}
    report = on_progress or (lambda _done, _total: None)
    report(done, len(manifest))
    missing = _with_films(missing, manifest)
    writer = ShardWriter(folder, manifest.root, manifest.geometry, rendering, cameras, manifest.fingerprint)
    for number, shard in _run(writer, missing):
        made[number] = shard
        done += shard.rows + len(shard.rejected)
        report(done, len(manifest))
    for leftover in folder.glob(".*.*"):  # of a process that was killed as it wrote
        leftover.unlink()
    return len(jobs), made


def _remove_overtaken(store: Path) -> None:
    """Take away parts that were never finished and that nobody will ask for: other parts have all their columns."""
    complete = complete_parts(store)
    contents = [Part.open(part) for part in complete]
    there = {name for part in contents for name in column_names(part.cameras, part.contents.rendering)}
    for part in set(store.glob("*-views-*")) - set(complete):
        begun = next(part.glob("shard-*.arrow"), None)
        if begun is None or shard_columns(begun) <= there:
            remove(part)


def _shard_jobs(frame: pl.DataFrame, rows: int) -> list[dict[str, Any]]:
    columns = frame.select("sample_id", "path", "texture", *(name for name in OPTIONAL if name in frame.columns))
    return [{"shard": number, **part.to_dict(as_series=False)} for number, part in enumerate(columns.iter_slices(rows))]


def _with_films(jobs: list[dict[str, Any]], manifest: Manifest) -> list[dict[str, Any]]:
    """The jobs with what is guessed of the film of each of their samples."""
    guesses = film_guesses(manifest, [sample_id for job in jobs for sample_id in job["sample_id"]])
    return [job | {"film": [guesses.get(sample_id) for sample_id in job["sample_id"]]} for job in jobs]


def _run(writer: ShardWriter, jobs: list[dict[str, Any]]) -> Iterator[tuple[int, Shard]]:
    """The shards by their numbers, in whatever order the workers finish; raises `UserError` at the first error."""
    if not jobs:
        return
    start_ray()
    import ray

    # Ray lets a worker see a GPU only where it is asked for one; a tenth, since a context needs little of it.
    on_gpu = backend_of(writer.rendering) == "opengl" and ray.cluster_resources().get("GPU", 0) > 0
    for row in in_parallel(writer, jobs, num_cpus=1, num_gpus=0.1 if on_gpu else None):
        yield row["shard"], Shard(*json.loads(row["made"]))


def _too_many_rejected(rejected: pl.DataFrame, total: int, allowed: float, table: Path) -> str:
    reasons = [f"{path} ({reason})" for _, path, reason in rejected.head(REASONS_SHOWN).iter_rows()]
    more = "; …" if len(rejected) > REASONS_SHOWN else ""
    return (
        f"{len(rejected)} of {counted(total, 'mesh', 'meshes')} cannot be used, more than corpus.max_rejected="
        f"{allowed:g} allows: {'; '.join(reasons)}{more}. All of them: {address(table)}"
    )
