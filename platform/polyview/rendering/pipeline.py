"""From a manifest to a complete view store, in parallel: one Ray Data row is one shard."""

from __future__ import annotations

import fcntl
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from polyview.corpus.load import load_mesh
from polyview.corpus.manifest import Manifest
from polyview.corpus.mesh import MeshError
from polyview.errors import UserError
from polyview.paths import Home
from polyview.recipe import Rendering, digest
from polyview.rendering.cameras import Camera
from polyview.rendering.renderer import backend_of, make_renderer
from polyview.rendering.store import (
    SCHEMA_VERSION,
    ViewStore,
    finish_store,
    rows_per_shard,
    shard_path,
    write_shard,
)

REASONS_SHOWN = 3


@dataclass
class RenderSummary:
    """What a render did. cached: the store was complete already. rendered, rejected: samples in the store."""

    store: Path
    cached: bool
    rendered: int
    rejected: int
    seconds: float


@dataclass(frozen=True)
class ShardWriter:
    """What a worker needs to know, beside the samples, to make a shard."""

    folder: Path
    root: str
    rendering: Rendering
    cameras: tuple[Camera, ...]

    def __call__(self, job: dict[str, Any]) -> dict[str, Any]:
        """Make the job's shard; what a user can fix comes back as `fault`, for Ray buries exceptions in tracebacks."""
        try:
            self._write(job)
        except UserError as error:
            return {"samples": 0, "fault": str(error)}
        except OSError as error:
            return {"samples": 0, "fault": f"{self.folder}: a shard cannot be written ({error.strerror})"}
        return {"samples": len(job["sample_id"]), "fault": ""}

    def _write(self, job: dict[str, Any]) -> None:
        """Load and draw the job's samples, set aside those that cannot be read, write the shard."""
        renderer = make_renderer(self.rendering)
        views, sample_ids, rejected = [], [], []
        for sample_id, path, texture in zip(job["sample_id"], job["path"], job["texture"], strict=True):
            try:
                views.append(renderer.render(load_mesh(path, texture, self.root), self.cameras))
                sample_ids.append(sample_id)
            except MeshError as error:
                rejected.append({"sample_id": sample_id, "path": path, "reason": str(error)})
        size = self.rendering.size
        stacked = np.stack(views) if views else np.empty((0, len(self.cameras), size, size, 3), np.uint8)
        names = [camera.name for camera in self.cameras]
        write_shard(shard_path(self.folder, job["shard"]), sample_ids, names, stacked, rejected)


def render(
    manifest: Manifest,
    rendering: Rendering,
    cameras: Sequence[Camera],
    home: Home,
    max_rejected: float,
    on_progress: Callable[[int, int], None] | None = None,
) -> RenderSummary:
    """Draw every face of the manifest from every camera into a store under `home`, unless it is there already.

    A render that was cut short continues at the shard. `on_progress` is called with samples done and in all.
    Raises `UserError` if more than the share `max_rejected` of the samples cannot be read.
    """
    started = time.monotonic()
    folder = home.stores / _store_name(manifest, rendering, cameras)
    cached = _is_complete(folder)
    if not cached:
        with _alone(folder):
            cached = _is_complete(folder)  # another process may have done it meanwhile
            if not cached:
                _fill_store(folder, manifest, rendering, tuple(cameras), on_progress)
    store = ViewStore.open(folder)
    rejected = store.contents.rejected
    if rejected > max_rejected * len(manifest):
        raise UserError(_too_many_rejected(store, len(manifest), max_rejected))
    return RenderSummary(folder, cached, len(store), rejected, time.monotonic() - started)


def start_ray() -> None:
    """Start Ray quietly, unless this process already has: the cluster at RAY_ADDRESS, or one on this machine alone.

    A local Ray has no dashboard, sends no usage statistics, and leaves the terminal to polyview.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "1")
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    # Ray takes a second to import, and a command that finds its work done should not wait for it.
    import ray

    if ray.is_initialized():
        return
    address = os.environ.get("RAY_ADDRESS")
    if address:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    else:
        ray.init(address="local", include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)


def _is_complete(folder: Path) -> bool:
    return (folder / "store.json").exists()


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Wait until no other process on this machine fills this store; a process that dies lets go."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _store_name(manifest: Manifest, rendering: Rendering, cameras: Sequence[Camera]) -> str:
    return digest(
        {
            "schema": SCHEMA_VERSION,
            "fingerprint": manifest.fingerprint,
            "rendering": rendering.model_dump(mode="json", exclude={"views", "backend"}),
            "backend": backend_of(rendering),
            "cameras": [camera.name for camera in cameras],
        }
    )


def _fill_store(
    folder: Path,
    manifest: Manifest,
    rendering: Rendering,
    cameras: tuple[Camera, ...],
    on_progress: Callable[[int, int], None] | None,
) -> None:
    manifest.save(folder / "manifest.parquet")
    jobs = _shard_jobs(manifest.frame, rows_per_shard(len(cameras), rendering.size))
    missing = [job for job in jobs if not shard_path(folder, job["shard"]).is_file()]
    done = len(manifest) - sum(len(job["sample_id"]) for job in missing)
    report = on_progress or (lambda _done, _total: None)
    report(done, len(manifest))
    for samples in _run(ShardWriter(folder, manifest.root, rendering, cameras), missing):
        done += samples
        report(done, len(manifest))
    for leftover in folder.glob(".*.*"):  # of a process that was killed as it wrote
        leftover.unlink()
    finish_store(folder, manifest, rendering, [camera.name for camera in cameras], len(jobs))


def _shard_jobs(frame: pl.DataFrame, rows: int) -> list[dict[str, Any]]:
    columns = frame.select("sample_id", "path", "texture")
    return [{"shard": number, **part.to_dict(as_series=False)} for number, part in enumerate(columns.iter_slices(rows))]


def _run(writer: ShardWriter, jobs: list[dict[str, Any]]) -> Iterator[int]:
    """Samples done, shard by shard, in whatever order the workers finish; raises `UserError` at the first fault."""
    if not jobs:
        return
    start_ray()
    import ray

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    shards = ray.data.from_items(jobs, override_num_blocks=len(jobs)).map(writer, num_cpus=1)
    for row in shards.iter_rows():
        if row["fault"]:
            raise UserError(row["fault"])
        yield row["samples"]


def _too_many_rejected(store: ViewStore, total: int, allowed: float) -> str:
    reasons = [f"{path} ({reason})" for _, path, reason in store.rejected.head(REASONS_SHOWN).iter_rows()]
    more = "; …" if len(store.rejected) > REASONS_SHOWN else ""
    return (
        f"{len(store.rejected)} of {total} meshes cannot be used, more than corpus.max_rejected={allowed:g} allows: "
        f"{'; '.join(reasons)}{more}. All of them: {store.folder / 'rejected.parquet'}"
    )
