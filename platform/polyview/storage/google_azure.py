"""Buckets at Google, and containers of an Azure account, both by obstore.

The stores' own settings apply: Google's default credentials or GOOGLE_SERVICE_ACCOUNT, AZURE_STORAGE_ACCOUNT_NAME and
AZURE_STORAGE_ACCOUNT_KEY, or the role of the machine.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import time
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import obstore
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    NotModifiedError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)
from obstore.store import AzureStore, GCSStore

from polyview.errors import OutageError, UserError
from polyview.storage.bucket import Bucket, Found, Stamp, content_tag

if TYPE_CHECKING:
    from obstore import GetResult

_PIECE = 8 << 20
_RETRIES: Any = {
    "max_retries": 4,
    "retry_timeout": timedelta(seconds=45),
    "backoff": {"init_backoff": timedelta(seconds=0.2), "max_backoff": timedelta(seconds=5), "base": 2},
}
# An address without encryption is there only where a user names one.
_CLIENT: Any = {"connect_timeout": "5s", "timeout": "120s", "allow_http": True}
_NO_CREDENTIALS = re.compile(r"token request|MissingAccount")
_FORBIDDEN = re.compile(r"status code: 40[13] ")
_NO_BUCKET = ("NoSuchBucket", "ContainerNotFound")


class _ObjectStore(Bucket):
    """What both have in common. A tag is JSON of an object's ETag and its version, of which each store compares one."""

    credentials: str
    """How a user makes the store know them."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._ahead: float | None = None
        """By how much the store's clock is ahead of this process's, which no user sets."""
        with self._telling(""):
            self._store = self._open()

    @abstractmethod
    def _open(self) -> Any:
        """obstore's client of this bucket."""

    def upload(self, path: Path, key: str) -> None:
        with self._telling(key):
            obstore.put(self._store, key, path, chunk_size=_PIECE)
            written = self._written(key)
        os.utime(path, (written, written))

    def put(self, key: str, body: bytes, tag: str | None) -> str:
        mode: Any = "create" if tag is None else json.loads(tag)
        with self._telling(key):
            try:
                return _tag(obstore.put(self._store, key, body, mode=mode, use_multipart=False))
            except (AlreadyExistsError, PreconditionError):
                raise FileExistsError(self.address(key)) from None
            except FileNotFoundError as error:
                if tag is None or _code(error) in _NO_BUCKET:
                    raise
                raise FileExistsError(self.address(key)) from None

    def get(self, key: str) -> Found | None:
        with self._telling(key):
            answer = self._answer(key)
            if answer is None:
                return None
            age = self._now(key) - answer.meta["last_modified"].timestamp()
            return Found(bytes(answer.bytes()), _tag(answer.meta), age)

    def content(self, key: str, known: bytes | None) -> bytes | None:
        # Azure's tags are made of something else, so it always sends.
        options: Any = {} if known is None else {"if_none_match": content_tag(known)}
        with self._telling(key):
            try:
                answer = self._answer(key, options)
            except NotModifiedError:
                return known
            return None if answer is None else bytes(answer.bytes())

    def download(self, key: str, path: Path) -> None:
        with self._telling(key), path.open("wb") as file:
            answer = obstore.get(self._store, key)
            for piece in answer.stream(min_chunk_size=_PIECE):
                file.write(piece)
        written = int(answer.meta["last_modified"].timestamp())
        os.utime(path, (written, written))

    def read(self, key: str, start: int, length: int) -> bytes:
        with self._telling(key):
            return bytes(obstore.get_range(self._store, key, start=start, length=length))

    def stamps(self, prefix: str) -> dict[str, Stamp]:
        with self._telling(prefix):
            listed = [one for page in obstore.list(self._store, prefix or None) for one in page]
            found = [one for one in listed if not self._stands_for_a_folder(one)]
        stamps = {one["path"]: Stamp(one["size"], int(one["last_modified"].timestamp())) for one in found}
        return dict(sorted(stamps.items()))

    def move(self, key: str, to: str) -> None:
        with self._telling(key):
            obstore.copy(self._store, key, to)
        self.delete(key)

    def delete(self, key: str) -> None:
        with self._telling(key), suppress(FileNotFoundError):
            obstore.delete(self._store, key)

    def _answer(self, key: str, options: Any = None) -> GetResult | None:
        try:
            return obstore.get(self._store, key, options=options)
        except FileNotFoundError as error:
            if _code(error) in _NO_BUCKET:
                raise
            return None

    def _stands_for_a_folder(self, listed: Any) -> bool:
        """Whether its name ends in a stroke, which obstore leaves out: then nothing is there by the name that it says.

        A cloud's own pages make such empty objects. Leases are empty too, and hidden: for them nothing is asked.
        """
        if listed["size"] or listed["path"].rpartition("/")[2].startswith("."):
            return False
        try:
            obstore.head(self._store, listed["path"])
        except FileNotFoundError:
            return True
        return False

    def _written(self, key: str) -> int:
        return int(obstore.head(self._store, key)["last_modified"].timestamp())

    def _now(self, key: str) -> float:
        """The time by the clock of the store, in seconds; it tells that of objects alone: one is put beside `key`."""
        if self._ahead is None:
            probe = f"{key}.clock-{secrets.token_hex(4)}"
            obstore.put(self._store, probe, b"", use_multipart=False)
            try:
                self._ahead = obstore.head(self._store, probe)["last_modified"].timestamp() - _uptime()
            finally:
                obstore.delete(self._store, probe)
        return self._ahead + _uptime()

    @contextmanager
    def _telling(self, key: str) -> Iterator[None]:
        """Says in one line what the store, or the way to it, has refused."""
        try:
            yield
        except FileExistsError:
            raise
        except (BaseError, FileNotFoundError, ValueError) as error:
            raise self._refusal(key, error) from None

    def _refusal(self, key: str, error: Exception) -> UserError:
        # To a request for a list obstore tells all that is refused as one sort of error: its code says which it is.
        code = _code(error)
        if code in _NO_BUCKET:
            reason = "there is no such bucket; make it, or name one that there is"
        elif isinstance(error, FileNotFoundError):
            reason = "it is gone; run this again, and it is made anew"
        elif _NO_CREDENTIALS.search(str(error)):
            return UserError(f"{self.address(key)}: no credentials are found; {self.credentials}")
        elif isinstance(error, PermissionDeniedError | UnauthenticatedError) or _FORBIDDEN.search(str(error)):
            reason = (
                f"these credentials may not do that ({code}); allow them to list, read, write and delete, or "
                f"{self.credentials}"
            )
        else:
            reason = f"{type(error).__name__}: {_said(error)}"
        return OutageError(f"{self.address(key)}: {reason}")


class GoogleBucket(_ObjectStore):
    """A bucket of Google's storage."""

    scheme = "gs"
    unmet = MappingProxyType(
        {"x-goog-if-generation-match: 0": None, "x-goog-if-generation-match: 1": '{"version": "1"}'}
    )
    credentials = "run `gcloud auth application-default login`, or set GOOGLE_SERVICE_ACCOUNT to a key's file"

    def _open(self) -> GCSStore:
        return GCSStore(self.name, client_options=_CLIENT, retry_config=_RETRIES)


class AzureContainer(_ObjectStore):
    """A container of the storage account that AZURE_STORAGE_ACCOUNT_NAME names."""

    scheme = "az"
    unmet = MappingProxyType({"If-None-Match": None, "If-Match": '{"e_tag": "0x0"}'})
    credentials = "set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY"

    def _open(self) -> AzureStore:
        return AzureStore(self.name, client_options=_CLIENT, retry_config=_RETRIES)


def _uptime() -> float:
    """A clock that nobody sets, and that goes on while a machine sleeps where there is such a one."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def _tag(answer: Any) -> str:
    return json.dumps({name: answer[name] for name in ("e_tag", "version") if answer[name] is not None})


def _code(error: Exception) -> str:
    """What the store calls it, in the XML that its answer is."""
    found = re.search(r"<Code>(\w+)</Code>", str(error))
    return found[1] if found else type(error).__name__


def _said(error: Exception) -> str:
    """The first paragraph of what obstore says; below are its own structures."""
    return " ".join(str(error).partition("\n\nDebug source")[0].split())
