"""Where the cameras stand: named rigs around the face, and the framing that they look at."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from polyview.corpus.mesh import Mesh, nose_tip
from polyview.recipe import Views

FIELD_OF_VIEW = 20.0
"""Degrees, both ways: narrow, as a portrait lens, so that the nose is not blown up."""

SPANS = {"arc": 60.0, "front_left_right": 120.0}
"""Degrees from the first camera of a rig to its last, where the recipe does not say."""


@dataclass(frozen=True, order=True)
class Camera:
    """A direction from which the face is seen, in degrees.

    yaw > 0 is a camera on the subject's left (+x), pitch > 0 one above the face.
    """

    yaw: float
    pitch: float

    @property
    def name(self) -> str:
        """The name of this camera's column in a store, like `yaw+30_pitch+00`."""
        return f"yaw{_signed(self.yaw)}_pitch{_signed(self.pitch)}"

    @staticmethod
    def parse(name: str) -> Camera:
        """The camera of that name; raises `ValueError` where it is not a camera's."""
        match = re.fullmatch(r"yaw([+-][\d.]+)_pitch([+-][\d.]+)", name)
        if match is None:
            raise ValueError(f"{name!r} is not a camera's name, such as yaw+30_pitch+00")
        return Camera(float(match[1]), float(match[2]))


def cameras(views: Views) -> tuple[Camera, ...]:
    """The rig's cameras, ordered by yaw; steps are rounded to a hundredth of a degree."""
    if views.count == 1:
        return (Camera(0.0, 0.0),)
    span = SPANS[views.rig] if views.span is None else views.span
    # Adding zero turns -0.0 into 0.0, which would be another name.
    steps = np.round(np.linspace(-span / 2, span / 2, views.count), 2) + 0.0
    return tuple(Camera(float(yaw), 0.0) for yaw in steps)


@dataclass(frozen=True)
class Framing:
    """What every camera looks at: a ball that fills the picture.

    centre: (3,) float64 millimetres; radius: millimetres, half the picture's width at the centre's depth.
    """

    centre: NDArray[np.float64]
    radius: float

    @property
    def distance(self) -> float:
        """From the camera to the centre, millimetres."""
        return self.radius / math.tan(math.radians(FIELD_OF_VIEW / 2))

    @property
    def near(self) -> float:
        """What is closer to the camera than this is not drawn, millimetres."""
        return self.distance / 50

    @property
    def far(self) -> float:
        """Beyond any face; only OpenGL needs it, millimetres."""
        return self.distance * 20

    def view(self, camera: Camera) -> NDArray[np.float64]:
        """The (4, 4) rigid transform from the world to the camera, which looks along its own -z with y up."""
        yaw, pitch = math.radians(camera.yaw), math.radians(camera.pitch)
        back = np.array([math.sin(yaw) * math.cos(pitch), math.sin(pitch), math.cos(yaw) * math.cos(pitch)])
        right = np.array([math.cos(yaw), 0.0, -math.sin(yaw)])
        rotation = np.stack([right, np.cross(back, right), back])
        transform = np.eye(4)
        transform[:3, :3] = rotation
        transform[:3, 3] = -rotation @ (self.centre + self.distance * back)
        return transform


def frame(mesh: Mesh, framing: Literal["face", "whole"], radius: float) -> Framing:
    """Frame the face (`radius` millimetres around a point behind the nose), or the sphere around the whole mesh."""
    if framing == "whole":
        centre = (mesh.vertices.min(axis=0).astype(np.float64) + mesh.vertices.max(axis=0)) / 2
        # The sphere's outline is seen at a slant, so the picture's plane must be a little wider than the sphere.
        sphere = float(np.linalg.norm(mesh.vertices - centre, axis=1).max())
        return Framing(centre, max(sphere, 1e-6) / math.cos(math.radians(FIELD_OF_VIEW / 2)))
    nose = nose_tip(mesh)
    # Half a radius behind its tip, the nose swings little as the camera goes around.
    return Framing(nose.astype(np.float64) - [0.0, 0.0, radius / 2], radius)


def _signed(degrees: float) -> str:
    whole, _, fraction = repr(abs(degrees)).partition(".")
    sign = "-" if degrees < 0 else "+"
    return f"{sign}{whole:0>2}" + (f".{fraction}" if fraction.strip("0") else "")
