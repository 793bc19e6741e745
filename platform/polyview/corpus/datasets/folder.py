"""Anybody's meshes: a folder, and a table that says who shows what in which file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import trimesh
from numpy.typing import NDArray
from PIL import Image

from polyview.corpus.manifest import SCHEMA
from polyview.corpus.mesh import Mesh, MeshError
from polyview.errors import UserError
from polyview.recipe import Corpus

FORMATS = (".obj", ".ply", ".stl", ".off", ".glb", ".gltf")
_REQUIRED = ("path", "subject", "expression")


def scan(corpus: Corpus) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The manifest rows of the table `corpus.table`, and what was skipped (path, reason).

    Only path, subject and expression are needed. A missing sample_id is the path; intensity 1 (0 if neutral);
    sequence the sample_id; frame 0. Paths are relative to `corpus.root` and never leave it.
    Raises `UserError` where the folder or the table cannot be read.
    """
    root = Path(corpus.root or "").expanduser()
    if not root.is_dir():
        raise UserError(f"corpus.root: {root} is not a folder")
    table = _completed(_read_table(root, corpus.table))
    reasons = [_why_not(root, path, texture) for path, texture in table.select("path", "texture").iter_rows()]
    table = table.with_columns(
        pl.coalesce(pl.Series("reason", reasons, dtype=pl.String), _gap(), _repetition()).alias("reason")
    )
    skipped = table.filter(pl.col("reason").is_not_null()).select("path", "reason")
    return table.filter(pl.col("reason").is_null()).select(list(SCHEMA)), skipped


def load(path: str, texture: str | None, root: str) -> Mesh:
    """Read one file, with the texture given or the one the file brings along; raises `MeshError`."""
    file = Path(root, path)
    if not file.is_file():
        raise MeshError("no such file")
    if file.suffix.lower() not in FORMATS:
        raise MeshError(f"format {file.suffix or 'without a suffix'} is not among {' '.join(FORMATS)}")
    try:
        surface = trimesh.load(file, process=False, force="mesh")
    except Exception as error:  # trimesh's readers raise whatever a broken file leads them to
        raise MeshError(f"not readable as {file.suffix.lower()}: {' '.join(str(error).split())[:200]}") from None
    if not isinstance(surface, trimesh.Trimesh):
        raise MeshError("the file holds no triangles")
    picture = _read_texture(Path(root, texture)) if texture else _own_texture(surface)
    return Mesh(
        vertices=np.asarray(surface.vertices, dtype=np.float32),
        faces=_faces(surface),
        colors=_colors(surface),
        uv=_uv(surface),
        texture=picture,
    )


def _read_table(root: Path, table: str | None) -> pl.DataFrame:
    if table is None:
        raise UserError("corpus.table is needed for dataset folder: a CSV or Parquet with path, subject, expression")
    given = Path(table).expanduser()
    file = given if given.is_file() else root / given
    try:
        frame = pl.read_parquet(file) if file.suffix == ".parquet" else pl.read_csv(file, infer_schema=False)
    except FileNotFoundError:
        raise UserError(f"corpus.table: {given} is neither here nor in {root}") from None
    except (pl.exceptions.PolarsError, OSError) as error:
        raise UserError(f"corpus.table: {file}: not readable: {str(error).splitlines()[0]}") from None
    missing = [name for name in _REQUIRED if name not in frame.columns]
    if missing:
        raise UserError(f"corpus.table: {file} lacks {', '.join(missing)}; its columns are {', '.join(frame.columns)}")
    return frame


def _completed(table: pl.DataFrame) -> pl.DataFrame:
    absent = [name for name in SCHEMA if name not in table.columns]
    table = table.with_columns(pl.lit(None, dtype=pl.String).alias(name) for name in absent)
    neutral = pl.col("expression") == "neutral"
    try:
        return (
            table.select(pl.col(name).cast(kind) for name, kind in SCHEMA.items())
            .with_columns(pl.col("sample_id").fill_null(pl.col("path")), pl.col("frame").fill_null(0))
            .with_columns(
                pl.col("intensity").fill_null(pl.when(neutral).then(0.0).otherwise(1.0)),
                pl.col("sequence").fill_null(pl.col("sample_id")),
                pl.col("dataset").fill_null("folder"),
            )
        )
    except pl.exceptions.PolarsError as error:
        raise UserError(f"corpus.table: {str(error).splitlines()[0]}") from None


def _why_not(root: Path, path: str | None, texture: str | None) -> str | None:
    for name, what in ((path, "mesh"), (texture, "texture")):
        if name is None:
            continue
        file = root / name
        if not file.resolve().is_relative_to(root.resolve()):
            return f"the {what} lies outside of the dataset's folder"
        if not file.is_file():
            return f"no such {what}: {name}"
    if path is not None and Path(path).suffix.lower() not in FORMATS:
        return f"format {Path(path).suffix or 'without a suffix'} is not among {' '.join(FORMATS)}"
    return None


def _gap() -> pl.Expr:
    """Says so where a row lacks what it needs."""
    return pl.coalesce(pl.when(pl.col(name).is_null()).then(pl.lit(f"the row has no {name}")) for name in _REQUIRED)


def _repetition() -> pl.Expr:
    return pl.when(~pl.col("sample_id").is_first_distinct()).then(pl.lit("named a second time"))


def _faces(surface: trimesh.Trimesh) -> NDArray[np.int32]:
    faces = np.asarray(surface.faces)
    # Checked before the narrowing cast, which would wrap an absurd index into a plausible one.
    if faces.size and int(np.abs(faces).max()) > np.iinfo(np.int32).max:
        raise MeshError(f"face index {int(np.abs(faces).max())} of {len(surface.vertices)} vertices")
    return faces.astype(np.int32)


def _colors(surface: trimesh.Trimesh) -> NDArray[np.uint8] | None:
    if surface.visual.kind != "vertex":
        return None
    return np.asarray(surface.visual.vertex_colors, dtype=np.uint8)[:, :3]


def _uv(surface: trimesh.Trimesh) -> NDArray[np.float32] | None:
    uv = getattr(surface.visual, "uv", None)
    return None if uv is None else np.asarray(uv, dtype=np.float32)


def _own_texture(surface: trimesh.Trimesh) -> NDArray[np.uint8] | None:
    material = getattr(surface.visual, "material", None)
    image = getattr(material, "image", None) or getattr(material, "baseColorTexture", None)
    return None if image is None else np.asarray(image.convert("RGB"), dtype=np.uint8)


def _read_texture(file: Path) -> NDArray[np.uint8]:
    try:
        with Image.open(file) as image:
            return np.asarray(image.convert("RGB"), dtype=np.uint8)
    except OSError as error:
        raise MeshError(f"texture {file.name} is not readable: {error}") from None
