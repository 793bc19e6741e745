"""An S3 endpoint on this machine, and homes in its buckets."""

from __future__ import annotations

import itertools
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import DomainDispatcherApplication, create_backend_app
from tests.storage.clouds import ACCOUNT, KEY, Azurite, Google, google_at
from werkzeug.serving import make_server

from polyview.recipe import Experiment, to_yaml
from polyview.storage import bucket
from polyview.storage.bucket import Bucket
from polyview.storage.home import Home
from polyview.storage.mirror import resolve

_prefixes = itertools.count()
# What a driver that is killed holds is free after some seconds, where a user waits for half a minute.
DRIVER = "from polyview import cli; from polyview.storage import lease; lease.SECONDS = 5.0; cli.main()"


class Store:
    """moto's S3, or what speaks through it, which notes what it is asked for.

    ignored: a header that it does not know. cut_off: of so many more answers half gets lost on the way.
    """

    def __init__(self, speaks: Callable[[Any], Any] = lambda s3: s3) -> None:
        self.requests: list[tuple[str, str]] = []
        self.ignored = ""
        self.cut_off = 0
        self._moto = speaks(DomainDispatcherApplication(create_backend_app))
        self._one_at_a_time = threading.Lock()
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._thread.join()

    def asked(self, method: str, part: str) -> list[str]:
        """The objects of such a request whose key has `part` in it."""
        return [path for verb, path in self.requests if verb == method and part in path]

    def _answer(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        self.requests.append((environ["REQUEST_METHOD"], environ["PATH_INFO"]))
        environ.pop(f"HTTP_{self.ignored.upper().replace('-', '_')}", None)
        # S3 orders the writes of an object, as moto's threads do not.
        with self._one_at_a_time:
            answer: Iterable[bytes] = self._moto(environ, start_response)
        if environ["REQUEST_METHOD"] == "GET" and self.cut_off:
            self.cut_off -= 1
            body = b"".join(answer)
            return [body[: len(body) // 2]]
        return answer


@pytest.fixture(scope="package")
def store() -> Iterator[Store]:
    """The endpoint that AWS_ENDPOINT_URL names as long as this package's tests run."""
    made = Store()
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        patch.setenv("AWS_ENDPOINT_URL", made.url)
        patch.setenv("AWS_ACCESS_KEY_ID", "key")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        patch.setenv("AWS_CONFIG_FILE", os.devnull)
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        bucket.open_bucket.cache_clear()
        yield made
    bucket.open_bucket.cache_clear()
    made.close()


@pytest.fixture(scope="package")
def client(store: Store) -> Any:
    """What a user sees of the bucket without polyview."""
    assert store
    return boto3.client("s3")


@pytest.fixture(scope="package")
def new_url(client: Any) -> Callable[[], str]:
    """Makes a bucket; returns the address of a home in it."""
    numbers = itertools.count(1)

    def make() -> str:
        name = f"faces-{next(numbers)}"
        client.create_bucket(Bucket=name)
        return f"s3://{name}/of/ours"

    return make


@pytest.fixture(scope="package")
def google(client: Any) -> Iterator[str]:
    """The address of a bucket at what stands for Google."""
    made = Store(Google)
    client.create_bucket(Bucket="google-faces")  # all of moto's endpoints in a process have the same buckets
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GOOGLE_SERVICE_ACCOUNT_KEY", google_at(made.url))
        yield "gs://google-faces"
    made.close()


@pytest.fixture(scope="package")
def azure(tmp_path_factory: pytest.TempPathFactory, wait_for: Callable[..., Any]) -> Iterator[str]:
    """The address of a container in Microsoft's emulator."""
    try:
        made = Azurite(tmp_path_factory.mktemp("azurite"))
    except FileNotFoundError:
        pytest.skip("Azurite is not installed: npm install --global azurite")
    wait_for(made.answers)
    made.client.create_container("faces")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AZURE_STORAGE_ACCOUNT_NAME", ACCOUNT)
        patch.setenv("AZURE_STORAGE_ACCOUNT_KEY", KEY)
        patch.setenv("AZURE_STORAGE_ENDPOINT", made.url)
        yield "az://faces"
    made.close()


@pytest.fixture(params=["s3", "gs", "az"])
def bucket_address(request: pytest.FixtureRequest) -> str:
    """The address of a bucket at a store."""
    if request.param == "s3":
        return str(request.getfixturevalue("new_url")()).removesuffix("/of/ours")
    return str(request.getfixturevalue({"gs": "google", "az": "azure"}[request.param]))


@pytest.fixture
def any_bucket(bucket_address: str) -> Iterator[Bucket]:
    """A bucket at each sort of store."""
    bucket.open_bucket.cache_clear()
    scheme, _, name = bucket_address.partition("://")
    yield bucket.open_bucket(scheme, name)
    bucket.open_bucket.cache_clear()


@pytest.fixture
def prefix() -> str:
    """One of this test's own."""
    return f"home-{next(_prefixes)}/"


@pytest.fixture
def home(new_url: Callable[[], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """An empty home in a bucket of its own, and an empty disk."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "disk"))
    return Home(resolve(new_url()))


@pytest.fixture(scope="package")
def polyview(store: Store) -> Callable[..., subprocess.Popen[str]]:
    """Starts a command on a machine that has its own disk, and a home in a bucket."""

    def start(disk: Path, url: str, *words: str) -> subprocess.Popen[str]:
        others = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
        given = {"POLYVIEW_HOME": url, "XDG_CACHE_HOME": str(disk), "COLUMNS": "200", "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-c", DRIVER, *words]
        assert store
        return subprocess.Popen(command, env=others | given, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    return start


@pytest.fixture(scope="package")
def recipe_file(tiny: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny recipe, of one epoch and one probe."""
    changes = {
        "training": tiny.training.model_copy(update={"epochs": 1}),
        "evaluation": tiny.evaluation.model_copy(update={"probes": ("knn",)}),
    }
    path = tmp_path_factory.mktemp("recipes") / "tiny.yaml"
    path.write_text(to_yaml(tiny.model_copy(update=changes)))
    return path


@pytest.fixture(scope="package")
def study_file(recipe_file: Path) -> Path:
    """A trial that is done soon, and one that is not."""
    path = recipe_file.with_name("study.yaml")
    path.write_text(
        "name: study\nexperiment: tiny.yaml\nseeds: [0]\nmetric: knn/accuracy\nreferences: false\n"
        "variants: {long: {training.epochs: 24}}\nresources: {checkpoint_minutes: 0}\n"
    )
    return path


def keys_of(client: Any, url: str) -> dict[str, str]:
    """The objects of a home by their names in it, with their tags."""
    name, _, prefix = url.removeprefix("s3://").partition("/")
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=name, Prefix=f"{prefix}/")
    found = [one for page in pages for one in page.get("Contents", ())]
    return {one["Key"].removeprefix(f"{prefix}/"): one["ETag"] for one in found}


@pytest.fixture(scope="package")
def objects(client: Any) -> Callable[[str], dict[str, str]]:
    """What is in a home, by name, with each object's tag."""
    return lambda url: keys_of(client, url)
