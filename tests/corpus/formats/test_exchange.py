"""PLY, OFF, STL, glTF and packed files: what they hold is read, and what cannot be read is said."""

from __future__ import annotations

import gzip
import io
import json
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from numpy.typing import NDArray
from PIL import Image

from polyview.corpus.formats.reader import read_mesh
from polyview.corpus.mesh import Mesh, MeshError
from polyview.recipe import Rendering
from polyview.rendering.cameras import Camera
from polyview.rendering.renderer import make_renderer

POINTS = [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0)]
FIRST, LAST = (0, 1, 2), (0, 2, 3)
RED, BLUE = (255, 0, 0), (0, 0, 255)
FORMATS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}


def read(folder: Path, name: str, data: bytes) -> Mesh:
    (folder / name).write_bytes(data)
    mesh = read_mesh(name, None, str(folder))
    mesh.check()
    return mesh


def ply(
    order: str,
    vertex: str,
    vertices: list[tuple[float, ...]],
    face: str = "",
    faces: list[tuple[Any, ...]] | None = None,
    element: str = "face",
    comment: bytes = b"",
) -> bytes:
    """A file of these rows; each column is `kind name`, or `list length kind name` with a tuple in each row."""
    header = [f"format {order} 1.0"]
    blocks = [("vertex", vertex, vertices), (element, face, faces or [])]
    body = b""
    for name, columns, rows in blocks:
        properties = [column.split() for column in columns.split(",") if column]
        if not properties:
            continue
        header += [f"element {name} {len(rows)}", *(f"property {' '.join(words)}" for words in properties)]
        for row in rows:
            for words, value in zip(properties, row, strict=True):
                values = value if words[0] == "list" else (value,)
                if order == "ascii":
                    words_of = [len(values), *values] if words[0] == "list" else values
                    body += " ".join(map(str, words_of)).encode() + b" "
                    continue
                if words[0] == "list":
                    body += struct.pack(FORMATS[order] + CODES[words[1]], len(values))
                body += struct.pack(FORMATS[order] + CODES[words[-2]] * len(values), *values)
            body += b"\n" if order == "ascii" else b""
    return b"ply\n" + comment + "\n".join([*header, "end_header\n"]).encode() + body


CODES = {"float": "f", "double": "d", "uchar": "B", "ushort": "H", "int": "i", "uint": "I"}
XYZ = "float x,float y,float z"
CORNERS = "list uchar int vertex_indices"


@pytest.mark.parametrize("order", FORMATS)
def test_ply_in_every_order_with_polygons_of_any_size(tmp_path: Path, order: str) -> None:
    data = ply(order, XYZ, POINTS, CORNERS + ",uchar quality", [((0, 1, 2), 7), ((0, 1, 2, 3), 8)])
    mesh = read(tmp_path, "face.ply", data)
    assert mesh.vertices.tolist() == [list(point) for point in POINTS]
    assert mesh.faces.tolist() == [[0, 1, 2], [0, 1, 2], [0, 2, 3]]


@pytest.mark.parametrize("order", FORMATS)
@pytest.mark.parametrize("names", ["red green blue", "diffuse_red diffuse_green diffuse_blue", "r g b"])
@pytest.mark.parametrize(("kind", "full"), [("uchar", 255), ("ushort", 65535), ("float", 1.0)])
def test_ply_colours_of_vertices_and_of_faces(tmp_path: Path, order: str, names: str, kind: str, full: float) -> None:
    columns = "".join(f",{kind} {name}" for name in names.split())
    colored = [(*point, full, 0, 0) for point in POINTS]
    mesh = read(tmp_path, "a.ply", ply(order, XYZ + columns, colored, CORNERS, [((0, 1, 2, 3),)]))
    assert mesh.colors is not None
    assert mesh.colors.tolist() == [list(RED)] * 4
    faces = [((0, 1, 2), full, 0, 0), ((0, 2, 3), 0, 0, full)]
    mesh = read(tmp_path, "b.ply", ply(order, XYZ, POINTS, CORNERS + columns, faces))
    assert mesh.colors is not None
    assert mesh.colors[mesh.faces].tolist() == [[list(RED)] * 3, [list(BLUE)] * 3]
    assert mesh.vertices[mesh.faces[1]].tolist() == [[0, 0, 0], [1, 1, 0], [0, 1, 0]]


@pytest.mark.parametrize("order", FORMATS)
def test_ply_strips_of_triangles(tmp_path: Path, order: str) -> None:
    strips = [((0, 1, 3, 2, -1, 1, 2, 0),)]
    data = ply(order, XYZ, POINTS, "list int int vertex_indices", strips, element="tristrips")
    assert read(tmp_path, "face.ply", data).faces.tolist() == [[0, 1, 3], [3, 1, 2], [1, 2, 0]]


def test_ply_texture_coordinates_of_vertices_and_of_corners(tmp_path: Path) -> None:
    Image.new("RGB", (2, 2), RED).save(tmp_path / "Skin.png")
    comment = b"comment TextureFile C:\\scans\\skin.png\n"
    own = [(*point, *point[:2]) for point in POINTS]
    for data in (
        ply("ascii", XYZ + ",float s,float t", own, CORNERS, [((0, 1, 2),)], comment=comment),
        ply(
            "binary_little_endian",
            XYZ,
            POINTS,
            CORNERS + ",list uchar float texcoord",
            [((0, 1, 2), (0, 0, 1, 0, 1, 1))],
            comment=comment,
        ),
    ):
        mesh = read(tmp_path, "face.ply", data)
        assert mesh.uv is not None
        assert mesh.uv[mesh.faces].tolist() == [[[0, 0], [1, 0], [1, 1]]]
        assert mesh.texture is not None


NUMBERED = CORNERS + ",list uchar float texcoord,int texnumber"
WITHIN = (0.2, 0.2, 0.8, 0.2, 0.8, 0.8)
TWO_PICTURES = b"comment TextureFile red.png\ncomment TextureFile blue.png\n"


def seen_at(mesh: Mesh) -> list[tuple[int, ...]]:
    """The colour of the picture at the first corner of each face."""
    assert mesh.uv is not None
    assert mesh.texture is not None
    height, width = mesh.texture.shape[:2]
    places = mesh.uv[mesh.faces[:, 0]]
    return [tuple(mesh.texture[int((1 - up) * height), int(right * width)].tolist()) for right, up in places.tolist()]


@pytest.mark.parametrize("order", FORMATS)
def test_each_face_of_a_ply_has_the_picture_of_its_own_number(tmp_path: Path, order: str) -> None:
    Image.new("RGB", (4, 4), RED).save(tmp_path / "red.png")
    Image.new("RGB", (8, 4), BLUE).save(tmp_path / "blue.png")
    for numbers, seen in (((0, 1), [RED, BLUE]), ((1, 1), [BLUE, BLUE]), ((1, -1), [BLUE, (199, 199, 199)])):
        faces = [((0, 1, 2), WITHIN, numbers[0]), ((0, 2, 3), WITHIN, numbers[1])]
        assert (
            seen_at(read(tmp_path, "face.ply", ply(order, XYZ, POINTS, NUMBERED, faces, comment=TWO_PICTURES))) == seen
        )
    own = [(*point, 0.5, 0.5) for point in POINTS]
    data = ply(
        order,
        XYZ + ",float s,float t",
        own,
        CORNERS + ",int texnumber",
        [((0, 1, 2), 1), ((0, 2, 3), 0)],
        comment=TWO_PICTURES,
    )
    assert seen_at(read(tmp_path, "face.ply", data)) == [BLUE, RED]


@pytest.mark.parametrize("by_face", [False, True])
@pytest.mark.parametrize("named", [None, "red.png"])
def test_a_picture_of_a_ply_hides_its_colours(tmp_path: Path, by_face: bool, named: str | None) -> None:
    Image.new("RGB", (4, 4), RED).save(tmp_path / "red.png")
    columns, white = ",uchar red,uchar green,uchar blue", (255, 255, 255)
    own = [(*point, 0.5, 0.5, *(() if by_face else white)) for point in POINTS]
    faces = [(corners, *(white if by_face else ())) for corners in (FIRST, LAST)]
    vertex, face = (
        (XYZ + ",float s,float t", CORNERS + columns) if by_face else (XYZ + ",float s,float t" + columns, CORNERS)
    )
    comment = b"" if named else b"comment TextureFile red.png\n"
    (tmp_path / "face.ply").write_bytes(ply("ascii", vertex, own, face, faces, comment=comment))
    assert drawn(read_mesh("face.ply", named, str(tmp_path))) == [RED, RED]


@pytest.mark.parametrize("comment", [b"comment TextureFile red.png\n", TWO_PICTURES])
def test_faces_of_a_ply_without_a_picture_show_colours(tmp_path: Path, comment: bytes) -> None:
    Image.new("RGB", (4, 4), RED).save(tmp_path / "red.png")
    colored = [(*point, 0, 0, 255) for point in POINTS]
    faces = [(FIRST, WITHIN, 0), (LAST, WITHIN, -1)]
    data = ply("ascii", XYZ + ",uchar red,uchar green,uchar blue", colored, NUMBERED, faces, comment=comment)
    assert drawn(read(tmp_path, "a.ply", data)) == [RED, BLUE]
    faces = [(*face, *color) for face, color in zip(faces, ((0, 255, 0), BLUE), strict=True)]
    data = ply("ascii", XYZ, POINTS, NUMBERED + ",uchar red,uchar green,uchar blue", faces, comment=comment)
    assert drawn(read(tmp_path, "b.ply", data)) == [RED, BLUE]


def drawn(mesh: Mesh) -> list[tuple[int, ...]]:
    """What the camera sees in white light, of the lower right and of the upper left triangle."""
    (view,) = make_renderer(Rendering(shading="color", framing="whole")).render(centred(mesh), [Camera(0, 0)])
    return [tuple(view[place].tolist()) for place in ((40, 40), (24, 24))]


def centred(mesh: Mesh) -> Mesh:
    return replace(mesh, vertices=mesh.vertices * 200 - np.float32([100, 100, 0]))


def test_pictures_of_a_ply_that_no_number_tells_apart_are_not_guessed(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4), RED).save(tmp_path / "red.png")
    own = [(*point, 0.5, 0.5) for point in POINTS]
    data = ply("ascii", XYZ + ",float s,float t", own, CORNERS, [((0, 1, 2),)], comment=TWO_PICTURES)
    with pytest.raises(MeshError, match=r"has 2 pictures \(red\.png, blue\.png\) and no texnumber"):
        read(tmp_path, "face.ply", data)
    assert read_mesh("face.ply", "red.png", str(tmp_path)).texture is not None
    with pytest.raises(MeshError, match="texnumber 2 of 2 pictures"):
        read(tmp_path, "a.ply", ply("ascii", XYZ, POINTS, NUMBERED, [((0, 1, 2), WITHIN, 2)], comment=TWO_PICTURES))


def test_a_ply_comment_may_be_in_any_encoding(tmp_path: Path) -> None:
    data = ply("ascii", XYZ, POINTS, CORNERS, [((0, 1, 2),)], comment="comment Gerät\n".encode("latin-1"))
    assert len(read(tmp_path, "face.ply", data).faces) == 1


OFF_ROWS = "0 0 0{0}\n1 0 0{0}\n1 1 0{0}\n0 1 0{0}\n"


@pytest.mark.parametrize(("head", "color"), [("COFF", " 255 0 0 255"), ("OFF", " 255 0 0"), ("COFF", " 1 0 0 1")])
def test_off_colours_of_vertices(tmp_path: Path, head: str, color: str) -> None:
    mesh = read(tmp_path, "face.off", f"{head} # a face\n4 2 0\n{OFF_ROWS.format(color)}3 0 1 2\n4 0 1 2 3\n".encode())
    assert mesh.colors is not None
    assert mesh.colors.tolist() == [list(RED)] * 4
    assert len(mesh.faces) == 3


def test_off_colours_of_faces_and_normals(tmp_path: Path) -> None:
    rows = OFF_ROWS.format(" 0 0 1")
    mesh = read(tmp_path, "face.off", f"NOFF 4 2 0\n{rows}3 0 1 2 255 0 0\n3 0 2 3 0 0 255 255\n".encode())
    assert mesh.colors is not None
    assert mesh.colors[mesh.faces][:, 0].tolist() == [list(RED), list(BLUE)]


def test_off_in_every_habit_of_writing(tmp_path: Path) -> None:
    faces = "3 0 1 2\t255 0 0\r\n\r\n# the last\r\n 4,0,1,2,3 0 0 255 255 # blue"
    mesh = read(
        tmp_path, "face.off", f"OFF # a face\n\n# counts\n 4 2 0 # so many\n{OFF_ROWS.format('')}{faces}".encode()
    )
    assert mesh.vertices[mesh.faces].tolist() == [[list(POINTS[corner]) for corner in t] for t in (FIRST, FIRST, LAST)]
    assert mesh.colors is not None
    assert mesh.colors[mesh.faces][:, 0].tolist() == [list(RED), list(BLUE), list(BLUE)]


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ("3 0 1 2\n", "declares 4 vertices and 2 faces in 5 lines: the file is cut"),
        ("3 0 1 2\n# 3 0 2 3\n", "declares 4 vertices and 2 faces in 5 lines: the file is cut"),
        ("3 0 1 2\n4 0 1 2\n", "a face declares 4 corners and has 3: the file is cut or broken"),
        ("3 0 1 2\n1e99 0 1 2\n", "a face declares 1e+99 corners and has 3: the file is cut or broken"),
        ("3 0 1 2\n-1 0 1 2\n", "a face declares -1 corners and has 3: the file is cut or broken"),
        ("3 0 1 x\n3 0 2 3\n", "'x' at byte 40 is not a number"),
        ("3 0 1 2\n3 0 1 1.5\n", "face index 1.5 is not a whole number"),
        ("3 0 1 2\n3 0 1 4\n", "face index 4 of 4 vertices"),
    ],
)
def test_a_bad_face_of_an_off_is_refused_in_words(tmp_path: Path, rows: str, reason: str) -> None:
    with pytest.raises(MeshError) as error:
        read(tmp_path, "face.off", f"OFF\n4 2 0\n{OFF_ROWS.format('')}{rows}".encode())
    assert str(error.value) == reason


@pytest.mark.parametrize(("header", "word"), [(b"", 0x8000 | 31 << 10), (b"COLOR=\xff\xff\xff\xff", 31)])
def test_stl_colours_of_faces(tmp_path: Path, header: bytes, word: int) -> None:
    data = bytearray(trimesh.creation.icosphere(subdivisions=1).export(file_type="stl"))
    data[:80] = header.ljust(80, b" ")
    for face in range((len(data) - 84) // 50):
        struct.pack_into("<H", data, 84 + 50 * face + 48, word)
    mesh = read(tmp_path, "face.stl", bytes(data))
    assert mesh.colors is not None
    assert (mesh.colors == RED).all()
    assert read(tmp_path, "plain.stl", trimesh.creation.box().export(file_type="stl")).colors is None


def glb(change: Callable[[dict[str, Any]], None] = lambda _tree: None) -> bytes:
    ball = trimesh.creation.icosphere(subdivisions=1)
    ball.visual = trimesh.visual.TextureVisuals(uv=ball.vertices[:, :2] / 2 + 0.5, image=Image.new("RGB", (4, 4), RED))
    data = ball.export(file_type="glb")
    (length,) = struct.unpack_from("<I", data, 12)
    tree = json.loads(data[20 : 20 + length])
    change(tree)
    text = json.dumps(tree).encode()
    text += b" " * (-len(text) % 4)
    rest = data[20 + length :]
    return struct.pack("<4sIIII", b"glTF", 2, 20 + len(text) + len(rest), len(text), 0x4E4F534A) + text + rest


@pytest.mark.parametrize("name", ["KHR_draco_mesh_compression", "EXT_meshopt_compression", "KHR_texture_basisu"])
def test_a_glb_that_needs_an_extension_is_refused_by_its_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(MeshError, match=f"needs the glTF extension {name}"):
        read(tmp_path, "face.glb", glb(lambda tree: tree.update(extensionsRequired=["KHR_materials_unlit", name])))
    assert len(read(tmp_path, "face.glb", glb(lambda tree: tree.update(extensionsUsed=[name]))).faces) == 80


def test_a_glb_may_move_its_picture(tmp_path: Path) -> None:
    def moved(tree: dict[str, Any]) -> None:
        own = {"offset": [0.5, 0.25], "scale": [0.5, 0.5]}
        look = tree["materials"][0]["pbrMetallicRoughness"]["baseColorTexture"]
        look["extensions"] = {"KHR_texture_transform": own}
        tree["extensionsRequired"] = ["KHR_texture_transform"]

    plain, shifted = read(tmp_path, "a.glb", glb()), read(tmp_path, "b.glb", glb(moved))
    assert plain.uv is not None
    assert shifted.uv is not None
    down = 0.25 + 0.5 * (1 - plain.uv[:, 1])
    assert np.allclose(shifted.uv, np.column_stack([0.5 + 0.5 * plain.uv[:, 0], 1 - down]), atol=1e-6)


Change = Callable[[dict[str, Any]], None]
CORNER_PLACES = [[0.0, 1.0], [1.0, 1.0], [1.0, 0.0], [0.0, 0.0]]
"""Texture coordinates of glTF, which are counted downward."""


def square_glb(arrays: dict[str, NDArray[Any]], change: Change = lambda _tree: None, picture: bool = True) -> bytes:
    """A square of two triangles with these arrays of its vertices, and a red picture; `target` moves its vertices."""
    image = io.BytesIO()
    Image.new("RGB", (2, 2), RED).save(image, "PNG")
    own: dict[str, NDArray[Any]] = {
        "POSITION": np.float32(POINTS),
        "TEXCOORD_0": np.float32(CORNER_PLACES),
        "indices": np.uint32([[0, 1, 2], [0, 2, 3]]),
        **arrays,
    }
    blocks = [*(values.tobytes() for values in own.values()), image.getvalue()]
    kinds = {"f": 5126, "b": 5120, "B": 5121, "h": 5122, "H": 5123, "I": 5125}
    places = np.cumsum([0, *(len(block) + -len(block) % 4 for block in blocks)]).tolist()
    number = {name: place for place, name in enumerate(own)}
    primitive: dict[str, Any] = {
        "attributes": {name: place for name, place in number.items() if name.isupper()},
        "indices": number["indices"],
        "material": 0,
    }
    if "target" in own:
        primitive["targets"] = [{"POSITION": number["target"]}]
    tree: dict[str, Any] = {
        "asset": {"version": "2.0"},
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [primitive]}],
        "materials": [{"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}} if picture else {}}],
        "textures": [{"source": 0}],
        "images": [{"bufferView": len(own), "mimeType": "image/png"}],
        "buffers": [{"byteLength": places[-1]}],
        "bufferViews": [
            {"buffer": 0, "byteOffset": place, "byteLength": len(block)}
            for place, block in zip(places, blocks, strict=False)
        ],
        "accessors": [
            {
                "bufferView": number[name],
                "componentType": kinds[values.dtype.char],
                "count": values.size if name == "indices" else len(values),
                "type": "SCALAR" if name == "indices" else f"VEC{values.shape[1]}",
                "normalized": values.dtype.kind in "iu" and name != "indices",
            }
            for name, values in own.items()
        ],
    }
    change(tree)
    body = b"".join(block + bytes(-len(block) % 4) for block in blocks)
    text = json.dumps(tree).encode()
    text += b" " * (-len(text) % 4)
    head = struct.pack("<4sIII4s", b"glTF", 2, 28 + len(text) + len(body), len(text), b"JSON")
    return head + text + struct.pack("<I4s", len(body), b"BIN\0") + body


def upward(places: list[list[float]]) -> NDArray[np.float64]:
    return np.array([[across, 1 - down] for across, down in places])


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_texture_coordinates_of_a_glb_may_be_whole_numbers(tmp_path: Path, kind: type[np.uint8 | np.uint16]) -> None:
    places = np.round(np.array(CORNER_PLACES) * 0.4 * np.iinfo(kind).max).astype(kind)
    mesh = read(tmp_path, "face.glb", square_glb({"TEXCOORD_0": places}))
    assert mesh.uv is not None
    assert np.allclose(mesh.uv, upward((np.array(CORNER_PLACES) * 0.4).tolist()), atol=1e-3)


def test_vertices_of_a_glb_may_be_whole_numbers(tmp_path: Path) -> None:
    def quantized(tree: dict[str, Any]) -> None:
        tree["extensionsRequired"] = ["KHR_mesh_quantization"]
        tree["nodes"][0]["scale"] = [2, 2, 2]

    whole = np.round(np.array(POINTS) * 16383.5).astype(np.int16)
    mesh = read(tmp_path, "face.glb", square_glb({"POSITION": whole}, quantized))
    assert np.allclose(mesh.vertices, POINTS, atol=1e-4)


@pytest.mark.parametrize("place", ["meshes", "nodes"])
def test_the_expression_that_a_glb_shows_is_read(tmp_path: Path, place: str) -> None:
    def smiling(tree: dict[str, Any]) -> None:
        tree["meshes"][0]["weights"] = [0.0]
        tree[place][0]["weights"] = [0.5]

    moves = np.float32([[0, 0, 0], [0, 0, 0], [0, 0, 4], [0, 0, 2]])
    mesh = read(tmp_path, "face.glb", square_glb({"target": moves}, smiling))
    assert mesh.vertices.tolist() == [[0, 0, 0], [1, 0, 0], [1, 1, 2], [0, 1, 1]]
    assert read(tmp_path, "neutral.glb", square_glb({"target": moves})).vertices[:, 2].tolist() == [0, 0, 0, 0]


def test_a_glb_that_shows_one_mesh_in_two_expressions_is_refused(tmp_path: Path) -> None:
    def twice(tree: dict[str, Any]) -> None:
        tree["nodes"].append({"mesh": 0, "weights": [1.0]})
        tree["scenes"][0]["nodes"].append(1)

    with pytest.raises(MeshError, match="one mesh in several expressions"):
        read(tmp_path, "face.glb", square_glb({"target": np.ones((4, 3), np.float32)}, twice))


MOVED = {"moved": np.float32([[1, 1, 2], [0, 1, 1]]), "places": np.uint8([[2], [3]])}


def sparse(tree: dict[str, Any], accessor: int, based: bool) -> None:
    """Makes an array one of which the last two of `MOVED` are the changes."""
    moved, places = (own.pop("bufferView") for own in tree["accessors"][-2:])
    del tree["accessors"][-2:]
    changes = {
        "count": 2,
        "indices": {"bufferView": places, "componentType": 5121},
        "values": {"bufferView": moved},
    }
    whole = tree["accessors"][accessor]
    whole["sparse"] = changes
    if not based:
        del whole["bufferView"]


def test_sparse_places_of_a_glb_are_read(tmp_path: Path) -> None:
    mesh = read(tmp_path, "face.glb", square_glb(MOVED, lambda tree: sparse(tree, 0, based=True)))
    assert mesh.vertices.tolist() == [[0, 0, 0], [1, 0, 0], [1, 1, 2], [0, 1, 1]]


@pytest.mark.parametrize("based", [True, False])
@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_sparse_targets_of_a_glb_are_read(tmp_path: Path, based: bool, weight: float) -> None:
    """Blender writes the shape keys of a face so, without an array that they change."""

    def smiling(tree: dict[str, Any]) -> None:
        targets = tree["meshes"][0]["primitives"][0]["targets"]
        sparse(tree, targets[0]["POSITION"], based)
        tree["nodes"] = [{"mesh": 0, "weights": [weight]}]

    own = {
        "target": np.zeros((4, 3), np.float32),
        "moved": np.float32([[0, 0, 4], [0, 0, 2]]),
        "places": MOVED["places"],
    }
    mesh = read(tmp_path, "face.glb", square_glb(own, smiling))
    assert mesh.vertices[:, 2].tolist() == [0, 0, 4 * weight, 2 * weight]


@pytest.mark.parametrize(
    ("count", "place", "reason"),
    [
        (9, 2, "a sparse array of 4 items that changes 9 of them"),
        (2, 200, "not readable as .glb"),
        (-1, 0, "changes -1"),
    ],
)
def test_sparse_arrays_that_are_broken_are_refused(tmp_path: Path, count: int, place: int, reason: str) -> None:
    def broken(tree: dict[str, Any]) -> None:
        sparse(tree, 0, based=True)
        tree["accessors"][0]["sparse"]["count"] = count

    with pytest.raises(MeshError, match=reason):
        read(tmp_path, "face.glb", square_glb(MOVED | {"places": np.uint8([[place], [3]])}, broken))


@pytest.mark.parametrize("kind", [np.float32, np.uint8, np.uint16])
def test_colours_of_a_glbs_vertices_show_where_its_material_has_no_picture(tmp_path: Path, kind: Any) -> None:
    full = 1 if kind is np.float32 else np.iinfo(kind).max
    arrays = {"COLOR_0": np.array([[full, 0, 0, full]] * 4, kind), "TEXCOORD_0": np.float32(CORNER_PLACES)}
    mesh = read(tmp_path, "face.glb", square_glb(arrays, picture=False))
    assert mesh.colors is not None
    assert mesh.colors.tolist() == [list(RED)] * 4
    assert read(tmp_path, "pictured.glb", square_glb(arrays)).texture is not None


def in_color(color: list[float]) -> Change:
    return lambda tree: tree["materials"][0].update(pbrMetallicRoughness={"baseColorFactor": [*color, 1]})


def test_the_colour_of_a_glbs_only_material_shows(tmp_path: Path) -> None:
    mesh = read(tmp_path, "face.glb", square_glb({}, in_color([0, 0, 0.5])))
    assert mesh.colors is not None
    assert mesh.colors.tolist() == [[0, 0, 188]] * 4
    arrays = {"COLOR_0": np.float32([[1, 1, 1]] * 4)}
    mesh = read(tmp_path, "both.glb", square_glb(arrays, in_color([1, 0, 0])))
    assert mesh.colors is not None
    assert mesh.colors.tolist() == [list(RED)] * 4
    assert read(tmp_path, "grey.glb", square_glb({}, in_color([0.4] * 3))).colors is None


def test_the_manifests_picture_hides_the_colours_of_a_glb(tmp_path: Path) -> None:
    Image.new("RGB", (2, 2), BLUE).save(tmp_path / "skin.png")
    arrays = {"TEXCOORD_0": np.float32(CORNER_PLACES)}
    (tmp_path / "face.glb").write_bytes(square_glb(arrays, in_color([1, 0, 0])))
    mesh = read_mesh("face.glb", "skin.png", str(tmp_path))
    assert mesh.uv is not None
    assert mesh.colors is None


def test_the_picture_of_a_glb_lies_by_the_coordinates_that_its_material_names(tmp_path: Path) -> None:
    def second(tree: dict[str, Any]) -> None:
        tree["materials"][0]["pbrMetallicRoughness"]["baseColorTexture"]["texCoord"] = 1

    arrays = {"TEXCOORD_0": np.zeros((4, 2), np.float32), "TEXCOORD_1": np.float32(CORNER_PLACES)}
    mesh = read(tmp_path, "face.glb", square_glb(arrays, second))
    assert mesh.uv is not None
    assert mesh.uv.tolist() == upward(CORNER_PLACES).tolist()
    arrays.pop("TEXCOORD_1")
    with pytest.raises(MeshError, match="its picture lies by TEXCOORD_1, which the mesh does not have"):
        read(tmp_path, "gone.glb", square_glb(arrays, second))


def test_the_picture_of_a_glossy_material_is_read(tmp_path: Path) -> None:
    def glossy(tree: dict[str, Any]) -> None:
        name = "KHR_materials_pbrSpecularGlossiness"
        tree["extensionsRequired"] = [name]
        tree["materials"] = [{"extensions": {name: {"diffuseTexture": {"index": 0}, "diffuseFactor": [1, 1, 1, 1]}}}]

    mesh = read(tmp_path, "face.glb", square_glb({"TEXCOORD_0": np.float32(CORNER_PLACES)}, glossy))
    assert mesh.texture is not None
    assert (mesh.texture == RED).all()


SQUARE_WRL = (
    b"#VRML V2.0 utf8\nIndexedFaceSet { coord Coordinate { point [0 0 0, 1 0 0, 1 1 0, 0 1 0] } "
    b"coordIndex [0 1 2 3 -1] }\n"
)
SQUARE_OBJ = b"v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nf 1 2 3 4\n"


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("face.obj", b"\xef\xbb\xbf" + SQUARE_OBJ),
        ("face.wrl", b"\xef\xbb\xbf" + SQUARE_WRL),
        ("face.off", b"\xef\xbb\xbf" + f"OFF\n4 1 0\n{OFF_ROWS.format('')}4 0 1 2 3\n".encode()),
        ("face.wrl.gz", gzip.compress(SQUARE_WRL, mtime=0)),
        ("face.wrl", gzip.compress(SQUARE_WRL, mtime=0)),
        ("face.OBJ.gz", gzip.compress(SQUARE_OBJ, mtime=0)),
        ("face.wrl", SQUARE_WRL.replace(b"utf8\n", 'utf8\n# Gerät: it\'s "a" } [\n'.encode("latin-1"))),
        ("face.obj", "# Gerät\n".encode("utf-16") + b"\n" + SQUARE_OBJ),
    ],
)
def test_marks_packing_and_comments_do_no_harm(tmp_path: Path, name: str, data: bytes) -> None:
    mesh = read(tmp_path, name, data)
    assert mesh.vertices.tolist() == [list(point) for point in POINTS]
    assert len(mesh.faces) == 2


WHOLE = {
    "a.ply": ply("binary_little_endian", XYZ, POINTS * 9, CORNERS, [((0, 1, 2),)] * 9),
    "b.ply": ply("ascii", XYZ, POINTS * 9, CORNERS, [((0, 1, 2),)] * 9),
    "c.glb": glb(),
    "d.stl": trimesh.creation.icosphere(subdivisions=1).export(file_type="stl"),
    "e.off": f"OFF\n4 2 0\n{OFF_ROWS.format('')}3 0 1 2\n3 0 2 3\n".encode(),
    "f.wrl": SQUARE_WRL,
    "g.wrl.gz": gzip.compress(SQUARE_WRL, mtime=0),
    "h.gltf": json.dumps({"asset": {"version": "2.0"}}).encode(),
    "i.stl": trimesh.creation.box().export(file_type="stl_ascii").encode(),
}


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("share", [0.97, 0.6])
def test_a_file_that_ends_early_is_said_to_be_cut(tmp_path: Path, name: str, share: float) -> None:
    with pytest.raises(MeshError, match="the file is cut"):
        read(tmp_path, name, WHOLE[name][: int(len(WHOLE[name]) * share)])


def points_glb(tree: dict[str, Any]) -> None:
    tree["meshes"][0]["primitives"][0]["mode"] = 0


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.ply", ply("binary_little_endian", XYZ, POINTS)),
        ("b.ply", ply("ascii", XYZ, POINTS, CORNERS, [])),
        ("c.off", f"OFF\n4 0 0\n{OFF_ROWS.format('')}".encode()),
        ("d.obj", b"v 0 0 0\nv 1 0 0\nv 1 1 0\n"),
        ("e.glb", glb(points_glb)),
        ("f.wrl", b"#VRML V2.0 utf8\nShape { geometry PointSet { coord Coordinate { point [0 0 0, 1 0 0] } } }"),
    ],
)
def test_a_point_cloud_is_said_to_have_no_triangles(tmp_path: Path, name: str, data: bytes) -> None:
    with pytest.raises(MeshError, match=r"no triangles"):
        read(tmp_path, name, data)
