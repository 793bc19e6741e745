"""A range scan is read as the surface that was seen, wherever its grid begins and however it says what was not."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree
from tests.corpus.formats.heads import looked_up
from tests.corpus.formats.writers import bnt

from polyview.corpus.formats.reader import read_mesh
from polyview.corpus.mesh import Mesh

CASES = settings(
    max_examples=80,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def differences(mesh: Mesh, scan: bnt.Scan) -> list[str]:
    """What of a mesh is not as it was scanned, in words."""
    flat = scan.points.reshape(-1, 3)
    far, own = cKDTree(flat).query(mesh.vertices.astype(np.float64))
    if far.max() > 0.01:
        return [f"{(far > 0.01).sum()} vertices are where nothing was scanned"]
    lines = [] if scan.seen.ravel()[own].all() else ["vertices that were not seen"]
    a, b, c = flat[own[mesh.faces]].swapaxes(0, 1)
    areas = np.cross((b - a)[:, :2], (c - a)[:, :2]) / 2
    lines += ["faces that look away"] if areas.min() <= 0 else []
    cell = np.abs(np.diff(scan.points[0, :2, 0])[0] * np.diff(scan.points[:2, 0, 1])[0])
    corners = bnt.cells(scan)
    least, most = (corners == 4).sum(), (corners == 4).sum() + (corners == 3).sum() / 2
    if not least - 0.01 <= areas.sum() / cell <= most + 0.01:
        lines.append(f"an area of {areas.sum() / cell:g} cells, not {least} to {most}")
    if mesh.texture is None or mesh.uv is None:
        return [*lines, "no picture"]
    off = np.abs(looked_up(mesh.texture, mesh.uv.astype(np.float64)) - scan.colors.reshape(-1, 3)[own])
    return lines + (["another place of the picture"] if off.max() > 3 else [])


@CASES
@given(data=st.data())
def test_a_scan_is_read_as_what_was_seen(tmp_path: Path, data: st.DataObject) -> None:
    habits = data.draw(st.fixed_dictionaries({name: st.sampled_from(values) for name, values in bnt.HABITS.items()}))
    folder = tmp_path / "scan"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    scan = bnt.write(folder, habits, data.draw(st.integers(0, 99), label="seed"))
    assume((bnt.cells(scan) == 4).any())
    assert not differences(read_mesh("head.bnt", "head.png", str(folder)), scan)
