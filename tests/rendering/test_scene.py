from __future__ import annotations

import dataclasses
import math
from typing import Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation

from polyview.corpus.mesh import Mesh, MeshError
from polyview.recipe import Rendering
from polyview.rendering.cameras import Camera, frame
from polyview.rendering.depth import depth_scale
from polyview.rendering.renderer import make_renderer
from polyview.rendering.scene import AMBIENT, GREY, LIGHT_PITCH, Tinted, compose
from polyview.rendering.shading import vertex_normals

BACKGROUND = np.array(Rendering().background, np.uint8)


def tints(mesh: Mesh, rendering: Rendering) -> NDArray[np.float32]:
    """What the vertices are tinted with in a picture from the front, (N, 3)."""
    (layer,) = compose(mesh, [Camera(0, 0)], rendering).layers
    assert isinstance(layer, Tinted)
    return layer.colors[0]


@pytest.fixture(scope="module")
def ball(head: Mesh) -> Mesh:
    """The head's triangles, pushed onto a sphere around the origin."""
    return Mesh(head.vertices / np.linalg.norm(head.vertices, axis=1, keepdims=True) * 80, head.faces, head.colors)


def test_a_balls_normals_point_away_from_its_centre(ball: Mesh) -> None:
    normals = vertex_normals(ball.vertices, ball.faces)
    seamless = np.abs(ball.vertices[:, 1]) < 75  # both poles are open, so there the mean is one-sided
    np.testing.assert_allclose(normals[seamless], ball.vertices[seamless] / 80, atol=0.03)


def test_normals_are_weighted_by_area() -> None:
    vertices = np.array([[0, 0, 0], [3, 0, 0], [0, 3, 0], [0, 0, 1]], np.float32)
    faces = np.array([[0, 1, 2], [0, 3, 1]], np.int32)  # areas 4.5 towards +z, 1.5 towards +y
    np.testing.assert_allclose(vertex_normals(vertices, faces)[0], np.array([0, 3, 9]) / np.sqrt(90), atol=1e-6)


def test_a_seam_and_a_soup_of_triangles_are_as_smooth_as_the_surface(ball: Mesh) -> None:
    soup = ball.vertices[ball.faces].reshape(-1, 3)
    soup[::7] += np.float32(-0.0)
    faces = np.arange(len(soup), dtype=np.int32).reshape(-1, 3)
    whole = vertex_normals(ball.vertices, ball.faces)[ball.faces].reshape(-1, 3)
    places, welded = np.unique(ball.vertices, axis=0, return_inverse=True)
    once = vertex_normals(places, welded[ball.faces].astype(np.int32))[welded[ball.faces]].reshape(-1, 3)
    np.testing.assert_allclose(vertex_normals(soup, faces), once, atol=1e-5)
    np.testing.assert_allclose(whole, once, atol=1e-5)


def test_a_vertex_without_faces_has_no_normal() -> None:
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [9, 9, 9]], np.float32)
    assert (vertex_normals(vertices, np.array([[0, 1, 2]], np.int32))[3] == 0).all()


def test_the_light_goes_with_the_camera_and_stands_above_it(ball: Mesh) -> None:
    renderer = make_renderer(Rendering(albedo="grey", framing="whole"))
    front, side = renderer.render(ball, [Camera(0, 0), Camera(50, 0)])
    brightest = np.argwhere(front[..., 0] == front.max()).mean(axis=0)
    assert brightest[0] < 30
    assert brightest[1] == pytest.approx(31.5, abs=2)
    assert np.abs(front.astype(int) - side).mean() < 2


def test_unlit_colours_are_the_vertices_own(ball: Mesh) -> None:
    assert ball.colors is not None
    np.testing.assert_array_equal(tints(ball, Rendering(shading="color")), ball.colors)


def test_grey_albedo_hides_the_colours(ball: Mesh) -> None:
    recipe = Rendering(albedo="grey")
    plain = dataclasses.replace(ball, colors=None)
    np.testing.assert_array_equal(tints(ball, recipe), tints(plain, Rendering()))
    assert tints(ball, recipe).max() <= GREY


def test_a_texture_colours_the_vertices_where_they_have_no_colour_of_their_own() -> None:
    texture = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [9, 9, 9]]], np.uint8)
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], np.float32)
    uv = np.array([[0.1, 0.9], [0.9, 0.9], [0.1, 0.1]], np.float32)  # upper left, upper right, lower left
    mesh = Mesh(corners, np.array([[0, 1, 2]], np.int32), uv=uv, texture=texture)
    np.testing.assert_array_equal(tints(mesh, Rendering(shading="color")), [[255, 0, 0], [0, 255, 0], [0, 0, 255]])


def test_a_scan_wound_inside_out_looks_the_same(head: Mesh) -> None:
    reversed_ = dataclasses.replace(head, faces=head.faces[:, ::-1].copy())
    renderer = make_renderer(Rendering())
    rig = [Camera(0, 0)]
    np.testing.assert_allclose(renderer.render(head, rig), renderer.render(reversed_, rig), atol=1)


def test_the_face_fills_the_picture_and_the_whole_leaves_a_margin(head: Mesh) -> None:
    face, whole = (
        (make_renderer(Rendering(framing=framing, radius=60.0)).render(head, [Camera(0, 0)])[0] != BACKGROUND).mean()
        for framing in ("face", "whole")
    )
    assert whole < 0.8 < face


def test_a_light_fixed_to_the_world_stays_as_the_camera_goes_round(ball: Mesh) -> None:
    recipe = Rendering(albedo="grey", framing="whole", light="world")
    front, side = make_renderer(recipe).render(ball, [Camera(0, 0), Camera(40, 0)])
    middle = [np.argwhere(picture[..., 0] == picture.max())[:, 1].mean() for picture in (front, side)]
    assert middle[0] == pytest.approx(31.5, abs=2)
    assert middle[1] < middle[0] - 10


def test_several_outputs_of_one_pass_are_the_outputs_one_by_one(head: Mesh) -> None:
    rig = [Camera(-20, 0), Camera(0, 0), Camera(35, 5)]
    together = make_renderer(Rendering(shading="color", outputs=("depth", "normal"))).render(head, rig)
    alone = [
        make_renderer(Rendering.model_validate({"shading": s})).render(head, rig) for s in ("color", "depth", "normal")
    ]
    np.testing.assert_array_equal(together, np.concatenate(alone))


def test_normals_of_a_ball_are_its_points(ball: Mesh) -> None:
    (picture,) = make_renderer(Rendering(shading="normal", framing="whole")).render(ball, [Camera(30, 0)])
    middle = picture[31:33, 31:33].mean(axis=(0, 1))
    np.testing.assert_allclose(middle, [128, 128, 255], atol=5)
    right, top = picture[32, 60].astype(int), picture[6, 32].astype(int)
    assert right[0] > 210
    assert right[1] == pytest.approx(128, abs=10)
    assert top[1] > 210
    lengths = np.linalg.norm((picture[(picture != 128).any(axis=-1)].astype(float) - 128) / 127, axis=-1)
    np.testing.assert_allclose(lengths, 1, atol=0.02)
    np.testing.assert_array_equal(picture[0, 0], [128, 128, 128])


@pytest.mark.parametrize("framing", ["face", "whole"])
def test_depth_is_found_again_through_the_stores_scale(framing: Literal["face", "whole"]) -> None:
    """A plane 20 mm nearer than the framing's centre, and one 30 mm behind it."""
    corners = np.array([[-90, -90], [0, -90], [0, 90], [-90, 90]], float)
    near, far = np.c_[corners, np.full(4, 20.0)], np.c_[corners * [-1, 1], np.full(4, -30.0)]
    quad = np.array([[0, 1, 2], [0, 2, 3]])
    mesh = Mesh(
        np.concatenate([near, far]).astype(np.float32),
        np.concatenate([quad, quad + 4]).astype(np.int32),
        nose=np.array([0, 0, 47.5], np.float32),
    )
    recipe = Rendering(shading="depth", framing=framing)
    scale = depth_scale(recipe)
    assert scale is not None
    (picture,) = make_renderer(recipe).render(mesh, [Camera(0, 0)])
    found = scale.decode(picture[32, [16, 48], 0])
    radius = frame(mesh, framing, 95.0)
    unit = 1.0 if framing == "face" else radius.radius
    np.testing.assert_allclose(found * unit + radius.centre[2], [20, -30], atol=scale.step * unit)


def test_nothing_is_at_no_depth(head: Mesh) -> None:
    recipe = Rendering(shading="depth", framing="whole")
    (picture,) = make_renderer(recipe).render(head, [Camera(0, 0)])
    scale = depth_scale(recipe)
    assert scale is not None
    np.testing.assert_array_equal(np.isnan(scale.decode(picture[0, :3, 0])), True)
    assert picture[32, 32].min() > 128


def test_supersampling_smooths_edges_and_leaves_the_rest(head: Mesh) -> None:
    recipe = Rendering(framing="whole", shading="color")
    plain, smooth = (
        make_renderer(recipe.model_copy(update={"supersampling": samples})).render(head, [Camera(0, 0)])[0].astype(int)
        for samples in (1, 2)
    )
    inside = ~binary_dilation((plain == BACKGROUND).all(axis=-1), iterations=2)
    assert np.abs(plain - smooth)[inside].mean() < 4
    mixed = {tuple(color) for color in smooth.reshape(-1, 3)} - {tuple(color) for color in plain.reshape(-1, 3)}
    assert len(mixed) > 50


def test_the_background_is_the_recipes(head: Mesh) -> None:
    (picture,) = make_renderer(Rendering(framing="whole", background=(1, 200, 3))).render(head, [Camera(0, 0)])
    np.testing.assert_array_equal(picture[0, 0], [1, 200, 3])


def test_a_mesh_without_a_texture_is_not_drawn_as_if_it_had_one(head: Mesh) -> None:
    with pytest.raises(MeshError, match="has no texture"):
        make_renderer(Rendering(shading="texture")).render(head, [Camera(0, 0)])


@pytest.mark.parametrize("shading", ["texture", "shaded"])
def test_a_texture_is_blended_between_texels(shading: Literal["texture", "shaded"]) -> None:
    """A square that fills the picture with four texels: each pixel is the bilinear mean around it, which repeats."""
    texture = np.array([[[240, 0, 0], [0, 240, 0]], [[0, 0, 240], [120, 120, 120]]], np.uint8)
    corners = np.array([[-95, -95, 0], [95, -95, 0], [95, 95, 0], [-95, 95, 0]], np.float32)
    mesh = Mesh(
        corners,
        np.array([[0, 1, 2], [0, 2, 3]], np.int32),
        uv=np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32),
        texture=texture,
        nose=np.array([0, 0, 47.5], np.float32),
    )
    (picture,) = make_renderer(Rendering(shading=shading, size=32)).render(mesh, [Camera(0, 0)])
    at = (np.arange(32) + 0.5) / 32 * 2 - 0.5
    tent = np.maximum(0, 1 - np.abs(at[:, None] - np.arange(-1, 3)))  # over the texels -1, 0, 1, 2, of which two repeat
    weights = np.stack([tent[:, 1] + tent[:, 3], tent[:, 0] + tent[:, 2]], axis=1)
    expected = np.einsum("yr,xc,rck->yxk", weights, weights, texture.astype(float))
    light = 1.0 if shading == "texture" else AMBIENT + (1 - AMBIENT) * math.cos(math.radians(LIGHT_PITCH))
    np.testing.assert_allclose(picture, expected * light, atol=1)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30, -1e30])
def test_broken_texture_coordinates_read_nothing_outside_the_texture(head: Mesh, value: float) -> None:
    uv = np.zeros((len(head.vertices), 2), np.float32)
    uv[::3] = value
    mesh = dataclasses.replace(head, uv=uv, texture=np.full((2, 2, 3), 77, np.uint8))
    rig = [Camera(0, 0)]
    silhouette = make_renderer(Rendering(shading="color", framing="whole")).render(head, rig)
    picture = make_renderer(Rendering(shading="texture", framing="whole")).render(mesh, rig)
    np.testing.assert_array_equal(picture[0, 0, 0], silhouette[0, 0, 0])
    assert 77 in picture
