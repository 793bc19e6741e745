from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from polyview.corpus.mesh import Mesh
from polyview.recipe import Rendering
from polyview.rendering.cameras import Camera
from polyview.rendering.renderer import make_renderer
from polyview.rendering.scene import BACKGROUND, GREY, compose
from polyview.rendering.shading import vertex_normals


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
    scene = compose(ball, [Camera(0, 0)], Rendering(shading="color"))
    np.testing.assert_array_equal(scene.colors[0], ball.colors)


def test_grey_albedo_hides_the_colours(ball: Mesh) -> None:
    recipe = Rendering(albedo="grey")
    plain = dataclasses.replace(ball, colors=None)
    rig = [Camera(0, 0)]
    np.testing.assert_array_equal(compose(ball, rig, recipe).colors, compose(plain, rig, Rendering()).colors)
    assert compose(ball, rig, recipe).colors.max() <= GREY


def test_a_texture_colours_the_vertices_where_they_have_no_colour_of_their_own() -> None:
    texture = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [9, 9, 9]]], np.uint8)
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], np.float32)
    uv = np.array([[0.1, 0.9], [0.9, 0.9], [0.1, 0.1]], np.float32)  # upper left, upper right, lower left
    mesh = Mesh(corners, np.array([[0, 1, 2]], np.int32), uv=uv, texture=texture)
    scene = compose(mesh, [Camera(0, 0)], Rendering(shading="color"))
    np.testing.assert_array_equal(scene.colors[0], [[255, 0, 0], [0, 255, 0], [0, 0, 255]])


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
