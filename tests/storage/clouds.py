"""Stores of other clouds on this machine: Microsoft's own emulator, and what Google documents of its storage."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from azure.core.exceptions import AzureError
from azure.storage.blob import BlobServiceClient
from tests.ports import free_port

ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="  # every emulator's
SIGNED = "AWS4-HMAC-SHA256 Credential=key/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"

App = Callable[[dict[str, Any], Any], Iterable[bytes]]


class Google:
    """Google's XML interface, in as far as it differs from S3's: generations, and conditions on them.

    Source: https://cloud.google.com/storage/docs/xml-api/reference-headers
    """

    def __init__(self, s3: App) -> None:
        self._s3 = s3
        self._generations: dict[str, int] = {}
        self._numbers = itertools.count(1_700_000_000_000_000)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answer a request; they come one at a time."""
        path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
        environ["HTTP_AUTHORIZATION"] = SIGNED
        wanted = environ.pop("HTTP_X_GOOG_IF_GENERATION_MATCH", None)
        if wanted is not None and int(wanted) != self._generations.get(path, 0):
            start_response("412 Precondition Failed", [("Content-Length", "0")])
            return [b""]
        if source := environ.pop("HTTP_X_GOOG_COPY_SOURCE", None):
            environ["HTTP_X_AMZ_COPY_SOURCE"] = source
        # moto does not see that %2D is a -.
        environ["REQUEST_URI"] = environ["RAW_URI"] = f"{quote(_text(path))}?{environ['QUERY_STRING']}"

        def answer(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            if method == "PUT" and status.startswith("2"):
                self._generations[path] = next(self._numbers)
            if method == "DELETE":
                self._generations.pop(path, None)
            if path in self._generations:
                headers = [*headers, ("x-goog-generation", str(self._generations[path]))]
            return start_response(status, headers, *more)

        return self._s3(environ, answer)


def _text(latin: str) -> str:
    """A path as it was sent; WSGI reads its bytes as another alphabet's."""
    return latin.encode("latin-1").decode()


def google_at(url: str) -> str:
    """The key of a service account by which obstore takes an address for Google."""
    return json.dumps(
        {"gcs_base_url": url, "disable_oauth": True, "client_email": "", "private_key": "", "private_key_id": ""}
    )


class Azurite:
    """Microsoft's emulator of a storage account."""

    def __init__(self, folder: Path) -> None:
        program = shutil.which("azurite-blob")
        if program is None:
            raise FileNotFoundError("azurite-blob")
        port = free_port()
        quiet = ["--silent", "--disableTelemetry", "--skipApiVersionCheck"]
        command = [program, *quiet, "--blobPort", str(port), "--location", str(folder)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        self.url = f"http://127.0.0.1:{port}/{ACCOUNT}"
        self.client = BlobServiceClient(self.url, {"account_name": ACCOUNT, "account_key": KEY}, retry_total=0)

    def answers(self) -> bool:
        """Whether it has started."""
        try:
            return bool(self.client.get_service_properties())
        except AzureError:
            return False

    def close(self) -> None:
        """Stop it."""
        self._process.terminate()
        self._process.wait()
