"""Faces that lie in a bucket."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from azure.storage.blob import BlobServiceClient
from tests.storage.clouds import ACCOUNT, KEY

from polyview.corpus.datasets import synthetic
from polyview.corpus.scan import scan
from polyview.errors import UserError
from polyview.recipe import Corpus, Experiment, Generator, load_study, to_yaml, with_overrides
from polyview.rendering.cameras import cameras
from polyview.rendering.pipeline import ShardWriter
from polyview.rendering.store import ViewStore, finish_part
from polyview.storage import mirror
from polyview.storage.bucket import open_bucket
from polyview.storage.mirror import fetch_all, fetch_once, resolve

PATTERN = "{subject}/{expression}.obj"
EXPRESSIONS = ("happiness", "sadness")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two people's meshes, each with a texture that its material names."""
    folder = tmp_path_factory.mktemp("faces")
    corpus = Corpus(dataset="synthetic", expressions=EXPRESSIONS, generator=Generator(subjects=2, sequences=1))
    for row in scan(corpus).manifest.frame.iter_rows(named=True):
        mesh = synthetic.load(row["path"])
        path = folder / row["subject"] / f"{row['expression']}.obj"
        path.parent.mkdir(exist_ok=True)
        trimesh.Trimesh(mesh.vertices, mesh.faces, vertex_colors=mesh.colors, process=False).export(path)
    return folder


def upload(client: Any, folder: Path, bucket: str, prefix: str) -> None:
    """What a user's own tools would copy there, and what a cloud's page adds for folders."""
    for path in folder.rglob("*"):
        key = f"{prefix}{path.relative_to(folder).as_posix()}"
        if path.is_dir():
            client.put_object(Bucket=bucket, Key=f"{key}/", Body=b"")
        else:
            client.upload_file(str(path), bucket, key)


@pytest.fixture
def address(
    new_url: Callable[[], str], client: Any, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> str:
    """Where the dataset lies in a bucket; this machine's disk is empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "disk"))
    url = f"{new_url().removesuffix('/of/ours')}/data/faces"
    upload(client, dataset, url.split("/")[2], "data/faces/")
    return url


def corpus_at(root: str | Path) -> Corpus:
    return Corpus(dataset="folder", root=str(root), pattern=PATTERN, expressions=EXPRESSIONS)


def test_faces_in_a_bucket_are_those_of_the_folder_that_was_copied_there(address: str, dataset: Path) -> None:
    there, here = scan(corpus_at(f"{address}/")), scan(corpus_at(dataset))
    assert there.manifest.root == address
    assert there.manifest.fingerprint == here.manifest.fingerprint
    assert there.manifest.frame.equals(here.manifest.frame)
    assert (there.remarks, there.skipped.rows()) == (here.remarks, here.skipped.rows())
    assert corpus_at(f"{address}/") == corpus_at(address)


def test_they_are_drawn_as_those_of_the_folder_are(
    address: str, dataset: Path, tiny: Experiment, tmp_path: Path
) -> None:
    found, rig = [], cameras(tiny.rendering.views)
    for name, root in (("there", address), ("here", dataset)):
        manifest = scan(corpus_at(root)).manifest
        shutil.rmtree(tmp_path / "disk", ignore_errors=True)  # as on another machine, which draws and did not scan
        part = tmp_path / name
        manifest.save(part / "manifest.parquet")
        rows = manifest.frame.select("sample_id", "path", "texture").to_dict(as_series=False)
        write = ShardWriter(part, manifest.root, manifest.geometry, tiny.rendering, rig, manifest.fingerprint)
        assert write({"shard": 0, **rows})["error"] == ""
        finish_part(part, manifest, tiny.rendering, rig, 1)
        found.append(ViewStore.open(part).gather(np.arange(4), rig))
    np.testing.assert_array_equal(*found)
    assert found[0].std() > 10


def test_a_machine_asks_once_what_a_corpus_has_however_many_of_its_processes_draw(
    address: str, store: Any, tmp_path: Path
) -> None:
    def asked() -> int:
        return len([path for verb, path in store.requests if verb == "GET" and path.count("/") < 2])

    fetch_once(resolve(address), "first")
    before = asked()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: fetch_once(resolve(address), "first"), range(4)))
    assert asked() == before
    fetch_once(resolve(address), "second")
    assert asked() == before + 1
    assert len(list(tmp_path.rglob("*.obj"))) == 4


def test_what_is_changed_or_taken_away_there_is_here(address: str, client: Any, dataset: Path) -> None:
    bucket, before = address.split("/")[2], scan(corpus_at(address)).manifest
    subjects = sorted(path.name for path in dataset.iterdir())
    one, other = (f"data/faces/{subject}/happiness.obj" for subject in subjects)
    client.copy({"Bucket": bucket, "Key": one}, bucket, other)
    changed = scan(corpus_at(address))
    assert changed.manifest.fingerprint != before.fingerprint
    assert any("there several times" in remark for remark in changed.remarks)
    client.delete_object(Bucket=bucket, Key=other)
    assert len(scan(corpus_at(address)).manifest) == len(before) - 1


def test_what_a_clouds_pages_make_for_folders_is_no_file(
    bucket_address: str, client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "disk"))
    open_bucket.cache_clear()
    for name, body in (("", b""), ("empty/", b""), ("a/", b""), ("a/x.obj", b"v 0 0 0\n"), ("a/none.mtl", b"")):
        if bucket_address.startswith("az://"):
            at = BlobServiceClient(os.environ["AZURE_STORAGE_ENDPOINT"], {"account_name": ACCOUNT, "account_key": KEY})
            at.get_blob_client("faces", f"pages/{name}").upload_blob(body)
        else:
            client.put_object(Bucket=bucket_address.split("/")[2], Key=f"pages/{name}", Body=body)
    folder = resolve(f"{bucket_address}/pages")
    fetch_all(folder)
    fetched = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    assert {path.relative_to(folder).as_posix(): path.read_bytes() for path in fetched} == {
        "a/x.obj": b"v 0 0 0\n",
        "a/none.mtl": b"",
    }
    open_bucket.cache_clear()


@pytest.mark.parametrize("name", ["../../outside.obj", "a/../../outside.obj", "/outside.obj", "a//outside.obj", "."])
def test_an_object_whose_name_leads_out_of_the_folder_is_passed_over(
    name: str, address: str, client: Any, tmp_path: Path
) -> None:
    before = len(scan(corpus_at(address)).manifest)
    client.put_object(Bucket=address.split("/")[2], Key=f"data/faces/{name}", Body=b"v 0 0 0\n")
    assert len(scan(corpus_at(address)).manifest) == before
    assert not list(tmp_path.rglob("outside.obj"))


def test_a_place_where_nothing_is_and_a_bucket_that_there_is_not(address: str) -> None:
    nothing = re.escape(f"corpus.root: {address}/none holds nothing; set it to where folder lies")
    with pytest.raises(UserError, match=nothing):
        scan(corpus_at(f"{address}/none"))
    with pytest.raises(UserError, match=r"^corpus.root: s3://no-such-bucket/faces/: there is no such bucket"):
        scan(corpus_at("s3://no-such-bucket/faces"))


def test_a_folder_that_becomes_a_file_is_followed_and_of_all_that_is_gone_nothing_stays(
    address: str, client: Any, tmp_path: Path
) -> None:
    bucket, corpus = address.split("/")[2], f"{address}/sub"
    client.put_object(Bucket=bucket, Key="data/faces/sub/a/b.obj", Body=b"v 0 0 0\n")
    fetch_all(resolve(corpus))
    client.delete_object(Bucket=bucket, Key="data/faces/sub/a/b.obj")
    client.put_object(Bucket=bucket, Key="data/faces/sub/a", Body=b"a file")
    fetch_all(resolve(corpus))
    assert [path.read_bytes() for path in tmp_path.rglob("sub/a")] == [b"a file"]
    client.delete_object(Bucket=bucket, Key="data/faces/sub/a")
    with pytest.raises(UserError, match="holds nothing"):
        scan(corpus_at(corpus))


def test_objects_that_no_disk_can_hold_are_told_in_one_line(address: str, client: Any) -> None:
    client.put_object(Bucket=address.split("/")[2], Key=f"data/faces/{'x' * 300}.obj", Body=b"v 0 0 0\n")
    with pytest.raises(UserError, match=f"^corpus.root: {address} cannot be kept as files here: .*too long"):
        scan(corpus_at(address))


@pytest.mark.parametrize("home", ["", "/home", "/.."])
def test_faces_and_a_home_that_lie_in_one_another_are_refused(
    home: str, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = {"": address, "/home": f"{address}/home", "/..": address.rpartition("/")[0]}[home]
    monkeypatch.setenv("POLYVIEW_HOME", inside)
    with pytest.raises(UserError, match=f"^corpus.root: {address} and the home, {inside}, lie in one another"):
        scan(corpus_at(address))


def test_containers_of_one_name_in_two_accounts_have_a_mirror_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    found = []
    for account in ("one", "two"):
        monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", account)
        found.append(resolve("az://faces/home"))
        assert mirror.address(found[-1]) == "az://faces/home"
    assert found[0] != found[1]


@pytest.mark.parametrize(
    ("root", "line"),
    [
        ("s3:/bucket/faces", "an address has two strokes, as in s3://bucket/path"),
        ("ftp://bucket/faces", "neither a folder nor s3://bucket/path"),
        ("s3://bucket/../faces", "an empty part, `.` or `..` is no name in a bucket"),
    ],
)
def test_an_address_that_leads_nowhere_is_told_with_its_key(tiny: Experiment, root: str, line: str) -> None:
    with pytest.raises(UserError, match=f"corpus.root.*{re.escape(root)}: {re.escape(line)}"):
        with_overrides(tiny, {"corpus.dataset": "folder", "corpus.root": root, "corpus.pattern": PATTERN})


def study_of(folder: Path, tiny: Experiment, root: str) -> Path:
    """A study whose only variant has its faces elsewhere."""
    changes = {"corpus.dataset": "folder", "corpus.root": "s3://bucket/faces", "corpus.pattern": PATTERN}
    (folder / "recipe.yaml").write_text(to_yaml(with_overrides(tiny, changes)))
    path = folder / "study.yaml"
    path.write_text(
        "name: study\nexperiment: recipe.yaml\nseeds: [0]\nmetric: knn/accuracy\n"
        f"variants: {{elsewhere: {{corpus.root: '{root}'}}}}\n"
    )
    return path


@pytest.mark.parametrize("root", ["s3://bucket/others", "gs://bucket/faces", "az://container/faces/"])
def test_a_variant_may_have_its_faces_in_a_bucket(root: str, tiny: Experiment, tmp_path: Path) -> None:
    study = load_study(study_of(tmp_path, tiny, root))
    changed = with_overrides(study.experiment, study.files.settled(study.variants["elsewhere"]))
    assert changed.corpus.root == root.rstrip("/")


def test_an_address_of_a_variant_that_leads_nowhere_is_told_with_its_key(tiny: Experiment, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"study.yaml: variants.elsewhere.corpus.root: s3:/bucket: an address has two"):
        load_study(study_of(tmp_path, tiny, "s3:/bucket"))
