"""A bucket on S3, or on a store that speaks its protocol: objects by key, each whole or not there.

AWS's own settings apply: credentials and region as its command line finds them, AWS_ENDPOINT_URL for other stores.
"""

from __future__ import annotations

import functools
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, NamedTuple

import boto3
from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    IncompleteReadError,
    NoCredentialsError,
    ReadTimeoutError,
    ResponseStreamingError,
)
from urllib3.exceptions import HTTPError

from polyview.errors import OutageError, UserError

# Objects up to this size go up in one piece. Unless a key of KMS encrypts them, their tag is the MD5 of their content.
_PIECE = 64 << 20
_TRANSFER = TransferConfig(multipart_threshold=_PIECE, multipart_chunksize=_PIECE)
_ATTEMPTS = 5
_CONFIG = Config(
    retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
    connect_timeout=10,
    read_timeout=60,
    max_pool_connections=32,
)
_CUT_OFF = (IncompleteReadError, ReadTimeoutError, ResponseStreamingError, HTTPError)
_NOT_THERE, _NOT_CHANGED, _CONFLICTS = 404, 304, (409, 412)
# What is not so where there is an object: that there is none, or that it has this tag.
_UNMET = {"If-None-Match": None, "If-Match": f'"{"0" * 32}"'}
_REMEDIES = {
    "NoSuchBucket": "there is no such bucket; make it, or set POLYVIEW_HOME to one that there is",
    "AccessDenied": "these credentials may not do that (403 AccessDenied); allow them to list, read, write and delete",
    "InvalidAccessKeyId": "the store does not know these credentials (403 InvalidAccessKeyId); see `aws configure`",
    "SignatureDoesNotMatch": "the secret key is not this access key's (403 SignatureDoesNotMatch); see `aws configure`",
    "ExpiredToken": "the credentials have expired (400 ExpiredToken); log in anew",
}
# To a request for headers alone the store gives no other reason than the number.
_REMEDIES |= {"403": _REMEDIES["AccessDenied"], "404": "it is gone; run this again, and it is made anew"}


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


class Bucket:
    """One bucket; what its store does not do is a `UserError` of one line."""

    def __init__(self, name: str) -> None:
        self.name = name
        with self._telling(""):
            self._client = boto3.Session().client("s3", config=_CONFIG)

    def check(self, prefix: str) -> None:
        """Raises `UserError` unless objects can be written and deleted below `prefix`, and a name is given once."""
        key = f"{prefix}.probe-{secrets.token_hex(4)}"
        self.put(key, b"", tag=None)
        try:
            ignored = [header for header, tag in _UNMET.items() if not self._refuses(key, tag)]
        finally:
            self.delete(key)
        if ignored:
            raise UserError(
                f"s3://{self.name}: this store takes no conditional writes ({', '.join(ignored)}), by which two "
                "writers are kept apart; use one that does, or a home that is a folder"
            )

    def upload(self, path: Path, key: str) -> None:
        """Put a file in its place, over what may be there; the file takes on its time."""
        with self._telling(key), path.open("rb") as body:
            if path.stat().st_size <= _PIECE:
                self._client.put_object(Bucket=self.name, Key=key, Body=body)
            else:
                self._client.upload_fileobj(body, self.name, key, Config=_TRANSFER)
            written = self._written(key)
            os.utime(path, (written, written))

    def put(self, key: str, body: bytes, tag: str | None) -> str:
        """Put an object where there is none, or where that of `tag` is still there; returns the new one's tag.

        Raises `FileExistsError` where another is there.
        """
        condition = {"IfNoneMatch": "*"} if tag is None else {"IfMatch": tag}
        with self._telling(key):
            try:
                answer = self._client.put_object(Bucket=self.name, Key=key, Body=body, **condition)
            except ClientError as error:
                gone = tag is not None and _status(error) == _NOT_THERE and _code(error) != "NoSuchBucket"
                if gone or _status(error) in _CONFLICTS:
                    raise FileExistsError(self.address(key)) from None
                raise
        return str(answer["ETag"])

    def get(self, key: str, but: str | None = None) -> Found | None:
        """An object, or None if there is none; without its content where it still has the tag `but`."""
        condition = {} if but is None else {"IfNoneMatch": but}
        with self._telling(key):
            try:
                answer, body = self._fetch(Key=key, **condition)
            except ClientError as error:
                if but is not None and _status(error) == _NOT_CHANGED:
                    return Found(b"", but, 0.0)
                if _code(error) == "NoSuchKey":
                    return None
                raise
            headers = answer["ResponseMetadata"]["HTTPHeaders"]
            age = _seconds(headers["date"]) - _seconds(headers["last-modified"])
            return Found(body, answer["ETag"], age)

    def download(self, key: str, path: Path) -> None:
        """Write an object's content to a file, in parallel where it is large; the file takes on its time."""
        with self._telling(key):
            written = self._written(key)  # asked first: one that is written meanwhile is then told from this file
            self._client.download_file(self.name, key, str(path), Config=_TRANSFER)
            os.utime(path, (written, written))

    def read(self, key: str, start: int, length: int) -> bytes:
        """A part of an object's content."""
        with self._telling(key):
            return self._fetch(Key=key, Range=f"bytes={start}-{start + length - 1}")[1]

    def stamps(self, prefix: str) -> dict[str, Stamp]:
        """All keys that begin so, in their order, with their objects' stamps."""
        with self._telling(prefix):
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix)
            found = [one for page in pages for one in page.get("Contents", ())]
        return {one["Key"]: Stamp(one["Size"], int(one["LastModified"].timestamp())) for one in found}

    def move(self, key: str, to: str) -> None:
        """Give an object another key."""
        with self._telling(key):
            self._client.copy({"Bucket": self.name, "Key": key}, self.name, to, Config=_TRANSFER)
        self.delete(key)

    def delete(self, key: str) -> None:
        """Take an object away, if there is one."""
        with self._telling(key):
            self._client.delete_object(Bucket=self.name, Key=key)

    def address(self, key: str) -> str:
        """Where an object is, as a URL."""
        return f"s3://{self.name}/{key}"

    def _refuses(self, key: str, tag: str | None) -> bool:
        try:
            self.put(key, b"", tag)
        except FileExistsError:
            return True
        return False

    def _fetch(self, **asked: str) -> tuple[dict[str, Any], bytes]:
        """An answer and its content, asked for anew where that is cut off: botocore's own attempts end before it."""
        attempts = _ATTEMPTS
        while True:
            attempts -= 1
            answer = self._client.get_object(Bucket=self.name, **asked)
            try:
                return answer, answer["Body"].read()
            except _CUT_OFF:
                if not attempts:
                    raise

    def _written(self, key: str) -> int:
        return int(self._client.head_object(Bucket=self.name, Key=key)["LastModified"].timestamp())

    @contextmanager
    def _telling(self, key: str) -> Iterator[None]:
        """Says in one line what the store, or the way to it, has refused."""
        try:
            yield
        except ClientError as error:
            code = _code(error)
            reason = _REMEDIES.get(code, f"the store refuses ({_status(error)} {code})")
            raise OutageError(f"{self.address(key)}: {reason}") from None
        except NoCredentialsError:
            raise UserError(
                f"{self.address(key)}: no credentials are found; run `aws configure`, or set AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY"
            ) from None
        except (BotoCoreError, Boto3Error, HTTPError) as error:
            said = " ".join(str(error).split())
            raise OutageError(f"{self.address(key)}: {type(error).__name__}: {said}") from None


@functools.cache
def open_bucket(name: str) -> Bucket:
    """The bucket of a name; its connections are shared by all threads of this process."""
    return Bucket(name)


def _status(error: ClientError) -> int:
    return int(error.response["ResponseMetadata"]["HTTPStatusCode"])


def _code(error: ClientError) -> str:
    return str(error.response["Error"]["Code"])


def _seconds(date: str) -> float:
    return parsedate_to_datetime(date).timestamp()
