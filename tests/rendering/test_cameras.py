from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyview.corpus.mesh import Mesh
from polyview.recipe import Views
from polyview.rendering.cameras import FIELD_OF_VIEW, Camera, Framing, cameras, frame

degrees = st.integers(-9000, 9000).map(lambda hundredths: hundredths / 100)


@given(degrees, degrees)
def test_a_camera_is_found_again_by_its_name(yaw: float, pitch: float) -> None:
    camera = Camera(yaw, pitch)
    assert Camera.parse(camera.name) == camera


def test_names_are_readable() -> None:
    assert Camera(30.0, 0.0).name == "yaw+30_pitch+00"
    assert Camera(-7.5, 12.25).name == "yaw-07.5_pitch+12.25"


@pytest.mark.parametrize("name", ["", "sample_id", "yaw30_pitch00", "yaw+30"])
def test_other_columns_are_not_cameras(name: str) -> None:
    with pytest.raises(ValueError, match="not a camera's name"):
        Camera.parse(name)


@given(st.integers(1, 15), st.floats(1, 180))
def test_an_arc_is_even_symmetric_and_ordered(count: int, span: float) -> None:
    rig = cameras(Views(count=count, span=span))
    yaws = [camera.yaw for camera in rig]
    assert len(set(rig)) == count
    assert yaws == sorted(yaws)
    assert yaws == pytest.approx([-yaw for yaw in reversed(yaws)], abs=0.02)
    assert (0.0 in yaws) == (count % 2 == 1)
    if count > 1:
        assert yaws[-1] - yaws[0] == pytest.approx(span, abs=0.02)
        assert np.diff(yaws) == pytest.approx(span / (count - 1), abs=0.02)


def test_front_left_right() -> None:
    rig = cameras(Views(rig="front_left_right", count=3, span=120))
    assert [camera.yaw for camera in rig] == [-60, 0, 60]


@given(degrees, degrees)
def test_every_camera_looks_at_the_centre_from_its_own_side(yaw: float, pitch: float) -> None:
    framing = Framing(np.array([3.0, -20.0, 50.0]), 95.0)
    view = framing.view(Camera(yaw, pitch))
    np.testing.assert_allclose(view @ [3.0, -20.0, 50.0, 1.0], [0, 0, -framing.distance, 1], atol=1e-9)
    np.testing.assert_allclose(view[:3, :3] @ view[:3, :3].T, np.eye(3), atol=1e-12)
    position = -view[:3, :3].T @ view[:3, 3] - framing.centre
    assert math.degrees(math.asin(position[1] / framing.distance)) == pytest.approx(pitch, abs=1e-4)
    if abs(pitch) < 89:
        assert math.degrees(math.atan2(position[0], position[2])) == pytest.approx(yaw, abs=1e-4)


def test_radius_millimetres_fill_half_the_picture() -> None:
    framing = Framing(np.zeros(3), 95.0)
    assert 95.0 / framing.distance == pytest.approx(math.tan(math.radians(FIELD_OF_VIEW / 2)))


@pytest.mark.parametrize("yaw", [-60, 0, 25])
def test_the_whole_mesh_is_in_the_picture(head: Mesh, yaw: float) -> None:
    framing = frame(head, "whole", radius=1.0)
    view = framing.view(Camera(yaw, 10))
    seen = head.vertices @ view[:3, :3].T + view[:3, 3]
    extent = np.abs(seen[:, :2] / seen[:, 2:]).max() / math.tan(math.radians(FIELD_OF_VIEW / 2))
    assert 0.6 < extent <= 1.0


def test_a_face_without_a_known_nose_is_framed_at_its_foremost_point(head: Mesh) -> None:
    known = Mesh(head.vertices, head.faces, nose=head.vertices[head.vertices[:, 2].argmax()])
    np.testing.assert_allclose(frame(head, "face", 95).centre, frame(known, "face", 95).centre)


def test_a_chest_that_sticks_out_is_not_the_nose(head: Mesh) -> None:
    chest = np.array([[0, -300, 400], [10, -300, 400], [0, -310, 400], [0, 300, 0]], np.float32)
    more = Mesh(np.concatenate([head.vertices, chest]), head.faces)
    np.testing.assert_allclose(frame(more, "face", 95).centre, frame(head, "face", 95).centre)
