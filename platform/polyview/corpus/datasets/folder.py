"""Anybody's meshes: a folder, and a table or a pattern that says who shows what in which file."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl

from polyview.corpus.formats.limits import FORMATS
from polyview.corpus.manifest import SCHEMA, Found
from polyview.errors import UserError
from polyview.recipe import Corpus

_REQUIRED = ("path", "subject", "expression")
_FIELDS = {"subject": "[^/]+", "expression": "[^/]+", "sequence": "[^/]+", "intensity": r"\d*\.?\d+", "frame": r"\d+"}


def scan(corpus: Corpus) -> Found:
    """The manifest rows of `corpus.table`, or of the files that fit `corpus.pattern`, and what was skipped.

    Of a table, only path, subject and expression are needed. A missing sample_id is the path; intensity 1
    (0 if neutral); sequence the sample_id; frame 0. Paths are relative to `corpus.root` and never leave it.
    Raises `UserError` where the folder or the table cannot be read.
    """
    root = Path(corpus.root or "").expanduser()
    if not root.is_dir():
        raise UserError(f"corpus.root: {root} is not a folder")
    table = _completed(_matched(root, corpus.pattern) if corpus.pattern else _read_table(root, corpus.table))
    reasons = [_why_not(root, path, texture) for path, texture in table.select("path", "texture").iter_rows()]
    table = table.with_columns(
        pl.coalesce(pl.Series("reason", reasons, dtype=pl.String), _gap(), _repetition()).alias("reason")
    )
    skipped = table.filter(pl.col("reason").is_not_null()).select("path", "reason")
    return Found(table.filter(pl.col("reason").is_null()).select(list(SCHEMA)), skipped)


def _read_table(root: Path, table: str | None) -> pl.DataFrame:
    if table is None:
        raise UserError(
            "corpus.table is needed for dataset folder: a CSV or Parquet with path, subject, expression; or "
            "corpus.pattern, such as {subject}/{expression}/{frame}.obj"
        )
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


def _matched(root: Path, pattern: str) -> pl.DataFrame:
    """A row for each mesh below `root`, with what `pattern` reads from its path: nothing where it does not fit."""
    expression = _compiled(pattern)
    files = [file for file in sorted(root.rglob("*")) if file.suffix.lower() in FORMATS and file.is_file()]
    if not files:
        raise UserError(f"corpus.root: {root} holds no mesh ({' '.join(FORMATS)})")
    rows = []
    for file in files:
        path = file.relative_to(root).as_posix()
        match = expression.fullmatch(path)
        fields = match.groupdict() if match else {}
        others = [value for name, value in fields.items() if name != "frame"]
        sequence = "_".join(others) if "frame" in fields else path
        rows.append({"path": path, "sequence": sequence} | fields)
    if not any("subject" in row for row in rows):
        raise UserError(f"corpus.pattern: none of {len(rows)} meshes fits {pattern}; the first is {rows[0]['path']}")
    return pl.DataFrame(rows, schema=dict.fromkeys(("path", *_FIELDS), pl.String))


def _compiled(pattern: str) -> re.Pattern[str]:
    """The pattern as a regular expression: {field} is a part of a name, * is anything within one."""
    parts = re.split(r"\{(\w+)\}", pattern)
    fields = parts[1::2]
    unknown = sorted(set(fields) - set(_FIELDS))
    if unknown or len(set(fields)) < len(fields) or not {"subject", "expression"} <= set(fields):
        raise UserError(
            f"corpus.pattern: {pattern} needs {{subject}} and {{expression}}, and may have {{sequence}}, {{intensity}} "
            "and {frame}, each once"
        )
    texts = [re.escape(text).replace(r"\*", "[^/]*") for text in parts[::2]]
    groups = [f"(?P<{name}>{_FIELDS[name]})" for name in fields]
    return re.compile("".join(text for pair in zip(texts, [*groups, ""], strict=True) for text in pair))


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
    if path is not None and Path(path).suffix.lower() not in FORMATS:
        return f"format {Path(path).suffix or 'without a suffix'} is not among {' '.join(FORMATS)}"
    return None


def _gap() -> pl.Expr:
    """Says so where a row lacks what it needs."""
    return pl.coalesce(pl.when(pl.col(name).is_null()).then(pl.lit(f"the row has no {name}")) for name in _REQUIRED)


def _repetition() -> pl.Expr:
    return pl.when(~pl.col("sample_id").is_first_distinct()).then(pl.lit("named a second time"))
