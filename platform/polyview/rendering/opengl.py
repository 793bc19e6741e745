"""The OpenGL backend: pyrender without a window, on EGL or else on OSMesa.

Light is baked into the vertex colours, so pyrender's flat shader is all that is needed. A mesh is uploaded
once for all its views; between views only its colours change.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import functools
import math
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyview.errors import UserError
from polyview.rendering.cameras import FIELD_OF_VIEW
from polyview.rendering.scene import BACKGROUND, Scene


def platform() -> str | None:
    """`egl` where a driver offers a device, else `osmesa` where its library lies, else None."""
    if _egl_devices() > 0:
        return "egl"
    return "osmesa" if ctypes.util.find_library("OSMesa") else None


@functools.cache
def context() -> Context:
    """This process's only OpenGL context; raises `UserError` where neither EGL nor OSMesa is there."""
    return Context()


class Context:
    """An OpenGL context with no window, and pyrender's renderer in it."""

    def __init__(self) -> None:
        # PyOpenGL chooses its platform when it is first imported, so this must come before.
        chosen = os.environ.get("PYOPENGL_PLATFORM") or platform()
        if chosen is None:
            raise UserError(
                "rendering.backend opengl: this machine has neither an EGL device nor OSMesa; "
                "install libegl1 or libosmesa6, or set rendering.backend=raster, which needs neither"
            )
        os.environ["PYOPENGL_PLATFORM"] = chosen
        import pyrender
        from OpenGL import GL

        class SharpRenderer(pyrender.renderer.Renderer):
            """One sample per pixel, at its centre, as the rasteriser takes it."""

            def _bind_and_draw_primitive(self, *args: Any, **kwargs: Any) -> None:
                GL.glDisable(GL.GL_MULTISAMPLE)
                super()._bind_and_draw_primitive(*args, **kwargs)

        self._pyrender, self._gl = pyrender, GL
        try:
            self._offscreen = pyrender.OffscreenRenderer(16, 16)
        except Exception as error:
            raise UserError(
                f"rendering.backend opengl: {chosen} gives no context ({type(error).__name__}: {error}); "
                "set rendering.backend=raster, which needs none"
            ) from error
        self._offscreen._renderer = SharpRenderer(16, 16)

    def draw(self, scene: Scene, size: int) -> NDArray[np.uint8]:
        """Draw the scene in all its views, (V, size, size, 3) uint8 RGB."""
        flags = self._pyrender.RenderFlags.FLAT | self._pyrender.RenderFlags.SKIP_CULL_FACES
        stage = self._pyrender.Scene(bg_color=BACKGROUND)
        # pyrender's own near and far planes come from the scene's bounds, which cost more than the drawing.
        camera = self._pyrender.PerspectiveCamera(math.radians(FIELD_OF_VIEW), scene.near, scene.far)
        viewpoint = stage.add(camera)
        primitive = self._pyrender.Primitive(
            positions=scene.vertices, indices=scene.faces, color_0=_rgba(scene.colors[0]), mode=self._gl.GL_TRIANGLES
        )
        stage.add(self._pyrender.Mesh([primitive]))
        self._offscreen.viewport_width = self._offscreen.viewport_height = size
        pictures = np.empty((len(scene.views), size, size, 3), np.uint8)
        for index, view in enumerate(scene.views):
            if index > 0:
                self._recolor(primitive, scene.vertices, _rgba(scene.colors[index]))
            stage.set_pose(viewpoint, np.linalg.inv(view))
            pictures[index], _ = self._offscreen.render(stage, flags)
        return pictures

    def _recolor(self, primitive: Any, vertices: NDArray[np.float32], colors: NDArray[np.float32]) -> None:
        interleaved = np.hstack([vertices, colors])
        self._gl.glBindBuffer(self._gl.GL_ARRAY_BUFFER, primitive._buffers[0])
        self._gl.glBufferSubData(self._gl.GL_ARRAY_BUFFER, 0, interleaved.nbytes, interleaved)


def _rgba(colors: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.hstack([colors / np.float32(255), np.ones((len(colors), 1), np.float32)])


def _egl_devices() -> int:
    """How many devices the EGL driver offers; 0 where there is no driver."""
    library = ctypes.util.find_library("EGL")
    if library is None:
        return 0
    try:
        egl = ctypes.CDLL(library)
        egl.eglGetProcAddress.restype = ctypes.c_void_p
        address = egl.eglGetProcAddress(b"eglQueryDevicesEXT")
    except (OSError, AttributeError):
        return 0
    if not address:
        return 0
    query = ctypes.CFUNCTYPE(ctypes.c_uint, ctypes.c_int, ctypes.c_void_p, ctypes.POINTER(ctypes.c_int))(address)
    count = ctypes.c_int(0)
    return count.value if query(0, None, ctypes.byref(count)) else 0
