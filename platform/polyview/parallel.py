"""Ray's start, and one way to do many things at once."""

from __future__ import annotations

import atexit
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import chdir, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from polyview.errors import UserError

PACKAGE = Path(__file__).resolve().parent
SECONDS_TO_ANSWER = 10.0
LONGEST_TEMPORARY = 37
"""Letters of the temporary folder that leave Ray room for its sockets, whose paths have 107 at most."""
NO_CLUSTER = "no cluster is there; unset RAY_ADDRESS to run on this machine, or start the cluster again"
SECONDS_TO_LET_IN = 25.0
"""A busy machine takes ten to connect."""
_KNOCK = "import ray, sys; ray.init(address=sys.argv[1], log_to_driver=False, logging_level='ERROR')"
_REFUSED = re.compile(r"Unauthenticated|InvalidAuthToken|Permission denied")
STARTS = 4
LATE = "timed out during startup"

_GUARD = """
import sys, psutil
ended = sys.stdin.read()
for agent in sys.argv[1:]:
    number, created = agent.split(":")
    try:
        process = psutil.Process(int(number))
        if process.create_time() == float(created):
            process.kill()
    except psutil.Error:
        pass
if not ended:
    told = "was ended from outside, or Ray's node was (is there too little memory?); run the same command again, "
    print(f"polyview: this run {told}which goes on where it stood", file=sys.stderr)
"""


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
    # Ray puts the folder that it starts in before all packages, for workers: a user's own timm.py there would be timm.
    with chdir(PACKAGE.parent), _own_sigterm():
        if address:
            check_address(address)
            _check_entrance(address)
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        else:
            _start_here()
            _end_agents_with_this_process()


def check_address(address: str) -> None:
    """Raises `UserError`, soon and in one line, where no head can answer at what RAY_ADDRESS says."""
    if address.startswith(("http://", "https://")):
        raise UserError(
            f"RAY_ADDRESS={address} is a dashboard, to which jobs are sent: `polyview submit` does that, and reads "
            "RAY_API_SERVER_ADDRESS; unset RAY_ADDRESS"
        )
    host, _, port = address.rpartition(":")
    if host and port.isdigit():
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=SECONDS_TO_ANSWER).close()
        except (OSError, OverflowError) as error:
            raise UserError(f"RAY_ADDRESS={address} does not answer ({error}): {NO_CLUSTER}") from None


def _check_entrance(address: str) -> None:
    """Raises `UserError`, soon and in one line, where Ray at RAY_ADDRESS is not there or does not let this user in.

    A process of its own knocks: Ray itself tries for minutes and fills the terminal, and `auto` is whatever Ray runs on
    this machine, whoever started it. What Ray's own jobs run in has let them in already.
    """
    if address == "local" or "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ:
        return
    code, said = _knock(address)
    if code == 0:
        return
    if _REFUSED.search(said):
        raise UserError(
            f"RAY_ADDRESS={address}: Ray runs there and does not let this user in, as another user's does; unset "
            "RAY_ADDRESS to run on this machine, or name your own cluster's HOST:PORT"
        )
    if code == -signal.SIGKILL:
        raise UserError(f"RAY_ADDRESS={address} did not answer within {SECONDS_TO_LET_IN:.0f} s: {NO_CLUSTER}")
    if "Version mismatch" in said:
        versions = " ".join(said[said.index("Version mismatch") :].split())
        raise UserError(f"RAY_ADDRESS={address}: {versions}; run the same versions here and there")
    raise UserError(f"RAY_ADDRESS={address}: {NO_CLUSTER}")


def _knock(address: str) -> tuple[int, str]:
    """How a process ends that connects to a Ray, and what it says; it is killed once it is refused, or too late."""
    knock, said = [sys.executable, "-c", _KNOCK, address], ""
    with subprocess.Popen(knock, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        late = threading.Timer(SECONDS_TO_LET_IN, process.kill)
        late.start()
        assert process.stderr is not None
        for line in process.stderr:
            said += line
            if _REFUSED.search(line):
                process.kill()
        late.cancel()
    return process.returncode, said


def _start_here() -> None:
    """Start Ray on this machine, anew where it gives up: its half a minute is short on a busy machine."""
    import ray

    before, folder = set(psutil.Process().children(recursive=True)), _short_folder()
    for attempt in range(STARTS):
        try:
            ray.init(
                address="local",
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                _temp_dir=folder,
            )
            return
        except Exception as error:
            if LATE not in str(error) or attempt == STARTS - 1:
                raise
            for left in set(psutil.Process().children(recursive=True)) - before:
                with suppress(psutil.NoSuchProcess):
                    left.kill()


def temporary_folder() -> tuple[str, bool]:
    """Where Ray would keep its sockets, and whether its name is short enough for them."""
    given = os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
    return given, len(given) <= LONGEST_TEMPORARY


def _short_folder() -> str | None:
    """Where Ray keeps its sockets if the temporary folder's name is too long for them, which is said; else None."""
    given, is_short = temporary_folder()
    if is_short:
        return None
    if place := _short_place():
        chosen = f"{place}/ray-{os.getuid()}"
        print(f"{given} is too long a name for Ray's sockets; they and its logs are in {chosen}", file=sys.stderr)
        return chosen
    raise UserError(f"{given} is too long a name for Ray's sockets; set RAY_TMPDIR to a folder with a shorter one")


def _short_place() -> str | None:
    return next((folder for folder in ("/tmp", "/var/tmp", "/dev/shm") if os.access(folder, os.W_OK)), None)


def own_log() -> Path | None:
    """Where Ray keeps what it says itself, which is not shown; None where this process has not started it."""
    if "ray" not in sys.modules or os.environ.get("RAY_ADDRESS"):
        return None
    given, is_short = temporary_folder()
    folder = Path(given, "ray") if is_short else Path(f"{_short_place()}/ray-{os.getuid()}")
    return found if (found := folder / "session_latest" / "logs").is_dir() else None


def machines() -> list[dict[str, float]]:
    """What each machine of the cluster has, as Ray names it; nothing while Ray has not started."""
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]] if ray.is_initialized() else []


def stop_ray() -> None:
    """End Ray where this process has started it, and all workers with it."""
    import ray

    ray.shutdown()


def _end_agents_with_this_process() -> None:
    """Ray ends what it has started where its driver is killed, but for its agents: a process of ours waits for that.

    It also says so, as Ray ends its driver at once, and in no words of its own, where its node is lost.
    """
    started = psutil.Process().children(recursive=True)
    agents = [
        f"{one.pid}:{one.create_time()}" for one in started if one.name().startswith("ray::") and "Agent" in one.name()
    ]
    # The pipe is closed when this process ends, however that comes about; a group of its own keeps Ctrl-C away.
    guard = subprocess.Popen([sys.executable, "-c", _GUARD, *agents], stdin=subprocess.PIPE, start_new_session=True)
    atexit.register(_tell_the_end, guard)


def _tell_the_end(guard: subprocess.Popen[bytes]) -> None:
    """Have the process that waits for this one's end know that it comes of itself; Ray, with its agents, ends later."""
    if guard.stdin is not None:
        with suppress(OSError):
            guard.stdin.write(b"of itself")
            guard.stdin.flush()


@contextmanager
def _own_sigterm() -> Iterator[None]:
    """Keep the process's own way to end: Ray sets one in its place that crashes in the middle of its calls."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    except SystemExit as ended:  # Ray's way, as long as it starts
        if ended.code == signal.SIGTERM and callable(before):
            before(signal.SIGTERM, None)
        raise
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


def in_parallel(
    work: Callable[[dict[str, Any]], dict[str, Any]],
    jobs: Sequence[dict[str, Any]],
    *,
    ordered: bool = False,
    **needs: Any,
) -> Iterator[dict[str, Any]]:
    """What `work` makes of each job, by Ray Data: in the jobs' order, or as each is done.

    `needs`: what one piece of work asks for, as Ray Data's `map` takes it. Raises `UserError` at the first job that
    comes back with a `error`.
    """
    start_ray()
    import ray

    made = ray.data.from_items(list(jobs), override_num_blocks=len(jobs)).map(work, **needs)
    logging.getLogger("ray.data").setLevel(logging.ERROR)  # Ray Data sets its loggers up at a dataset
    made.context.enable_progress_bars = False
    made.context.execution_options.preserve_order = ordered
    for row in made.iter_rows():
        if row["error"]:
            raise UserError(row["error"])
        yield row
