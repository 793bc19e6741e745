from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from polyview.corpus.manifest import Manifest
from polyview.errors import UserError
from polyview.recipe import Rendering
from polyview.rendering.cameras import Camera
from polyview.rendering.shards import shard_path, write_shard
from polyview.rendering.sheet import contact_sheet, is_sheet
from polyview.rendering.store import ViewStore, column_names, finish_part

RIG = (Camera(-30, 0), Camera(30, 10))
COLORS = np.array([[[250, 0, 0], [0, 250, 0]], [[0, 0, 250], [250, 0, 250]], [[0, 250, 250], [0, 0, 0]]], np.uint8)


@pytest.fixture
def store(tmp_path: Path) -> ViewStore:
    """Three samples under two cameras, each view of one colour."""
    frame = pl.DataFrame(
        {
            "sample_id": ["a", "b", "c"],
            "subject": "a subject with a name that is much too long for the margin",
            "expression": ["anger", "fear", "surprise"],
            "intensity": 0.5,
            "sequence": "sequence",
            "frame": 0,
            "path": "x",
            "texture": None,
            "dataset": "folder",
        }
    )
    views = np.broadcast_to(COLORS[:, :, None, None], (3, 2, 64, 64, 3)).swapaxes(0, 1)
    names = [camera.name for camera in RIG]
    manifest = Manifest.build(frame, "")
    manifest.save(tmp_path / "manifest.parquet")
    write_shard(shard_path(tmp_path, 0), ["a", "b", "c"], names, views, [])
    finish_part(tmp_path, manifest, Rendering(size=64), RIG, 1)
    return ViewStore.open(tmp_path)


def test_a_sheet_is_told_from_other_pictures(store: ViewStore, tmp_path: Path) -> None:
    contact_sheet(store, [0], tmp_path / "sheet.png")
    Image.open(tmp_path / "sheet.png").resize((9, 9)).save(tmp_path / "own.png", pnginfo=None)
    (tmp_path / "text.png").write_text("no picture")
    assert [is_sheet(tmp_path / name) for name in ("sheet.png", "own.png", "text.png")] == [True, False, False]


def test_samples_go_down_and_views_across_beside_their_captions(store: ViewStore, tmp_path: Path) -> None:
    contact_sheet(store, [2, 0], tmp_path / "sheet.png")
    picture = np.asarray(Image.open(tmp_path / "sheet.png"))
    places = [[np.argwhere((picture == color).all(axis=-1)) for color in COLORS[row]] for row in (2, 0)]
    corners = np.array(
        [[place.min(axis=0) for place in line] for line in places[:1]] + [[place.min(axis=0) for place in places[1]]]
    )
    assert (corners[1, :, 0] > corners[0, :, 0]).all()
    assert (corners[:, 1, 1] > corners[:, 0, 1]).all()
    assert all(len(place) >= 150 * 150 for line in places for place in line[:1])
    margin = picture[:, : corners[0, 0, 1]]
    assert (margin.mean(axis=-1) < 100).sum() > 200
    assert not any((picture == COLORS[1, view]).all(axis=-1).any() for view in (0, 1))


def test_a_row_beyond_the_store_is_refused(store: ViewStore, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no row 3; it has 3"):
        contact_sheet(store, [0, 3], tmp_path / "sheet.png")


def test_a_store_without_a_face_makes_no_picture(store: ViewStore, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no face is in it, .*rejected\.parquet says why"):
        contact_sheet(store, [], tmp_path / "sheet.png")
    assert not (tmp_path / "sheet.png").exists()


def test_all_outputs_are_on_the_sheet(store: ViewStore, tmp_path: Path) -> None:
    rendering = Rendering(size=64, outputs=("normal",))
    part = tmp_path / "both"
    colors = np.concatenate([COLORS[:1, 0], COLORS[1:2, 0]])
    views = np.broadcast_to(colors[:, None, None, None], (2, 1, 64, 64, 3))
    store.manifest.save(part / "manifest.parquet")
    write_shard(shard_path(part, 0), ["a"], column_names(RIG[:1], rendering), views, [])
    finish_part(part, store.manifest, rendering, RIG[:1], 1)
    contact_sheet(ViewStore.open(part), [0], tmp_path / "both.png")
    picture = np.asarray(Image.open(tmp_path / "both.png"))
    shaded, normal = (np.argwhere((picture == color).all(axis=-1))[:, 1] for color in colors)
    assert len(shaded) == len(normal) > 0
    assert shaded.max() < normal.min()


def test_letters_of_any_name_are_drawn(store: ViewStore, tmp_path: Path) -> None:
    drawn = {}
    for name in ("\N{GREEK SMALL LETTER LAMDA}", "\N{GREEK SMALL LETTER MU}", "\N{CYRILLIC SMALL LETTER ZHE}"):
        frame = store.manifest.frame.with_columns(pl.lit(name * 9).alias("subject"))
        Manifest.build(frame, "").save(tmp_path / "manifest.parquet")
        contact_sheet(ViewStore.open(tmp_path), [0], tmp_path / "sheet.png")
        drawn[name] = (tmp_path / "sheet.png").read_bytes()
    assert len(set(drawn.values())) == 3, "a letter that the font lacks is the same box as another"
