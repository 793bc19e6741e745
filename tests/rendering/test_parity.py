"""The rasteriser against OpenGL: the same scenes, drawn by both."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import binary_dilation, binary_erosion, gaussian_filter

from polyview.corpus.load import load_mesh
from polyview.corpus.mesh import Mesh
from polyview.corpus.scan import scan
from polyview.errors import UserError
from polyview.recipe import Corpus, Generator, Rendering
from polyview.rendering import opengl, rasterizer
from polyview.rendering.cameras import Camera
from polyview.rendering.renderer import make_renderer
from polyview.rendering.scene import compose

pytestmark = pytest.mark.skipif(
    opengl.platform() is None, reason="no OpenGL without a window here: neither an EGL device nor OSMesa"
)
FACEKIT = os.environ.get("POLYVIEW_FACEKIT", "")
RIG = (Camera(-55, 0), Camera(-20, 10), Camera(0, 0), Camera(35, -5))
SETTINGS: dict[str, dict[str, object]] = {
    "shaded": {},
    "shaded, grey, whole": {"albedo": "grey", "framing": "whole", "light": "world"},
    "color": {"shading": "color", "background": (200, 10, 90)},
    "supersampled": {"supersampling": 2},
    "culled": {"culling": True},
    "depth": {"shading": "depth"},
}


def first_face(corpus: Corpus) -> Mesh:
    manifest = scan(corpus).manifest
    return load_mesh(manifest.frame["path"][0], None, manifest.root)


@pytest.fixture(scope="module")
def synthetic() -> Mesh:
    return first_face(Corpus(generator=Generator(subjects=2, sequences=1)))


@pytest.fixture(scope="module")
def facekit() -> Mesh:
    if not Path(FACEKIT, "FaceXModel").is_dir():
        pytest.skip("POLYVIEW_FACEKIT does not name ICT-FaceKit's folder")
    return first_face(Corpus(dataset="facekit", root=FACEKIT, generator=Generator(subjects=2, sequences=1)))


@pytest.fixture(scope="module")
def textured(head: Mesh) -> Mesh:
    """The head with a smooth texture of an odd width, which repeats across it."""
    noise = np.random.default_rng(5).uniform(0, 1, (256, 301, 3))
    blurred = gaussian_filter(noise, (6, 6, 0), mode="wrap")
    texture = (255 * (blurred - blurred.min()) / np.ptp(blurred)).astype(np.uint8)
    uv = head.vertices[:, :2] / np.float32(90) - np.float32(0.3)
    return Mesh(head.vertices, head.faces, uv=uv, texture=texture)


def assert_alike(mesh: Mesh, settings: dict[str, object]) -> None:
    """The thresholds: silhouettes, depth, and colour where no edge is near."""
    recipe = Rendering.model_validate({"size": 224, **settings})
    raster, driver = (
        make_renderer(recipe.model_copy(update={"backend": backend})).render(mesh, RIG).astype(int)
        for backend in ("raster", "opengl")
    )
    scene = compose(mesh, RIG, recipe)
    ours = np.stack([rasterizer.depths(weights) for _, weights in rasterizer.fragments(scene, 224)])
    theirs = opengl.context().depths(scene, 224)
    inside, either = (ours > 0) & (theirs > 0), (ours > 0) | (theirs > 0)
    assert inside.sum() / either.sum() >= 0.995
    assert np.median(np.abs(ours - theirs)[inside]) <= 0.001 * np.ptp(ours[inside])
    eroded = np.stack([binary_erosion(view) for view in inside])
    assert eroded.sum() > 10_000
    beyond = np.stack([~binary_dilation(view) for view in either])
    for by_hand, by_driver in zip(
        np.split(raster, len(scene.layers)), np.split(driver, len(scene.layers)), strict=True
    ):
        assert np.abs(by_hand - by_driver)[eroded].mean() <= 2
        np.testing.assert_array_equal(by_hand[beyond], by_driver[beyond])


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=list(SETTINGS))
def test_a_synthetic_head(synthetic: Mesh, settings: dict[str, object]) -> None:
    assert_alike(synthetic, settings)


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=list(SETTINGS))
def test_a_facekit_face(facekit: Mesh, settings: dict[str, object]) -> None:
    assert_alike(facekit, settings)


@pytest.mark.parametrize("settings", [{"shading": "texture"}, {}, {"light": "world", "framing": "whole"}], ids=str)
def test_a_textured_mesh(textured: Mesh, settings: dict[str, object]) -> None:
    assert_alike(textured, {"shading": "shaded", **settings})


def test_several_outputs(textured: Mesh) -> None:
    assert_alike(textured, {"shading": "texture", "outputs": ("shaded", "depth")})


def test_normals_are_left_to_the_rasteriser(head: Mesh) -> None:
    with pytest.raises(UserError, match=r"opengl draws no normals; set rendering.backend=raster"):
        make_renderer(Rendering(shading="normal", backend="opengl")).render(head, RIG)
