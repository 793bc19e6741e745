"""Pictures and colours of OBJ files, however their materials are written."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from polyview.corpus.formats import limits
from polyview.corpus.formats.reader import read_mesh
from polyview.corpus.mesh import Mesh, MeshError
from polyview.recipe import Rendering
from polyview.rendering.cameras import Camera
from polyview.rendering.renderer import make_renderer

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
CORNERS = "v -100 -100 0\nv 100 -100 0\nv 100 100 0\nv -100 100 0\nvt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\n"
LOWER, UPPER = "f 1/1 2/2 3/3\n", "f 1/1 3/3 4/4\n"


def paint(file: Path, color: tuple[int, int, int]) -> None:
    Image.new("RGB", (4, 4), color).save(file)


def read(folder: Path, text: str, **libraries: str) -> Mesh:
    for name, library in libraries.items():
        (folder / f"{name}.mtl").write_text(library)
    (folder / "face.obj").write_text(text)
    return read_mesh("face.obj", None, str(folder))


def halves(mesh: Mesh) -> list[tuple[int, ...]]:
    """What the camera sees of the lower right and of the upper left triangle."""
    (view,) = make_renderer(Rendering(shading="color", framing="whole")).render(mesh, [Camera(0, 0)])
    (texture,) = make_renderer(Rendering(shading="texture", framing="whole")).render(mesh, [Camera(0, 0)])
    seen = [tuple(texture[place].tolist()) for place in ((40, 40), (24, 24))]
    assert np.allclose(seen, [view[40, 40], view[24, 24]], atol=2)
    return seen


@pytest.mark.parametrize(
    "line",
    [
        "map_Kd skin.png",
        "map_Kd\tskin.png",
        "  map_Kd   skin.png  ",
        "map_kd skin.png",
        'map_Kd "skin.png"',
        "map_Kd SKIN.PNG",
        "map_Kd ./skin.png",
        "map_Kd C:\\Users\\anna\\scans\\skin.png",
        "map_Kd ..\\textures\\skin.png",
        "map_Kd /home/anna/Skin.png",
        "map_Kd -s 1 1 1 -o 0 0 0 -clamp on skin.png",
        "map_Kd skin.png # the left camera's",
        "map_Kd gone.png\nmap_Kd skin.png",
        "map_Ka skin.png",
        "Kd 0 0 1\nmap_Ka skin.png",
        "map_Ka gone.png\nmap_Kd skin.png",
        "map_Kd skin.png\nmap_Ka gone.png",
    ],
)
def test_the_picture_is_found_however_it_is_written(tmp_path: Path, line: str) -> None:
    paint(tmp_path / "skin.png", RED)
    mesh = read(tmp_path, f"mtllib face.mtl\n{CORNERS}usemtl skin\n{LOWER}{UPPER}", face=f"newmtl skin\n{line}\n")
    assert halves(mesh) == [RED, RED]


@pytest.mark.parametrize("name", ["my skin.png", "mädchen.png", "skin #2.png", "-skin.png"])
def test_names_with_spaces_and_signs(tmp_path: Path, name: str) -> None:
    paint(tmp_path / name, BLUE)
    (tmp_path / "face.mtl").write_bytes(f"newmtl skin\nmap_Kd -s 1 1 1 {name}\n".encode())
    assert halves(read(tmp_path, f"mtllib face.mtl\n{CORNERS}usemtl skin\n{LOWER}{UPPER}")) == [BLUE, BLUE]


@pytest.mark.parametrize(
    "library", ["C:\\anna\\face.mtl", "/home/anna/face.mtl", "FACE.MTL", '"face.mtl"', "a\\face.mtl"]
)
def test_the_library_is_found_however_it_is_written(tmp_path: Path, library: str) -> None:
    paint(tmp_path / "skin.png", RED)
    text = f"mtllib {library}\n{CORNERS}usemtl skin\n{LOWER}{UPPER}"
    assert halves(read(tmp_path, text, face="newmtl skin\nmap_Kd skin.png\n")) == [RED, RED]


@pytest.mark.parametrize("line", ["map_Kd skin.png", "map_Kd ../materials/skin.png", "map_Kd C:\\anna\\Skin.png"])
def test_a_picture_is_looked_for_from_its_librarys_folder_first(tmp_path: Path, line: str) -> None:
    for folder, color in (("meshes", BLUE), ("materials", RED)):
        (tmp_path / folder).mkdir()
        paint(tmp_path / folder / "skin.png", color)
    (tmp_path / "materials" / "face.mtl").write_text(f"newmtl skin\n{line}\n")
    text = f"mtllib ../materials/face.mtl\n{CORNERS}usemtl skin\n{LOWER}{UPPER}"
    (tmp_path / "meshes" / "face.obj").write_text(text)
    assert halves(read_mesh("meshes/face.obj", None, str(tmp_path))) == [RED, RED]
    (tmp_path / "materials" / "skin.png").unlink()
    assert halves(read_mesh("meshes/face.obj", None, str(tmp_path))) == [BLUE, BLUE]


@pytest.mark.parametrize("lines", ["mtllib one.mtl two.mtl\n", "mtllib one.mtl\nmtllib two.mtl\n"])
def test_several_libraries(tmp_path: Path, lines: str) -> None:
    paint(tmp_path / "skin.png", RED)
    text = f"{lines}{CORNERS}usemtl skin\n{LOWER}usemtl hair\n{UPPER}"
    mesh = read(tmp_path, text, one="newmtl skin\nmap_Kd skin.png\n", two="newmtl hair\nKd 0 0 1\n")
    assert halves(mesh) == [RED, BLUE]


def test_each_face_has_the_picture_or_the_colour_of_its_own_material(tmp_path: Path) -> None:
    paint(tmp_path / "a.png", RED)
    paint(tmp_path / "b.png", GREEN)
    library = "newmtl a\nmap_Kd a.png\nnewmtl b\nKd 1 1 1\nmap_Kd b.png\nnewmtl c\nKd 0 0 1\nnewmtl d\n"
    for lower, upper, seen in [
        ("a", "b", [RED, GREEN]),
        ("a", "c", [RED, BLUE]),
        ("c", "b", [BLUE, GREEN]),
        ("c", "c", [BLUE, BLUE]),
        ("a", "d", [RED, (199, 199, 199)]),
        ("a", "unknown", [RED, (199, 199, 199)]),
    ]:
        text = f"mtllib face.mtl\n{CORNERS}usemtl {lower}\n{LOWER}usemtl {upper}\n{UPPER}"
        assert halves(read(tmp_path, text, face=library)) == seen


def test_colours_of_materials_need_no_texture_coordinates(tmp_path: Path) -> None:
    text = f"mtllib face.mtl\n{CORNERS}usemtl a\nf 1 2 3\nusemtl b\nf 1 3 4\n"
    assert halves(read(tmp_path, text, face="newmtl a\nKd 1 0 0\nnewmtl b\nKd 0 1 0\n")) == [RED, GREEN]


def test_a_lone_grey_material_is_no_colour(tmp_path: Path) -> None:
    text = f"mtllib face.mtl\n{CORNERS}usemtl a\n{LOWER}{UPPER}"
    assert read(tmp_path, text, face="newmtl a\nKd 0.8 0.8 0.8\n").texture is None


def test_vertex_colours_give_way_to_a_picture_alone(tmp_path: Path) -> None:
    paint(tmp_path / "skin.png", RED)
    text = "mtllib face.mtl\n" + CORNERS.replace(" 0\nv", " 0 0 1 0\nv").replace("100 0\nvt", "100 0 0 1 0\nvt")
    text += "usemtl a\n" + LOWER + UPPER
    assert halves(read(tmp_path, text, face="newmtl a\nmap_Kd skin.png\n")) == [RED, RED]
    assert read(tmp_path, text, face="newmtl a\nKd 0.5 0.5 0.5\n").colors is not None


COLORED = (
    "v -100 -100 0 0.3 0.6 0.3\nv 100 -100 0 0.3 0.3 0.6\nv 100 100 0 0.6 0.6 0.3\nv -100 100 0 0.3 0.6 0.6\n"
    "vt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\n"
)


def drawn(mesh: Mesh) -> NDArray[np.uint8]:
    """What the camera sees in white light, whether that is a picture or colours."""
    shading: Literal["texture", "color"] = "color" if mesh.texture is None or mesh.uv is None else "texture"
    (view,) = make_renderer(Rendering(shading=shading, framing="whole")).render(mesh, [Camera(0, 0)])
    return view


@pytest.mark.parametrize(
    ("lower", "library"),
    [
        ("a", "newmtl a\nKd 0.5 0.5 0.5\nnewmtl b\nKd 1 1 1\n"),
        ("a", "newmtl a\nKd 1 0 0\nnewmtl b\nKd 1 1 1\n"),
        ("b", "newmtl b\nKd 1 0 0\n"),
    ],
)
def test_vertex_colours_hide_those_of_materials(tmp_path: Path, lower: str, library: str) -> None:
    plain = drawn(read(tmp_path, COLORED + LOWER + UPPER))
    mesh = read(tmp_path, f"mtllib face.mtl\n{COLORED}usemtl {lower}\n{LOWER}usemtl b\n{UPPER}", face=library)
    assert (drawn(mesh) == plain).all()
    white = CORNERS.replace(" 0\nv", " 0 1 1 1\nv").replace("100 0\nvt", "100 0 1 1 1\nvt")
    text = f"mtllib face.mtl\n{white}usemtl a\n{LOWER}usemtl b\n{UPPER}"
    assert halves(read(tmp_path, text, face="newmtl a\nKd 1 0 0\nnewmtl b\nKd 0 0 1\n")) == [RED, BLUE]


@pytest.mark.parametrize("upper", [UPPER, "f 1 3 4\n", "f 4/4 1/1 3/3\n"])
def test_faces_without_a_picture_show_vertex_colours_beside_those_that_have_one(tmp_path: Path, upper: str) -> None:
    paint(tmp_path / "skin.png", RED)
    plain = drawn(read(tmp_path, COLORED + upper)).astype(int)
    text = f"mtllib face.mtl\n{COLORED}usemtl a\n{LOWER}usemtl b\n{upper}"
    mesh = read(tmp_path, text, face="newmtl a\nmap_Kd skin.png\nnewmtl b\nKd 1 1 1\n")
    view = drawn(mesh)
    of_upper = np.tri(64, dtype=bool)[::-1, ::-1].T & (plain != plain[0, 0]).any(axis=-1)
    assert of_upper.sum() > 200
    assert np.abs(view[of_upper] - plain[of_upper]).max() <= 2
    assert tuple(view[40, 40].tolist()) == RED


@pytest.mark.parametrize("use", ["usemtl a\n{}{}", "usemtl a\n{}usemtl b\n{}", "{}{}"])
def test_vertex_colours_serve_where_nothing_says_where_the_picture_lies(tmp_path: Path, use: str) -> None:
    paint(tmp_path / "skin.png", RED)
    faces = "f 1 2 3\n", "f 1 3 4\n"
    text = f"mtllib face.mtl\n{COLORED}{use.format(*faces)}"
    mesh = read(tmp_path, text, face="newmtl a\nmap_Kd skin.png\nnewmtl b\nKd 1 1 1\n")
    assert (drawn(mesh) == drawn(read(tmp_path, COLORED + "".join(faces)))).all()


COVER = "v -100 -100 9\nv 100 -100 9\nv 100 100 9\nv -100 100 9\nusemtl cover\nf -4/1 -3/2 -2/3 -1/4\n"


@pytest.mark.parametrize(
    "lines", ["d 0.02", "D 0.1", "d -halo 0", "Tr 0.98", "tr 0.9", "map_Kd gone.png\nd 0", "Tr 0\nd 0"]
)
@pytest.mark.parametrize("named", [None, "skin.png"])
def test_what_is_nearly_clear_does_not_hide_the_face_behind_it(tmp_path: Path, lines: str, named: str | None) -> None:
    paint(tmp_path / "skin.png", RED)
    library = f"newmtl skin\nmap_Kd skin.png\nnewmtl cover\nKd 1 1 1\n{lines}\n"
    (tmp_path / "face.mtl").write_text(library)
    (tmp_path / "face.obj").write_text(f"mtllib face.mtl\n{CORNERS}usemtl skin\n{LOWER}{UPPER}{COVER}")
    mesh = read_mesh("face.obj", named, str(tmp_path))
    assert halves(mesh) == [RED, RED]
    assert len(mesh.faces) == 2


@pytest.mark.parametrize(
    "lines", ["d 0.5", "Tr 0.5", "d 1\nTr 1", "Tr 1\nd 1", "Tr 1.000000", "d", "d none", "Tr", "d nan"]
)
def test_what_is_not_nearly_clear_is_drawn(tmp_path: Path, lines: str) -> None:
    paint(tmp_path / "skin.png", RED)
    library = f"newmtl skin\nmap_Kd skin.png\nnewmtl cover\nKd 0 0 1\n{lines}\n"
    text = f"mtllib face.mtl\n{CORNERS}usemtl skin\n{LOWER}{UPPER}{COVER}"
    assert halves(read(tmp_path, text, face=library)) == [BLUE, BLUE]


@pytest.mark.parametrize("line", ["d 0", "Tr 1"])
def test_a_program_that_calls_all_faces_clear_means_none(tmp_path: Path, line: str) -> None:
    paint(tmp_path / "skin.png", RED)
    library = f"newmtl a\nmap_Kd skin.png\n{line}\nnewmtl b\nKd 0 0 1\n{line}\n"
    text = f"mtllib face.mtl\n{CORNERS}usemtl a\n{LOWER}usemtl b\n{UPPER}"
    assert halves(read(tmp_path, text, face=library)) == [RED, BLUE]


def test_tiles_beyond_the_first_are_moved_back(tmp_path: Path) -> None:
    paint(tmp_path / "a.png", RED)
    paint(tmp_path / "b.png", GREEN)
    text = f"mtllib face.mtl\n{CORNERS}vt 3 -1\nvt 4 0\nvt 3 0\nusemtl a\n{LOWER}usemtl b\nf 1/5 3/6 4/7\n"
    mesh = read(tmp_path, text, face="newmtl a\nmap_Kd a.png\nnewmtl b\nmap_Kd b.png\n")
    assert halves(mesh) == [RED, GREEN]
    assert mesh.uv is not None
    assert 0 < mesh.uv.min() < mesh.uv.max() < 1


def test_pictures_without_a_material_in_use_are_not_guessed(tmp_path: Path) -> None:
    paint(tmp_path / "a.png", RED)
    one = "newmtl a\nmap_Kd a.png\n"
    assert halves(read(tmp_path, f"mtllib face.mtl\n{CORNERS}{LOWER}{UPPER}", face=one)) == [RED, RED]
    with pytest.raises(MeshError, match=r"has 2 pictures \(a\.png, b\.png\) and no usemtl"):
        read(tmp_path, f"mtllib face.mtl\n{CORNERS}{LOWER}{UPPER}", face=one + "newmtl b\nmap_Kd b.png\n")


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_grey_in_sixteen_bits_is_scaled_to_eight(tmp_path: Path, suffix: str) -> None:
    values = np.array([[0, 0x1234], [0x8000, 0xFFFF]], np.uint16)
    Image.fromarray(values).save(tmp_path / f"grey.{suffix}")
    assert limits.read_texture(tmp_path / f"grey.{suffix}")[..., 0].tolist() == [[0, 0x12], [0x80, 0xFF]]


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_a_picture_larger_than_memory_should_hold_is_read_smaller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    monkeypatch.setattr(limits, "LARGEST_TEXTURE", 64 * 64)
    Image.new("RGB", (256, 128), RED).save(tmp_path / f"large.{suffix}")
    picture = limits.read_texture(tmp_path / f"large.{suffix}")
    assert picture.shape[0] * picture.shape[1] <= 64 * 64
    assert np.allclose(picture.reshape(-1, 3).mean(axis=0), RED, atol=3)


def four_colors(file: Path) -> None:
    """A picture of red (lower left), green (lower right), blue (upper left) and white."""
    Image.fromarray(np.array([[BLUE, (255,) * 3], [RED, GREEN]], np.uint8).repeat(8, 0).repeat(8, 1)).save(file)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("-s 0.4 0.4 1", [RED, RED]),
        ("-s 0.4 0.4", [RED, RED]),
        ("-s 0.4 0.4 1 -o 0.55 0.05 0", [GREEN, GREEN]),
        ("-o 0.05 0.55 -clamp on -s 0.4 0.4 1", [BLUE, BLUE]),
        ("-O .05 .55 -S 4e-1 .4", [BLUE, BLUE]),
        ("-o 1.05 -0.45 0 -s 0.4 0.4 1", [BLUE, BLUE]),
        ("-o 5 5 -o 0.05 0.55 -s 0.4 0.4", [BLUE, BLUE]),
    ],
)
@pytest.mark.parametrize("use", ["usemtl skin\n", ""])
def test_coordinates_are_scaled_and_moved_as_the_material_says(
    tmp_path: Path, options: str, expected: list[tuple[int, ...]], use: str
) -> None:
    four_colors(tmp_path / "skin.png")
    library = f"newmtl skin\nmap_Kd {options} skin.png\nKd 1 1 1\n"
    assert halves(read(tmp_path, f"mtllib face.mtl\n{CORNERS}{use}{LOWER}{UPPER}", face=library)) == expected


@pytest.mark.parametrize("options", ["-s 1 1 1 -o 0 0 0", "-s 1.2.3 1..0", "-s 1", "-o 0 0"])
def test_options_that_move_nothing(tmp_path: Path, options: str) -> None:
    four_colors(tmp_path / "skin.png")
    library = f"newmtl skin\nmap_Kd {options} skin.png\n"
    mesh = read(tmp_path, f"mtllib face.mtl\n{CORNERS}usemtl skin\n{LOWER}{UPPER}", face=library)
    assert mesh.uv is not None
    assert mesh.uv.tolist() == [[0, 0], [1, 0], [1, 1], [0, 1]]


def test_each_material_moves_the_picture_its_own_way(tmp_path: Path) -> None:
    four_colors(tmp_path / "skin.png")
    library = "newmtl a\nmap_Kd -s 0.4 0.4 skin.png\nnewmtl b\nmap_Kd -s 0.4 0.4 -o 1.55 0.05 skin.png\n"
    text = f"mtllib face.mtl\n{CORNERS}usemtl a\n{LOWER}usemtl b\n{UPPER}"
    assert halves(read(tmp_path, text, face=library)) == [RED, GREEN]
