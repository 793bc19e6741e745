"""A table as people bring it: CSV of any separator and encoding, or Parquet; cells as trimmed text."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from polyview.errors import UserError
from polyview.storage.mirror import expanded

_SEPARATORS = ",;\t|"
_NOTHING = ("", "nan", "NaN", "null", "NULL", "None", "<NA>", "N/A")
"""What programs write for an empty cell."""
_NAMES = ("subject", "sequence", "expression")
_UNKNOWN = (*_NOTHING, "NA", "-", "?")
"""What R and people write for a name that they do not have; beside numbers it is refused as none."""
_ROW = "row"


def read_table(root: Path, table: str, required: Sequence[str]) -> pl.DataFrame:
    """The table's columns as text, empty cells as null, and the column `row`, which says where each row stands.

    Columns are named in small letters, with `_` for spaces. Raises `UserError` that names the file.
    """
    given = expanded(table, "corpus.table")
    file = given if given.is_file() else root / given
    try:
        data = file.read_bytes()
        frame = _of_parquet(data) if data.startswith(b"PAR1") else _of_text(data)
    except FileNotFoundError:
        raise UserError(f"corpus.table: {given} is neither here nor in {root}") from None
    except (pl.exceptions.PolarsError, OSError, ValueError) as error:
        raise UserError(f"corpus.table: {file}: not readable: {str(error).splitlines()[0]}") from None
    columns = [name for name in frame.columns if name != _ROW]
    missing = [name for name in required if name not in columns]
    if not columns or (frame.is_empty() and not missing):
        raise UserError(f"corpus.table: {file} lists no face; under a line of the columns' names each has a line")
    if missing:
        found = ", ".join(columns)
        raise UserError(f"corpus.table: {file} lacks {', '.join(missing)}; its columns are {found}")
    names = [name for name in _NAMES if name in frame.columns]
    return frame.with_columns(cleaned(pl.exclude(names)), cleaned(pl.col(names), _UNKNOWN))


def _of_parquet(data: bytes) -> pl.DataFrame:
    frame = pl.read_parquet(io.BytesIO(data))
    frame = frame.rename(dict(zip(frame.columns, _named(frame.columns), strict=True)))
    columns = [_as_text(column) for column in frame if not column.dtype.is_nested() and column.dtype != pl.Binary]
    rows = pl.Series(_ROW, [f"row {number}" for number in range(1, len(frame) + 1)], dtype=pl.String)
    return pl.DataFrame(columns).with_columns(rows)


def _as_text(column: pl.Series) -> pl.Series:
    """The column as text; whole numbers that pandas made floats, since a cell was empty, as whole numbers."""
    if column.dtype.is_float():
        column = column.fill_nan(None)
        if (column.is_null() | (column == column.cast(pl.Int64, strict=False))).all():
            column = column.cast(pl.Int64)
    return column.cast(pl.String)


def _of_text(data: bytes) -> pl.DataFrame:
    if data.startswith(b"PK"):
        raise ValueError("it is a workbook or an archive; save it as CSV")
    records = _records(_decoded(data))
    _, head = next(records, (0, []))
    columns = _named(head)
    rows = []
    for line, cells in records:
        if any(cells[len(columns) :]):
            raise ValueError(f"line {line} has {len(cells)} cells, and the first line names {len(columns)} columns")
        rows.append(dict(zip(columns, cells, strict=False)) | {_ROW: f"line {line}"})
    return pl.DataFrame(rows, schema=dict.fromkeys((*filter(None, columns), _ROW), pl.String))


def _records(text: str) -> Iterator[tuple[int, list[str]]]:
    """Each record that is not empty, with the number of its last line."""
    first = text.partition("\n")[0]
    told = re.fullmatch(r"sep=(.)\s*", first)  # as spreadsheets say it
    separator = told[1] if told else max(_SEPARATORS, key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True)
    if told:
        next(reader)
    begun = reader.line_num
    try:
        for record in reader:
            cells = [cell.strip() for cell in record]
            if any(cells):
                yield reader.line_num, cells
            begun = reader.line_num
    except csv.Error as error:
        raise ValueError(f"line {begun + 1}: {error}; is a quotation mark not closed?") from None


def _decoded(data: bytes) -> str:
    """The text: of the encoding that its first bytes tell, else UTF-8, else what Windows writes in the west."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16")
    if b"\0" in data[:2]:
        return data.decode("utf-16-be" if data.startswith(b"\0") else "utf-16-le")
    for encoding in ("utf-8-sig", "cp1252"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    return data.decode("latin-1")


def _named(columns: Sequence[str]) -> list[str]:
    names = ["_".join(name.lower().split()) for name in columns]
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        raise ValueError(f"more than one column is called {', '.join(twice)}")
    return names


def cleaned(column: pl.Expr, nothing: Sequence[str] = _NOTHING) -> pl.Expr:
    """The text without space around it, and null for what stands for nothing."""
    trimmed = column.str.strip_chars()
    return pl.when(~trimmed.is_in(nothing)).then(trimmed)
