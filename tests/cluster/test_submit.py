from __future__ import annotations

import asyncio
import json
import os
import select
import socket
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import ray
from hypothesis import given
from hypothesis import strategies as st

from polyview.cli import main
from polyview.cluster import submit
from polyview.cluster.package import pack
from polyview.cluster.submit import ADDRESS_VARIABLE, Cluster, Log, is_exposed, ways
from polyview.environment import SENDER, git_commit
from polyview.errors import UserError
from polyview.storage.home import REPOSITORY


@pytest.fixture
def terminal(head: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """One in the project's folder, where the cluster's address and its token are set."""
    monkeypatch.setenv(ADDRESS_VARIABLE, head.address)
    monkeypatch.setenv("RAY_AUTH_TOKEN", head.token)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(REPOSITORY)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs a command line; returns its exit code and what it prints on its two streams."""

    def command(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(words)
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return command


@pytest.fixture
def refuse(run: Callable[..., tuple[int, str, str]]) -> Callable[..., str]:
    """The one line in which a command line refuses what a user can fix."""

    def command(*words: str) -> str:
        code, _, said = run(*words)
        assert code == 2, said
        assert said.startswith("polyview: ")
        assert said.count("\n") == 1
        return said.removeprefix("polyview: ").rstrip()

    return command


@pytest.mark.slow
@pytest.mark.usefixtures("terminal")
def test_a_verb_runs_on_the_cluster_and_is_watched_from_here(
    head: Any, run: Callable[..., Any], refuse: Callable[..., str]
) -> None:
    words = ("report", "ablations/quickstart.yaml", "--format", "csv", "--set", "seeds=[7]")
    head.home.mkdir(exist_ok=True)  # which no report makes
    code, said, errors = run("submit", "--", *words)
    assert code == 0, said + errors
    first, *log = said.splitlines()
    job = first.removeprefix("submitted ")
    header = next(number for number, line in enumerate(log) if line.startswith("trial,"))
    assert "python -m polyview report ablations/quickstart.yaml" in "\n".join(log[:header])

    _, listed, _ = run("jobs")
    (line,) = [line for line in listed.splitlines() if job in line]
    assert "SUCCEEDED" in line
    assert "report ablations/quickstart.yaml --format csv" in line
    assert run("logs", job)[1].splitlines() == log
    assert run("stop", job)[1] == f"{job} had ended before\n"

    for verb in ("logs", "stop"):
        assert refuse(verb, "nosuch").startswith(f"nosuch: no such job at {head.address}; ")


@pytest.mark.usefixtures("terminal")
def test_a_job_waits_for_a_head_that_takes_none_yet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cluster, answers = Cluster(), iter([f"Request failed with status code 500: {submit.NOT_YET}, try again", "job-1"])

    def submit_job(**_: Any) -> str:
        answer = next(answers)
        if answer.startswith("Request failed"):
            raise RuntimeError(answer)
        return answer

    monkeypatch.setattr(submit, "SECONDS_BETWEEN_TRIES", 0)
    monkeypatch.setattr(cluster.client, "submit_job", submit_job)
    assert cluster.submit(pack(["doctor"], tmp_path), columns=80) == "job-1"


@pytest.mark.slow
@pytest.mark.usefixtures("terminal")
def test_a_log_is_whole_though_its_connection_is_cut(head: Any, run: Callable[..., Any]) -> None:
    count = 20
    name = Cluster().client.submit_job(entrypoint=f"for i in $(seq {count}); do echo line $i; sleep 0.1; done; exit 3")
    with Relay(head.address, until=b"line 5\n") as relay:
        code, said, warned = run("logs", name, "--address", relay.address)
    lines = [line for line in said.splitlines() if line.startswith("line ")]
    assert lines == [f"line {number + 1}" for number in range(count)]
    assert warned.startswith("connection lost (")
    assert warned.count("\n") == 2
    assert warned.endswith(f"{name} failed\n")
    assert code == 3


@pytest.mark.slow
@pytest.mark.usefixtures("terminal")
def test_a_job_is_stopped_as_ctrl_c_stops_it() -> None:
    cluster = Cluster()
    script = "import time\nprint('begun', flush=True)\ntry:\n  time.sleep(100)\nfinally:\n  print('tidied')"
    seen: list[str] = []
    # As `submit` asks for it.
    signals = {"env_vars": {"RAY_JOB_STOP_SIGNAL": "SIGINT"}}
    restore = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    name = cluster.client.submit_job(entrypoint=f'python -c "{restore}\n{script}"', runtime_env=signals)

    def say(text: str) -> None:
        seen.append(text)
        if "begun\n" in text:
            assert cluster.stop(name)

    assert cluster.follow(name, Log(say), seen.append).status == "STOPPED"
    assert "tidied\n" in "".join(seen)


@pytest.mark.slow
@pytest.mark.usefixtures("terminal")
def test_a_cluster_that_does_not_let_in_says_why(
    refuse: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, head: Any
) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "an-older-one")
    assert refuse("jobs").startswith(f"{head.address} does not take this machine's token")
    monkeypatch.delenv("RAY_AUTH_TOKEN")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert refuse("jobs").startswith(f"{head.address} asks for a token and this machine has none")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "nowhere"))
    assert refuse("jobs").startswith(f"RAY_AUTH_TOKEN_PATH={tmp_path / 'nowhere'}: cannot be read")


@pytest.mark.usefixtures("terminal")
def test_a_wrong_address_is_one_line(refuse: Callable[..., str]) -> None:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert refuse("submit", "--address", address, "--", "doctor").startswith(
            f"http://{address}: no cluster answers"
        )
    assert refuse("jobs", "--address", "ray://there:10001").startswith("ray://there:10001: jobs go to the dashboard")
    with answering("hello") as address:
        assert refuse("jobs", "--address", address) == f"{address}: something answers there, but not Ray's dashboard"


@pytest.mark.usefixtures("terminal")
def test_a_cluster_is_asked_itself_and_no_proxy(refuse: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("NO_PROXY", "registry.example.org")
    with answering("hello") as address:
        assert refuse("jobs", "--address", address) == f"{address}: something answers there, but not Ray's dashboard"
    assert os.environ["no_proxy"] == os.environ["NO_PROXY"] == "registry.example.org,127.0.0.1"


@pytest.mark.parametrize(
    ("address", "exposed"),
    [
        ("http://127.0.0.1:8265", False),
        ("http://localhost:8265", False),
        ("http://[::1]:8265", False),
        ("https://head.example.org", False),
        ("http://10.0.0.7:8265", True),
        ("http://head.example.org:8265", True),
    ],
)
def test_what_leaves_this_machine_unencrypted_is_known(address: str, exposed: bool) -> None:
    assert is_exposed(address) == exposed


def test_it_is_said_before_a_token_goes_out_unencrypted(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "a-token")
    with pytest.raises(UserError):
        Cluster("http://nowhere.invalid:8265")
    assert "http://nowhere.invalid:8265: the token and all that is sent go there unencrypted" in capsys.readouterr().err


@pytest.mark.usefixtures("terminal")
def test_another_ray_on_the_cluster_is_one_line(refuse: Callable[..., str]) -> None:
    with answering(json.dumps({"ray_version": "2.9.0"})) as address:
        said = refuse("jobs", "--address", address)
    assert said.startswith(f"{address} runs Ray 2.9.0 and this machine has {ray.__version__}; ")


def test_a_job_from_another_python_or_without_a_home_is_refused(
    refuse: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SENDER, json.dumps({"python": "3.8", "commit": "abc"}))
    here = ".".join(map(str, sys.version_info[:2]))
    assert refuse("doctor").startswith(f"the cluster runs Python {here} and the machine that sent this job 3.8; ")
    monkeypatch.setenv(SENDER, json.dumps({"python": here, "commit": "abc"}))
    monkeypatch.delenv("POLYVIEW_HOME", raising=False)
    assert refuse("doctor").startswith("POLYVIEW_HOME is not set on the cluster; ")


def test_a_job_says_the_commit_of_whoever_sent_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SENDER, json.dumps({"python": "3.11", "commit": "abc-dirty"}))
    git_commit.cache_clear()
    assert git_commit() == "abc-dirty"
    git_commit.cache_clear()


def test_only_what_a_cluster_can_do_is_sent(refuse: Callable[..., str]) -> None:
    for verb in ("ui", "ablat", "submit"):
        assert refuse("submit", "--", verb).startswith(f"submit {verb}: no verb that a cluster runs; ")


@given(
    text=st.text(alphabet="ab\n", max_size=30),
    connections=st.lists(st.lists(st.integers(0, 30), max_size=5), max_size=4),
)
def test_a_log_is_told_once_however_it_arrives(text: str, connections: list[list[int]]) -> None:
    async def chunks(cuts: list[int], whole: bool) -> AsyncIterator[str]:
        """The log from its beginning in pieces, up to the last cut or to its end."""
        ends = [min(cut, len(text)) for cut in sorted(cuts)] + ([len(text)] if whole else [])
        for begin, end in zip([0, *ends], ends, strict=False):
            yield text[begin:end]

    async def follow() -> str:
        heard: list[str] = []
        log = Log(heard.append)
        for cuts in connections:
            await log.read(chunks(cuts, whole=False))
        await log.read(chunks([], whole=True))
        return "".join(heard)

    assert asyncio.run(follow()) == text


@pytest.mark.parametrize(
    ("home", "fetch"),
    [
        ("/shared", "ray rsync-down cluster.yaml /shared/studies/a-1/report/ report/"),
        ("s3://bucket/home", "aws s3 cp --recursive s3://bucket/home/studies/a-1/report/ report/"),
        ("gs://bucket/home", "gcloud storage cp --recursive 'gs://bucket/home/studies/a-1/report/*' report/"),
        ("az://faces/home", "az storage blob download-batch --source faces --pattern 'home/studies/a-1/report/*' "),
    ],
)
def test_the_ways_to_a_report_name_where_the_job_left_it(home: str, fetch: str) -> None:
    log = Log(lambda _: None)

    async def chunks() -> AsyncIterator[str]:
        yield f"trials: 1 in the study\nreport    {home}/stud"
        yield "ies/a-1/report/report.html\ncompare   http://127.0.0.1:5000/#/experiments/1/runs?x=y\n"

    asyncio.run(log.read(chunks()))
    assert log.report == f"{home}/studies/a-1/report"
    named = dict(ways(log))
    assert named["report"].startswith(fetch)
    assert named["compare"].endswith("open http://127.0.0.1:5000/#/experiments/1/runs?x=y")


@contextmanager
def answering(body: str) -> Iterator[str]:
    """A server that answers every question with `body`; gives its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class Relay:
    """A way to a server that breaks once, where `until` is said; what comes after may take it again."""

    def __init__(self, address: str, until: bytes) -> None:
        host, port = address.removeprefix("http://").split(":")
        self.there, self.until = (host, int(port)), until
        self.door = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self.door.getsockname()[1]}"

    def __enter__(self) -> Relay:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.door.close()

    def _serve(self) -> None:
        with suppress(OSError):  # the door is closed
            while True:
                pair = self.door.accept()[0], socket.create_connection(self.there)
                threading.Thread(target=self._carry, args=pair, daemon=True).start()

    def _carry(self, one: socket.socket, other: socket.socket) -> None:
        partner = {one: other, other: one}
        with one, other, suppress(OSError):
            while True:
                for end in select.select([one, other], [], [])[0]:
                    data = end.recv(65536)
                    partner[end].sendall(data)
                    if not data:
                        return
                    if self.until and self.until in data:
                        self.until = b""
                        return
