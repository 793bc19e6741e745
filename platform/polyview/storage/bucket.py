"""Buckets: objects by key, each whole or not there, and put only where the one that was seen before still is."""

from __future__ import annotations

import functools
import hashlib
import secrets
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

from polyview.errors import UserError

SCHEMES = ("s3", "gs", "az")
"""What addresses of buckets begin with: AWS and what speaks its protocol, Google, Azure (where it is a container)."""


@dataclass(frozen=True)
class Found:
    """A small object: what is in it, its tag, and how long ago it was written, in seconds by the store's own clock."""

    body: bytes
    tag: str
    age: float


class Stamp(NamedTuple):
    """By which one content of an object is told from the next: its bytes, and the second in which it was written."""

    size: int
    written: int


class Bucket(ABC):
    """One bucket; what its store does not do is a `UserError` of one line."""

    scheme: ClassVar[str]
    unmet: ClassVar[Mapping[str, str | None]]
    """Conditions that no object meets, as the store calls them: that there is none (None), or that its tag is this."""

    def __init__(self, name: str) -> None:
        self.name = name

    def address(self, key: str) -> str:
        """Where an object is, as a URL."""
        return f"{self.scheme}://{self.name}/{key}"

    def check(self, prefix: str) -> None:
        """Raises `UserError` unless objects can be written and deleted below `prefix`, and a name is given once."""
        key = f"{prefix}.probe-{secrets.token_hex(4)}"
        self.put(key, b"", tag=None)
        try:
            ignored = [condition for condition, tag in self.unmet.items() if not self._refuses(key, tag)]
        finally:
            self.delete(key)
        if ignored:
            raise UserError(
                f"{self.scheme}://{self.name}: this store takes no conditional writes ({', '.join(ignored)}), by which "
                "two writers are kept apart; use one that does, or a home that is a folder"
            )

    @abstractmethod
    def upload(self, path: Path, key: str) -> None:
        """Put a file in its place, over what may be there; the file takes on its time."""

    @abstractmethod
    def put(self, key: str, body: bytes, tag: str | None) -> str:
        """Put an object where there is none, or where that of `tag` is still there; returns the new one's tag.

        Raises `FileExistsError` where another is there.
        """

    @abstractmethod
    def get(self, key: str) -> Found | None:
        """An object, or None if there is none."""

    @abstractmethod
    def content(self, key: str, known: bytes | None) -> bytes | None:
        """What is in an object, or None if there is none; a store that can tell does not send again what is `known`."""

    @abstractmethod
    def download(self, key: str, path: Path) -> None:
        """Write an object's content to a file; the file takes on its time."""

    @abstractmethod
    def read(self, key: str, start: int, length: int) -> bytes:
        """A part of an object's content."""

    @abstractmethod
    def stamps(self, prefix: str) -> dict[str, Stamp]:
        """All keys below a prefix, which is empty or ends in a stroke, in their order, with their objects' stamps."""

    @abstractmethod
    def move(self, key: str, to: str) -> None:
        """Give an object another key."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Take an object away, if there is one."""

    def _refuses(self, key: str, tag: str | None) -> bool:
        try:
            self.put(key, b"", tag)
        except FileExistsError:
            return True
        return False


def content_tag(content: bytes) -> str:
    """The ETag of an object of this content in the stores that make it of the content: its quoted MD5."""
    return f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'


@functools.cache
def open_bucket(scheme: str, name: str) -> Bucket:
    """The bucket of a name; its connections are shared by all threads of this process.

    Raises `ModuleNotFoundError` where the store's client is not installed.
    """
    if scheme == "s3":
        from polyview.storage.s3 import S3Bucket

        return S3Bucket(name)
    from polyview.storage.google_azure import AzureContainer, GoogleBucket

    return {"gs": GoogleBucket, "az": AzureContainer}[scheme](name)
