"""The same head, whose truth is known, through every format and habit of writing: it must be read as the same head."""

from __future__ import annotations

import itertools
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.corpus.formats.heads import PLAIN, Part, differences, head, looked_up, pictured
from tests.corpus.formats.writers import gltf, obj, off, ply, stl, vrml
from tests.corpus.formats.writers.habits import PICTURES, encoded

from polyview.corpus.formats.reader import read_mesh
from polyview.corpus.mesh import Mesh, MeshError
from polyview.recipe import Rendering
from polyview.rendering.cameras import Camera
from polyview.rendering.renderer import make_renderer

CASES = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
WRITERS = {".obj": obj, ".ply": ply, ".off": off, ".stl": stl, ".wrl": vrml, ".glb": gltf}
LOOKS = {
    ".obj": ["none", "picture", "vertex", "material"],
    ".ply": ["none", "picture", "vertex", "face"],
    ".off": ["none", "vertex", "face", "material"],
    ".stl": ["none", "face"],
    ".wrl": ["none", "picture", "vertex", "face", "material"],
    ".glb": ["none", "picture", "vertex", "material"],
}
"""What a part can show in each format."""
TOLERANCE = 9.0
"""Levels by which colours may differ: as JPEG, as 15 bits, and as whole numbers that lay a picture leave them."""


def lists_of_looks(suffix: str) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(LOOKS[suffix]), min_size=1, max_size=3)


def head_of(suffix: str, looks: list[str], habits: dict[str, Any]) -> list[Part]:
    """The head with these looks; a file that has colours for all vertices has none of its own for a face."""
    if suffix in (".ply", ".off") and "vertex" in looks:
        looks = ["vertex" if look == "face" else look for look in looks]
    if suffix == ".stl" and habits["kind"] == "ascii":
        looks = ["none"] * len(looks)
    repeats = suffix != ".glb" or (habits["places"] == "float32" and habits["sampler"] in ("none", "repeat"))
    tile = 2 if repeats and habits.get("far") else 0
    return head(looks, habits.get("cut", "mixed"), (255, 255, 255) if suffix == ".glb" else PLAIN, tile)


def habits_of(suffix: str) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({name: st.sampled_from(values) for name, values in WRITERS[suffix].HABITS.items()})


def read_differences(folder: Path, suffix: str, parts: list[Part], habits: dict[str, Any]) -> list[str]:
    """What is read otherwise than it was written."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    is_given = habits.get("given") and any(part.look == "picture" for part in parts)
    if is_given and suffix in (".obj", ".ply"):  # so that only what shows a picture says where it lies
        habits = (
            habits | {"always vt": False, "no picture": "empty"} | ({"places": "texcoord"} if suffix == ".ply" else {})
        )
    name = WRITERS[suffix].write(folder, parts, habits)
    given = None
    if is_given:
        for picture in (file for file in folder.rglob("*") if file.suffix[1:] in PICTURES):
            picture.unlink()
        colors = np.roll(pictured(1), 1, axis=2)
        parts = [replace(part, colors=colors) if part.look == "picture" else part for part in parts]
        given = "given.png"
        (folder / given).write_bytes(encoded(colors, "png"))
    mesh = read_mesh(name, given, str(folder))
    mesh.check()
    return differences(mesh, parts, TOLERANCE)


@pytest.mark.parametrize("suffix", WRITERS)
@CASES
@given(data=st.data())
def test_the_same_head_is_read_from_every_format(tmp_path: Path, suffix: str, data: st.DataObject) -> None:
    habits = data.draw(habits_of(suffix), label="habits")
    parts = head_of(suffix, data.draw(lists_of_looks(suffix), label="looks"), habits)
    assert not read_differences(tmp_path / "head", suffix, parts, habits)


ARROW = [(0, 0), (4, 0), (1, 1), (0, 4)]
HOOK = [(0, 0), (6, 0), (6, 5), (2, 5), (2, 4), (5, 4), (5, 1), (1, 1), (1, 6), (0, 6)]
FRAME = [(0, 0), (4, 0), (4, 4), (0, 4), (0, 0), (1, 1), (1, 3), (3, 3), (3, 1), (1, 1)]
"""With a hole, which a way from its rim leads to and back."""


COMB = [(0, 0), (99, 0), *((x, 9 if x % 2 else 2) for x in range(99, -1, -1))]
"""More corners than most polygons have, as where a hole in a scan was closed by one."""


def concave_files(outline: list[tuple[int, int]], axis: int) -> dict[str, str]:
    """A polygon in the plane across an axis, in every format that has polygons."""
    points = [np.roll([x, y, 0], axis - 2).tolist() for x, y in outline]
    rows = "\n".join(" ".join(map(str, point)) for point in points)
    corners, count = range(len(points)), len(points)
    words = " ".join(map(str, corners))
    header = f"element vertex {count}\nproperty float x\nproperty float y\nproperty float z\n"
    header += "element face 1\nproperty list uchar int vertex_indices"
    vrml_rows = rows.replace("\n", ", ")
    return {
        ".obj": "".join(f"v {row}\n" for row in rows.split("\n")) + "f " + " ".join(str(c + 1) for c in corners) + "\n",
        ".ply": f"ply\nformat ascii 1.0\n{header}\nend_header\n{rows}\n{count} {words}",
        ".off": f"OFF\n{count} 1 0\n{rows}\n{count} {words} 255 0 0\n",
        ".wrl": "#VRML V2.0 utf8\nIndexedFaceSet { convex FALSE "
        f"coord Coordinate {{ point [ {vrml_rows} ] }} coordIndex [ {words} -1 ] "
        f"colorPerVertex FALSE color Color {{ color [ 1 0 0 ] }} }}",
    }


@pytest.mark.parametrize("suffix", [".obj", ".ply", ".off", ".wrl"])
@pytest.mark.parametrize("outline", [ARROW, HOOK, FRAME], ids=["arrow", "hook", "frame"])
def test_a_polygon_that_is_not_convex_is_covered_and_nothing_else(
    tmp_path: Path, suffix: str, outline: list[tuple[int, int]]
) -> None:
    x, y = np.array(outline, float).T
    area = (x * np.roll(y, -1) - y * np.roll(x, -1)).sum() / 2
    for start, axis, sign in itertools.product(range(len(outline)), range(3), (1, -1)):
        turned = (outline[start:] + outline[:start])[::sign]
        (tmp_path / f"face{suffix}").write_text(concave_files(turned, axis)[suffix])
        mesh = read_mesh(f"face{suffix}", None, str(tmp_path))
        a, b, c = mesh.vertices[mesh.faces].astype(np.float64).swapaxes(0, 1)
        sizes = sign * np.cross(b - a, c - a)[:, axis] / 2
        # Triangles that all face outward and are as large as the polygon leave nothing out, and go nowhere beyond.
        assert len(sizes) == len(outline) - 2
        assert sizes.min() >= 0
        assert np.isclose(sizes.sum(), area)


@pytest.mark.parametrize("suffix", [".obj", ".ply", ".off", ".wrl"])
@pytest.mark.parametrize("start", [0, 30, 101])
def test_a_large_polygon_that_is_not_convex_is_covered_too(tmp_path: Path, suffix: str, start: int) -> None:
    turned = COMB[start:] + COMB[:start]
    (tmp_path / f"face{suffix}").write_text(concave_files(turned, 2)[suffix])
    mesh = read_mesh(f"face{suffix}", None, str(tmp_path))
    a, b, c = mesh.vertices[mesh.faces].astype(np.float64).swapaxes(0, 1)
    sizes = np.cross(b - a, c - a)[:, 2] / 2
    x, y = np.array(COMB, float).T
    assert len(sizes) == len(COMB) - 2
    assert sizes.min() >= 0
    assert np.isclose(sizes.sum(), (x * np.roll(y, -1) - y * np.roll(x, -1)).sum() / 2)


SQUARES = "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nv 2 0 0\nv 2 1 0\nvt 0.5 0.5\nusemtl skin\n"


@pytest.mark.parametrize("given", [None, "blue.png"])
def test_faces_of_an_obj_without_places_do_not_show_the_picture_of_their_material(
    tmp_path: Path, given: str | None
) -> None:
    for name, color in (("red", (255, 0, 0)), ("blue", (0, 0, 255))):
        (tmp_path / f"{name}.png").write_bytes(encoded(np.full((4, 4, 3), color, np.uint8), "png"))
    (tmp_path / "face.mtl").write_text("newmtl skin\nmap_Kd red.png\nKd 0 1 0\n")
    faces = "f 1/1 2/1 3/1 4/1\nf 2 5 6 3\n"
    (tmp_path / "face.obj").write_text(f"mtllib face.mtl\n{SQUARES}{faces}")
    mesh = read_mesh("face.obj", given, str(tmp_path))
    assert mesh.uv is not None
    assert mesh.texture is not None
    seen = looked_up(mesh.texture, mesh.uv[mesh.faces].mean(axis=1)).round().astype(int).tolist()
    picture = [0, 0, 255] if given else [255, 0, 0]
    assert seen == [picture, picture, [0, 255, 0], [0, 255, 0]]


def test_a_vrml_face_may_have_as_many_normals_as_vertices(tmp_path: Path) -> None:
    normals = "normal Normal { vector [ " + "0 0 1, " * 40_000 + "] } normalIndex [ " + "0 " * 120_000 + "]"
    body = f"IndexedFaceSet {{ {normals} coord Coordinate {{ point [0 0 0, 1 0 0, 0 1 0] }} coordIndex [0 1 2 -1] }}"
    (tmp_path / "face.wrl").write_text(f"#VRML V2.0 utf8\n{body}")
    assert read_mesh("face.wrl", None, str(tmp_path)).faces.tolist() == [[0, 1, 2]]


def test_a_picture_within_a_vrml_file_is_not_left_out_in_silence(tmp_path: Path) -> None:
    look = "appearance Appearance { texture PixelTexture { image 1 1 3 0xFF0000 } }"
    faces = (
        "IndexedFaceSet { coord Coordinate { point [0 0 0, 1 0 0, 0 1 0] } coordIndex [0 1 2 -1] "
        "texCoord TextureCoordinate { point [0 0, 1 0, 0 1] } }"
    )
    (tmp_path / "face.wrl").write_text(f"#VRML V2.0 utf8\nShape {{ {look} geometry {faces} }}")
    with pytest.raises(MeshError, match="has a picture within the file"):
        read_mesh("face.wrl", None, str(tmp_path))
    (tmp_path / "skin.png").write_bytes(encoded(np.full((4, 4, 3), 9, np.uint8), "png"))
    assert read_mesh("face.wrl", "skin.png", str(tmp_path)).texture is not None


@pytest.mark.parametrize("suffix", WRITERS)
def test_the_same_head_is_drawn_from_every_format(tmp_path: Path, suffix: str) -> None:
    writer = WRITERS[suffix]
    plain = {name: values[0] for name, values in writer.HABITS.items()}
    look = "face" if suffix in (".off", ".stl") else "picture"
    parts = head([look], "triangles")
    rendering = Rendering(size=48, shading="color" if look == "face" else "texture", framing="whole")
    views = [
        make_renderer(rendering).render(mesh, [Camera(20, 0)])[0].astype(int)
        for mesh in (as_mesh(parts[0]), read_mesh(writer.write(tmp_path, parts, plain), None, str(tmp_path)))
    ]
    assert np.abs(views[0] - views[1]).max() <= TOLERANCE


def as_mesh(part: Part) -> Mesh:
    """The part without any file, each triangle with corners of its own."""
    cut = part.in_triangles()
    corners = np.array(cut.polygons)
    of_corner = {"face": np.arange(len(corners)).repeat(3), "vertex": corners.ravel()}.get(part.look)
    return Mesh(
        vertices=cut.points[corners].reshape(-1, 3).astype(np.float32),
        faces=np.arange(corners.size, dtype=np.int32).reshape(-1, 3),
        colors=None if of_corner is None else cut.colors[of_corner],
        uv=cut.places[np.array(cut.laid)].reshape(-1, 2).astype(np.float32) if part.look == "picture" else None,
        texture=part.colors if part.look == "picture" else None,
    )


def test_a_picture_that_is_given_lies_by_the_coordinates_of_an_off(tmp_path: Path) -> None:
    rows = "0 0 0 0 0\n1 0 0 1 0\n1 1 0 1 1\n0 1 0 0 1\n"
    (tmp_path / "face.off").write_text(f"STOFF\n4 1 0\n{rows}4 0 1 2 3\n")
    (tmp_path / "skin.png").write_bytes(encoded(pictured(0), "png"))
    mesh = read_mesh("face.off", "skin.png", str(tmp_path))
    assert mesh.uv is not None
    assert mesh.uv.tolist() == mesh.vertices[:, :2].tolist()
    assert mesh.texture is not None
    assert (mesh.texture == pictured(0)).all()
