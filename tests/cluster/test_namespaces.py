"""cluster.yaml brought up by Ray's launcher on three hosts, each a set of Linux namespaces on this machine.

A host has an address, processes, an sshd, a home folder, a /dev/shm and a Ray folder of its own; /shared is one folder
for all, which each host has as it is, through a file system of its own that remembers for a minute what is there, as
NFS does with lookupcache=pos, or by NFS as it is mounted by default. overlay.yaml says what of cluster.yaml is
replaced.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
import yaml
from tests.nfs import SERVE, skip_without_nfs

from polyview.storage.home import REPOSITORY, Home

pytestmark = pytest.mark.slow
GATE = "10.213.77.1"  # this machine, as the hosts see it
SERVER = "10.213.77.5"  # of NFS
NFS = f"mount -t nfs4 {SERVER}:/ /shared"
TOOLS = ("ip", "unshare", "sshd", "ssh", "ssh-keygen", "rsync", "curl")
SECONDS = 540  # below the limit of a whole test
SSHD = """
HostKey {folder}/host_key
AuthorizedKeysFile {keys}
ListenAddress {address}
PidFile none
StrictModes no
UsePAM no
SetEnv PREFIX={prefix}
"""
BOOT = """
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /run
mount --bind {folder}/ray /tmp/ray
{mount}
mount --bind {folder}/passwd /etc/passwd
mkdir /run/sshd
exec {sshd} -D -e -f {folder}/sshd_config
"""
MOUNTS = {
    "a folder": "mount --bind {shared} /shared",
    "a cache of a minute": "bindfs -o entry_timeout=60,attr_timeout=60,negative_timeout=0 {shared} /shared",
    # NFS tells its clients apart by the name that their machine has as it mounts.
    "NFS": f"unshare --uts sh -ec 'cut -c -8 /proc/sys/kernel/random/uuid > /proc/sys/kernel/hostname; {NFS}'",
}
METADATA = "169.254.169.254"  # where machines of AWS find what it has to say to them
TAKEN_BACK = f"""
from http.server import BaseHTTPRequestHandler, HTTPServer

class Metadata(BaseHTTPRequestHandler):
    def do_PUT(self):
        self.answer(self.path == "/latest/api/token", b"key")

    def do_GET(self):
        asked = self.path == "/latest/meta-data/spot/instance-action"
        self.answer(asked and self.headers["X-aws-ec2-metadata-token"] == "key", b'{{"action": "terminate"}}')

    def answer(self, known, body):
        self.send_response(200 if known else 404)
        self.end_headers()
        self.wfile.write(body if known else b"")

HTTPServer(("{METADATA}", 80), Metadata).serve_forever()
"""


class Machine:
    """What a script starts in namespaces of their own, with an address on a bridge to this machine."""

    def __init__(self, address: str, bridge: str, boot: str, log_file: Path, stack: ExitStack) -> None:
        self.address, self.stack = address, stack
        self.name = f"{bridge}-{address.rpartition('.')[2]}"
        self._connect(bridge, stack)
        command = ["ip", "netns", "exec", self.name, "unshare", "--mount", "--pid", "--fork", "--mount-proc"]
        with log_file.open("w") as log:
            self.process = subprocess.Popen(
                [*command, "--kill-child", "sh", "-ec", boot], stdout=log, stderr=log, start_new_session=True
            )
        stack.callback(self.turn_off)

    def _connect(self, bridge: str, stack: ExitStack) -> None:
        run("ip", "netns", "add", self.name)
        stack.callback(run, "ip", "netns", "del", self.name)
        run("ip", "link", "add", self.name, "type", "veth", "peer", "name", "eth0", "netns", self.name)
        run("ip", "link", "set", self.name, "master", bridge, "up")
        for words in (
            f"addr add {self.address}/24 dev eth0",
            "link set eth0 up",
            "link set lo up",
            f"route add default via {GATE}",
        ):
            run("ip", "-n", self.name, *words.split())

    def turn_off(self) -> None:
        """End it and all that runs on it."""
        self.process.kill()
        self.process.wait()


class Host(Machine):
    """A machine for whoever has one of the authorised `keys`."""

    def __init__(self, address: str, bridge: str, folder: Path, keys: Path, mount: str, stack: ExitStack) -> None:
        self.folder = folder
        for each in ("home", "ray"):
            (folder / each).mkdir(parents=True)
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "host_key"))
        config = SSHD.format(folder=folder, keys=keys, address=address, prefix=sys.prefix)
        (folder / "sshd_config").write_text(config)
        # Not HOME alone: ssh asks here where a user's folder is.
        passwd = Path("/etc/passwd").read_text()
        (folder / "passwd").write_text(passwd.replace(":/root:", f":{folder}/home:"))
        boot = BOOT.format(folder=folder, mount=mount, sshd=shutil.which("sshd"))
        super().__init__(address, bridge, boot, folder / "log.txt", stack)

    def left(self) -> list[psutil.Process]:
        """All that runs on it but sshd, a file system, and MLflow, which on a cloud ends as its machine does."""
        found = []
        for process in psutil.Process(self.process.pid).children(recursive=True):
            with suppress(psutil.Error):
                if process.name() not in ("sshd", "bindfs") and "MLFLOW_DISABLE_TELEMETRY" not in process.environ():
                    found.append(process)
        return found

    def take_back(self) -> None:
        """Say to it what AWS says to a spot machine, from where it is asked."""
        run("ip", "-n", self.name, "addr", "add", f"{METADATA}/32", "dev", "lo")
        command = ["ip", "netns", "exec", self.name, sys.executable, "-c", TAKEN_BACK]
        server = self.stack.enter_context(subprocess.Popen(command, stderr=subprocess.DEVNULL))
        self.stack.callback(server.kill)


def run(*command: str) -> str:
    """What a command says that ends well."""
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 0, f"{' '.join(command)}: {ended.stdout}{ended.stderr}"
    return ended.stdout


@pytest.fixture(autouse=True)
def allowed() -> None:
    """Skips where no hosts can be made, and says why."""
    if absent := [tool for tool in TOOLS if shutil.which(tool) is None]:
        pytest.skip(f"not installed: {', '.join(absent)}")
    tried = subprocess.run(["unshare", "--net", "--mount", "--pid", "--fork", "true"], capture_output=True, text=True)
    if tried.returncode:
        pytest.skip(f"only root may make namespaces: {tried.stderr.strip()}")


@pytest.fixture
def overlay() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("overlay.yaml").read_text())
    return content


@pytest.fixture
def user(tmp_path: Path) -> Path:
    """The home folder of somebody who has a key, and a token for the cluster to come."""
    folder = tmp_path / "user"
    (folder / ".ssh").mkdir(parents=True)
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / ".ssh" / "id_ed25519"))
    (folder / ".ray").mkdir()
    (folder / ".ray" / "auth_token").write_text(secrets.token_hex(32))
    return folder


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """The folder that hosts have as /shared."""
    folder = tmp_path / "shared"
    folder.mkdir()
    return folder


@pytest.fixture(params=MOUNTS)
def mount(request: pytest.FixtureRequest, shared: Path) -> str:
    """How a host has the shared folder, as a command."""
    command: str = MOUNTS[request.param].format(shared=shared)
    if NFS in command:
        skip_without_nfs()
    if shutil.which(command.split()[0]) is None:
        pytest.skip(f"not installed: {command.split()[0]}")
    if command.startswith("bindfs") and not Path("/dev/fuse").exists():
        pytest.skip("there is no /dev/fuse, through which a file system with a cache would be made")
    return command


@pytest.fixture
def hosts(overlay: dict[str, Any], user: Path, shared: Path, mount: str) -> Iterator[list[Host]]:
    """A head and two others on a bridge to this machine."""
    left = run("ip", "-brief", "address", "show", "to", GATE).split()
    assert not left, f"a test that was killed has left {left[0]}: ip link del {left[0]}"
    bridge = f"pv{secrets.token_hex(3)}"
    provider, keys = overlay["provider"], user / ".ssh" / "id_ed25519.pub"
    with tempfile.TemporaryDirectory(prefix="hosts") as folder, ExitStack() as stack:
        stack.enter_context(present(Path("/shared")))
        stack.enter_context(present(Path("/tmp/ray")))
        run("ip", "link", "add", bridge, "type", "bridge")
        stack.callback(run, "ip", "link", "del", bridge)
        run("ip", "addr", "add", f"{GATE}/24", "dev", bridge)
        run("ip", "link", "set", bridge, "up")
        if NFS in mount:
            stack.enter_context(in_memory(shared))
            serve = SERVE.format(folder=shared) + "exec sleep infinity"
            Machine(SERVER, bridge, serve, Path(folder, "server.txt"), stack)
        made = []
        for address in (provider["head_ip"], *provider["worker_ips"]):
            made.append(Host(address, bridge, Path(folder, address), keys, mount, stack))
        yield made


@contextmanager
def present(mount_point: Path) -> Iterator[None]:
    """See that a folder is there to mount another upon, and take it away again if it was not."""
    made = not mount_point.exists()
    mount_point.mkdir(exist_ok=True)
    yield
    if made:
        mount_point.rmdir()


@contextmanager
def in_memory(folder: Path) -> Iterator[None]:
    """Mount a tmpfs on a folder: NFS can serve it, where it could not serve what a container's folders lie on."""
    run("mount", "-t", "tmpfs", "shared", str(folder))
    yield
    run("umount", "--lazy", str(folder))


@pytest.fixture
def terminal(user: Path, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts commands as the user, in the project's folder unless told another."""
    given = {"HOME": str(user), "RAY_TMPDIR": str(tmp_path), "RAY_AUTH_MODE": "token", "COLUMNS": "200"}
    given |= {"PATH": f"{sys.prefix}/bin{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(REPOSITORY / "platform")}
    others = {
        name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "MLFLOW_", "POLYVIEW_"))
    }
    started: list[subprocess.Popen[str]] = []

    def start(*command: str, folder: Path = REPOSITORY, **more: str) -> subprocess.Popen[str]:
        streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        process = subprocess.Popen(
            command, cwd=folder, env=others | given | more, text=True, start_new_session=True, **streams
        )
        started.append(process)
        return process

    yield start
    for process in started:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def finish(process: subprocess.Popen[str]) -> str:
    """What a command says that ends well."""
    said, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, said[-6000:]
    return said


def states(address: str, token: str) -> list[str]:
    """How the machines are that the cluster whose dashboard is at this address has or had: alive, or why they ended."""
    with suppress(requests.RequestException):
        authorized = {"Authorization": f"Bearer {token}"}
        answer = requests.get(f"{address}/api/v0/nodes", headers=authorized, timeout=10)
        if answer.ok:
            nodes = answer.json()["data"]["result"]["result"]
            return [node["state_message"] or node["state"] for node in nodes]
    return []


def test_a_grid_sent_from_outside_is_whole_though_a_host_loses_its_ray(
    hosts: list[Host],
    overlay: dict[str, Any],
    terminal: Any,
    user: Path,
    shared: Path,
    tmp_path: Path,
    port: int,
    monkeypatch: pytest.MonkeyPatch,
    write_study: Any,
    wait_for: Any,
    at_work: Any,
    assert_whole: Any,
) -> None:
    cluster = yaml.safe_load((REPOSITORY / "cluster.yaml").read_text()) | overlay
    cluster["auth"]["ssh_private_key"] = key = str(user / ".ssh" / "id_ed25519")
    ssh = ["ssh", "-i", key, "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
    file = tmp_path / "cluster.yaml"
    file.write_text(yaml.safe_dump({key: value for key, value in cluster.items() if value is not None}))
    finish(terminal("ray", "up", "-y", "--no-config-cache", str(file)))

    token = (user / ".ray" / "auth_token").read_text()
    address = f"http://127.0.0.1:{port}"
    tunnel = terminal("ray", "dashboard", "--no-config-cache", "--port", str(port), str(file))
    wait_for(lambda: states(address, token).count("ALIVE") == len(hosts))

    study_file = write_study({"epochs": 10}, seeds=[0], grid={"training.lr": [1e-3, 3e-3, 1e-2]})
    command = [sys.executable, "-m", "polyview", "submit", "--address", address, "--", "ablate", "study.yaml"]
    job = terminal(*command, folder=tmp_path)
    home = Home(shared)
    worker = psutil.Process(wait_for(lambda: at_work(home), job))
    lost = next(host for host in hosts if host.process.pid in {parent.pid for parent in worker.parents()})
    for process in lost.left():
        with suppress(psutil.NoSuchProcess):
            process.kill()
    said = finish(job)

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{hosts[0].folder}/home/mlflow/mlflow.db")
    assert_whole(study_file, home)
    (report,) = re.findall(r"ray rsync-down cluster.yaml (\S+/report)/", said)
    finish(terminal("ray", "rsync-down", str(file), f"{report}/", str(tmp_path / "report")))
    assert "faulty" in (tmp_path / "report" / "report.html").read_text()

    kept = next(host for host in hosts[1:] if host is not lost)
    kept.take_back()
    wait_for(lambda: "Terminated due to preemption: taken back by AWS" in states(address, token))

    os.killpg(tunnel.pid, signal.SIGTERM)
    finish(terminal("ray", "down", "-y", str(file)))
    # What the launcher has hired it turns off; hosts that were there before it leaves on, and Ray on them.
    for host in hosts[1:]:
        finish(terminal(*ssh, f"root@{host.address}", ". ~/polyview.sh; ray stop"))
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline and any(host.left() for host in hosts):
        time.sleep(0.2)
    assert [process.as_dict(["name", "cmdline"]) for host in hosts for process in host.left()] == []
