"""Pictures that hardly show a face are told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from polyview.corpus.mesh import Mesh
from polyview.corpus.scan import scan
from polyview.errors import UserError
from polyview.recipe import Corpus, Rendering
from polyview.rendering.cameras import Camera
from polyview.rendering.doubts import doubt_of
from polyview.rendering.pipeline import render
from polyview.rendering.renderer import make_renderer
from polyview.rendering.store import ViewStore
from polyview.storage.home import Home

RIG = (Camera(-30, 0), Camera(0, 0))


def doubt(mesh: Mesh, **settings: object) -> str | None:
    rendering = Rendering.model_validate(settings)
    return doubt_of(make_renderer(rendering).render(mesh, RIG), mesh, RIG, rendering)


def test_a_face_is_not_doubted(head: Mesh) -> None:
    assert doubt(head) is None
    assert doubt(head, framing="whole") is None
    assert doubt(head, shading="color") is None
    assert doubt(head, shading="depth") is None


def test_an_empty_view_says_what_to_set(head: Mesh) -> None:
    metres = replace(head, vertices=head.vertices / np.float32(1000))
    reason = doubt(metres)
    assert reason is not None
    assert reason.startswith("yaw-30_pitch+00 is 0% face: the mesh is 0.1")
    assert "set corpus.geometry.unit" in reason


def test_a_view_that_is_filled_says_what_to_set(head: Mesh) -> None:
    reason = doubt(head, radius=20.0)
    assert reason is not None
    assert "is 100% face: its nose was taken to be at (" in reason
    assert "rendering.radius or framing: whole" in reason


def test_a_face_of_one_colour_says_what_to_set(head: Mesh) -> None:
    reason = doubt(replace(head, colors=None), shading="color")
    assert reason == "yaw-30_pitch+00 has one colour: the mesh has no others; set rendering.shading: shaded"


def faces(folder: Path, sizes: list[float]) -> Corpus:
    for number, size in enumerate(sizes):
        y, x = np.mgrid[-90:91:9, -70:71:7]
        z = 60 - (x / 12) ** 2 - (y / 14) ** 2 + 25 * np.exp(-((x / 12) ** 2) - (y / 15) ** 2)
        index = np.arange(x.size).reshape(x.shape) + 1
        corners = np.stack([index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]], -1).reshape(-1, 4)
        points = np.stack([x, y, z], -1).reshape(-1, 3) * size
        lines = [f"v {a} {b} {c}" for a, b, c in points.tolist()] + [f"f {a} {b} {c} {d}" for a, b, c, d in corners]
        (folder / f"{number}_{'anger' if number % 2 else 'neutral'}.obj").write_text("\n".join(lines))
    return Corpus(dataset="folder", root=str(folder), pattern="{subject}_{expression}.obj")


def test_a_render_says_what_it_guessed(tmp_path: Path) -> None:
    manifest = scan(faces(tmp_path, [0.001, 0.001, 1.0])).manifest
    summary = render(manifest, Rendering(), RIG, Home(tmp_path / "home"), 0.1)
    of_units, told = summary.doubts
    assert told == "2 of 3 meshes taken to be in metres (corpus.geometry.unit: 1000)"
    assert of_units.startswith(
        "of 3 meshes looked at not all are taken to be in the same unit: 2 to be in metres, as 0_neutral.obj, 1 to be "
        "in millimetres, as 2_neutral.obj; "
    )
    assert ViewStore.open(summary.store).doubts["kind"].to_list() == ["guess", "guess"]


def test_a_render_of_suspicious_views_is_an_error_above_max_rejected(tmp_path: Path) -> None:
    corpus = faces(tmp_path, [1.0, 0.05, 1.0])
    told = corpus.model_copy(update={"geometry": corpus.geometry.model_copy(update={"unit": 1.0})})
    manifest = scan(told).manifest
    with pytest.raises(UserError, match=r"1 of 3 faces has suspicious views; 1_anger\.obj: .*corpus\.geometry\.unit"):
        render(manifest, Rendering(), RIG, Home(tmp_path / "home"), 0.1)
    summary = render(manifest, Rendering(), RIG, Home(tmp_path / "home"), 0.5)
    assert summary.rendered == 3
    assert summary.doubts[0].startswith("1 of 3 faces has suspicious views")
