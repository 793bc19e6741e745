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
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyview.errors import UserError
from polyview.rendering.cameras import FIELD_OF_VIEW
from polyview.rendering.depth import encode
from polyview.rendering.scene import Depths, Layer, Normals, Scene, Textured

_EGL_CUDA_DEVICE_NV = 0x323A


def platform() -> str | None:
    """`egl` where a driver offers a device, else `osmesa` where its library lies, else None."""
    if _egl_devices():
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
                "install libegl1, libgl1 and libxrender1, or set rendering.backend=raster, which needs none of them"
            )
        os.environ["PYOPENGL_PLATFORM"] = chosen
        if chosen == "egl":
            _choose_device()
        import pyrender
        from OpenGL import GL
        from OpenGL.plugins import FormatHandler

        # Since Python 3.13 the type of a reference of ctypes has another module, by which PyOpenGL 3.1.0 looks for it.
        FormatHandler("reference", "OpenGL.arrays.ctypesparameters.CtypesParameterHandler", ["_ctypes.CArgObject"])

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
        """Draw the scene's layers in all its views, (L x V, size, size, 3) uint8 RGB, as the rasteriser does.

        Raises `UserError` for normals, which pyrender would blend without making them unit vectors again.
        """
        return np.concatenate([self._draw_layer(scene, layer, size) for layer in scene.layers])

    def depths(self, scene: Scene, size: int) -> NDArray[np.float32]:
        """Distance from the camera's plane of what each pixel shows, (V, size, size) millimetres; 0 for nothing."""
        primitive = self._pyrender.Primitive(
            positions=scene.vertices, indices=scene.faces, mode=self._gl.GL_TRIANGLES, material=self._plain(scene)
        )
        return np.stack([depth for _, depth in self._shoot(scene, primitive, size)])

    def _draw_layer(self, scene: Scene, layer: Layer, size: int) -> NDArray[np.uint8]:
        if isinstance(layer, Normals):
            raise UserError("rendering.backend opengl draws no normals; set rendering.backend=raster, which does")
        if isinstance(layer, Depths):
            levels = encode(self.depths(scene, size), layer.centre, layer.radius)
            return np.repeat(levels[..., np.newaxis], 3, axis=-1)
        if isinstance(layer, Textured):
            tints, material = np.repeat(layer.light[..., np.newaxis], 3, axis=-1), self._material(scene, layer)
        else:
            tints, material = layer.colors / np.float32(255), self._plain(scene)
        primitive = self._pyrender.Primitive(
            positions=scene.vertices,
            indices=scene.faces,
            color_0=_opaque(tints[0]),
            texcoord_0=layer.uv if isinstance(layer, Textured) else None,
            mode=self._gl.GL_TRIANGLES,
            material=material,
        )
        return np.stack([color for color, _ in self._shoot(scene, primitive, size, tints)])

    def _shoot(
        self, scene: Scene, primitive: Any, size: int, tints: NDArray[np.float32] | None = None
    ) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.float32]]]:
        """Colour and depth for each view; the primitive is uploaded once, and only its tints change between views."""
        stage = self._pyrender.Scene(bg_color=scene.background)
        # pyrender's own near and far planes come from the scene's bounds, which cost more than the drawing.
        viewpoint = stage.add(self._pyrender.PerspectiveCamera(math.radians(FIELD_OF_VIEW), scene.near, scene.far))
        stage.add(self._pyrender.Mesh([primitive]))
        self._offscreen.viewport_width = self._offscreen.viewport_height = size
        for index, view in enumerate(scene.views):
            if tints is not None and 0 < index < len(tints):
                self._recolor(primitive, tints[index])
            stage.set_pose(viewpoint, np.linalg.inv(view))
            yield self._offscreen.render(stage, self._pyrender.RenderFlags.FLAT)

    def _recolor(self, primitive: Any, tints: NDArray[np.float32]) -> None:
        attributes = [primitive.positions, primitive.texcoord_0, _opaque(tints)]
        interleaved = np.hstack([attribute for attribute in attributes if attribute is not None])
        self._gl.glBindBuffer(self._gl.GL_ARRAY_BUFFER, primitive._buffers[0])
        self._gl.glBufferSubData(self._gl.GL_ARRAY_BUFFER, 0, interleaved.nbytes, interleaved)

    def _plain(self, scene: Scene) -> Any:
        return self._pyrender.MetallicRoughnessMaterial(
            baseColorFactor=[1.0, 1.0, 1.0, 1.0], doubleSided=not scene.culling
        )

    def _material(self, scene: Scene, layer: Textured) -> Any:
        # Bilinear and repeating, as the rasteriser's; four channels, since rows must start at multiples of four bytes.
        sampler = self._pyrender.Sampler(
            magFilter=self._gl.GL_LINEAR,
            minFilter=self._gl.GL_LINEAR,
            wrapS=self._gl.GL_REPEAT,
            wrapT=self._gl.GL_REPEAT,
        )
        opaque = np.dstack([layer.texture, np.full(layer.texture.shape[:2], 255, np.uint8)])
        material = self._plain(scene)
        material.baseColorTexture = self._pyrender.Texture(source=opaque, source_channels="RGBA", sampler=sampler)
        return material


def _opaque(colors: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.hstack([colors, np.ones((len(colors), 1), np.float32)])


def _choose_device() -> None:
    """Draw on the GPU that this process computes on: the first that CUDA, or Ray through it, lets it see."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")[0].strip()
    if "EGL_DEVICE_ID" in os.environ or not visible.isdigit():
        return
    ordinals = _egl_cuda_ordinals()
    if int(visible) in ordinals:
        os.environ["EGL_DEVICE_ID"] = str(ordinals.index(int(visible)))


def _egl_cuda_ordinals() -> list[int | None]:
    """The CUDA ordinal of each device that the EGL driver offers, None for one that is no CUDA device.

    From the extension EGL_NV_device_cuda. The driver counts all devices, whatever CUDA_VISIBLE_DEVICES hides.
    """
    devices = _egl_devices()
    address = _egl_function(b"eglQueryDeviceAttribEXT")
    if not address:
        return [None] * len(devices)
    prototype = ctypes.CFUNCTYPE(ctypes.c_uint, ctypes.c_void_p, ctypes.c_int, ctypes.POINTER(ctypes.c_ssize_t))
    query, ordinals = prototype(address), []
    for device in devices:
        ordinal = ctypes.c_ssize_t(0)
        known = query(device, _EGL_CUDA_DEVICE_NV, ctypes.byref(ordinal))
        ordinals.append(ordinal.value if known else None)
    return ordinals


def _egl_devices() -> list[int | None]:
    """Handles of the devices that the EGL driver offers; none where there is no driver."""
    address = _egl_function(b"eglQueryDevicesEXT")
    if not address:
        return []
    prototype = ctypes.CFUNCTYPE(
        ctypes.c_uint, ctypes.c_int, ctypes.POINTER(ctypes.c_void_p), ctypes.POINTER(ctypes.c_int)
    )
    query, count = prototype(address), ctypes.c_int(0)
    if not query(0, None, ctypes.byref(count)):
        return []
    handles = (ctypes.c_void_p * count.value)()
    return list(handles)[: count.value] if query(count.value, handles, ctypes.byref(count)) else []


def _egl_function(name: bytes) -> int | None:
    """The address of one of EGL's extensions; None where there is no such thing here."""
    library = ctypes.util.find_library("EGL")
    if library is None:
        return None
    try:
        egl = ctypes.CDLL(library)
        egl.eglGetProcAddress.restype = ctypes.c_void_p
        address: int | None = egl.eglGetProcAddress(name)
    except (OSError, AttributeError):
        return None
    return address
