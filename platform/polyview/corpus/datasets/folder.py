"""Anybody's meshes: a folder, and a table or a pattern that says who shows what in which file."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path, PureWindowsPath

import polars as pl

from polyview.corpus.datasets.table import cleaned, read_table
from polyview.corpus.formats.limits import FORMATS, below, format_of, in_any_case, names_in
from polyview.corpus.labels import key, meanings
from polyview.corpus.manifest import OPTIONAL, SCHEMA, Found
from polyview.errors import UserError
from polyview.recipe import Corpus

_REQUIRED = ("path", "subject", "expression")
_FIELDS = {"subject": "[^/]+", "expression": "[^/]+", "sequence": "[^/]+", "intensity": r"\d*\.?\d+", "frame": r"\d+"}
_NUMBERS = {
    "intensity": "a number",
    "frame": "a whole number",
    "unit": "m, cm, mm, um or the millimetres of one unit",
}
_UNITS = {"m": 1000.0, "cm": 10.0, "mm": 1.0, "um": 0.001, "µm": 0.001}
_OUTSIDE = "lies outside of the dataset's folder"


def scan(corpus: Corpus) -> Found:
    """The faces of `corpus.table`, or of the files that fit `corpus.pattern`, and what was skipped.

    Of a table, only path, subject and expression are needed. A missing sample_id is the path; intensity 1
    (0 if neutral); sequence the subject and the expression where there is a frame, else the sample_id; frame 0; unit
    that of `corpus.geometry`. Paths are relative to `corpus.root` and never leave it. An expression is one of
    `corpus.expressions`, however it is written, or stays as it is.
    Raises `UserError` where the folder or the table cannot be read.
    """
    root = Path(corpus.root or "").expanduser()
    if not root.is_dir():
        raise UserError(f"corpus.root: {root} is not a folder; set it to where the meshes lie")
    table = _matched(root, corpus.pattern) if corpus.pattern else _listed(root, corpus.table)
    table = _placed(root, _understood(_with_all_columns(table), corpus.expressions))
    table = _completed(_with_numbers(table))
    table = table.with_columns(reason=pl.coalesce(_gap(), "reason", _excess(), _repetition()))
    skipped = table.filter(pl.col("reason").is_not_null()).select(pl.coalesce("path", "row").alias("path"), "reason")
    return Found(table.filter(pl.col("reason").is_null()).select([*SCHEMA, *OPTIONAL]), skipped)


def _listed(root: Path, table: str | None) -> pl.DataFrame:
    if table is None:
        raise UserError(
            "corpus.table is needed for dataset folder: a CSV or Parquet with path, subject, expression; or "
            "corpus.pattern, such as {subject}/{expression}/{frame}.obj"
        )
    return read_table(root, table, _REQUIRED)


def _matched(root: Path, pattern: str) -> pl.DataFrame:
    """A row for each mesh below `root`, with what `pattern` reads from its path: nothing where it does not fit."""
    expression = _compiled(pattern)
    files = sorted(file for file in _files_below(root) if format_of(file.name) in FORMATS)
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
    table = pl.DataFrame(rows, schema=dict.fromkeys(("path", *_FIELDS), pl.String))
    return table.with_columns(cleaned(pl.exclude("path")))


def _files_below(folder: Path, above: frozenset[str] = frozenset()) -> Iterator[Path]:
    """Every file, also those behind symbolic links, but for links that lead back to a folder that they lie in."""
    own = os.path.realpath(folder)
    if own in above:
        return
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _files_below(entry, above | {own})
        elif entry.is_file():
            yield entry


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


def _with_all_columns(table: pl.DataFrame) -> pl.DataFrame:
    absent = [name for name in (*SCHEMA, *OPTIONAL, "row") if name not in table.columns]
    return table.with_columns(pl.lit(None, dtype=pl.String).alias(name) for name in absent)


def _understood(table: pl.DataFrame, expressions: tuple[str, ...]) -> pl.DataFrame:
    known = meanings(expressions)
    labels = table["expression"].drop_nulls().unique()
    return table.with_columns(pl.col("expression").replace({label: known.get(key(label), label) for label in labels}))


def _placed(root: Path, table: pl.DataFrame) -> pl.DataFrame:
    """The table with its paths as seen from `root`, and a reason where one cannot be used."""
    paths, textures, reasons = [], [], []
    names = cache(names_in)
    for path, texture in table.select("path", "texture").iter_rows():
        own, picture = _place(root, path, names), _place(root, texture, names)
        outside = [what for what, name, at in (("mesh", path, own), ("texture", texture, picture)) if name and not at]
        paths.append(own or path)
        textures.append(picture or texture)
        reasons.append(f"the {outside[0]} {_OUTSIDE}" if outside else _unreadable(path))
    placed = {"path": paths, "texture": textures, "reason": reasons}
    return table.with_columns(pl.Series(name, values, dtype=pl.String) for name, values in placed.items())


def _place(root: Path, name: str | None, names: Callable[[Path], dict[str, str]]) -> str | None:
    """The path as seen from `root`, spelt as it is on disk if it is there; none where it leads out of `root`."""
    if name is None or PureWindowsPath(name).drive:
        return None
    place = below(root, name.replace("\\", "/"))
    if place is None:
        return None
    file = in_any_case(root, place, names)
    return (file.relative_to(root) if file else place).as_posix()


def _unreadable(path: str | None) -> str | None:
    if path is None or format_of(path) in FORMATS:
        return None
    return f"format {format_of(path) or 'without a suffix'} is not among {' '.join(FORMATS)}"


def _with_numbers(table: pl.DataFrame) -> pl.DataFrame:
    """The table with its numbers as such, also where the decimal mark is a comma or a unit has a name."""
    names = {name: str(unit) for name, unit in _UNITS.items()}
    table = table.with_columns(unit=pl.col("unit").replace(names))
    values = [pl.col(name).str.replace(",", ".", literal=True).cast(pl.Float64, strict=False) for name in _NUMBERS]
    numbers = table.select(values)
    for name, kind in _NUMBERS.items():
        number = numbers[name]
        wrong = table[name].is_not_null() & (number.is_null() | ~number.is_finite())
        if name == "unit":
            wrong |= number <= 0
        if name == "frame":
            wrong |= number != number.cast(pl.Int64, strict=False)
        if wrong.fill_null(False).any():
            row = table.row(wrong.fill_null(False).arg_max() or 0, named=True)
            raise UserError(f"corpus.table: {row['row'] or row['path']}: {name} {row[name]!r} is not {kind}")
    return table.with_columns(numbers).cast({"frame": pl.Int64})


def _completed(table: pl.DataFrame) -> pl.DataFrame:
    rest = pl.when(pl.col("expression") == "neutral").then(0.0).otherwise(1.0)
    film = pl.when(pl.col("frame").is_not_null()).then(pl.format("{}_{}", "subject", "expression"))
    return table.with_columns(
        pl.col("sample_id").fill_null(pl.col("path")),
        pl.coalesce("sequence", film),
        pl.col("frame").fill_null(0),
        pl.col("intensity").fill_null(rest),
        pl.col("dataset").fill_null("folder"),
    ).with_columns(pl.col("sequence").fill_null(pl.col("sample_id")))


def _gap() -> pl.Expr:
    """Says so where a row lacks what it needs."""
    return pl.coalesce(
        pl.when(pl.col(name).is_null()).then(pl.format("{} has no " + name, pl.col("row").fill_null("its name")))
        for name in _REQUIRED
    )


def _excess() -> pl.Expr:
    strong = ~pl.col("intensity").is_between(0, 1)
    return pl.when(strong).then(pl.format("its intensity {} is not between 0 and 1", "intensity"))


def _repetition() -> pl.Expr:
    twice = pl.when(pl.col("path").is_first_distinct()).then(
        pl.format("another row has its sample_id {} too", "sample_id")
    )
    return pl.when(~pl.col("sample_id").is_first_distinct()).then(twice.otherwise(pl.lit("named a second time")))
