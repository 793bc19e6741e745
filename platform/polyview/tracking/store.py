"""MLflow's store: a client of it, whether it answers, which of its errors are an outage, and its server."""

from __future__ import annotations

import errno
import logging
import os
import re
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import psutil

from polyview.errors import UserError
from polyview.storage.home import Home, locked, replacing, sqlite_uri

LOOPBACK = ("127.0.0.1", "localhost", "::1")
SQLITE, SERVERS = "sqlite:///", ("http://", "https://")
DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}
REFUSALS = {
    "BAD_REQUEST",
    "ENDPOINT_NOT_FOUND",
    "INVALID_PARAMETER_VALUE",
    "PERMISSION_DENIED",
    "RESOURCE_ALREADY_EXISTS",
    "RESOURCE_DOES_NOT_EXIST",
    "UNAUTHENTICATED",
}
"""MLflow's names of errors that the same call would meet again, however long one waits."""


def connect(uri: str) -> Any:
    """A client of the store at `uri`: quiet, quick to give up, and without telemetry.

    MLflow takes more than a second to import, so it is imported here. Raises `UserError` where `check_address` does.
    """
    check_address(uri)
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    if uri.startswith(SQLITE):
        _make_store(uri)
    elif not uri.startswith((*SERVERS, "databricks")):
        _knock(uri)
    return _client(uri)


def _knock(uri: str) -> None:
    """Raises `OSError` where nobody listens at a database's host and port, which MLflow would try for minutes."""
    from sqlalchemy import make_url

    url = make_url(uri)
    if url.host and (port := url.port or PORTS.get(url.get_backend_name())):
        socket.create_connection((url.host, port), timeout=10).close()


def check_address(uri: str) -> None:
    """Raises `UserError` where MLflow can write to no such address from here, however long one waits."""
    kind, slashes, rest = uri.partition("://")
    scheme = kind.partition("+")[0]
    if uri.partition(":")[0] == "databricks":
        return
    if slashes and rest and scheme in DATABASES:
        _check_driver(uri, scheme)
    elif not (slashes and rest and f"{kind}://" in SERVERS):
        named = re.sub(r"//[^/@]*@", "//", uri)
        raise UserError(f"MLFLOW_TRACKING_URI is {named!r}, where MLflow keeps no runs: {_remedy(uri, kind)}")


def _remedy(uri: str, kind: str) -> str:
    if re.fullmatch(r"[\w.-]+:\d+/?", uri):
        return f"a server is written http://{uri}"
    if f"{kind}://" in SERVERS:
        return f"a server is written {kind}://HOST:PORT"
    return "give a server as http://HOST:PORT, or a database such as sqlite:///FILE"


def _check_driver(uri: str, scheme: str) -> None:
    """Raises `UserError` where an address is none of a database, or Python has no driver for it."""
    if scheme == "sqlite":  # which Python brings
        return
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        make_url(uri).get_dialect().import_dbapi()
    except (ArgumentError, ValueError) as error:
        raise UserError(f"MLFLOW_TRACKING_URI is no address of a database: {reason(error, uri)}") from None
    except ModuleNotFoundError as error:
        remedy = "pip install 'polyview[postgres]'" if scheme == "postgresql" else f"install what {scheme}:// needs"
        raise UserError(f"MLFLOW_TRACKING_URI is a database that Python cannot reach ({error}): {remedy}") from None


def _client(uri: str) -> Any:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(uri)
    if uri.startswith(SQLITE) and "%" in uri:
        with suppress(OSError):  # MLflow makes the folder that it would be if nothing were quoted
            os.removedirs(Path(uri.removeprefix(SQLITE)).parent)
    return client


def _make_store(uri: str) -> None:
    """Make an SQLite store whole or not at all: MLflow cannot use one whose making was cut short."""
    from sqlalchemy import make_url

    path = Path(make_url(uri).database or "")
    if path.exists():
        return
    with locked(path.with_name(f".{path.name}.lock")):
        if not path.exists():
            with replacing(path) as temporary:
                _client(sqlite_uri(temporary)).search_experiments(max_results=1)


def reachable(uri: str) -> str | None:
    """None if the MLflow store at `uri` answers, else why it does not, in one line."""
    try:
        connect(uri).search_experiments(max_results=1)
    except Exception as error:
        if not is_of_store(error):
            raise
        return reason(error, uri)
    return None


def is_of_store(error: Exception) -> bool:
    """Whether an error is of the store or the way to it, and no fault of this program's."""
    from mlflow.exceptions import MlflowException
    from requests.exceptions import RequestException
    from sqlalchemy.exc import SQLAlchemyError

    return isinstance(error, MlflowException | RequestException | SQLAlchemyError | OSError)


def is_refusal(error: Exception) -> bool:
    """Whether the store has answered, and refuses this one call."""
    return getattr(error, "error_code", "") in REFUSALS


def is_unauthorised(error: Exception) -> bool:
    """Whether the store refuses whoever this is."""
    return getattr(error, "error_code", "") in ("PERMISSION_DENIED", "UNAUTHENTICATED")


def reason(error: Exception, uri: str) -> str:
    """An error in one line, without the password that its address may have."""
    text = " ".join(str(error).split())
    credentials = re.match(r"[^:]+://([^/@]*)@", uri)
    return text.replace(f"{credentials[1]}@", "") if credentials else text


def serve(home: Home, host: str, port: int) -> NoReturn:
    """Become MLflow's own server, its user interface included, on this home's store.

    Raises `UserError` if the port is taken, or if the store is a server already or no store at all.
    """
    check_address(home.tracking_uri)
    if home.tracking_uri.startswith(SERVERS):
        raise UserError(f"MLFLOW_TRACKING_URI is a server already: open {home.tracking_address} in a browser")
    _check_port(host, port)
    os.environ.update(SETTINGS)
    if host not in LOOPBACK:
        _let_in_who_knows_its_name(host, port)
    os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
    # Not on the command line, where everybody on this machine could read its password.
    os.environ["MLFLOW_BACKEND_STORE_URI"] = home.tracking_uri
    command = [sys.executable, "-m", "mlflow", "server", "--app-name", "polyview", "--workers", "1"]
    command += ["--artifacts-destination", str(home.artifacts), "--host", host, "--port", str(port)]
    os.execv(sys.executable, command)


def _check_port(host: str, port: int) -> None:
    """Raises `UserError` where this machine has no such name or address, or where the port is taken there."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        is_elsewhere = isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL
        remedy = "this machine's own, such as --host 0.0.0.0" if is_elsewhere else "another with --port"
        raise UserError(f"{host}:{port} cannot be used ({error.strerror}); choose {remedy}") from None


def _let_in_who_knows_its_name(host: str, port: int) -> None:
    """Have MLflow answer by this machine's names and addresses, which it refuses in fear of DNS rebinding."""
    from mlflow.server.security_utils import get_default_allowed_hosts

    addresses = [one.address for card in psutil.net_if_addrs().values() for one in card if one.family == socket.AF_INET]
    names = list(dict.fromkeys([host, socket.gethostname(), socket.getfqdn(), *addresses]))
    hosts = [*get_default_allowed_hosts(), *names, *(f"{name}:{port}" for name in names)]
    os.environ.setdefault("MLFLOW_SERVER_ALLOWED_HOSTS", ",".join(hosts))
    origins = ",".join(f"http://{name}:{port}" for name in names)
    os.environ.setdefault("MLFLOW_SERVER_CORS_ALLOWED_ORIGINS", origins)
    print(f"open http://{socket.gethostname()}:{port}; whoever can reach it may read and change all runs", flush=True)
