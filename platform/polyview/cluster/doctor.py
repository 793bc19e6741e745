"""What this machine can do: each check says what it found, and what to do where that is not enough."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

import psutil

from polyview.environment import PACKAGES
from polyview.errors import UserError
from polyview.parallel import temporary_folder
from polyview.storage.home import Home, check_writable
from polyview.storage.mirror import address
from polyview.trials.cpus import count_held

GIB = 2**30
OLDEST_PYTHON = (3, 11)
GL_TIMEOUT = 60.0
GL_PACKAGES = {"egl": "libegl1 libgl1 libxrender1", "osmesa": "libosmesa6 and PyOpenGL 3.1.7"}
CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")
SHARED_MEMORY = Path("/dev/shm")


@dataclass(frozen=True)
class Check:
    """One thing looked at: whether it is well, what was found, and the remedy where it is not."""

    name: str
    ok: bool
    detail: str
    remedy: str = ""


def checks(home: Home) -> list[Check]:
    """Look at everything that a study on this machine depends on; takes some seconds, and does not start Ray."""
    contexts = {name: _try_opengl(name) for name in GL_PACKAGES}
    found = [
        _python(),
        *_packages(),
        _torch(),
        _precision(),
        _rasterizer(),
        *(_opengl(name, attempt) for name, attempt in contexts.items()),
        _home(home),
        _tracking(home),
        _disk(home),
        _cpus(),
        _temporary_folder(),
        _own_folder(),
        _shared_memory(),
        _memory(),
    ]
    return [replace(check, remedy="") if check.ok else check for check in found]


def opengl_platforms() -> tuple[str, ...]:
    """The OpenGL platforms that give a context on this machine."""
    attempts = {name: _try_opengl(name) for name in GL_PACKAGES}
    return tuple(name for name, attempt in attempts.items() if _opengl(name, attempt).ok)


def _python() -> Check:
    oldest = ".".join(map(str, OLDEST_PYTHON))
    return Check("python", sys.version_info >= OLDEST_PYTHON, platform.python_version(), f"install {oldest} or newer")


def _cpus() -> Check:
    return Check("cpus", True, f"{os.cpu_count()}, of which your running trials hold {count_held()}")


def _temporary_folder() -> Check:
    folder, is_short = temporary_folder()
    remedy = "set RAY_TMPDIR to a folder with a shorter name; until then Ray's sockets lie elsewhere"
    return Check("temporary folder", is_short, folder, remedy)


def _own_folder() -> Check:
    remedy = "set HOME to a folder of your own; until then libraries keep their caches in the temporary one"
    return Check("own folder", os.access(Path.home(), os.W_OK), str(Path.home()), remedy)


def _packages() -> Iterator[Check]:
    for name in PACKAGES:
        try:
            yield Check(name, True, metadata.version(name))
        except metadata.PackageNotFoundError:
            yield Check(name, False, "not installed", f"pip install {name}")


def _torch() -> Check:
    import torch

    threads = f"{torch.get_num_threads()} threads on {os.cpu_count()} CPUs"
    if not torch.cuda.is_available():
        return Check("devices", True, f"{threads}, no GPU")
    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return Check("devices", True, f"{threads}, {', '.join(names)}")


def _precision() -> Check:
    from polyview.training.precision import bf16_slowdown, choose_precision
    from polyview.trials.scoring import default_device

    device = default_device()
    chosen = choose_precision("auto", device)
    if chosen == "bf16":
        return Check("precision", True, f"auto is bf16, which this {device.type} computes natively")
    slower = f"this {device.type} only emulates bf16, {bf16_slowdown(device):.0f} times slower"
    return Check("precision", True, f"auto is fp32: {slower}")


def _rasterizer() -> Check:
    import numpy as np

    from polyview.corpus.mesh import Mesh
    from polyview.recipe import Rendering
    from polyview.rendering.cameras import cameras
    from polyview.rendering.renderer import make_renderer

    rendering = Rendering(backend="raster")
    corners = np.array([[-80, -80, 0], [80, -80, 0], [0, 80, 0]], dtype=np.float32)
    triangle = Mesh(corners, np.array([[0, 1, 2]], dtype=np.int32))
    try:
        started = time.perf_counter()
        pictures = make_renderer(rendering).render(triangle, cameras(rendering.views))
    except Exception as error:
        return Check("raster backend", False, f"{type(error).__name__}: {error}", "reinstall numba")
    seconds = f"{time.perf_counter() - started:.1f} s to start"
    return Check("raster backend", bool(np.ptp(pictures) > 0), seconds, "it draws nothing: reinstall numba")


def _try_opengl(name: str) -> subprocess.Popen[str]:
    """Ask for a context in a process of its own: a broken driver may crash or hang."""
    code = "from polyview.rendering.opengl import context; context()"
    environment = os.environ | {"PYOPENGL_PLATFORM": name}
    return subprocess.Popen(
        [sys.executable, "-c", code], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def _opengl(name: str, attempt: subprocess.Popen[str]) -> Check:
    title, remedy = (
        f"opengl backend, {name}",
        f"install {GL_PACKAGES[name]}; not needed, the raster backend does without",
    )
    try:
        _, said = attempt.communicate(timeout=GL_TIMEOUT)
    except subprocess.TimeoutExpired:
        attempt.kill()
        attempt.communicate()
        return Check(title, False, f"no answer in {GL_TIMEOUT:.0f} s", remedy)
    if attempt.returncode == 0:
        return Check(title, True, "gives a context")
    lines = said.strip().splitlines() or [f"ended with code {attempt.returncode}"]
    return Check(title, False, lines[-1][:160], remedy)


def _tracking(home: Home) -> Check:
    from polyview.tracking.store import reachable

    try:
        trouble = reachable(home.tracking_uri)
    except UserError as error:
        trouble = str(error)
    return Check(
        "mlflow store",
        trouble is None,
        trouble or home.tracking_address,
        "start its server, or unset or mend MLFLOW_TRACKING_URI",
    )


def _home(home: Home) -> Check:
    try:
        check_writable(home.root)
    except UserError as error:
        return Check("home", False, str(error), "set POLYVIEW_HOME to one that can be written")
    return Check("home", True, address(home.root))


def _disk(home: Home, least: float = 5) -> Check:
    folder = next(place for place in (home.root.absolute(), *home.root.absolute().parents) if place.exists())
    free = shutil.disk_usage(folder).free / GIB
    return Check("disk", free >= least, f"{free:.1f} GiB free at the home", "make room, or set POLYVIEW_HOME elsewhere")


def _shared_memory(least: float = 1) -> Check:
    if not SHARED_MEMORY.is_dir():
        return Check("shared memory", True, "no /dev/shm; Ray uses files")
    free = shutil.disk_usage(SHARED_MEMORY).free / GIB
    return Check("shared memory", free >= least, f"{free:.1f} GiB free in /dev/shm", "in Docker: --shm-size=4g")


def _memory(least: float = 4) -> Check:
    """A container's limit counts where it is lower than what the machine has."""
    free = psutil.virtual_memory().available
    total = psutil.virtual_memory().total
    if CGROUP_LIMIT.exists() and (limit := CGROUP_LIMIT.read_text().strip()).isdigit():
        total = min(total, int(limit))
        free = min(free, total)
    found = f"{free / GIB:.1f} of {total / GIB:.1f} GiB available"
    return Check("memory", free >= least * GIB, found, "close other programs, or use fewer CPUs per study")
