"""Verbs on a running cluster, as Ray jobs: sent with the files that they need, watched from here, stopped from here."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import shlex
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import ray
import requests
from ray.job_submission import JobStatus, JobSubmissionClient

from polyview.cluster.package import JobPackage
from polyview.environment import SENDER, reach_directly, sender
from polyview.errors import UserError
from polyview.storage.mirror import expanded

ADDRESS = "http://127.0.0.1:8265"  # where `ray dashboard cluster.yaml` leads to
ADDRESS_VARIABLE = "RAY_API_SERVER_ADDRESS"
COMMAND = "python -m polyview "
SECONDS_TO_ANSWER = 10
SECONDS_BETWEEN_TRIES = 2.0
SECONDS_TO_TAKE_JOBS = 300.0  # in which a head that answers has its job agent, which Ray waits for 10 s long
NOT_YET = "No available agent to submit job"  # as Ray says it
PATIENCE = 1800.0  # seconds that a cluster may be away
TALKATIVE = ("ray", "ray.dashboard.modules.dashboard_sdk", "ray.dashboard.modules.job.sdk")
LOST = (aiohttp.ClientError, asyncio.TimeoutError, OSError, RuntimeError)  # requests' errors are OSErrors
MLFLOW = "http://127.0.0.1:5000"
PAGE = re.compile(r"^compare .*?(http\S+)", re.MULTILINE)
RSYNC = "ray rsync-down cluster.yaml {0}/ report/, then open report/report.html"
COPIES = {
    "s3": "aws s3 cp --recursive {0}/ report/, then open report/report.html",
    "gs": "gcloud storage cp --recursive '{0}/*' report/, then open report/report.html",
    "az": "az storage blob download-batch --source {1} --pattern '{2}/*' --destination ., then open {2}/report.html",
}
"""How to open a report that is in a bucket, by what its address begins with."""
REPORT = re.compile(r"^report +((?:/|\w+://)\S*)/report\.html", re.MULTILINE)


@dataclass(frozen=True)
class ClusterJob:
    """What the cluster was asked for and what became of it.

    started: Unix seconds. code: what its command ended with, None as long as it has not ended by itself.
    """

    id: str
    command: str
    status: str
    started: float
    code: int | None

    @property
    def ended(self) -> bool:
        return bool(JobStatus(self.status).is_terminal())


@dataclass
class Log:
    """A job's log as far as it is known, whichever connection it came by; `say` is told what is new."""

    say: Callable[[str], None]
    parts: list[str] = field(default_factory=list)
    length: int = 0

    async def read(self, chunks: AsyncIterator[str]) -> None:
        """Take in what one connection tells: every connection begins at the log's beginning."""
        passed = 0
        async for chunk in chunks:
            new = chunk[max(0, self.length - passed) :]
            passed += len(chunk)
            if new:
                self.parts.append(new)
                self.length += len(new)
                self.say(new)

    @property
    def report(self) -> str | None:
        """The folder on the cluster that the job's report is in, if it wrote one."""
        return self._last(REPORT)

    @property
    def page(self) -> str | None:
        """The page of the cluster's MLflow that the job has named, if it did."""
        return self._last(PAGE)

    def _last(self, pattern: re.Pattern[str]) -> str | None:
        found = pattern.findall("".join(self.parts))
        return found[-1] if found else None


def is_exposed(url: str) -> bool:
    """Whether what is sent to an address leaves this machine unencrypted."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        loopback = ip_address(host).is_loopback
    except ValueError:
        loopback = host == "localhost" or host.endswith(".localhost")
    return parts.scheme == "http" and not loopback


class Cluster:
    """A cluster that answers, takes this machine's token and runs the same Ray.

    Raises `UserError` where it does not. The address is `address`, or RAY_API_SERVER_ADDRESS, or where
    `ray dashboard` leads to. Where others could read what is sent, a line on stderr says so.
    """

    def __init__(self, address: str | None = None) -> None:
        self.address = _url(address or os.environ.get(ADDRESS_VARIABLE) or ADDRESS)
        token = _token()
        if token and is_exposed(self.address):
            print(
                f"{self.address}: the token and all that is sent go there unencrypted; a tunnel, as by `ray dashboard "
                "cluster.yaml`, takes them to 127.0.0.1",
                file=sys.stderr,
            )
        reach_directly(urlsplit(self.address).hostname or "")
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        _greet(self.address, headers)
        for name in TALKATIVE:
            logging.getLogger(name).setLevel(logging.ERROR)
        os.environ[ADDRESS_VARIABLE] = self.address  # else RAY_ADDRESS would win over what was asked for
        self.client = JobSubmissionClient(self.address, headers=headers)

    def submit(self, package: JobPackage, columns: int) -> str:
        """Send a job package and start its command, whose tables may be so many columns wide; returns the job's id."""
        environment = {
            "PYTHONPATH": "platform",
            "COLUMNS": str(columns),
            SENDER: sender(),
            # To stop is to press Ctrl-C: what is known of a study is still reported, and that takes some seconds.
            "RAY_JOB_STOP_SIGNAL": "SIGINT",
            "RAY_JOB_STOP_WAIT_TIME_S": "60",
        }
        with tempfile.TemporaryDirectory() as folder:
            package.write(Path(folder))
            return self._submit(
                entrypoint=COMMAND + shlex.join(package.words),
                runtime_env={"working_dir": folder, "env_vars": environment},
            )

    def _submit(self, **job: Any) -> str:
        """Start a job, on a head that has just come up as soon as it can: it answers before it takes jobs."""
        until = time.monotonic() + SECONDS_TO_TAKE_JOBS
        while True:
            try:
                return str(self.client.submit_job(**job))
            except RuntimeError as error:
                if NOT_YET not in str(error) or time.monotonic() > until:
                    raise
            time.sleep(SECONDS_BETWEEN_TRIES)

    def jobs(self) -> list[ClusterJob]:
        """All that was ever submitted, the oldest first."""
        found = [_job(details) for details in self.client.list_jobs() if details.submission_id]
        return sorted(found, key=lambda job: job.started)

    def job(self, name: str) -> ClusterJob:
        """What is known of one job; raises `UserError` if there is none of this name."""
        try:
            return _job(self.client.get_job_info(name))
        except RuntimeError as error:
            if "status code 404" not in str(error):
                raise
        raise UserError(f"{name}: no such job at {self.address}; polyview jobs lists those that there are")

    def follow(self, name: str, log: Log, warn: Callable[[str], None]) -> ClusterJob:
        """Read a job's log until the job has ended; returns what became of it.

        A connection that is lost is made again; `warn` is told. Raises `UserError` if the cluster stays away.
        """
        self.job(name)
        return asyncio.run(self._follow(name, log, warn))

    def stop(self, name: str) -> bool:
        """Ask a job to stop; returns whether it was running."""
        return not self.job(name).ended and bool(self.client.stop_job(name))

    async def _follow(self, name: str, log: Log, warn: Callable[[str], None]) -> ClusterJob:
        lost: float | None = None
        while True:
            try:
                known = log.length
                await log.read(self.client.tail_job_logs(name))
                if (job := self.job(name)).ended:
                    return job
            except LOST as error:
                reason = " ".join(f"{type(error).__name__}: {error}".split())
            else:
                reason = "closed by the cluster"
            now = time.monotonic()
            if lost is None or log.length > known:
                lost = now
                warn(f"connection lost ({reason}); the job goes on, trying again")
            if now - lost > PATIENCE:
                raise UserError(f"{self.address} stays away; once it is back: polyview logs {name}")
            await asyncio.sleep(SECONDS_BETWEEN_TRIES)


def ways(log: Log) -> Iterator[tuple[str, str]]:
    """How to open, from here, what a study has left on a cluster that `cluster.yaml` describes: (what, how)."""
    if log.report is None:
        return
    scheme, _, rest = log.report.partition("://")
    yield "report", COPIES.get(scheme, RSYNC).format(log.report, *rest.split("/", 1))
    yield "compare", f"ray exec cluster.yaml --port-forward 5000 'sleep 1d', then open {log.page or MLFLOW}"
    yield "watch", f"ray dashboard cluster.yaml, then open {ADDRESS}"


def _url(address: str) -> str:
    url = address if "://" in address else f"http://{address}"
    if not url.startswith(("http://", "https://")):
        raise UserError(f"{address}: jobs go to the dashboard, whose address begins with http, such as {ADDRESS}")
    return url.rstrip("/")


def _token() -> str | None:
    """The token in the places where Ray looks for it, in Ray's order."""
    if token := os.environ.get("RAY_AUTH_TOKEN"):
        return token
    named = os.environ.get("RAY_AUTH_TOKEN_PATH")
    path = Path(named) if named else expanded("~/.ray/auth_token")
    try:
        return path.read_text().strip() or None
    except OSError as error:
        if named:
            raise UserError(f"RAY_AUTH_TOKEN_PATH={named}: cannot be read ({error.strerror})") from None
        return None


def _greet(address: str, headers: dict[str, str]) -> None:
    """Raises `UserError` unless a Ray of the same version answers and takes the token."""
    try:
        answer = requests.get(f"{address}/api/version", headers=headers, timeout=SECONDS_TO_ANSWER)
    except requests.RequestException as error:
        raise UserError(
            f"{address}: no cluster answers ({type(error).__name__}); open the way with `ray dashboard cluster.yaml`, "
            f"or say where it is with --address or {ADDRESS_VARIABLE}"
        ) from None
    if answer.status_code == requests.codes.unauthorized:
        raise UserError(
            f"{address} asks for a token and this machine has none; "
            "put the cluster's in ~/.ray/auth_token or RAY_AUTH_TOKEN"
        )
    if answer.status_code == requests.codes.forbidden:
        raise UserError(
            f"{address} does not take this machine's token, which may have been replaced since; "
            "put the cluster's in ~/.ray/auth_token or RAY_AUTH_TOKEN"
        )
    theirs = _version(answer)
    if theirs is None:
        raise UserError(f"{address}: something answers there, but not Ray's dashboard")
    if theirs != ray.__version__:
        raise UserError(
            f"{address} runs Ray {theirs} and this machine has {ray.__version__}; "
            f"pip install ray=={theirs} here, or set the cluster up with this one"
        )


def _version(answer: requests.Response) -> str | None:
    try:
        version: str = answer.json()["ray_version"]
    except (ValueError, TypeError, KeyError):
        return None
    return version


def _job(details: Any) -> ClusterJob:
    command, started = details.entrypoint.removeprefix(COMMAND), (details.start_time or 0) / 1000
    return ClusterJob(details.submission_id, command, details.status.value, started, details.driver_exit_code)
