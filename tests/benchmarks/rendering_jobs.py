"""What the benchmark runs in processes of their own: `python rendering_jobs.py usual_loop|render FOLDER COUNT …`.

The last line on standard output is JSON: meshes, seconds.
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

from polyview.corpus.manifest import SCHEMA, Manifest
from polyview.corpus.mesh import Mesh
from polyview.recipe import Rendering
from polyview.rendering import opengl, pipeline
from polyview.rendering.cameras import FIELD_OF_VIEW, Camera, frame
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
    jobs: dict[str, Callable[..., dict[str, float]]] = {"usual_loop": usual_loop, "render": render}
    print(json.dumps(jobs[job](Path(folder), *map(int, numbers))))
