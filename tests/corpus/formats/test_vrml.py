from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.corpus.on_disk import write_picture, write_wrl

from polyview.corpus.formats.reader import read_mesh
from polyview.corpus.mesh import Mesh, MeshError
from polyview.recipe import Rendering
from polyview.rendering.cameras import Camera
from polyview.rendering.renderer import make_renderer

HEAD = "#VRML V2.0 utf8\n"
TRIANGLE = "geometry IndexedFaceSet { coord Coordinate { point [0 0 0, 1 0 0, 0 1 0] } coordIndex [0 1 2 -1] }"

RED, GREEN, BLUE, GREY = (255, 0, 0), (0, 255, 0), (0, 0, 255), (199, 199, 199)
SQUARE = "point [-100 -100 0, 100 -100 0, 100 100 0, -100 100 0]"
LOWER, UPPER = "0 1 2 -1", "0 2 3 -1"
PLACES = "texCoord TextureCoordinate { point [0 0, 1 0, 1 1, 0 1] }"


def read(folder: Path, text: str) -> Mesh:
    (folder / "face.wrl").write_text(HEAD + text)
    return read_mesh("face.wrl", None, str(folder))


@pytest.mark.parametrize("quads", [False, True])
@pytest.mark.parametrize("separator", [", ", " ", ",", "  ,\t"])
def test_one_face_in_every_habit_of_writing(tmp_path: Path, quads: bool, separator: str) -> None:
    write_picture(tmp_path / "face.bmp")
    write_wrl(tmp_path / "face.wrl", "face.bmp", quads=quads, separator=separator)
    mesh = read_mesh("face.wrl", None, str(tmp_path))
    mesh.check()
    assert (len(mesh.vertices), len(mesh.faces)) == (12 * 16, 2 * 11 * 15)
    a, b, c = (mesh.vertices[mesh.faces[:, corner]] for corner in range(3))
    assert (np.cross(b - a, c - a)[:, 2] > 0).all()
    assert mesh.uv is not None
    assert np.allclose(mesh.uv, mesh.vertices[:, :2] / 120 + 0.5, atol=1e-4)
    assert mesh.texture is not None
    assert mesh.texture.shape == (8, 8, 3)


def test_numbers_in_every_spelling(tmp_path: Path) -> None:
    mesh = read(
        tmp_path,
        "Shape { geometry IndexedFaceSet { coordIndex [0,1,2,-1] # a ] in a comment\n"
        "coord Coordinate { point [ -1.5e1 +2. .25 # 9 9 9\n 1E+02,-0.0,3,\n\n0000.1 123456.789012 -7e-3, ] } } }",
    )
    assert mesh.vertices.tolist() == np.float32([[-15, 2, 0.25], [100, 0, 3], [0.1, 123456.789012, -0.007]]).tolist()


def test_numbers_are_those_of_python(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(0, 100, (999, 3)) * 10.0 ** rng.integers(-6, 4, (999, 3))
    rows = ",".join(" ".join(map(repr, row)) for row in points.tolist())
    mesh = read(tmp_path, f"IndexedFaceSet {{ coord Coordinate {{ point [{rows}] }} coordIndex [0 1 2 -1] }}")
    assert (mesh.vertices == points.astype(np.float32)).all()


def test_polygons_are_cut_into_triangles(tmp_path: Path) -> None:
    mesh = read(
        tmp_path,
        "IndexedFaceSet { coord Coordinate { point [0 0 0 2 0 0 3 1 0 1 3 0 -1 1 0] } "
        "coordIndex [0 1 2 3 4 -1, 0 1 -1, 2 3 4] }",
    )
    assert mesh.faces.tolist() == [[0, 1, 2], [0, 2, 3], [0, 3, 4], [2, 3, 4]]


def test_a_vertex_with_two_texture_places_is_split(tmp_path: Path) -> None:
    mesh = read(
        tmp_path,
        "IndexedFaceSet { coord Coordinate { point [0 0 0 1 0 0 0 1 0 1 1 0] } coordIndex [0 1 2 -1 1 3 2 -1] "
        "texCoord TextureCoordinate { point [0 0, 0.5 0, 0 0.5, 1 1, 0.75 0.25] } texCoordIndex [0 1 2 -1 4 3 2 -1] }",
    )
    corners = mesh.uv[mesh.faces].tolist()
    assert corners == [[[0, 0], [0.5, 0], [0, 0.5]], [[0.75, 0.25], [1, 1], [0, 0.5]]]
    assert mesh.vertices[mesh.faces][:, :, :2].tolist() == [
        [[0, 0], [1, 0], [0, 1]],
        [[1, 0], [1, 1], [0, 1]],
    ]
    assert len(mesh.vertices) == 5


@pytest.mark.parametrize(
    ("fields", "moved"),
    [
        ("scale 2 -1", [[0, 0], [2, 0], [2, -1], [0, -1]]),
        ("translation 0.25 0.5", [[0.25, 0.5], [1.25, 0.5], [1.25, 1.5], [0.25, 1.5]]),
        ("rotation 1.57079632679", [[0, 0], [0, 1], [-1, 1], [-1, 0]]),
        ("center -0.5 -0.5 rotation 1.57079632679", [[1, 0], [1, 1], [0, 1], [0, 0]]),
        ("scale 2 2 center 1 0 translation 0 1 rotation 3.14159265359", [[-3, -2], [-5, -2], [-5, -4], [-3, -4]]),
        ("", [[0, 0], [1, 0], [1, 1], [0, 1]]),
    ],
)
def test_a_texture_transform_moves_the_coordinates(tmp_path: Path, fields: str, moved: list[list[float]]) -> None:
    write_picture(tmp_path / "skin.png")
    look = f'textureTransform TextureTransform {{ {fields} }} texture ImageTexture {{ url "skin.png" }}'
    mesh = read(tmp_path, shape(f"{LOWER} {UPPER}", look))
    assert mesh.uv is not None
    assert np.allclose(mesh.uv, moved, atol=1e-6)


def test_clockwise_faces_and_vertex_colours(tmp_path: Path) -> None:
    mesh = read(
        tmp_path,
        "IndexedFaceSet { ccw FALSE color Color { color [1 0 0 0 1 0 0 0 0.5] } "
        "coord Coordinate { point [0 0 0 1 0 0 0 1 0] } coordIndex [0 2 1 -1] }",
    )
    assert mesh.faces.tolist() == [[1, 2, 0]]
    assert mesh.colors.tolist() == [[255, 0, 0], [0, 255, 0], [0, 0, 128]]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no IndexedFaceSet"),
        (TRIANGLE.replace("2 -1", "3 -1"), "face index 3 of 3 vertices"),
        (TRIANGLE.replace("2 -1", "-7 -1"), "face index -7 of 3 vertices"),
        (TRIANGLE.replace("2 -1", "99999999999 -1"), "face index 1e+11 is more than a mesh can have"),
        (TRIANGLE.replace("2 -1", "1.5 -1"), "face index 1.5 is not a whole number"),
        (TRIANGLE.replace("1 0 0", "1 0 zero"), "'zero,' at byte"),
        (TRIANGLE.replace("1 0 0", "1 0"), "8 numbers are no whole count of points of 3"),
        (TRIANGLE.replace("coordIndex", "color Color { color [1 0 0] } colorIndex [0 0] coordIndex"), "the colours'"),
        (
            TRIANGLE.replace("coordIndex", "color Color { color [1 0 0] } colorIndex [9 0 0 -1] coordIndex"),
            "colour index 9 of 1 colours",
        ),
        (
            TRIANGLE.replace("[0 1 2 -1]", "[0 1 2 -1 0 2 1] colorPerVertex FALSE color Color { color [1 0 0] }"),
            "colour index 1 of 1 colours",
        ),
        (
            TRIANGLE.replace(
                "[0 1 2 -1]", "[0 1 2 -1 0 2 1] colorPerVertex FALSE color Color { color [1 0 0] } colorIndex [0]"
            ),
            "1 indices of colours for 2 faces",
        ),
        (
            "".join(f"DEF g{n} Group {{ children [ USE g{n - 1} USE g{n - 1} ] }} " for n in range(40)) + TRIANGLE,
            "uses its nodes more than",
        ),
        ("{ " * 200_000, "words outside of its arrays"),
        (
            TRIANGLE.replace(
                "coordIndex", "texCoord TextureCoordinate { point [0 0] } texCoordIndex [0 0 -1] coordIndex"
            ),
            "the texture coordinates' polygons are not those of the faces",
        ),
        ('ImageTexture { url "../secret.png" } ' + TRIANGLE, "'../secret.png' lies outside of the dataset's folder"),
        ('ImageTexture { url ["/etc/secret.png"] } ' + TRIANGLE, "'/etc/secret.png' lies outside"),
        ('ImageTexture { url "gone.png" } ' + TRIANGLE, "texture gone.png is missing"),
    ],
)
def test_a_bad_file_is_refused_in_words(tmp_path: Path, text: str, reason: str) -> None:
    folder = tmp_path / "faces"
    folder.mkdir()
    with pytest.raises(MeshError) as error:
        read(folder, text)
    assert reason in str(error.value)


def test_the_manifest_s_texture_stands_in_for_a_name_that_leads_nowhere(tmp_path: Path) -> None:
    write_picture(tmp_path / "skin.png")
    (tmp_path / "face.wrl").write_text(HEAD + 'ImageTexture { url "C:\\\\scans\\\\F0001.bmp" } ' + TRIANGLE)
    assert read_mesh("face.wrl", "skin.png", str(tmp_path)).texture is not None


def test_another_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "face.wrl").write_text("#VRML V1.0 ascii\n")
    with pytest.raises(MeshError, match=r"not a VRML 2\.0 file"):
        read_mesh("face.wrl", None, str(tmp_path))


@pytest.mark.parametrize(
    ("fields", "seen"),
    [
        ("translation 1 2 3", [[1, 2, 3], [2, 2, 3], [1, 3, 3]]),
        ("scale 2 3 4", [[0, 0, 0], [2, 0, 0], [0, 3, 0]]),
        ("rotation 0 0 2 1.5707963267948966", [[0, 0, 0], [0, 1, 0], [-1, 0, 0]]),
        ("center 1 0 0 rotation 0 0 1 1.5707963267948966", [[1, -1, 0], [1, 0, 0], [0, -1, 0]]),
        ("scale 2 1 1 scaleOrientation 0 0 1 1.5707963267948966", [[0, 0, 0], [1, 0, 0], [0, 2, 0]]),
        ("translation 5 0 0 scale 2 2 2", [[5, 0, 0], [7, 0, 0], [5, 2, 0]]),
    ],
)
@pytest.mark.parametrize("behind", [False, True])
def test_a_transform_is_applied_wherever_its_fields_stand(
    tmp_path: Path, fields: str, seen: list[list[float]], behind: bool
) -> None:
    shape = f"children [ Shape {{ {TRIANGLE} }} ]"
    mesh = read(tmp_path, f"Transform {{ {f'{shape} {fields}' if behind else f'{fields} {shape}'} }}")
    assert np.allclose(mesh.vertices, seen, atol=1e-6)


def test_transforms_within_transforms(tmp_path: Path) -> None:
    inner = f"Transform {{ translation 1 0 0 children [ Group {{ children [ Shape {{ {TRIANGLE} }} ] }} ] }}"
    beside = "Transform { scale 9 9 9 children [] }"
    mesh = read(tmp_path, f"Transform {{ scale 10 10 10 children [ {beside} {inner} ] }}")
    assert mesh.vertices.tolist() == [[10, 0, 0], [20, 0, 0], [10, 10, 0]]


def test_a_mirroring_transform_turns_the_faces_about(tmp_path: Path) -> None:
    mesh = read(tmp_path, f"Transform {{ scale -1 1 1 children [ Shape {{ {TRIANGLE} }} ] }}")
    a, b, c = mesh.vertices[mesh.faces[0]]
    assert np.cross(b - a, c - a)[2] > 0


def shape(corners: str, look: str = "", more: str = PLACES, coordinates: str = f"Coordinate {{ {SQUARE} }}") -> str:
    return (
        f"Shape {{ appearance Appearance {{ {look} }} "
        f"geometry IndexedFaceSet {{ coord {coordinates} coordIndex [{corners}] {more} }} }}\n"
    )


def painted(folder: Path, name: str, color: tuple[int, int, int]) -> str:
    """A texture node with a picture of one colour, which is written."""
    Image.new("RGB", (4, 4), color).save(folder / name)
    return f'texture ImageTexture {{ url "{name}" }}'


def halves(mesh: Mesh) -> list[tuple[int, ...]]:
    """What the camera sees of the lower right and of the upper left triangle."""
    mesh.check()
    shading = "color" if mesh.texture is None else "texture"
    (view,) = make_renderer(Rendering(shading=shading, framing="whole")).render(mesh, [Camera(0, 0)])
    return [tuple(view[place].tolist()) for place in ((40, 40), (24, 24))]


def test_several_shapes_are_joined_each_with_its_own_look(tmp_path: Path) -> None:
    red, green = painted(tmp_path, "a.png", RED), painted(tmp_path, "b.png", GREEN)
    blue = "material Material { diffuseColor 0 0 1 }"
    colored = "color Color { color [0 1 0 0 1 0 0 1 0 0 1 0] }"
    by_face = "colorPerVertex FALSE color Color { color [0 1 0] }"
    for lower, upper, expected in [
        (shape(LOWER, red), shape(UPPER, green), [RED, GREEN]),
        (shape(LOWER, red), shape(UPPER, red), [RED, RED]),
        (shape(LOWER, red), shape(UPPER, blue, more=""), [RED, BLUE]),
        (shape(LOWER, blue, more=""), shape(UPPER, f"{blue} {green}"), [BLUE, GREEN]),
        (shape(LOWER, blue, more=""), shape(UPPER, "", more=""), [BLUE, GREY]),
        (shape(LOWER, red), shape(UPPER, "", more=colored), [RED, GREEN]),
        (shape(LOWER, blue, more=""), shape(UPPER, "", more=colored), [BLUE, GREEN]),
        (shape(LOWER, blue, more=by_face), shape(UPPER, blue, more=""), [GREEN, BLUE]),
        (shape(LOWER, red), shape(UPPER, red, more=colored), [RED, GREEN]),
    ]:
        mesh = read(tmp_path, f"Group {{ children [ {lower} {upper} ] }}")
        assert len(mesh.faces) == 2
        assert halves(mesh) == expected


def test_the_manifest_s_texture_is_that_of_all_shapes(tmp_path: Path) -> None:
    painted(tmp_path, "skin.png", RED)
    (tmp_path / "face.wrl").write_text(HEAD + shape(LOWER) + shape(UPPER, 'texture ImageTexture { url "gone.png" }'))
    assert halves(read_mesh("face.wrl", "skin.png", str(tmp_path))) == [RED, RED]


MANY = "color Color { color [.3 .6 .3, .3 .3 .6, .6 .6 .3, .3 .6 .6] }"
CORNERS_OF_MANY = "color Color { color [.3 .6 .6, .6 .6 .3, .3 .3 .6, .3 .6 .3] } colorIndex [3 1 0 -1]"


@pytest.mark.parametrize("more", [MANY, f"{MANY} {PLACES}", CORNERS_OF_MANY])
@pytest.mark.parametrize("named", [None, "skin.png"])
def test_a_part_shows_its_many_colours_beside_a_part_with_a_picture(
    tmp_path: Path, more: str, named: str | None
) -> None:
    red = painted(tmp_path, "skin.png", RED)
    (tmp_path / "face.wrl").write_text(HEAD + shape(LOWER, red) + shape(UPPER, more=more))
    mesh = read_mesh("face.wrl", named, str(tmp_path))
    if named and PLACES in more:
        assert halves(mesh) == [RED, RED]
        return
    (view,) = make_renderer(Rendering(shading="texture", framing="whole")).render(mesh, [Camera(0, 0)])
    alone = read(tmp_path, shape(UPPER, more=more))
    (colors,) = make_renderer(Rendering(shading="color", framing="whole")).render(alone, [Camera(0, 0)])
    for place in ((20, 20), (24, 24), (20, 40), (40, 20), (32, 28)):
        assert np.allclose(view[place], colors[place], atol=2)
    assert tuple(view[40, 40].tolist()) == RED


def test_a_picture_that_is_named_must_be_there_even_if_no_part_says_where_it_lies(tmp_path: Path) -> None:
    (tmp_path / "face.wrl").write_text(HEAD + shape(LOWER, more="") + shape(UPPER, more=MANY))
    with pytest.raises(MeshError, match=r"texture gone\.png is missing"):
        read_mesh("face.wrl", "gone.png", str(tmp_path))


@pytest.mark.parametrize("named", [None, "skin.png"])
def test_a_picture_hides_colours(tmp_path: Path, named: str | None) -> None:
    red = painted(tmp_path, "skin.png", RED)
    (tmp_path / "face.wrl").write_text(HEAD + shape(f"{LOWER} {UPPER}", "" if named else red, more=f"{MANY} {PLACES}"))
    mesh = read_mesh("face.wrl", named, str(tmp_path))
    (view,) = make_renderer(Rendering(shading="color", framing="whole")).render(mesh, [Camera(0, 0)])
    assert [tuple(view[place].tolist()) for place in ((40, 40), (24, 24))] == [RED, RED]


@pytest.mark.parametrize("transparency", ["0.98", "0.9", "1"])
@pytest.mark.parametrize("named", [None, "skin.png"])
def test_what_is_nearly_clear_does_not_hide_the_face_behind_it(
    tmp_path: Path, transparency: str, named: str | None
) -> None:
    red = painted(tmp_path, "skin.png", RED)
    both = f"{LOWER} {UPPER}"
    clear = f"material Material {{ diffuseColor 0 0 1 transparency {transparency} }}"
    cover = f"Transform {{ translation 0 0 9 children [ {shape(both, clear)} ] }}"
    (tmp_path / "face.wrl").write_text(HEAD + shape(both, red) + cover)
    mesh = read_mesh("face.wrl", named, str(tmp_path))
    assert halves(mesh) == [RED, RED]
    assert len(mesh.faces) == 2
    half = cover.replace(f"transparency {transparency}", "transparency 0.5")
    assert halves(read(tmp_path, shape(both, red) + half)) == [BLUE, BLUE]
    assert halves(read(tmp_path, cover)) == [BLUE, BLUE]


def test_nodes_that_are_used_again(tmp_path: Path) -> None:
    red = painted(tmp_path, "a.png", RED).replace("texture ", "texture DEF skin ")
    lower = shape(LOWER, red, coordinates=f"DEF all Coordinate {{ {SQUARE} }}")
    assert halves(read(tmp_path, lower + shape(UPPER, "texture USE skin", coordinates="USE all"))) == [RED, RED]
    moved = read(tmp_path, f"DEF one {shape(LOWER)} Transform {{ translation 0 0 9 children [ USE one ] }}")
    assert sorted(set(moved.vertices[:, 2].tolist())) == [0, 9]


def test_each_shape_has_its_own_winding(tmp_path: Path) -> None:
    turned = shape("0 3 2 -1", more="ccw FALSE") + f"Transform {{ scale -1 1 1 children [ {shape(LOWER)} ] }}"
    mesh = read(tmp_path, shape(LOWER) + turned)
    a, b, c = mesh.vertices[mesh.faces].swapaxes(0, 1)
    assert (np.cross(b - a, c - a)[:, 2] > 0).tolist() == [True] * 3


def test_of_levels_and_of_a_switch_one_is_taken(tmp_path: Path) -> None:
    levels = f"LOD {{ level [ {shape(LOWER)} {shape(UPPER)} ] }}"
    assert len(read(tmp_path, levels).faces) == 1
    switch = f"Switch {{ choice [ {shape(LOWER)} {shape(LOWER + ' ' + UPPER)} ] whichChoice 1 }}"
    assert len(read(tmp_path, switch).faces) == 2
    with pytest.raises(MeshError, match="no IndexedFaceSet"):
        read(tmp_path, switch.replace("whichChoice 1", ""))


@pytest.mark.parametrize(
    "colors",
    [
        "colorPerVertex FALSE color Color { color [1 0 0, 0 0 1] }",
        "colorPerVertex FALSE color Color { color [0 0 1, 0 1 0, 1 0 0] } colorIndex [2 0]",
        "color Color { color [0 0 1, 1 0 0] } colorIndex [1 1 1 -1 0 0 0 -1]",
        "color Color { color [0 0 1, 1 0 0] } colorIndex [1 1 1 -1 0 0 0]",
    ],
)
@pytest.mark.parametrize("more", ["", PLACES])
def test_colours_of_faces_and_of_corners(tmp_path: Path, colors: str, more: str) -> None:
    assert halves(read(tmp_path, shape(f"{LOWER} {UPPER}", more=f"{colors} {more}"))) == [RED, BLUE]


def test_colours_of_polygons_that_are_cut(tmp_path: Path) -> None:
    colors = "colorPerVertex FALSE color Color { color [1 0 0, 0 0 1, 0 1 0] }"
    mesh = read(tmp_path, shape("0 1 2 3 -1 0 1 -1 2 3 0", more=colors))
    assert mesh.colors is not None
    assert mesh.colors[mesh.faces[:, 0]].tolist() == [list(RED), list(RED), list(GREEN)]


def test_a_lone_material_is_a_colour_unless_it_is_grey(tmp_path: Path) -> None:
    both = f"{LOWER} {UPPER}"
    assert halves(read(tmp_path, shape(both, "material Material { diffuseColor 0 0 1 }"))) == [BLUE, BLUE]
    assert read(tmp_path, shape(both, "material Material { diffuseColor 0.8 0.8 0.8 }")).texture is None
