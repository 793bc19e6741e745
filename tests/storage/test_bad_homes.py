"""Homes that cannot be used: one line each, before anything is rendered."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from polyview.cli import main
from polyview.storage import bucket

Refused = Callable[..., str]


@pytest.fixture(autouse=True)
def _new_client() -> Iterator[None]:
    """What a client is told of credentials and address it is told once."""
    bucket.open_bucket.cache_clear()
    yield
    bucket.open_bucket.cache_clear()


@pytest.fixture
def refused(
    recipe_file: Path, store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Refused:
    """The one line that a home is refused with."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "disk"))
    monkeypatch.setenv("COLUMNS", "400")

    def refuse(home: str) -> str:
        monkeypatch.setenv("POLYVIEW_HOME", home)
        store.requests.clear()
        with pytest.raises(SystemExit) as ended:
            main(["render", str(recipe_file)])
        assert ended.value.code == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert not store.asked("PUT", "views")
        return said

    return refuse


@pytest.mark.parametrize(
    ("home", "line"),
    [
        ("s3://no-such-bucket/of/ours", "there is no such bucket; make it, or name one that there is"),
        (
            "ftp://faces/of/ours",
            "ftp://faces/of/ours: neither a folder nor s3://bucket/path or gs://bucket/path or az://",
        ),
        ("s3:/faces/of/ours", "s3:/faces/of/ours: an address has two strokes, as in s3://bucket/path"),
        ("s3:///of/ours", "s3:///of/ours: neither a folder nor s3://bucket/path"),
        ("s3://faces/../ours", "an empty part, `.` or `..` is no name in a bucket; write s3://bucket/path"),
        ("s3://faces//ours", "an empty part, `.` or `..` is no name in a bucket; write s3://bucket/path"),
        ("s3://F_A_C_E_S!/ours", "s3://F_A_C_E_S!/ours/"),
    ],
)
def test_an_address_that_leads_nowhere(refused: Refused, home: str, line: str) -> None:
    assert line in refused(home)


def test_a_bucket_that_may_not_be_written(refused: Refused, new_url: Callable[[], str], client: Any) -> None:
    url = new_url()
    name = url.split("/")[2]
    everything = {"Principal": "*", "Resource": f"arn:aws:s3:::{name}/*"}
    denied = {"Effect": "Deny", "Action": "s3:PutObject", **everything}
    client.put_bucket_policy(Bucket=name, Policy=json.dumps({"Version": "2012-10-17", "Statement": [denied]}))
    assert "these credentials may not do that (403 AccessDenied); allow them to" in refused(url)


def test_no_credentials(refused: Refused, new_url: Callable[[], str], monkeypatch: pytest.MonkeyPatch) -> None:
    url = new_url()
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert f"polyview: {url}/" in (said := refused(url))
    assert "no credentials are found; run `aws configure`, or set AWS_ACCESS_KEY_ID and" in said


def test_a_store_that_does_not_answer(
    refused: Refused, new_url: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = new_url()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert 'Could not connect to the endpoint URL: "http://127.0.0.1:9/' in refused(url)


@pytest.mark.parametrize("header", ["If-None-Match", "If-Match"])
def test_a_store_that_cannot_keep_two_writers_apart(
    refused: Refused, new_url: Callable[[], str], store: Any, monkeypatch: pytest.MonkeyPatch, header: str
) -> None:
    monkeypatch.setattr(store, "ignored", header)
    assert f"this store takes no conditional writes ({header}), by which" in refused(new_url())


def test_no_client_is_installed(refused: Refused, new_url: Callable[[], str], monkeypatch: pytest.MonkeyPatch) -> None:
    url = new_url()
    monkeypatch.setitem(sys.modules, "boto3", None)
    monkeypatch.delitem(sys.modules, "polyview.storage.s3", raising=False)
    assert f"polyview: {url}: needs the package boto3; pip install 'polyview[s3]'" in refused(url)


def test_a_disk_that_cannot_hold_the_mirror(
    refused: Refused, new_url: Callable[[], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert "cannot be written (Not a directory); set XDG_CACHE_HOME to a folder that can" in refused(new_url())
