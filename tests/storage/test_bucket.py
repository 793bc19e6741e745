"""What every bucket does, at whichever store it is."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.storage.clouds import ACCOUNT, KEY, google_at

from polyview.errors import OutageError, UserError
from polyview.storage import bucket as buckets
from polyview.storage.bucket import Bucket, open_bucket

ODD = ["a b", "ü#1", "100%41", "x=1&y", "[0]", "~", "a+b"]


def test_an_object_is_given_a_name_once_and_is_changed_by_who_has_seen_it(any_bucket: Bucket, prefix: str) -> None:
    key = f"{prefix}trials/a.json"
    assert any_bucket.get(key) is None
    assert any_bucket.content(key, None) is any_bucket.content(key, b"old") is None
    first = any_bucket.put(key, b"one", tag=None)
    with pytest.raises(FileExistsError):
        any_bucket.put(key, b"two", tag=None)
    found = any_bucket.get(key)
    assert found is not None
    assert (found.body, found.tag) == (b"one", first)
    second = any_bucket.put(key, b"three", tag=first)
    with pytest.raises(FileExistsError):
        any_bucket.put(key, b"four", tag=first)
    assert second != first
    assert {any_bucket.content(key, known) for known in (b"one", None, b"three")} == {b"three"}
    any_bucket.delete(key)
    any_bucket.delete(key)
    assert any_bucket.get(key) is None
    with pytest.raises(FileExistsError):
        any_bucket.put(key, b"five", tag=second)


def test_of_many_that_put_an_object_at_once_one_does(any_bucket: Bucket, prefix: str) -> None:
    def put(number: int) -> bool:
        try:
            any_bucket.put(f"{prefix}one", str(number).encode(), tag=None)
        except FileExistsError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(put, range(8))) == 1


def test_how_old_an_object_is_goes_by_the_stores_clock(any_bucket: Bucket, prefix: str) -> None:
    key, begun = f"{prefix}lock", time.monotonic()
    any_bucket.put(key, b"", tag=None)
    time.sleep(2)
    found = any_bucket.get(key)
    assert found is not None
    assert 2 - 1.1 <= found.age <= time.monotonic() - begun + 1.1  # clocks tell whole seconds
    assert [name for name in any_bucket.stamps("") if "clock" in name] == []


def test_files_go_up_and_come_down_with_their_time(any_bucket: Bucket, prefix: str, tmp_path: Path) -> None:
    content = os.urandom(9 << 20)
    (tmp_path / "made").write_bytes(content)
    (tmp_path / "none").touch()
    os.utime(tmp_path / "made", (0, 0))
    for name in ("made", "none"):
        any_bucket.upload(tmp_path / name, f"{prefix}{name}")
        any_bucket.upload(tmp_path / name, f"{prefix}{name}")
        any_bucket.download(f"{prefix}{name}", tmp_path / "copy")
        stamp = any_bucket.stamps(prefix)[f"{prefix}{name}"]
        assert (tmp_path / "copy").read_bytes() == (tmp_path / name).read_bytes()
        for path in (tmp_path / name, tmp_path / "copy"):
            assert stamp == (path.stat().st_size, int(path.stat().st_mtime))
    assert any_bucket.read(f"{prefix}made", 5_000_000, 1000) == content[5_000_000:5_001_000]


def test_names_are_what_they_are_and_those_below_a_prefix_are_found(any_bucket: Bucket, prefix: str) -> None:
    names = [f"{prefix}{name}/{name}.json" for name in ODD]
    for name in (*names, f"{prefix.rstrip('/')}-other/x"):
        any_bucket.put(name, name.encode(), tag=None)
    assert list(any_bucket.stamps(prefix)) == sorted(names)
    for name in names:
        assert any_bucket.content(name, None) == name.encode()
        any_bucket.move(name, f"{name}.old")
    assert list(any_bucket.stamps(prefix)) == sorted(f"{name}.old" for name in names)
    assert any_bucket.content(f"{names[0]}.old", None) == names[0].encode()


def test_more_objects_are_listed_than_a_page_has(any_bucket: Bucket, prefix: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: any_bucket.put(f"{prefix}{number:04}", b"", tag=None), range(1100)))
    assert len(any_bucket.stamps(prefix)) == 1100


def test_a_home_in_it_is_accepted_and_nothing_is_left_of_the_look(any_bucket: Bucket, prefix: str) -> None:
    any_bucket.check(prefix)
    assert any_bucket.stamps(prefix) == {}


def test_what_is_gone_or_never_was_is_one_line(any_bucket: Bucket, prefix: str, tmp_path: Path) -> None:
    asked: list[Callable[[], Any]] = [
        lambda: any_bucket.read(f"{prefix}none", 0, 1),
        lambda: any_bucket.download(f"{prefix}none", tmp_path / "copy"),
    ]
    for ask in asked:
        with pytest.raises(OutageError, match=f"^{any_bucket.address(prefix)}none: .* run this again, and it is made"):
            ask()
    nowhere = open_bucket(any_bucket.scheme, "there-is-no-such-bucket")
    with pytest.raises(OutageError, match="there is no such bucket; make it, or name one that there is"):
        nowhere.check(prefix)
    with pytest.raises(OutageError, match="there is no such bucket"):
        nowhere.get("key")
    with pytest.raises(OutageError, match="there is no such bucket"):
        nowhere.stamps(prefix)


@pytest.mark.parametrize(
    ("scheme", "remedy"),
    [("gs", "gcloud auth application-default login"), ("az", "set AZURE_STORAGE_ACCOUNT_NAME")],
)
def test_no_credentials(scheme: str, remedy: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in [name for name in os.environ if name.startswith(("AZURE_", "GOOGLE_", "STORAGE_EMULATOR"))]:
        monkeypatch.delenv(name)
    buckets.open_bucket.cache_clear()
    with pytest.raises(UserError) as refused:
        open_bucket(scheme, "faces").check("")
    buckets.open_bucket.cache_clear()
    said = str(refused.value)
    assert "\n" not in said
    assert "no credentials are found; " in said
    assert remedy in said


@pytest.mark.parametrize(
    ("scheme", "variable", "value"),
    [
        ("gs", "GOOGLE_SERVICE_ACCOUNT_KEY", google_at("http://127.0.0.1:9")),
        ("az", "AZURE_STORAGE_ENDPOINT", "http://127.0.0.1:9/account"),
    ],
)
def test_a_store_that_does_not_answer(scheme: str, variable: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", ACCOUNT)
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", KEY)
    monkeypatch.setenv(variable, value)
    buckets.open_bucket.cache_clear()
    begun = time.monotonic()
    with pytest.raises(OutageError, match=r"^\w\w://faces/.*127\.0\.0\.1:9") as refused:
        open_bucket(scheme, "faces").check("")
    buckets.open_bucket.cache_clear()
    assert "\n" not in str(refused.value)
    assert time.monotonic() - begun < 60
