"""Buckets on S3, or on a store that speaks its protocol.

AWS's own settings apply: credentials and region as its command line finds them, AWS_ENDPOINT_URL for other stores.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

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
from polyview.storage.bucket import Bucket, Found, Stamp, content_tag

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
_REMEDIES = {
    "NoSuchBucket": "there is no such bucket; make it, or name one that there is",
    "AccessDenied": "these credentials may not do that (403 AccessDenied); allow them to list, read, write and delete",
    "InvalidAccessKeyId": "the store does not know these credentials (403 InvalidAccessKeyId); see `aws configure`",
    "SignatureDoesNotMatch": "the secret key is not this access key's (403 SignatureDoesNotMatch); see `aws configure`",
    "ExpiredToken": "the credentials have expired (400 ExpiredToken); log in anew",
}
_REMEDIES["NoSuchKey"] = "it is gone; run this again, and it is made anew"
# To a request for headers alone the store gives no other reason than the number.
_REMEDIES |= {"403": _REMEDIES["AccessDenied"], "404": _REMEDIES["NoSuchKey"]}


class S3Bucket(Bucket):
    """A bucket of S3."""

    scheme = "s3"
    unmet = MappingProxyType({"If-None-Match": None, "If-Match": f'"{"0" * 32}"'})

    def __init__(self, name: str) -> None:
        super().__init__(name)
        with self._telling(""):
            self._client = boto3.Session().client("s3", config=_CONFIG)

    def upload(self, path: Path, key: str) -> None:
        with self._telling(key), path.open("rb") as body:
            if path.stat().st_size <= _PIECE:
                self._client.put_object(Bucket=self.name, Key=key, Body=body)
            else:
                self._client.upload_fileobj(body, self.name, key, Config=_TRANSFER)
            written = self._written(key)
            os.utime(path, (written, written))

    def put(self, key: str, body: bytes, tag: str | None) -> str:
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

    def get(self, key: str) -> Found | None:
        with self._telling(key):
            try:
                answer, body = self._fetch(Key=key)
            except ClientError as error:
                if _code(error) == "NoSuchKey":
                    return None
                raise
            headers = answer["ResponseMetadata"]["HTTPHeaders"]
            age = _seconds(headers["date"]) - _seconds(headers["last-modified"])
            return Found(body, answer["ETag"], age)

    def content(self, key: str, known: bytes | None) -> bytes | None:
        condition = {} if known is None else {"IfNoneMatch": content_tag(known)}
        with self._telling(key):
            try:
                return self._fetch(Key=key, **condition)[1]
            except ClientError as error:
                if known is not None and _status(error) == _NOT_CHANGED:
                    return known
                if _code(error) == "NoSuchKey":
                    return None
                raise

    def download(self, key: str, path: Path) -> None:
        with self._telling(key):
            written = self._written(key)  # asked first: one that is written meanwhile is then told from this file
            self._client.download_file(self.name, key, str(path), Config=_TRANSFER)
            os.utime(path, (written, written))

    def read(self, key: str, start: int, length: int) -> bytes:
        with self._telling(key):
            return self._fetch(Key=key, Range=f"bytes={start}-{start + length - 1}")[1]

    def stamps(self, prefix: str) -> dict[str, Stamp]:
        with self._telling(prefix):
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix)
            found = [one for page in pages for one in page.get("Contents", ())]
        return {one["Key"]: Stamp(one["Size"], int(one["LastModified"].timestamp())) for one in found}

    def move(self, key: str, to: str) -> None:
        with self._telling(key):
            self._client.copy({"Bucket": self.name, "Key": key}, self.name, to, Config=_TRANSFER)
        self.delete(key)

    def delete(self, key: str) -> None:
        with self._telling(key):
            self._client.delete_object(Bucket=self.name, Key=key)

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


def _status(error: ClientError) -> int:
    return int(error.response["ResponseMetadata"]["HTTPStatusCode"])


def _code(error: ClientError) -> str:
    return str(error.response["Error"]["Code"])


def _seconds(date: str) -> float:
    return parsedate_to_datetime(date).timestamp()
