from __future__ import annotations

import os
from pathlib import Path

import pytest

from polyview.errors import UserError
from polyview.storage.home import check_output, open_home, replacing


def test_a_file_takes_its_place_whole(tmp_path: Path) -> None:
    path = tmp_path / "folders" / "that are made" / "table.csv"
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert not path.exists()
        assert temporary.suffix == ".csv"
    assert path.read_text() == "new"
    assert list(path.parent.iterdir()) == [path]


def test_a_write_that_fails_keeps_the_old_file_and_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("old")

    def write() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_home_is_where_the_variable_says_and_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYVIEW_HOME", str(tmp_path / "deep" / "home"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    home = open_home()
    assert home.root == tmp_path / "deep" / "home"
    assert home.root.is_dir()
    assert list(home.root.iterdir()) == []
    assert home.tracking_uri == f"sqlite:///{home.root}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking.example")
    assert home.tracking_uri == "http://tracking.example"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:hunter2@tracking.example/mlflow")
    assert home.tracking_address == "https://tracking.example/mlflow"


def test_the_home_is_outputs_here_where_nothing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POLYVIEW_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    assert open_home().root == tmp_path / "outputs"


@pytest.mark.parametrize("below", ["", "home"])
def test_a_home_that_cannot_be_written_is_one_line_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, below: str
) -> None:
    file = tmp_path / "file"
    file.touch()
    monkeypatch.setenv("POLYVIEW_HOME", str(file / below))
    with pytest.raises(UserError, match=r"the home folder cannot be written \(.+\); set POLYVIEW_HOME") as caught:
        open_home()
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_others_may_read_what_the_umask_lets_them(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        with replacing(tmp_path / "new" / "file.txt") as temporary:
            temporary.write_text("whole")
    finally:
        os.umask(before)
    assert (tmp_path / "new" / "file.txt").stat().st_mode & 0o777 == mode


@pytest.mark.parametrize("variable", ["POLYVIEW_HOME", "XDG_CACHE_HOME"])
def test_a_folder_of_a_user_whom_there_is_not_is_refused_in_one_line(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POLYVIEW_HOME", "s3://faces/of/ours")
    monkeypatch.setenv(variable, "~nosuch/data")
    with pytest.raises(UserError) as said:
        open_home()
    assert str(said.value) == f"{variable}: ~nosuch/data: there is no user nosuch; write the path in full, from / on"


def test_where_a_users_own_folder_is_not_known_a_path_below_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    # As in a container whose user has a number alone.
    def unknown(path: str) -> str:
        return path

    monkeypatch.setattr(os.path, "expanduser", unknown)
    monkeypatch.setenv("POLYVIEW_HOME", "~/outputs")
    with pytest.raises(UserError, match=r"^POLYVIEW_HOME: ~/outputs: this user's own folder is not known; write"):
        open_home()


def test_what_is_not_a_commands_own_is_not_written_over(tmp_path: Path) -> None:
    mine = tmp_path / "mine.csv"
    mine.write_text("path,subject,expression")
    own = tmp_path / "own.csv"
    own.write_text("own")

    def is_own(path: Path) -> bool:
        return path.read_text() == "own"

    check_output(own, is_own)
    check_output(tmp_path / "new" / "new.csv", is_own)
    os.mkfifo(tmp_path / "pipe")
    for place, reason in (
        (mine, "is there, and is nothing that this command writes"),
        (tmp_path / "pipe", "is there, and is nothing that this command writes"),
        (tmp_path, "is a folder"),
        (mine / "new.csv", "cannot be written"),
        (Path(), "takes the name of a file"),
    ):
        with pytest.raises(UserError, match=reason):
            check_output(place, is_own)
    assert mine.read_text() == "path,subject,expression"
