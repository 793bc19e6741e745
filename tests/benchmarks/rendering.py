"""How fast meshes become views.

    python tests/benchmarks/rendering.py [--quick] [--facekit FOLDER] [--json rendering.json]
        [--only files] [--before CHECKOUT]

All rows of a table are measured in one run, taking turns, and the best of the turns counts: only their ratios mean
anything on a machine that others use too. CPU time is that of all threads, so a driver that draws on many cores
pays for them.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import psutil
import trimesh
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.table import Table

from polyview.corpus.load import load_mesh
from polyview.corpus.mesh import Mesh
from polyview.corpus.scan import scan
from polyview.recipe import Corpus, Generator, Rendering
from polyview.rendering import opengl
from polyview.rendering.cameras import FIELD_OF_VIEW, Camera, frame
from polyview.rendering.renderer import make_renderer

SIZE = 224
FACEKIT_FACE = 9409
"""FaceKit's first vertices are the face and head: 18,461 triangles, without eyes, teeth and the like."""
JOBS = Path(__file__).with_name("rendering_jobs.py")
TITLES = {
    "drawing": "Drawing, 224 px",
    "reading": "Reading mesh files alone, and to 3 views, 224 px, one core",
    "files": "Mesh file to shard, 3 views, 224 px",
    "memory": "Peak memory of polyview render, 2 workers, 3 views, 64 px",
}
Draw = Callable[[Sequence[Camera]], Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer turns, fewer meshes: to see that it runs")
    parser.add_argument("--facekit", default=os.environ.get("POLYVIEW_FACEKIT"), help="ICT-FaceKit's folder")
    parser.add_argument("--json", type=Path, default=Path("rendering.json"), help="where the numbers go")
    parser.add_argument("--before", type=Path, help="a checkout of another version, whose times stand beside")
    parser.add_argument("--only", choices=TITLES, nargs="+", default=list(TITLES), help="which tables")
    options = parser.parse_args()
    console, face = Console(width=120), _face(options.facekit)
    meshes = {"face": face, "scan": _scan_like()}
    measures = {
        "drawing": lambda: _drawings(meshes, turns=2 if options.quick else 6),
        "reading": lambda: _reading(
            {"face": face, "scan": _scan_like()}, options.before, turns=1 if options.quick else 4
        ),
        "files": lambda: _files(face, quick=options.quick),
        "memory": lambda: _memory(face, counts=(50, 200) if options.quick else (200, 2000)),
    }
    found = {}
    for name in options.only:
        found[name] = measures[name]()
        _show(console, TITLES[name], found[name])
        options.json.write_text(json.dumps(found, indent=2) + "\n")
    console.print(f"wrote {options.json}")


def _drawings(meshes: dict[str, Mesh], turns: int) -> list[dict[str, Any]]:
    counts = {"face": (1, 3, 8), "scan": (3,)}
    return [
        row for name, mesh in meshes.items() for views in counts[name] for row in _drawing(name, mesh, views, turns)
    ]


def _drawing(name: str, mesh: Mesh, views: int, turns: int) -> list[dict[str, Any]]:
    """Milliseconds per view of every way to draw one mesh, and how many times naive pyrender that is."""
    cameras = [Camera(float(yaw), 0.0) for yaw in (np.linspace(-30, 30, views) if views > 1 else [0.0])]
    ways = _ways(mesh)
    best = {way: [float("inf")] * 2 for way in ways}
    for draw in ways.values():
        draw(cameras)
    for _ in range(turns):
        for way, draw in ways.items():
            best[way] = [min(pair) for pair in zip(best[way], _timed(draw, cameras), strict=True)]
    rows = []
    for way, (cpu, wall) in best.items():
        naive = best.get("naive pyrender, texture" if "texture" in way else "naive pyrender, color", [np.nan] * 2)
        rows.append(
            {
                "mesh": f"{name}, {len(mesh.faces):,} triangles",
                "views": views,
                "way": way,
                "cpu ms/view": 1e3 * cpu / views,
                "wall ms/view": 1e3 * wall / views,
                "x naive, cpu": naive[0] / cpu,
                "x naive, wall": naive[1] / wall,
            }
        )
    return rows


def _timed(draw: Draw, cameras: Sequence[Camera]) -> list[float]:
    repeats = 0
    cpu, wall = time.process_time(), time.perf_counter()
    while repeats == 0 or time.perf_counter() - wall < 0.1:
        draw(cameras)
        repeats += 1
    return [(time.process_time() - cpu) / repeats, (time.perf_counter() - wall) / repeats]


def _ways(mesh: Mesh) -> dict[str, Draw]:
    """Each way draws the mesh from the cameras; ours include all that a new mesh costs."""
    colored, textured = Mesh(mesh.vertices, mesh.faces, mesh.colors, nose=mesh.nose), mesh
    plain = Mesh(mesh.vertices, mesh.faces, uv=mesh.uv, texture=mesh.texture, nose=mesh.nose)
    ways: dict[str, Draw] = {}
    if opengl.platform():
        opengl.context()  # sets PyOpenGL's platform, which pyrender needs before its import
        for kind in ("color", "texture"):
            ways[f"naive pyrender, {kind}"] = _naive(mesh, kind)
        ways["pyrender reused, color"] = _reused(mesh)
        for shading, drawn in (("shaded", colored), ("texture", textured)):
            ways[f"polyview opengl, {shading}"] = _ours(drawn, shading=shading, backend="opengl")
    for shading in ("shaded", "color", "texture", "normal", "depth"):
        ways[f"polyview raster, {shading}"] = _ours(textured if shading == "texture" else colored, shading=shading)
    ways["polyview raster, shaded texture"] = _ours(plain, shading="shaded")
    ways["polyview raster, shaded 2x2"] = _ours(colored, supersampling=2)
    ways["polyview raster, shaded+normal+depth"] = _ours(colored, outputs=("normal", "depth"))
    return ways


def _ours(mesh: Mesh, **settings: object) -> Draw:
    renderer = make_renderer(Rendering.model_validate({"size": SIZE, "backend": "raster", **settings}))
    return lambda cameras: renderer.render(mesh, cameras)


def _naive(mesh: Mesh, kind: str) -> Draw:
    """A scene per view, lit, as pyrender's examples have it; at least the renderer is kept."""
    import pyrender

    offscreen, surface = _offscreen(), _as_trimesh(mesh, kind)

    def draw(cameras: Sequence[Camera]) -> None:
        for camera in cameras:
            scene = pyrender.Scene()
            scene.add(pyrender.Mesh.from_trimesh(surface))
            offscreen.render(_seen_from(scene, mesh, camera))

    return draw


def _reused(mesh: Mesh) -> Draw:
    """One scene, in which only the camera and its light move."""
    import pyrender

    offscreen, scene = _offscreen(), pyrender.Scene()
    scene.add(pyrender.Mesh.from_trimesh(_as_trimesh(mesh, "color")))

    def draw(cameras: Sequence[Camera]) -> None:
        for camera in cameras:
            offscreen.render(_seen_from(scene, mesh, camera))
            for node in [*scene.camera_nodes, *scene.light_nodes]:
                scene.remove_node(node)

    return draw


@functools.cache
def _offscreen() -> Any:
    """One for the whole run: the end of any would end the display of all."""
    import pyrender

    return pyrender.OffscreenRenderer(SIZE, SIZE)


def _seen_from(scene: Any, mesh: Mesh, camera: Camera) -> Any:
    import pyrender

    pose = np.linalg.inv(frame(mesh, "face", 95.0).view(camera))
    scene.add(pyrender.PerspectiveCamera(np.radians(FIELD_OF_VIEW)), pose=pose)
    scene.add(pyrender.DirectionalLight(intensity=3.0), pose=pose)
    return scene


def _as_trimesh(mesh: Mesh, kind: str) -> Any:
    if kind == "color":
        return trimesh.Trimesh(mesh.vertices, mesh.faces, vertex_colors=mesh.colors, process=False)
    image = Image.fromarray(mesh.texture if mesh.texture is not None else np.zeros((2, 2, 3), np.uint8))
    visual = trimesh.visual.TextureVisuals(uv=mesh.uv, image=image)
    return trimesh.Trimesh(mesh.vertices, mesh.faces, visual=visual, process=False)


def _face(facekit: str | None) -> Mesh:
    """FaceKit's face, or a synthetic head where it is not here; with colours, and a texture too."""
    few = Generator(subjects=2, sequences=1)
    corpus = Corpus(dataset="facekit", root=facekit, generator=few) if facekit else Corpus(generator=few)
    manifest = scan(corpus).manifest
    mesh = load_mesh(manifest.frame["path"][0], None, manifest.root)
    if facekit:
        faces = mesh.faces[(mesh.faces < FACEKIT_FACE).all(axis=1)]
        colors = None if mesh.colors is None else mesh.colors[:FACEKIT_FACE]
        mesh = Mesh(mesh.vertices[:FACEKIT_FACE].copy(), faces.copy(), colors, nose=mesh.nose)
    return _with_texture(mesh)


def _scan_like() -> Mesh:
    """A rough face-sized shell as a scanner leaves it, 70,688 triangles with noise."""
    rng = np.random.default_rng(1)
    across, up = np.meshgrid(np.linspace(-1.5, 1.5, 189), np.linspace(-1.3, 1.3, 189))
    radius = 90 + 4 * np.sin(5 * across) * np.cos(4 * up) + rng.normal(0, 0.2, across.shape)
    radius += 22 * np.exp(-((across / 0.2) ** 2) - (up / 0.3) ** 2)
    vertices = np.stack([radius * np.sin(across), 80 * up, radius * np.cos(across)], -1).reshape(-1, 3)
    index = np.arange(across.size).reshape(across.shape)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]
    faces = np.concatenate([np.stack(corners, -1).reshape(-1, 3) for corners in ((a, b, c), (a, c, d))])
    colors = (128 + 90 * np.sin(vertices / 20 + [0, 1, 2])).astype(np.uint8)
    return _with_texture(Mesh(vertices.astype(np.float32), faces.astype(np.int32), colors, nose=vertices[17860]))


def _with_texture(mesh: Mesh) -> Mesh:
    low = mesh.vertices.min(axis=0)
    uv = ((mesh.vertices - low) / np.ptp(mesh.vertices, axis=0))[:, :2].astype(np.float32)
    texture: NDArray[np.uint8] = np.random.default_rng(0).integers(0, 255, (1024, 1024, 3), np.uint8)
    return Mesh(mesh.vertices, mesh.faces, mesh.colors, uv, texture, mesh.nose)


def _reading(meshes: dict[str, Mesh], before: Path | None, turns: int) -> list[dict[str, Any]]:
    """MB/s of reading each file to a mesh, and milliseconds to three views, each way in a process, taking turns."""
    platforms = {"polyview": JOBS.parents[2] / "platform"} | ({"before": before / "platform"} if before else {})
    with tempfile.TemporaryDirectory() as folder:
        for name, mesh in meshes.items():
            for suffix in ("obj", "ply", "wrl"):
                _write_face(mesh, Path(folder, f"{name}.{suffix}"))
        sizes = {file.name: file.stat().st_size / 1e6 for file in sorted(Path(folder).iterdir())}
        best: dict[tuple[str, str], float] = {}
        for _ in range(turns):
            for way, job, platform in (
                *((way, "reading", path) for way, path in platforms.items()),
                *((f"{way}, 3 views", "viewing", path) for way, path in platforms.items()),
                ("trimesh, or line by line", "usual_reading", platforms["polyview"]),
            ):
                seconds = _job(job, folder, platform=platform)
                for file in sizes:
                    best[file, way] = min(best.get((file, way), np.inf), seconds[file])
    return [
        {
            "file": file,
            "MB": sizes[file],
            "way": way,
            "cpu ms": 1e3 * seconds,
            "MB/s": sizes[file] / seconds,
            "x trimesh": best[file, "trimesh, or line by line"] / seconds,
        }
        for (file, way), seconds in sorted(best.items())
    ]


def _files(mesh: Mesh, quick: bool) -> list[dict[str, Any]]:
    """Meshes per second from file to shard, each way in a process of its own, start-up apart."""
    rows = []
    for suffix in ("obj", "ply", "wrl"):
        with tempfile.TemporaryDirectory() as folder:
            if not _write_faces(mesh, suffix, Path(folder)):
                continue
            runs = {
                "usual loop": _job("usual_loop", folder, 6 if quick else 16),
                "polyview render, 1 worker": _job("render", folder, 64 if quick else 384, 1, SIZE),
                "polyview render, 2 workers": _job("render", folder, 64 if quick else 768, 2, SIZE),
            }
        usual, alone = (
            runs[way]["meshes"] / runs[way]["seconds"] for way in ("usual loop", "polyview render, 1 worker")
        )
        for way, run in runs.items():
            rate = run["meshes"] / run["seconds"]
            rows.append(
                {
                    "format": suffix,
                    "way": way,
                    **run,
                    "meshes/s": rate,
                    "x usual": rate / usual,
                    "x 1 worker": rate / alone,
                }
            )
    return rows


def _memory(mesh: Mesh, counts: Sequence[int]) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        _write_faces(mesh, "ply", Path(folder))
        runs = [_job("render", folder, count, 2, 64) for count in counts]
    return [{**run, "x the fewest": run["peak MiB"] / runs[0]["peak MiB"]} for run in runs]


def _write_faces(mesh: Mesh, suffix: str, folder: Path) -> bool:
    """Eight files that differ; whether polyview can read them."""
    for number in range(8):
        vertices = mesh.vertices * np.float32(1 + 0.01 * number)
        _write_face(Mesh(vertices, mesh.faces), folder / f"{number}.{suffix}")
    try:
        load_mesh(f"0.{suffix}", None, str(folder))
    except ValueError:
        return False
    return True


def _write_face(mesh: Mesh, path: Path) -> None:
    if path.suffix == ".wrl":
        _write_vrml(mesh.vertices, mesh.faces, path)
    elif path.suffix == ".obj" and mesh.uv is not None:
        _write_textured(mesh, mesh.uv, path)
    else:
        surface = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)
        surface.export(path, **({"encoding": "ascii"} if path.suffix == ".ply" else {}))


def _write_textured(mesh: Mesh, uv: NDArray[np.float32], path: Path) -> None:
    """As scanners write it: texture coordinates, and corners such as 7/7."""
    lines = [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in mesh.vertices.tolist()]
    lines += [f"vt {across:.6f} {up:.6f}" for across, up in uv.tolist()]
    lines += [f"f {a}/{a} {b}/{b} {c}/{c}" for a, b, c in (mesh.faces + 1).tolist()]
    path.write_text("\n".join(lines) + "\n")


def _write_vrml(vertices: NDArray[np.float32], faces: NDArray[np.int32], path: Path) -> None:
    points = ",\n".join(" ".join(f"{value:.6f}" for value in point) for point in vertices)
    corners = ",\n".join(f"{a}, {b}, {c}, -1" for a, b, c in faces)
    path.write_text(
        "#VRML V2.0 utf8\nShape {\n geometry IndexedFaceSet {\n"
        f"  coord Coordinate {{ point [\n{points}\n] }}\n  coordIndex [\n{corners}\n]\n }}\n}}\n"
    )


def _job(name: str, *arguments: object, platform: Path | None = None) -> dict[str, Any]:
    """Run one of `rendering_jobs.py` in a process of its own; adds the peak memory of it and its children.

    platform: the folder that polyview is imported from, where it is not this one's.
    """
    command = [sys.executable, str(JOBS), name, *map(str, arguments)]
    environment = os.environ | ({"PYTHONPATH": str(platform)} if platform else {})
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        peak = 0.0
        while process.poll() is None:
            peak = max(peak, _memory_of(process.pid))
            time.sleep(0.25)
        assert process.stdout is not None
        said = process.stdout.read().splitlines()
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed with {process.returncode}")
    return {**json.loads(said[-1]), "peak MiB": peak / 2**20}


def _memory_of(pid: int) -> float:
    """Bytes of a process and all it started; pages that several share are counted once between them."""
    total = 0.0
    try:
        for process in [(root := psutil.Process(pid)), *root.children(recursive=True)]:
            total += process.memory_full_info().pss
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        pass
    return total


def _show(console: Console, title: str, rows: list[dict[str, Any]]) -> None:
    table = Table(*rows[0], title=title) if rows else Table(title=title)
    for row in rows:
        table.add_row(*(f"{value:.2f}" if isinstance(value, float) else str(value) for value in row.values()))
    console.print(table)


if __name__ == "__main__":
    main()
