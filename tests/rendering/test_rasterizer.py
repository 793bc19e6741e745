from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial import Delaunay

from polyview.corpus.mesh import Mesh
from polyview.recipe import Rendering
from polyview.rendering.cameras import FIELD_OF_VIEW, Camera, Framing
from polyview.rendering.rasterizer import draw
from polyview.rendering.renderer import make_renderer
from polyview.rendering.scene import Scene, Tinted

SIZE = 24
BACKGROUND = np.array(Rendering().background, np.uint8)
FRAMING = Framing(np.zeros(3), 10.0)
RIG = (Camera(-30, 0), Camera(0, 0), Camera(40, 15))
seeds = st.integers(0, 2**32 - 1)
few = settings(max_examples=30, deadline=None)


def scene_of(
    triangles: NDArray[np.float64],
    colors: NDArray[np.float64],
    cameras: tuple[Camera, ...] = RIG,
    culling: bool = False,
) -> Scene:
    """Triangles (T, 3, 3) that share no vertex, with corner colours (T, 3, 3)."""
    return Scene(
        vertices=triangles.reshape(-1, 3).astype(np.float32),
        faces=np.arange(3 * len(triangles), dtype=np.int32).reshape(-1, 3),
        views=np.stack([FRAMING.view(camera) for camera in cameras]),
        near=FRAMING.near,
        far=FRAMING.far,
        layers=(Tinted(colors.reshape(1, -1, 3).astype(np.float32)),),
        background=BACKGROUND,
        culling=culling,
    )


def random_triangles(seed: int, spread: float = 8.0) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    centres = rng.normal(0, spread / 2, (6, 1, 3))
    return centres + rng.normal(0, spread, (6, 3, 3)), rng.uniform(0, 255, (6, 3, 3))


def tints_of(scene: Scene) -> NDArray[np.float64]:
    (layer,) = scene.layers
    assert isinstance(layer, Tinted)
    return layer.colors[0].astype(np.float64)


def cast(scene: Scene, view: int, shift: tuple[float, float]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Reference: a ray through every pixel (centre + shift), solved against every triangle in float64.

    Returns the nearest triangle, or -1, and its colour there: (size, size) and (size, size, 3).
    """
    corners = scene.vertices.astype(np.float64) @ scene.views[view, :3, :3].T + scene.views[view, :3, 3]
    reach = math.tan(math.radians(FIELD_OF_VIEW / 2))
    x = ((np.arange(SIZE) + 0.5 + shift[0]) / SIZE * 2 - 1) * reach
    y = (1 - (np.arange(SIZE) + 0.5 + shift[1]) / SIZE * 2) * reach
    rays = np.stack([*np.meshgrid(x, y), np.full((SIZE, SIZE), -1.0)], -1)
    nearest, depth = np.full((SIZE, SIZE), -1), np.full((SIZE, SIZE), np.inf)
    colors = tints_of(scene)
    color = np.broadcast_to(BACKGROUND.astype(float), (SIZE, SIZE, 3)).copy()
    for index, face in enumerate(scene.faces):
        # The ray meets the plane at t*ray = sum of share * corner, so share / t solves a linear system.
        scaled = rays @ np.linalg.inv(corners[face])
        t = 1 / scaled.sum(-1)
        hit = (scaled >= 0).all(-1) & (t >= scene.near) & (t < depth)
        shares = scaled * t[..., None]
        nearest[hit], depth[hit] = index, t[hit]
        color[hit] = (shares @ colors[face])[hit]
    return nearest, color


def assert_as_cast(scene: Scene) -> None:
    """Where rays around a pixel's centre agree on the triangle, so must the picture, in coverage and colour."""
    pictures = draw(scene, SIZE).astype(float)
    for view in range(len(scene.views)):
        shifts = [(0.0, 0.0), (0.02, 0.02), (-0.02, 0.02), (0.02, -0.02), (-0.02, -0.02)]
        hits, colors = zip(*(cast(scene, view, shift) for shift in shifts), strict=True)
        clear = (np.stack(hits) == hits[0]).all(axis=0)
        assert clear.mean() > 0.5
        low, high = np.min(colors, axis=0) - 2, np.max(colors, axis=0) + 2
        right = ((low <= pictures[view]) & (pictures[view] <= high)).all(axis=-1)
        # The tip of a sliver thinner than 1/256 of a pixel may fall between all five rays, and yet be drawn.
        assert right[clear].mean() > 0.995


@given(seeds)
@few
def test_triangles_are_where_rays_meet_them(seed: int) -> None:
    assert_as_cast(scene_of(*random_triangles(seed)))


@given(seeds)
@few
def test_triangles_through_the_near_plane_are_cut_there(seed: int) -> None:
    assert_as_cast(scene_of(*random_triangles(seed, spread=60.0)))


@given(seeds)
@few
def test_a_triangulated_plane_has_no_cracks_and_no_overlaps(seed: int) -> None:
    rng = np.random.default_rng(seed)
    # Corners on a coarse grid put many edges exactly through pixels' centres.
    points = np.unique(
        np.concatenate([rng.integers(-12, 13, (60, 2)), [[-12, -12], [-12, 12], [12, 12], [12, -12]]]), axis=0
    )
    corners = points[Delaunay(points).simplices] * (10 / 12)
    triangles = np.concatenate([corners, np.zeros((*corners.shape[:2], 1))], -1)
    colors = np.repeat(rng.integers(0, 255, (len(triangles), 1, 3)), 3, axis=1) + np.zeros((1, 3, 3))
    colors[colors == BACKGROUND[0]] += 1
    picture = draw(scene_of(triangles, colors, (Camera(0, 0),)), SIZE)
    assert (picture != BACKGROUND).all()
    backwards = draw(scene_of(triangles[::-1], colors[::-1], (Camera(0, 0),)), SIZE)
    np.testing.assert_array_equal(picture, backwards)


@given(seeds)
@few
def test_the_order_of_faces_does_not_matter(seed: int) -> None:
    triangles, colors = random_triangles(seed)
    order = np.random.default_rng(seed).permutation(len(triangles))
    np.testing.assert_array_equal(
        draw(scene_of(triangles, colors), SIZE), draw(scene_of(triangles[order], colors[order]), SIZE)
    )


@given(seeds)
@few
def test_both_sides_are_drawn(seed: int) -> None:
    triangles, colors = random_triangles(seed)
    front = draw(scene_of(triangles, colors), SIZE)
    back = draw(scene_of(triangles[:, ::-1], colors[:, ::-1]), SIZE)
    np.testing.assert_allclose(front, back, atol=1)


@given(seeds)
@few
def test_culling_leaves_the_side_that_is_wound_counter_clockwise(seed: int) -> None:
    triangles, colors = random_triangles(seed)
    triangles, colors = triangles[:1], colors[:1]
    both, front, back = (
        (draw(scene_of(corners, colors, culling=culling), SIZE) != BACKGROUND).any(axis=-1)
        for corners, culling in ((triangles, False), (triangles, True), (triangles[:, ::-1], True))
    )
    for view, camera in enumerate(RIG):
        towards = np.linalg.inv(FRAMING.view(camera))[:3, 3] - triangles[0, 0]
        faces_us = np.cross(triangles[0, 1] - triangles[0, 0], triangles[0, 2] - triangles[0, 0]) @ towards > 0
        assert (front if faces_us else back)[view].sum() == both[view].sum()
        assert not (back if faces_us else front)[view].any()


@given(seeds)
@few
def test_all_views_in_one_call_are_the_views_one_by_one(seed: int) -> None:
    triangles, colors = random_triangles(seed)
    single = [draw(scene_of(triangles, colors, (camera,)), SIZE)[0] for camera in RIG]
    np.testing.assert_array_equal(draw(scene_of(triangles, colors), SIZE), np.stack(single))


def test_a_corner_a_million_pixels_away_does_no_harm() -> None:
    front = (Camera(0, 0),)
    near = np.array([[[-5, -5, 0], [5, -5, 0], [0, 5, 0]]], float)
    far = np.array([[[0, 0, 1], [1e12, 0, 0], [0, 1e12, 0]], [[0, 0, -1e12], [1e12, 0, 50], [1, -1e12, 50]]])
    alone = draw(scene_of(near, np.full((1, 3, 3), 200.0), front), SIZE)
    both = draw(scene_of(np.concatenate([near, far]), np.full((3, 3, 3), 100.0), front), SIZE)
    np.testing.assert_array_equal(both == 100, alone == 200)


def test_a_mirrored_head_under_a_mirrored_camera_is_a_mirrored_picture(head: Mesh) -> None:
    mirrored = Mesh(head.vertices * np.array([-1, 1, 1], np.float32), head.faces[:, ::-1].copy(), head.colors)
    renderer = make_renderer(Rendering(size=64, backend="raster"))
    picture = renderer.render(head, [Camera(25, 10)])[0]
    reflection = renderer.render(mirrored, [Camera(-25, 10)])[0, :, ::-1]
    # Snapping breaks ties to one side, so an edge's pixels may fall to its other neighbour.
    assert (np.abs(picture.astype(int) - reflection).max(axis=-1) <= 1).mean() > 0.998


def test_the_same_mesh_gives_the_same_bytes(head: Mesh) -> None:
    first, second = (make_renderer(Rendering(backend="raster")).render(head, RIG) for _ in range(2))
    assert first.tobytes() == second.tobytes()
