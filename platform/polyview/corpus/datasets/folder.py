"""Anybody's meshes: a folder, and a table or a pattern that says who shows what in which file."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path, PureWindowsPath

import polars as pl

from polyview.corpus.datasets.pattern import FIELDS, Pattern, above_subjects, deeper
from polyview.corpus.datasets.table import cleaned, read_table
from polyview.corpus.datasets.unread import overlooked, unread
from polyview.corpus.formats.limits import FORMATS, below, entries, format_of, in_any_case, is_broken_link, names_in
from polyview.corpus.labels import is_of_degree, key, meanings
from polyview.corpus.manifest import OPTIONAL, SCHEMA, SEQUENCE, Found
from polyview.corpus.remarks import on_columns
from polyview.errors import UserError
from polyview.recipe import Corpus
from polyview.storage.names import NOT_UTF8, is_text, shown
from polyview.wording import agreeing, counted

_REQUIRED = ("path", "subject", "expression")
_NUMBERS = {
    "intensity": "a number from 0 to 1",
    "frame": "a whole number of at most 18 digits",
    "unit": "m, cm, mm, um or the millimetres of one unit",
}
_UNITS = {"m": 1000.0, "cm": 10.0, "mm": 1.0, "um": 0.001, "µm": 0.001}
_THOUSANDS = r"^[1-9]\d{0,2}(,\d{3})+$"
"""A number that is a thousand times as much to some as to others; an intensity is at most 1 and cannot be one."""
_DOUBT = "its name's readings"
"""A column that no table has, for theirs are named without spaces: why nothing is read from a file."""
_IS_BLANK = pl.col("intensity").is_null() & pl.col("intensity").is_not_null().any().over(SEQUENCE)
_OUTSIDE = "lies outside of the dataset's folder"


def scan(corpus: Corpus) -> Found:
    """The faces of `corpus.table`, or of the files that fit `corpus.pattern`, and what was skipped.

    Of a table, only path, subject and expression are needed. A missing sample_id is the path; intensity 1 (0 if
    neutral, and where others of the sequence have one); sequence the subject and the expression where there is a frame,
    else the sample_id; frame 0; unit that of `corpus.geometry`. Paths are relative to `corpus.root` and never leave it.
    An expression is one of `corpus.expressions`, however it is written, or stays as it is.
    Raises `UserError` where the folder or the table cannot be read.
    """
    root = Path(corpus.root or "").expanduser()
    if not root.is_dir():
        raise UserError(f"corpus.root: {root} is not a folder; set it to where the meshes lie")
    known = _known(corpus)
    table = _matched(root, corpus.pattern, known) if corpus.pattern else _listed(root, corpus.table)
    columns = (*SCHEMA, *OPTIONAL)
    unread = [name for name in table.columns if name not in (*columns, "row", _DOUBT)]
    table = _placed(root, _understood(_with_all_columns(table), known))
    table = _named(_with_numbers(table))
    blank = _on_blanks(table)
    table = _with_intensities(table)
    table = table.with_columns(reason=pl.coalesce(_DOUBT, _gap(), "reason", _excess(), _repetition()))
    skipped = table.filter(pl.col("reason").is_not_null()).select(pl.coalesce("path", "row").alias("path"), "reason")
    rows = table.filter(pl.col("reason").is_null()).select(columns)
    namesakes = _on_namesakes(rows, corpus.pattern or "")
    return Found(rows, skipped, (*on_columns(unread, columns), *_on_contradictions(table), *blank, *namesakes))


def _known(corpus: Corpus) -> dict[str, str]:
    """What labels mean; of a pattern, the dash in `happy-12` divides the expression from a number that follows it."""
    known = meanings(corpus.expressions)
    if "{expression}{" not in (corpus.pattern or ""):
        return known
    return {f"{form}-": name for form, name in known.items()} | known


def _listed(root: Path, table: str | None) -> pl.DataFrame:
    if table is None:
        raise UserError(
            "corpus.table is needed for dataset folder: a CSV or Parquet with path, subject, expression; or "
            "corpus.pattern, such as {subject}/{expression}/{frame}.obj"
        )
    return read_table(root, table, _REQUIRED)


def _matched(root: Path, text: str, known: Container[str]) -> pl.DataFrame:
    """A row for each mesh below `root`, with what the pattern reads from its path: nothing where it does not fit."""
    pattern = Pattern.parse(text)
    files = sorted(file.relative_to(root) for file in _files_below(root))
    meshes = [file for file in files if format_of(file.name) in FORMATS]
    others = [{"path": shown(file), _DOUBT: NOT_UTF8} for file in meshes if not is_text(file)]
    files, meshes = list(filter(is_text, files)), list(filter(is_text, meshes))
    others += [{"path": file.as_posix(), _DOUBT: reason} for file, reason in overlooked(files, meshes)]
    if not meshes:
        found = f"; it holds {others[0]['path']}: {others[0][_DOUBT]}" if others else ""
        raise UserError(f"corpus.root: {root} holds no mesh ({' '.join(FORMATS)}){found}")
    rows = []
    for file in meshes:
        path = file.as_posix()
        readings = pattern.readings(path)
        fields = _chosen(readings, known)
        doubt = {_DOUBT: _doubt(readings)} if readings and not fields else {}
        rows.append({"path": path} | doubt | fields)
    strengths: dict[tuple[str, str], set[str | None]] = defaultdict(set)
    for row in rows:
        if "frame" in row:
            strengths[_film(row), row["frame"]].add(row.get("intensity"))
    divided = any(len(several) > 1 for several in strengths.values())
    for row in rows:
        row.setdefault("sequence", _film(row, whole=divided) if "frame" in row else row["path"])
    if not any("subject" in row or _DOUBT in row for row in rows):
        first = rows[0]["path"]
        raise UserError(
            f"corpus.pattern: none of {counted(len(rows), 'mesh', 'meshes')} fits {text}; the first is "
            f"{first}{_rather(text, first)}"
        )
    for row in rows:
        if "subject" not in row:
            row.setdefault(_DOUBT, f"its name does not fit corpus.pattern, {text}{_rather(text, row['path'])}")
    table = pl.DataFrame([*rows, *others], schema=dict.fromkeys(("path", *FIELDS, _DOUBT), pl.String))
    return table.with_columns(cleaned(pl.exclude("path")))


def _rather(text: str, path: str) -> str:
    """What to set where a file lies only deeper than the pattern has it."""
    fitting = deeper(text, path)
    return f"; {fitting} would, in which * is any folder" if fitting else ""


def _on_namesakes(table: pl.DataFrame, text: str) -> Iterator[str]:
    """Who lies in several folders of which the pattern says nothing, and may be several people."""
    above = above_subjects(text)
    if above is None:
        return
    folder = pl.col("path").str.split("/").list.head(above).list.join("/").unique(maintain_order=True)
    places = table.drop_nulls("subject").group_by("subject", maintain_order=True).agg(folder=folder)
    several = places.filter(pl.col("folder").list.len() > 1)
    if len(several):
        subject, folders = several.row(0)
        yield (
            f"{len(several)} of {counted(len(places), 'person', 'people')} {agreeing(len(several), 'lies', 'lie')} in "
            f"several folders, as {subject} in {folders[0]} and {folders[1]}, and each is taken for one person; if "
            "they are different people of one name, give them names of their own in a corpus.table"
        )


def _film(row: Mapping[str, str], whole: bool = False) -> str:
    """The film that a row's frame is of, by all that the pattern reads from its path but the frame.

    An intensity is the frame's own, unless it tells any films of the folder apart that number their frames alike: then
    the `whole` counts.
    """
    return "_".join(row[name] for name in row if name in FIELDS and name != "frame" and (whole or name != "intensity"))


def _chosen(readings: Sequence[dict[str, str]], known: Container[str]) -> dict[str, str]:
    """The one whose expression is known, or whose is more of the name than those of all others: `in_pain`, not `pain`.

    Nothing where that does not decide: `very` of `s01_very_happy` is no part of a person's name, and is not known.
    """
    if len(readings) == 1:
        return readings[0]
    understood = [fields for fields in readings if key(fields["expression"]) in known]
    longest = max((fields["expression"] for fields in understood), key=len, default="")
    whole = [fields for fields in understood if fields["expression"] == longest]
    decided = len(whole) == 1 and all(fields["expression"] in longest for fields in understood)
    before = (fields["expression"].removesuffix(longest) for fields in readings)
    return whole[0] if decided and not any(map(is_of_degree, before)) else {}


def _doubt(readings: Sequence[dict[str, str]]) -> str:
    first, last = (
        ", ".join(f"{name} {value}" for name, value in fields.items()) for fields in (readings[0], readings[-1])
    )
    return (
        f"its name may be {first} or {last}; list its expression in corpus.expressions, or say in a corpus.table what "
        "it is"
    )


def _files_below(folder: Path, above: frozenset[str] = frozenset()) -> Iterator[Path]:
    """Every file that is not hidden, also those behind symbolic links, and links that lead nowhere; none that leads
    back to a folder that it lies in.
    """
    own = os.path.realpath(folder)
    if own in above:
        return
    for entry in entries(folder):
        if entry.is_dir():
            yield from _files_below(entry, above | {own})
        elif entry.is_file() or is_broken_link(entry):  # which stands for a face that is not there
            yield entry


def _with_all_columns(table: pl.DataFrame) -> pl.DataFrame:
    absent = [name for name in (*SCHEMA, *OPTIONAL, "row", _DOUBT) if name not in table.columns]
    return table.with_columns(pl.lit(None, dtype=pl.String).alias(name) for name in absent)


def _understood(table: pl.DataFrame, known: Mapping[str, str]) -> pl.DataFrame:
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
        reasons.append(f"the {outside[0]} {_OUTSIDE}" if outside else path and unread(path))
    placed = {"path": paths, "texture": textures, "reason": reasons}
    return table.with_columns(pl.Series(name, values, dtype=pl.String) for name, values in placed.items())


def _place(root: Path, name: str | None, names: Callable[[Path], Mapping[str, str]]) -> str | None:
    """The path as seen from `root`, spelt as it is on disk if it is there; none where it leads out of `root`."""
    if name is None or PureWindowsPath(name).drive:
        return None
    place = below(root, name.replace("\\", "/"))
    if place is None:
        return None
    file = in_any_case(root, place, names)
    return (file.relative_to(root) if file else place).as_posix()


def _with_numbers(table: pl.DataFrame) -> pl.DataFrame:
    """The table with its numbers as such, also where the decimal mark is a comma or a unit has a name."""
    names = {name: str(unit) for name, unit in _UNITS.items()}
    table = table.with_columns(unit=pl.col("unit").replace(names))
    values = [pl.col(name).str.replace(",", ".", literal=True).cast(pl.Float64, strict=False) for name in _NUMBERS]
    numbers = table.select(values)
    for name, kind in _NUMBERS.items():
        number = numbers[name]
        wrong = table[name].is_not_null() & (number.is_null() | ~number.is_finite())
        if name != "intensity":
            wrong |= table[name].str.contains(_THOUSANDS)
        if name == "unit":
            wrong |= number <= 0
        if name == "frame":
            wrong |= number.ne_missing(number.cast(pl.Int64, strict=False))
        if wrong.fill_null(False).any():
            row = table.row(wrong.fill_null(False).arg_max() or 0, named=True)
            raise UserError(f"{_source(row)}: {name} {row[name]!r} is not {kind}")
    strong = numbers["intensity"] > 1
    if strong.sum() > 1 and not (numbers["intensity"].is_between(0, 1, closed="right")).any():
        row = table.row(strong.arg_max() or 0, named=True)
        raise UserError(
            f"{_source(row)}: intensity {row['intensity']!r} is not from 0 to 1, and so are all others that are not 0; "
            "divide them by the largest that there can be, which is 100 of percentages"
        )
    return table.with_columns(numbers).cast({"frame": pl.Int64})


def _source(row: Mapping[str, str | None]) -> str:
    """Where a row was read: the line of a table, or the path that a pattern was held against."""
    return f"corpus.table: {row['row']}" if row["row"] else f"corpus.pattern: {row['path']}"


def _named(table: pl.DataFrame) -> pl.DataFrame:
    film = pl.when(pl.col("frame").is_not_null()).then(pl.format("{}_{}", "subject", "expression"))
    return table.with_columns(
        pl.col("sample_id").fill_null(pl.col("path")),
        pl.coalesce("sequence", film),
        pl.col("frame").fill_null(0),
        pl.col("dataset").fill_null("folder"),
    ).with_columns(pl.col("sequence").fill_null(pl.col("sample_id")))


def _with_intensities(table: pl.DataFrame) -> pl.DataFrame:
    rest = pl.when((pl.col("expression") == "neutral") | _IS_BLANK).then(0.0).otherwise(1.0)
    return table.with_columns(pl.col("intensity").fill_null(rest))


def _on_blanks(table: pl.DataFrame) -> list[str]:
    """How many frames of films with intensities have none."""
    blank = table.filter(_IS_BLANK & (pl.col("expression") != "neutral"))
    if blank.is_empty():
        return []
    return [
        f"{counted(len(blank), 'frame has', 'frames have')} no intensity where others of their film have one, and "
        f"{agreeing(len(blank), 'is', 'are')} given 0; the first is {blank['path'][0]}"
    ]


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


def _on_contradictions(table: pl.DataFrame) -> Iterator[str]:
    """How many files are given to several people or expressions by the rows that name them."""
    within = table.filter(~pl.col("reason").fill_null("").str.ends_with(_OUTSIDE)).drop_nulls(_REQUIRED)
    faces = pl.format("{} of {}", "expression", "subject").unique(maintain_order=True)
    files = within.group_by("path", maintain_order=True).agg(faces=faces)
    several = files.filter(pl.col("faces").list.len() > 1)
    if len(several):
        path, of_first = several.row(0)
        yield (
            f"{len(several)} of {counted(len(files), 'file')} {agreeing(len(several), 'is', 'are')} said to show "
            f"different faces, as {path}: {' or '.join(of_first)}; correct the table: rows with a sample_id of their "
            "own all count, else the first row"
        )
