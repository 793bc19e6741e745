"""What the machines of a cluster can do, seen from each of them, and what of it does not go together."""

from __future__ import annotations

import platform
import secrets
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

import polyview
from polyview.cluster.doctor import GIB, SHARED_MEMORY, Check, opengl_platforms
from polyview.errors import UserError
from polyview.parallel import start_ray
from polyview.storage.home import Home, check_writable, replacing
from polyview.storage.mirror import address, refresh, remove

SECONDS_TO_ANSWER = 180.0
LARGEST_SKEW = 1.0
LEAST_SHARED_MEMORY = 1.0
INSTALLED = ("ray", "torch")


@dataclass(frozen=True)
class Sight:
    """What one machine sees.

    versions: by name. opengl: the platforms that give a context. home: what is wrong with it from there, or nothing.
    shared_memory: all of /dev/shm in GiB.
    """

    versions: dict[str, str]
    opengl: tuple[str, ...]
    home: str
    shared_memory: float


class Scout:
    """Looks around on the machine that it is on."""

    def look(self, home: Path, mark: Path) -> Sight:
        """See what is there; `mark` is a file that the driver has left in its home."""
        return Sight(versions(), opengl_platforms(), home_fault(home, mark), shared_memory())

    def now(self) -> float:
        """Unix seconds by this machine's clock."""
        return time.time()


def survey(home: Home) -> list[Check]:
    """Look at every machine of the cluster at RAY_ADDRESS, the driver's own among them: one check for each."""
    start_ray()
    nodes = [node for node in ray.nodes() if node["Alive"]]
    mark = home.root / f".doctor-{secrets.token_hex(4)}" / "mark"
    with replacing(mark):
        pass
    try:
        scouts = [_send(node["NodeID"]) for node in nodes]
        sights = [scout.look.remote(home.root, mark) for scout in scouts]
        return [_check(*each) for each in zip(nodes, scouts, sights, strict=True)]
    finally:
        remove(mark.parent)


def versions() -> dict[str, str]:
    """What a study's results may depend on, as it is installed here; polyview as it was sent."""
    installed = {name: metadata.version(name) for name in INSTALLED}
    return {"python": platform.python_version(), "polyview": polyview.__version__, **installed}


def home_fault(home: Path, mark: Path) -> str:
    """What is wrong with the home as it is seen here, or nothing."""
    try:
        refresh([mark])
        if not mark.exists():
            return f"{address(home)} is another folder there than here: mount one on all machines"
        check_writable(home)
    except UserError as error:
        return f"there: {error}"
    return ""


def shared_memory() -> float:
    """All of /dev/shm in GiB, 0 where there is none."""
    return shutil.disk_usage(SHARED_MEMORY).total / GIB if SHARED_MEMORY.is_dir() else 0.0


def faults(sight: Sight, skew: float, here: dict[str, str]) -> Iterator[str]:
    """What keeps a machine from working with the others; `here` are the driver's versions, `skew` is in seconds."""
    for name, version in sight.versions.items():
        if version != here[name]:
            yield f"{name} is {version} there and {here[name]} here: install the same"
    if sight.home:
        yield sight.home
    if abs(skew) > LARGEST_SKEW:
        yield f"its clock is {skew:+.1f} s from this one's: run an NTP client"
    if sight.shared_memory < LEAST_SHARED_MEMORY:
        yield "Ray needs more shared memory: mount -o remount,size=70% /dev/shm"


def _send(node: str) -> ray.actor.ActorHandle:
    there = NodeAffinitySchedulingStrategy(node_id=node, soft=False)
    return ray.remote(Scout).options(num_cpus=0, scheduling_strategy=there).remote()


def _check(node: dict[str, Any], scout: ray.actor.ActorHandle, sight: ray.ObjectRef) -> Check:
    name = f"machine {node['NodeManagerAddress']}"
    try:
        seen: Sight = ray.get(sight, timeout=SECONDS_TO_ANSWER)
        skew = _skew(scout)
    except ray.exceptions.RayError as error:
        reason = str(error).strip().splitlines()[-1].strip()
        return Check(name, False, f"no answer: {reason}", "see that polyview runs there, and `ray status`")
    found = (
        ", ".join(f"{name} {version}" for name, version in seen.versions.items()),
        f"{node['Resources'].get('GPU', 0):g} GPUs",
        f"OpenGL by {' and '.join(seen.opengl) or 'none'}",
        "home out of reach" if seen.home else "home shared",
        f"clock {skew:+.2f} s",
        f"{seen.shared_memory:.1f} GiB /dev/shm",
    )
    wrong = list(faults(seen, skew, versions()))
    return Check(name, not wrong, "; ".join(found), "; ".join(wrong))


def _skew(scout: ray.actor.ActorHandle) -> float:
    """How far a machine's clock is ahead of this one's, in seconds, to half of what it takes to ask."""
    asked = time.time()
    theirs: float = ray.get(scout.now.remote(), timeout=SECONDS_TO_ANSWER)
    return theirs - (asked + time.time()) / 2
