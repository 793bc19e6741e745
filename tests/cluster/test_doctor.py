from __future__ import annotations

from pathlib import Path

import pytest
from tests.ports import free_port

from polyview.cluster.doctor import Check, checks
from polyview.storage.home import Home


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Check]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        return {check.name: check for check in checks(Home(tmp_path_factory.mktemp("home")))}


def test_what_every_study_needs_is_there(found: dict[str, Check]) -> None:
    for name in ("python", "torch", "ray", "mlflow", "raster backend", "mlflow store", "home"):
        assert found[name].ok, found[name]


def test_each_opengl_platform_is_tried_by_name(found: dict[str, Check]) -> None:
    for name in ("egl", "osmesa"):
        check = found[f"opengl backend, {name}"]
        assert check.detail
        assert check.ok or "raster backend does without" in check.remedy


def test_only_what_is_not_well_has_a_remedy(found: dict[str, Check]) -> None:
    assert [check for check in found.values() if check.ok == bool(check.remedy)] == []


def test_a_home_that_cannot_be_is_a_row_of_the_table(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    found = {check.name: check for check in checks(Home(tmp_path / "file" / "home"))}
    assert not found["home"].ok
    assert "cannot be written" in found["home"].detail
    assert found["disk"].detail.endswith("free at the home")


def test_an_absent_tracking_server_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from polyview.cluster.doctor import _tracking

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    check = _tracking(Home(tmp_path))
    assert not check.ok
    assert "MLFLOW_TRACKING_URI" in check.remedy


def test_where_a_study_would_keep_what_it_needs_is_told_beforehand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from polyview.cluster.doctor import _own_folder, _temporary_folder

    monkeypatch.setenv("RAY_TMPDIR", "/tmp")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert _temporary_folder().ok
    assert _own_folder().ok
    monkeypatch.setenv("RAY_TMPDIR", f"/tmp/{'long' * 20}")
    monkeypatch.setenv("HOME", str(tmp_path / "gone"))
    assert (_temporary_folder().ok, _temporary_folder().detail) == (False, f"/tmp/{'long' * 20}")
    assert (_own_folder().ok, _own_folder().detail) == (False, str(tmp_path / "gone"))
