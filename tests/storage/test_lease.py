from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from polyview.errors import UserError
from polyview.storage import lease
from polyview.storage.bucket import Bucket
from polyview.storage.home import Home, locked, replacing
from polyview.storage.lease import Lease

SECONDS = 2.0  # the store's clock tells whole seconds


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "SECONDS", SECONDS)


def hold(bucket: Bucket, key: str) -> Lease:
    """A lease whose holder has died since: nobody renews it."""
    held = Lease(bucket, key)
    held.take(wait=False)
    return held


def test_of_many_that_want_it_one_has_it_at_a_time(home: Home) -> None:
    inside: list[int] = []
    most: list[int] = []

    def work(number: int) -> None:
        with locked(home.trials / "trial" / "lock"):
            inside.append(number)
            most.append(len(inside))
            time.sleep(0.05)
            inside.remove(number)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    assert most == [1] * 6


def test_who_does_not_wait_is_refused_while_the_holder_lives(home: Home) -> None:
    path = home.studies / "study" / "lock"
    with locked(path):
        with pytest.raises(BlockingIOError), locked(path, wait=False):
            pass
        time.sleep(2 * SECONDS)  # a holder that lives keeps it for longer than a lease is good
        with pytest.raises(BlockingIOError), locked(path, wait=False):
            pass
    with locked(path, wait=False):
        pass


def test_a_dead_holders_lease_is_taken_over_by_exactly_one(any_bucket: Bucket, prefix: str) -> None:
    begun = time.monotonic()
    dead = hold(any_bucket, f"{prefix}lock")
    heirs = [Lease(any_bucket, f"{prefix}lock") for _ in range(4)]
    taken: list[Lease] = []

    def inherit(heir: Lease) -> None:
        try:
            heir.take(wait=False)
            taken.append(heir)
        except BlockingIOError:
            pass

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(inherit, heirs))
    assert time.monotonic() - begun > SECONDS / 2
    assert len(taken) == 1
    time.sleep(SECONDS)  # one that comes back must look whether it is still its own
    with pytest.raises(UserError, match="another has taken over its work"):
        dead.check()


def test_who_has_lost_the_lease_writes_nothing_more_below_it(home: Home, objects: Any) -> None:
    folder = home.trials / "trial"
    address = f"s3://{'/'.join(folder.parts[folder.parts.index('s3') + 1 :])}"
    with locked(folder / "lock"):
        with replacing(folder / "before.json") as path:
            path.write_text("1")
        ours = lease._held[-1]
        Lease(ours.bucket, ours.key)._write(ours._tag)  # as another's would lie there had this process slept
        time.sleep(SECONDS)
        with pytest.raises(UserError, match="another has taken over"), replacing(folder / "after.json") as path:
            path.write_text("2")
        with replacing(home.trials / "other.json") as path:
            path.write_text("3")
    assert set(objects(address)) == {"before.json", "lock"}
    assert not (folder / "after.json").exists()


def test_a_lease_is_kept_through_an_answer_that_is_lost(
    any_bucket: Bucket, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = hold(any_bucket, f"{prefix}lock")
    put = any_bucket.put

    def put_twice(key: str, body: bytes, tag: str | None) -> str:
        put(key, body, tag)
        return put(key, body, tag)

    monkeypatch.setattr(any_bucket, "put", put_twice)
    time.sleep(SECONDS)
    held.check()
    monkeypatch.undo()
    held.check()
