"""glTF of several parts, joints and names: every part keeps what it shows, where its expression puts it."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from numpy.typing import NDArray
from PIL import Image
from tests.corpus.formats.writers.gltf import linear

from polyview.corpus.formats.reader import read_mesh
from polyview.corpus.mesh import Mesh, MeshError
from polyview.recipe import Rendering
from polyview.rendering.cameras import cameras
from polyview.rendering.renderer import make_renderer

Color = tuple[int, int, int]
Tree = dict[str, Any]

POINTS = np.float32([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
ACROSS = np.float32([2, 0, 0])
PLACES = np.float32([[0, 1], [1, 1], [1, 0], [0, 0]])
"""Texture coordinates of glTF, which are counted downward."""
RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
CODES = {"f": 5126, "B": 5121, "H": 5123, "I": 5125}
SHAPES = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4", 16: "MAT4"}
REPEATED, CLAMPED, MIRRORED = 10497, 33071, 33648


def encoded(color: Color) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (4, 4), color).save(file, "PNG")
    return file.getvalue()


def square(step: int = 0, **own: Any) -> Tree:
    """A part of two triangles, `step` squares to the side; own: its other arrays, and its material."""
    arrays = {"POSITION": POINTS + step * ACROSS, "TEXCOORD_0": PLACES, "indices": np.uint32([0, 1, 2, 0, 2, 3])}
    return arrays | own


def glb(
    parts: Sequence[Tree],
    materials: Sequence[Tree] = (),
    images: Sequence[bytes | str] = (),
    inverse: NDArray[np.float32] | None = None,
    **own: Any,
) -> bytes:
    """A binary file of these parts; images: what each holds, or its URI; own: what else is at the top of its tree."""
    blocks: list[bytes] = []
    accessors: list[Tree] = []

    def array(values: NDArray[Any]) -> int:
        kind = SHAPES[values.size // len(values)]
        fraction = values.dtype.kind == "u" and kind != "SCALAR"
        accessors.append({"bufferView": len(blocks), "componentType": CODES[values.dtype.char], "count": len(values)})
        accessors[-1] |= {"type": kind, "normalized": fraction}
        blocks.append(values.tobytes())
        return len(accessors) - 1

    primitives = [
        {name: part[name] for name in ("material", "mode") if name in part}
        | ({"indices": array(part["indices"])} if "indices" in part else {})
        | {"attributes": {name: array(values) for name, values in part.items() if name.isupper()}}
        for part in parts
    ]
    tree: Tree = {
        "asset": {"version": "2.0"},
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": primitives}],
        "textures": [{"source": number} for number in range(len(images))],
        "materials": list(materials),
        **own,
    }
    if inverse is not None:
        tree["skins"][0]["inverseBindMatrices"] = array(inverse)
    tree["images"] = []
    for image in images:
        held = {"uri": image} if isinstance(image, str) else {"bufferView": len(blocks), "mimeType": "image/png"}
        blocks += [image] if isinstance(image, bytes) else []
        tree["images"].append(held)
    starts = np.cumsum([0, *(len(block) + -len(block) % 4 for block in blocks)]).tolist()
    views = [
        {"buffer": 0, "byteOffset": at, "byteLength": len(block)} for at, block in zip(starts, blocks, strict=False)
    ]
    tree |= {"accessors": accessors, "bufferViews": views, "buffers": [{"byteLength": starts[-1]}]}
    body = b"".join(block + bytes(-len(block) % 4) for block in blocks)
    text = json.dumps(tree).encode()
    text += b" " * (-len(text) % 4)
    head = struct.pack("<4sIII4s", b"glTF", 2, 28 + len(text) + len(body), len(text), b"JSON")
    return head + text + struct.pack("<I4s", len(body), b"BIN\0") + body


def read(folder: Path, data: bytes, texture: str | None = None) -> Mesh:
    (folder / "face.glb").write_bytes(data)
    mesh = read_mesh("face.glb", texture, str(folder))
    mesh.check()
    return mesh


def pictured(number: int, **own: Any) -> Tree:
    return {"pbrMetallicRoughness": {"baseColorTexture": {"index": number}}} | own


def colored(*color: float, **own: Any) -> Tree:
    return {"pbrMetallicRoughness": {"baseColorFactor": color}} | own


def seen(mesh: Mesh) -> list[Color]:
    """The colour of the picture in the middle of each square."""
    assert mesh.uv is not None
    assert mesh.texture is not None
    assert mesh.colors is None
    height, width = mesh.texture.shape[:2]
    places = mesh.uv[mesh.faces[::2]].mean(axis=1)
    return [tuple(mesh.texture[int((1 - up) * height), int(right * width)].tolist()) for right, up in places.tolist()]


@pytest.mark.parametrize(
    ("own", "material", "color"),
    [
        ({}, None, WHITE),
        ({"material": 1}, {}, WHITE),
        ({"material": 1}, pictured(1), BLUE),
        ({"material": 1}, pictured(1, alphaMode="MASK"), BLUE),
        ({"material": 1}, pictured(1, alphaMode="BLEND", doubleSided=True), BLUE),
        ({"material": 1}, {"pbrMetallicRoughness": {"metallicRoughnessTexture": {"index": 1}}}, WHITE),
        ({"material": 1}, colored(0, 1, 0, 1), GREEN),
        ({"material": 1}, colored(0, 1, 0, 1, emissiveTexture={"index": 1}, emissiveFactor=[0.1, 0.1, 0.1]), GREEN),
        ({"material": 1}, colored(0, 0, 0, 1, emissiveTexture={"index": 1}, emissiveFactor=[1, 1, 1]), BLUE),
        ({"COLOR_0": np.float32([GREEN] * 4) / 255}, None, GREEN),
        ({"COLOR_0": np.uint8([GREEN, GREEN, GREEN, BLUE])}, None, GREEN),
    ],
)
def test_each_part_keeps_what_it_shows(tmp_path: Path, own: Tree, material: Tree | None, color: Color) -> None:
    materials = [pictured(0), *([] if material is None else [material])]
    data = glb([square(material=0), square(1, **own)], materials, [encoded(RED), encoded(BLUE)])
    mesh = read(tmp_path, data)
    assert seen(mesh) == [RED, color]
    assert mesh.vertices[mesh.faces].tolist() == [
        *POINTS[[[0, 1, 2], [0, 2, 3]]].tolist(),
        *(POINTS + ACROSS)[[[0, 1, 2], [0, 2, 3]]].tolist(),
    ]


def test_two_parts_are_drawn_in_their_own_pictures(tmp_path: Path) -> None:
    halves = [square(0, material=0), square(0, material=1, POSITION=POINTS - np.float32([1, 0, 0]))]
    mesh = read(tmp_path, glb(halves, [pictured(0), pictured(1, alphaMode="MASK")], [encoded(RED), encoded(BLUE)]))
    rendering = Rendering(size=64, shading="texture", framing="whole", radius=2)
    front = cameras(rendering.views)[1:2]
    view = make_renderer(rendering).render(mesh, front)[0].reshape(-1, 3)
    assert (np.abs(view.astype(int) - RED).sum(axis=1) < 30).sum() > 100
    assert (np.abs(view.astype(int) - BLUE).sum(axis=1) < 30).sum() > 100


def test_a_picture_that_several_materials_share_stays_as_it_is(tmp_path: Path) -> None:
    data = glb([square(material=0), square(1, material=1)], [pictured(0), pictured(0)], [encoded(RED)])
    mesh = read(tmp_path, data)
    assert mesh.texture is not None
    assert mesh.texture.shape == (4, 4, 3)
    assert seen(mesh) == [RED, RED]


def test_materials_may_move_one_picture_each_in_its_own_way(tmp_path: Path) -> None:
    halves = Image.new("RGB", (8, 8), RED)
    halves.paste(BLUE, (4, 0, 8, 8))
    file = io.BytesIO()
    halves.save(file, "PNG")

    def moved(start: float) -> Tree:
        material = pictured(0)
        place = {"KHR_texture_transform": {"offset": [start, 0], "scale": [0.5, 1]}}
        material["pbrMetallicRoughness"]["baseColorTexture"]["extensions"] = place
        return material

    data = glb([square(material=0), square(1, material=1)], [moved(0), moved(0.5)], [file.getvalue()])
    assert seen(read(tmp_path, data)) == [RED, BLUE]


def test_a_colour_tints_a_picture_and_the_grey_that_is_written_by_default_does_not(tmp_path: Path) -> None:
    for factor, color in (([1, 0, 0, 1], RED), ([0.8, 0.8, 0.8, 1], WHITE)):
        material = pictured(0)
        material["pbrMetallicRoughness"]["baseColorFactor"] = factor
        assert seen(read(tmp_path, glb([square(material=0)], [material], [encoded(WHITE)]))) == [color]


def test_a_picture_keeps_its_colours_whatever_grey_another_part_has(tmp_path: Path) -> None:
    face = pictured(0)
    face["pbrMetallicRoughness"]["baseColorFactor"] = [0.4, 0.4, 0.4]
    parts = [square(material=0), square(1, material=1)]
    assert seen(read(tmp_path, glb(parts, [face, colored(1, 0, 0, 1)], [encoded(WHITE)]))) == [WHITE, RED]


def test_colours_stay_colours_where_no_part_has_a_picture(tmp_path: Path) -> None:
    mesh = read(tmp_path, glb([square(), square(1, material=0)], [colored(1, 0, 0, 1)]))
    assert mesh.texture is None
    assert mesh.colors is not None
    assert mesh.colors.tolist() == [list(WHITE)] * 4 + [list(RED)] * 4


@pytest.mark.parametrize("held", [b"no picture at all", encoded(RED)[:48]], ids=["none", "cut"])
def test_a_picture_inside_that_cannot_be_read_is_told(tmp_path: Path, held: bytes) -> None:
    data = glb([square(material=0), square(1, material=1)], [pictured(0), pictured(1)], [encoded(RED), held])
    with pytest.raises(MeshError, match="its texture is not readable"):
        read(tmp_path, data)
    Image.new("RGB", (2, 2), BLUE).save(tmp_path / "skin.png")
    assert seen(read(tmp_path, data, "skin.png")) == [BLUE, BLUE]


def test_a_picture_that_is_not_there_is_missed_only_where_it_is_seen(tmp_path: Path) -> None:
    parts, images = [square(material=0)], [encoded(RED)]
    assert seen(read(tmp_path, glb(parts, [pictured(0), pictured(9)], images)))[0] == RED
    with pytest.raises(MeshError, match="its texture is not readable"):
        read(tmp_path, glb(parts, [pictured(9)], images))
    Image.new("RGB", (2, 2), BLUE).save(tmp_path / "skin.png")
    assert seen(read(tmp_path, glb(parts, [pictured(9)], images), "skin.png"))[0] == BLUE


def test_a_picture_without_coordinates_is_told(tmp_path: Path) -> None:
    bare = {name: values for name, values in square(1, material=0).items() if name != "TEXCOORD_0"}
    with pytest.raises(MeshError, match="its picture lies by TEXCOORD_0, which the mesh does not have"):
        read(tmp_path, glb([square(material=0), bare], [pictured(0)], [encoded(RED)]))


def test_a_face_index_beyond_its_own_part_is_told(tmp_path: Path) -> None:
    wrong = square(indices=np.uint32([0, 1, 5]))
    with pytest.raises(MeshError, match="face index 5 of 4 vertices"):
        read(tmp_path, glb([wrong, square(1)]))


@pytest.mark.parametrize("listed", [True, False])
@pytest.mark.parametrize(
    ("mode", "order", "faces"),
    [(6, [0, 1, 2, 3], [[1, 2, 0], [2, 3, 0]]), (5, [0, 1, 3, 2], [[0, 1, 3], [2, 3, 1]])],
)
def test_fans_and_strips_are_triangles(
    tmp_path: Path, mode: int, order: list[int], faces: list[list[int]], listed: bool
) -> None:
    part = square(mode=mode, indices=np.uint16(order))
    if not listed:
        part |= {"POSITION": POINTS[order]}
        part.pop("indices")
        part.pop("TEXCOORD_0")
    mesh = read(tmp_path, glb([part, square(1)]))
    assert mesh.vertices[mesh.faces[:2]].tolist() == POINTS[faces].tolist()


@pytest.mark.parametrize(
    ("mode", "places"),
    [(CLAMPED, [0, 1, 1, 0]), (MIRRORED, [0.25, 0.75, 0.5, 0.5]), (REPEATED, [-0.25, 1.25, 1.5, -0.5])],
)
def test_a_picture_that_does_not_repeat_ends_or_turns_at_its_edges(
    tmp_path: Path, mode: int, places: list[float]
) -> None:
    wide = np.float32([[-0.25, 0], [1.25, 0], [1.5, 1], [-0.5, 1]])
    textures = {"samplers": [{"wrapS": mode}], "textures": [{"source": 0, "sampler": 0}]}
    mesh = read(tmp_path, glb([square(material=0, TEXCOORD_0=wide)], [pictured(0)], [encoded(RED)], **textures))
    assert mesh.uv is not None
    assert mesh.uv.tolist() == [[across, 1 - down] for across, down in zip(places, [0, 0, 1, 1], strict=True)]


@pytest.mark.parametrize(
    "clear",
    [
        colored(1, 1, 1, 0.02, alphaMode="BLEND"),
        colored(1, 1, 1, 0.4, alphaMode="MASK"),
        {"extensions": {"KHR_materials_transmission": {"transmissionFactor": 1.0}}},
    ],
)
def test_a_part_that_is_clear_hides_nothing(tmp_path: Path, clear: Tree) -> None:
    parts = [square(material=0), square(1, material=1)]
    mesh = read(tmp_path, glb(parts, [pictured(0), clear], [encoded(RED)]))
    assert mesh.vertices.tolist() == POINTS.tolist()
    assert seen(mesh) == [RED]
    grey = read(tmp_path, glb(parts, [colored(0.8, 0.8, 0.8, 1), clear]))
    assert len(grey.vertices) == 4
    assert grey.colors is None
    for color in (colored(0, 0, 1, 0.02), colored(0, 0, 1, 0.5, alphaMode="BLEND")):
        assert seen(read(tmp_path, glb(parts, [pictured(0), color], [encoded(RED)]))) == [RED, BLUE]
    assert len(read(tmp_path, glb([square(material=0)], [clear])).faces) == 2


def test_a_mirrored_part_is_not_turned_inside_out(tmp_path: Path) -> None:
    nodes = [{"mesh": 0, "scale": [-1, 1, 1], "translation": [0, 0, 5]}]
    mesh = read(tmp_path, glb([square()], nodes=nodes))
    first, second, third = mesh.vertices[mesh.faces[0]]
    assert np.cross(second - first, third - first)[2] > 0
    assert sorted(mesh.vertices.tolist()) == sorted([[-x, y, 5] for x, y, _ in POINTS.tolist()])


AS_THEY_ARE = np.tile(np.eye(4, dtype=np.float32).reshape(1, 16), (2, 1))
ON_JOINTS = {
    "JOINTS_0": np.uint8([[0, 0, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0]]),
    "WEIGHTS_0": np.float32([[1, 0, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0], [0.5, 0.5, 0, 0]]),
}
JAW = {"name": "jaw", "translation": [0, -3, 0]}


def jointed(
    jaw: Tree, inverse: NDArray[np.float32] | None = AS_THEY_ARE, part: Tree | None = None, **node: Any
) -> bytes:
    """A square whose right half hangs on a jaw, below a head that is 1 to the front."""
    nodes = [{"mesh": 0, "skin": 0, **node}, {"translation": [0, 0, 1], "children": [2]}, jaw]
    own = {"nodes": nodes, "scenes": [{"nodes": [0, 1]}], "skins": [{"joints": [1, 2]}]}
    return glb([square(**ON_JOINTS) | (part or {})], inverse=inverse, **own)


@pytest.mark.parametrize("inverse", [AS_THEY_ARE, None])
def test_joints_move_what_hangs_on_them(tmp_path: Path, inverse: NDArray[np.float32] | None) -> None:
    moved = [[0, 0, 1], [1, -3, 1], [1, -2, 1], [0, -0.5, 1]]
    assert read(tmp_path, jointed(JAW, inverse)).vertices.tolist() == moved
    assert read(tmp_path, jointed(JAW, inverse, translation=[9, 9, 9], scale=[2, 2, 2])).vertices.tolist() == moved
    whole = {"WEIGHTS_0": np.round(ON_JOINTS["WEIGHTS_0"] * 255).astype(np.uint8)}
    assert np.allclose(read(tmp_path, jointed(JAW, inverse, whole)).vertices, moved)


def test_joints_turn_about_where_they_were_bound(tmp_path: Path) -> None:
    bound = AS_THEY_ARE.copy().reshape(2, 4, 4)
    bound[:, 3, :3] = [[0, 0, -1], [-1, 0, -1]]
    rest = {"translation": [1, 0, 0]}
    assert read(tmp_path, jointed(rest, bound)).vertices.tolist() == POINTS.tolist()
    turned = rest | {"rotation": [0, 0, np.sqrt(0.5), np.sqrt(0.5)]}
    vertices = read(tmp_path, jointed(turned, bound)).vertices
    assert np.allclose(vertices, [[0, 0, 0], [1, 0, 0], [0, 0, 0], [0, 0, 0]], atol=1e-6)
    quarter = np.array([[0, -1, 0, 1], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    as_matrix = {"matrix": quarter.T.ravel().tolist()}
    assert np.allclose(read(tmp_path, jointed(as_matrix, bound)).vertices, vertices, atol=1e-6)


def test_a_mesh_that_two_skins_bend_is_refused(tmp_path: Path) -> None:
    own = {
        "nodes": [{"mesh": 0, "skin": 0}, {"mesh": 0, "skin": 1}, JAW],
        "scenes": [{"nodes": [0, 1, 2]}],
        "skins": [{"joints": [2]}, {"joints": [1]}],
    }
    with pytest.raises(MeshError, match="one mesh in several expressions"):
        read(tmp_path, glb([square(**ON_JOINTS)], **own))


@pytest.mark.parametrize("name", ["my tex.png", "my%20tex.png"])
def test_a_picture_is_found_by_its_encoded_name_and_by_its_literal_one(tmp_path: Path, name: str) -> None:
    Image.new("RGB", (2, 2), RED).save(tmp_path / name)
    assert seen(read(tmp_path, glb([square(material=0)], [pictured(0)], ["my%20tex.png"]))) == [RED]


def test_no_encoded_name_leads_out_of_the_dataset(tmp_path: Path) -> None:
    root = tmp_path / "faces"
    root.mkdir()
    Image.new("RGB", (2, 2), RED).save(tmp_path / "secret.png")
    with pytest.raises(MeshError, match=r"secret\.png"):
        read(root, glb([square(material=0)], [pictured(0)], ["%2e%2e%2fsecret.png"]))


SKIN = (200, 120, 90)


@pytest.mark.parametrize(
    ("program", "is_linear"),
    [
        (None, True),
        ("Khronos glTF Blender I/O v4.2.57", True),
        ("https://github.com/mikedh/trimesh", False),
        ("Open Asset Import Library (assimp v5.4.0)", False),
    ],
)
def test_colours_of_vertices_are_linear_unless_a_program_is_known_to_write_others(
    tmp_path: Path, program: str | None, is_linear: bool
) -> None:
    shares = np.array([SKIN] * 4) / 255
    asset = {"version": "2.0"} | ({"generator": program} if program else {})
    data = glb([square(COLOR_0=np.float32(linear(shares) if is_linear else shares))], asset=asset)
    mesh = read(tmp_path, data)
    assert mesh.colors is not None
    assert mesh.colors.tolist() == [list(SKIN)] * 4


def test_what_trimesh_writes_has_the_colours_that_it_had(tmp_path: Path) -> None:
    ball = trimesh.creation.icosphere(subdivisions=1)
    ball.visual.vertex_colors = np.tile(np.uint8([*SKIN, 255]), (len(ball.vertices), 1))
    mesh = read(tmp_path, ball.export(file_type="glb"))
    assert mesh.colors is not None
    assert {*map(tuple, mesh.colors.tolist())} == {SKIN}


def test_the_manifests_picture_hides_the_colours_of_vertices(tmp_path: Path) -> None:
    Image.new("RGB", (2, 2), BLUE).save(tmp_path / "skin.png")
    colors = np.float32([RED] * 4) / 255
    assert seen(read(tmp_path, glb([square(COLOR_0=colors)]), "skin.png")) == [BLUE]
    assert read(tmp_path, glb([square(COLOR_0=colors)])).colors is not None
