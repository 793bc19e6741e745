"""What each node of a cluster can do, as the node itself reports it, and where nodes do not fit together."""

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
class NodeReport:
    """What one node of the cluster offers.

    versions: by name. opengl: the platforms that give a context. home: what is wrong with it there, or nothing.
    shared_memory: all of /dev/shm in GiB.
    """

    versions: dict[str, str]
    opengl: tuple[str, ...]
    home: str
    shared_memory: float


class NodeReporter:
    """An actor that reports on the node where it runs."""

    def report(self, home: Path, mark: Path) -> NodeReport:
        """Report on this node; `mark` is a file that the driver has left in its home."""
        return NodeReport(versions(), opengl_platforms(), home_problem(home, mark), shared_memory())

    def now(self) -> float:
        """Unix seconds by this machine's clock."""
        return time.time()


def check_nodes(home: Home) -> list[Check]:
    """Check every node of the cluster at RAY_ADDRESS, the driver's own among them: one check for each."""
    start_ray()
    nodes = [node for node in ray.nodes() if node["Alive"]]
    mark = home.root / f".doctor-{secrets.token_hex(4)}" / "mark"
    with replacing(mark):
        pass
    try:
        reporters = [_send(node["NodeID"]) for node in nodes]
        reports = [reporter.report.remote(home.root, mark) for reporter in reporters]
        return [_check(*each) for each in zip(nodes, reporters, reports, strict=True)]
    finally:
        remove(mark.parent)


def versions() -> dict[str, str]:
    """What a study's results may depend on, as it is installed here; polyview as it was sent."""
    installed = {name: metadata.version(name) for name in INSTALLED}
    return {"python": platform.python_version(), "polyview": polyview.__version__, **installed}


def home_problem(home: Path, mark: Path) -> str:
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


def problems(report: NodeReport, skew: float, here: dict[str, str]) -> Iterator[str]:
    """What keeps a machine from working with the others; `here` are the driver's versions, `skew` is in seconds."""
    for name, version in report.versions.items():
        if version != here[name]:
            yield f"{name} is {version} there and {here[name]} here: install the same"
    if report.home:
        yield report.home
    if abs(skew) > LARGEST_SKEW:
        yield f"its clock is {skew:+.1f} s from this one's: run an NTP client"
    if report.shared_memory < LEAST_SHARED_MEMORY:
        yield "Ray needs more shared memory: mount -o remount,size=70% /dev/shm"


def _send(node: str) -> ray.actor.ActorHandle:
    on_node = NodeAffinitySchedulingStrategy(node_id=node, soft=False)
    return ray.remote(NodeReporter).options(num_cpus=0, scheduling_strategy=on_node).remote()


def _check(node: dict[str, Any], reporter: ray.actor.ActorHandle, pending: ray.ObjectRef) -> Check:
    name = f"machine {node['NodeManagerAddress']}"
    try:
        report: NodeReport = ray.get(pending, timeout=SECONDS_TO_ANSWER)
        skew = _skew(reporter)
    except ray.exceptions.RayError as error:
        reason = str(error).strip().splitlines()[-1].strip()
        return Check(name, False, f"no answer: {reason}", "see that polyview runs there, and `ray status`")
    found = (
        ", ".join(f"{name} {version}" for name, version in report.versions.items()),
        f"{node['Resources'].get('GPU', 0):g} GPUs",
        f"OpenGL by {' and '.join(report.opengl) or 'none'}",
        "home out of reach" if report.home else "home shared",
        f"clock {skew:+.2f} s",
        f"{report.shared_memory:.1f} GiB /dev/shm",
    )
    wrong = list(problems(report, skew, versions()))
    return Check(name, not wrong, "; ".join(found), "; ".join(wrong))


def _skew(reporter: ray.actor.ActorHandle) -> float:
    """How far a machine's clock is ahead of this one's, in seconds, to half of what it takes to ask."""
    sent = time.time()
    theirs: float = ray.get(reporter.now.remote(), timeout=SECONDS_TO_ANSWER)
    return theirs - (sent + time.time()) / 2
