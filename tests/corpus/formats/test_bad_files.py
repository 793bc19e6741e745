"""Files that are broken, by accident or on purpose: a reason each, and never more than that."""

from __future__ import annotations

import base64
import io
import json
import re
import resource
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from tests.corpus.on_disk import write_bnd, write_bnt, write_wrl

from polyview.corpus.formats.landmarks import read_bnd, read_lm3
from polyview.corpus.formats.limits import LARGEST_FACES, LARGEST_FILE
from polyview.corpus.load import load_mesh
from polyview.corpus.mesh import MeshError

CASES = settings(
    max_examples=500,
    deadline=5000,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
MOST_MEMORY = 400 << 10
"""KiB by which reading thousands of broken files may raise this process's peak."""
BALL = trimesh.creation.icosphere(subdivisions=1, radius=80)
WILD = [
    *(b'nan inf -inf 1e999 -1 0 2147483648 4294967295 99999999999999999999 1.5 0x10 # ] } { [ " / // -'.split()),
    *(b"../../etc/passwd", b"/etc/passwd", b"\x00\xff\x00", b"\n\n", b" " * 50),
]
WORDS = [struct.pack("<I", word) for word in (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x7FC00000, 0x7F800000)]


def textured() -> trimesh.Trimesh:
    ball = BALL.copy()
    ball.visual = trimesh.visual.TextureVisuals(
        uv=ball.vertices[:, :2] / 160 + 0.5, image=Image.new("RGB", (4, 4), (200, 100, 50))
    )
    return ball


def sound_files() -> dict[str, bytes]:
    """A good file of each format."""
    gltf = BALL.export(file_type="gltf")
    tree = json.loads(gltf["model.gltf"])
    for buffer in tree["buffers"]:
        buffer["uri"] = "data:application/octet-stream;base64," + base64.b64encode(gltf[buffer["uri"]]).decode()
    return {
        "obj": b"mtllib face.mtl\nusemtl skin\n" + BALL.export(file_type="obj").encode(),
        "ply": BALL.export(file_type="ply"),
        "ascii.ply": BALL.export(file_type="ply", encoding="ascii"),
        "stl": BALL.export(file_type="stl"),
        "ascii.stl": BALL.export(file_type="stl_ascii").encode(),
        "off": BALL.export(file_type="off").encode(),
        "glb": textured().export(file_type="glb"),
        "gltf": json.dumps(tree).encode(),
    }


SOUND = sound_files()


@pytest.fixture(scope="module", autouse=True)
def _little_memory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("sound")
    for name, data in SOUND.items():  # compiles, which takes seconds the first time
        (folder / f"face.{name}").write_bytes(data)
        load_mesh(f"face.{name}", None, str(folder))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MOST_MEMORY


@st.composite
def broken(draw: st.DrawFn, sound: bytes) -> bytes:
    """The file with a few faults of the kinds that happen, and of the kinds that are made."""
    data = sound
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, max(len(data) - 1, 0)))
        match draw(st.sampled_from(["cut", "flip", "drop", "word", "number", "insert", "repeat"])):
            case "cut":
                data = data[:place]
            case "flip" if data:
                data = data[:place] + bytes([data[place] ^ (1 << draw(st.integers(0, 7)))]) + data[place + 1 :]
            case "drop":
                data = data[:place] + data[place + draw(st.integers(1, 20)) :]
            case "word":
                data = data[:place] + draw(st.sampled_from(WORDS)) + data[place + 4 :]
            case "insert":
                data = data[:place] + draw(st.sampled_from(WILD)) + data[place:]
            case "repeat":
                data = data[:place] + data[place : place + 200] * draw(st.integers(2, 5)) + data[place:]
            case "number":
                numbers = list(re.finditer(rb"-?\d+(\.\d+)?", data[:4000]))
                if numbers:
                    number = draw(st.sampled_from(numbers))
                    data = data[: number.start()] + draw(st.sampled_from(WILD)) + data[number.end() :]
    return data


def read_or_refuse(folder: Path, name: str, data: bytes) -> None:
    (folder / name).write_bytes(data)
    reason = "sound"
    try:
        load_mesh(name, None, str(folder)).check()
    except MeshError as error:
        reason = str(error)
    assert len(reason.splitlines()) == 1


@pytest.mark.parametrize("name", list(SOUND))
@CASES
@given(data=st.data())
def test_broken_files_of_every_format(tmp_path: Path, name: str, data: st.DataObject) -> None:
    read_or_refuse(tmp_path, f"face.{name}", data.draw(broken(SOUND[name])))


@CASES
@given(data=st.data(), quads=st.booleans())
def test_broken_wrl(tmp_path: Path, data: st.DataObject, quads: bool) -> None:
    file = write_wrl(tmp_path / "sound.wrl", "face.png", quads=quads)
    read_or_refuse(tmp_path, "face.wrl", data.draw(broken(file.read_bytes())))


@CASES
@given(data=st.data())
def test_broken_bnt(tmp_path: Path, data: st.DataObject) -> None:
    file = write_bnt(tmp_path / "sound.bnt")
    read_or_refuse(tmp_path, "face.bnt", data.draw(broken(file.read_bytes())))


@CASES
@given(data=st.data())
def test_broken_landmarks(tmp_path: Path, data: st.DataObject) -> None:
    lm3 = b"22 landmarks:\n" + b"".join(b"Nose tip\n%d 2.5 3e1\n" % row for row in range(22))
    for read, whole in ((read_bnd, write_bnd(tmp_path / "face.bnd").read_bytes()), (read_lm3, lm3)):
        with suppress(MeshError):
            read(data.draw(broken(whole)))


@CASES
@given(
    garbage=st.binary(max_size=300), suffix=st.sampled_from(["obj", "wrl", "bnt", "ply", "stl", "off", "glb", "gltf"])
)
def test_garbage(tmp_path: Path, garbage: bytes, suffix: str) -> None:
    heads = {"wrl": b"#VRML V2.0 utf8\n", "ply": b"ply\n", "off": b"OFF\n", "glb": b"glTF\x02\0\0\0"}
    read_or_refuse(tmp_path, f"face.{suffix}", heads.get(suffix, b"") + garbage)


def refused(folder: Path, name: str, data: bytes) -> str:
    (folder / name).write_bytes(data)
    with pytest.raises(MeshError) as error:
        load_mesh(name, None, str(folder))
    return str(error.value)


def ply_header(vertices: int, faces: int) -> bytes:
    return (
        f"ply\nformat binary_little_endian 1.0\nelement vertex {vertices}\nproperty float x\nproperty float y\n"
        f"property float z\nelement face {faces}\nproperty list uchar int vertex_indices\nend_header\n"
    ).encode()


def test_counts_are_held_against_the_file(tmp_path: Path) -> None:
    assert "declares 1000000000000" in refused(tmp_path, "a.ply", ply_header(10**12, 1))
    assert "declares 1000000" in refused(tmp_path, "b.off", b"OFF\n1000000 1 0\n0 0 0\n")
    assert "is not a count" in refused(tmp_path, "c.ply", ply_header(3, 1).replace(b"vertex 3", b"vertex -3"))
    grid = struct.pack("<HHdHI", 65535, 65535, -1e9, 0, 5 * 65535 * 65535 & 0xFFFFFFFF)
    assert "the file declares" in refused(tmp_path, "d.bnt", grid)
    assert "the file is cut" in refused(tmp_path, "e.bnt", struct.pack("<HHdHI", 1000, 1000, -1e9, 0, 5_000_000))


def test_a_mesh_of_ten_million_faces_is_refused(tmp_path: Path) -> None:
    many = 10_000_000
    reason = f"{many} faces, more than the {LARGEST_FACES} that a mesh may have"
    assert refused(tmp_path, "a.ply", ply_header(3, many)) == reason
    assert refused(tmp_path, "b.stl", bytes(80) + struct.pack("<I", many)) == reason
    assert refused(tmp_path, "c.off", b"OFF\n3 %d 0\n" % many) == reason
    assert refused(tmp_path, "d.obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\n" + b"f 1 2 3\n" * many) == reason


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "large.obj").open("wb") as file:
        file.truncate(LARGEST_FILE + 1)
    with pytest.raises(MeshError, match=r"256 MiB, larger than"):
        load_mesh("large.obj", None, str(tmp_path))


def glb(tree: dict[str, Any]) -> bytes:
    text = json.dumps({"asset": {"version": "2.0"}, **tree}).encode()
    text += b" " * (-len(text) % 4)
    chunk = struct.pack("<I4s", len(text), b"JSON") + text
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunk)) + chunk


def accessor(count: object, kind: str = "VEC3") -> dict[str, object]:
    return {"componentType": 5126, "count": count, "type": kind}


MESH = {"primitives": [{"attributes": {"POSITION": 0}}]}


@pytest.mark.parametrize(
    ("tree", "reason"),
    [
        ({"accessors": [accessor(10**10)]}, "its arrays take"),
        ({"accessors": [accessor(10**6, "MAT4")] * 100}, "its arrays take"),
        ({"accessors": [accessor(-1)]}, "an accessor of -1 items"),
        ({"accessors": [accessor(1e300)]}, "an accessor of 1e+300 items"),
        ({"nodes": [{"children": [1, 1]}, {}]}, "not a tree"),
        ({"nodes": [{"children": [1]}, {"children": [0]}], "scenes": [{"nodes": [0]}]}, ""),
        ({"nodes": [{}] * 2000}, "not a tree of at most 1000"),
        (
            {"accessors": [accessor(60_000)], "meshes": [MESH], "nodes": [{"mesh": 0}] * 900},
            "18000000 faces, more than",
        ),
        (
            {
                "accessors": [accessor(3)],
                "meshes": [MESH],
                "skins": [{"joints": [0] * 200_000}],
                "nodes": [{"mesh": 0, "skin": 0}],
            },
            "200000 joints of its parts, more than",
        ),
    ],
)
def test_bombs_of_gltf(tmp_path: Path, tree: dict[str, Any], reason: str) -> None:
    assert reason in refused(tmp_path, "bomb.glb", glb(tree))
    assert reason in refused(tmp_path, "bomb.gltf", json.dumps({"asset": {"version": "2.0"}, **tree}).encode())


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


@pytest.mark.parametrize("suffix", ["obj", "wrl", "bnt", "ply", "stl", "off", "glb", "gltf", "obj.gz"])
def test_a_pointer_of_git_lfs_is_told_with_its_remedy(tmp_path: Path, suffix: str) -> None:
    assert "git lfs pull" in refused(tmp_path, f"face.{suffix}", POINTER)


def test_a_picture_that_is_a_pointer_of_git_lfs_is_told_with_its_remedy(tmp_path: Path) -> None:
    (tmp_path / "skin.png").write_bytes(POINTER)
    BALL.export(tmp_path / "face.ply")
    with pytest.raises(MeshError, match=r"texture skin\.png is a pointer of git-lfs: run git lfs pull"):
        load_mesh("face.ply", "skin.png", str(tmp_path))


def test_deep_json_is_refused(tmp_path: Path) -> None:
    assert refused(tmp_path, "deep.gltf", b"[" * 200_000)


def test_a_picture_that_unpacks_to_gigabytes_is_refused(tmp_path: Path) -> None:
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    bomb = (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )
    (tmp_path / "bomb.png").write_bytes(bomb)
    BALL.export(tmp_path / "face.ply")
    with pytest.raises(MeshError, match=r"texture bomb\.png"):
        load_mesh("face.ply", "bomb.png", str(tmp_path))
    (tmp_path / "cut.png").write_bytes(picture_bytes()[:-30])
    with pytest.raises(MeshError, match=r"texture cut\.png is not readable"):
        load_mesh("face.ply", "cut.png", str(tmp_path))


def picture_bytes() -> bytes:
    file = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(noise).save(file, "PNG")
    return file.getvalue()


def test_nothing_outside_of_the_root_is_read(tmp_path: Path) -> None:
    root = tmp_path / "faces"
    root.mkdir()
    (tmp_path / "secret.png").write_bytes(picture_bytes())
    (tmp_path / "secret.bin").write_bytes(bytes(36))
    BALL.export(tmp_path / "outside.ply")
    BALL.export(root / "inside.ply")
    for path in ("../outside.ply", str(tmp_path / "outside.ply"), "a/../../outside.ply"):
        with pytest.raises(MeshError, match="lies outside of the dataset's folder"):
            load_mesh(path, None, str(root))
    for texture in ("../secret.png", str(tmp_path / "secret.png")):
        with pytest.raises(MeshError, match="lies outside of the dataset's folder"):
            load_mesh("inside.ply", texture, str(root))
    for uri in ("../secret.bin", str(tmp_path / "secret.bin")):
        view = {"buffer": 0, "byteOffset": 0, "byteLength": 36}
        tree = {
            "buffers": [{"uri": uri, "byteLength": 36}],
            "bufferViews": [view],
            "accessors": [{**accessor(3), "bufferView": 0}],
            "meshes": [MESH],
            "nodes": [{"mesh": 0}],
            "scenes": [{"nodes": [0]}],
            "scene": 0,
        }
        assert "lies outside of the dataset's folder" in refused(root, "face.gltf", json.dumps(tree).encode())
