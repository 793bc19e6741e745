"""What the benchmark runs in processes of their own: `python rendering_jobs.py JOB FOLDER [COUNT …]`.

The last line on standard output is JSON: meshes, seconds; or of each file in the folder the seconds of CPU time.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import trimesh
from PIL import Image

from polyview.corpus.load import load_mesh
from polyview.corpus.manifest import SCHEMA, Manifest
from polyview.corpus.mesh import Mesh
from polyview.recipe import Geometry, Rendering
from polyview.rendering import opengl, pipeline
from polyview.rendering.cameras import FIELD_OF_VIEW, Camera, frame
from polyview.rendering.renderer import make_renderer
from polyview.storage.home import Home

RIG = (Camera(-30.0, 0.0), Camera(0.0, 0.0), Camera(30.0, 0.0))
SIZE = 224


def usual_loop(folder: Path, count: int) -> dict[str, float]:
    """Load, draw each view in a scene of its own with pyrender, write PNG files."""
    opengl.context()  # sets PyOpenGL's platform, which pyrender needs before its import
    import pyrender

    offscreen, files = pyrender.OffscreenRenderer(SIZE, SIZE), sorted(folder.iterdir())
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as out:
        for number in range(count):
            surface = _load(files[number % len(files)])
            face = Mesh(np.asarray(surface.vertices, np.float32), np.asarray(surface.faces, np.int32))
            for camera in RIG:
                scene = pyrender.Scene()
                scene.add(pyrender.Mesh.from_trimesh(surface))
                pose = np.linalg.inv(frame(face, "face", 95.0).view(camera))
                scene.add(pyrender.PerspectiveCamera(np.radians(FIELD_OF_VIEW)), pose=pose)
                scene.add(pyrender.DirectionalLight(intensity=3.0), pose=pose)
                picture, _ = offscreen.render(scene)
                Image.fromarray(picture).save(Path(out, f"{number}_{camera.name}.png"))
    return {"meshes": count, "start-up s": 0.0, "seconds": time.perf_counter() - started}


def _load(path: Path) -> trimesh.Trimesh:
    """With trimesh; .wrl, which it does not read, line by line, as scripts for BU-3DFE do."""
    if path.suffix != ".wrl":
        return trimesh.load(path, force="mesh")
    points, faces = [], []
    with path.open() as lines:
        for line in lines:
            numbers = line.replace(",", " ").split()
            if len(numbers) == 3 and numbers[0][-1].isdigit():
                points.append([float(number) for number in numbers])
            elif len(numbers) == 4 and numbers[3] == "-1":
                faces.append([int(number) for number in numbers[:3]])
    return trimesh.Trimesh(points, faces, process=False)


def render(folder: Path, count: int, workers: int, size: int) -> dict[str, float]:
    """`polyview render` of as many rows; the first few meshes are drawn before the clock starts."""
    import ray

    begun = time.perf_counter()
    # A little object store, so that what it reserves does not hide what rendering needs.
    ray.init(address="local", num_cpus=workers, include_dashboard=False, object_store_memory=100 << 20)
    with tempfile.TemporaryDirectory() as out:
        home, recipe = Home(Path(out)), Rendering(size=size, albedo="grey")
        pipeline.render(_manifest(folder, 64 * 2 * workers), recipe, RIG[:1], home, 0.0)
        started = time.perf_counter()
        pipeline.render(_manifest(folder, count), recipe, RIG, home, 0.0)
        seconds = time.perf_counter() - started
    ray.shutdown()
    return {"meshes": count, "start-up s": started - begun, "seconds": seconds}


def reading(folder: Path) -> dict[str, float]:
    """Each file to a mesh."""
    from polyview.corpus.formats.reader import read_mesh

    return _fastest(folder, lambda file: read_mesh(file.name, None, str(folder)))


def usual_reading(folder: Path) -> dict[str, float]:
    """Each file to a mesh, with trimesh or as scripts read it."""
    return _fastest(folder, _load)


def viewing(folder: Path) -> dict[str, float]:
    """Each file to three views, with what polyview does for the meshes of a folder by default."""
    try:
        geometry = Geometry(unit="auto", axes="auto")
    except ValueError:  # a version that does not guess
        geometry = Geometry()
    renderer = make_renderer(Rendering(size=SIZE))

    def draw(file: Path) -> None:
        renderer.render(load_mesh(file.name, None, str(folder), geometry), RIG)

    return _fastest(folder, draw)


def _fastest(folder: Path, work: Callable[[Path], object]) -> dict[str, float]:
    """Seconds of CPU time of the fastest of many runs on each file, the first of which is not counted."""
    seconds = {}
    for file in sorted(folder.iterdir()):
        work(file)
        best, started = float("inf"), time.perf_counter()
        while time.perf_counter() - started < 0.7:
            begun = time.process_time()
            work(file)
            best = min(best, time.process_time() - begun)
        seconds[file.name] = best
    return seconds


def _manifest(folder: Path, count: int) -> Manifest:
    files = sorted(path.name for path in folder.iterdir())
    rows = pl.DataFrame(
        {
            "sample_id": [f"face{number:05d}" for number in range(count)],
            "path": [files[number % len(files)] for number in range(count)],
        }
    )
    blank = {"intensity": 1.0, "frame": 0, "texture": None}
    return Manifest.build(
        rows.with_columns(pl.lit(blank.get(c, "x")).alias(c) for c in SCHEMA if c not in rows), str(folder)
    )


if __name__ == "__main__":
    job, folder, *numbers = sys.argv[1:]
    known = (usual_loop, render, reading, usual_reading, viewing)
    jobs: dict[str, Callable[..., dict[str, float]]] = {function.__name__: function for function in known}
    print(json.dumps(jobs[job](Path(folder), *map(int, numbers))))
