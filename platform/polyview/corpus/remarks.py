"""What somebody should know of a scan before they train on it, in sentences."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import polars as pl

from polyview.corpus.formats.limits import is_file
from polyview.corpus.labels import is_usual, nearest
from polyview.corpus.manifest import SEQUENCE
from polyview.wording import agreeing, counted

_NAMES_SHOWN = 10


def on_columns(unread: Iterable[str], read: Sequence[str]) -> Iterator[str]:
    """Which columns of a table are not read; one that is meant to be may be misspelt."""
    nearest_of = {name: difflib.get_close_matches(name, read, n=1, cutoff=0.75) for name in unread}
    names = _listed(f"{name} (nearest: {close[0]})" if close else name for name, close in nearest_of.items())
    if names:
        yield f"columns of the table that are not read: {names}"


def on_frames(count: int, asked: bool) -> Iterator[str]:
    """That so many frames are not used, or none, though it was `asked` for less than all."""
    if count:
        yield f"{counted(count, 'frame is', 'frames are')} left out by corpus.frames and corpus.every"
    elif asked:
        yield "no frame is left out by corpus.frames and corpus.every"


def on_apexes(faces: pl.DataFrame) -> Iterator[str]:
    """Of how many films the strongest frame is not known."""
    films = faces.group_by(SEQUENCE).agg(frames=pl.len(), strengths=pl.col("intensity").n_unique())
    films = films.filter((pl.col("frames") > 1) & (pl.col("expression") != "neutral"))
    unknown = films.filter(pl.col("strengths") == 1)
    if len(unknown):
        yield (
            f"{len(unknown)} of {counted(len(films), 'film')} {agreeing(len(unknown), 'has', 'have')} one intensity "
            "in all of their frames, so that their middle is taken for the apex; a column or a field {intensity} "
            "tells where it is"
        )


def on_order(faces: pl.DataFrame) -> Iterator[str]:
    """How many films have two frames of one number."""
    films = faces.group_by(SEQUENCE).agg(unordered=pl.col("frame").n_unique() < pl.len())
    unordered = films.filter("unordered")
    if len(unordered):
        yield (
            f"{len(unordered)} of {counted(len(films), 'sequence')} {agreeing(len(unordered), 'has', 'have')} "
            f"several frames of one number, as {unordered['sequence'].sort()[0]}, so that their order is the table's; "
            "a column or a field {frame} numbers them"
        )


def on_gaps(faces: pl.DataFrame) -> Iterator[str]:
    """How many films lack frames: where two of their numbers are at least twice as far apart as is usual."""
    step, films = pl.col("frame") - pl.col("before"), faces.select(SEQUENCE).n_unique()
    pairs = faces.sort("frame").with_columns(before=pl.col("frame").shift().over(SEQUENCE)).filter(step > 0)
    wide = pairs.filter(step >= 2 * step.quantile(0.5, "lower").over(SEQUENCE)).sort(*SEQUENCE, "frame")
    if len(wide):
        first, count = wide.row(0, named=True), wide.select(SEQUENCE).n_unique()
        yield (
            f"{count} of {counted(films, 'sequence')} {agreeing(count, 'has', 'have')} gaps in the numbers of their "
            f"frames, as {first['sequence']} between {first['before']} and {first['frame']}; the frames that are there "
            "count as evenly spaced"
        )


def on_intensities(count: int, low: float, high: float) -> Iterator[str]:
    """That so many faces are not used."""
    if count:
        yield f"{counted(count, 'face is', 'faces are')} left out by corpus.intensity, {low:g} to {high:g}"


def on_absence(dataset: str, expressions: Sequence[str]) -> Iterator[str]:
    """Which expressions of the corpus nobody shows."""
    if expressions:
        yield (
            f"no face of {dataset} shows {_listed(expressions)}, which corpus.expressions lists: no score speaks of "
            "it, and zero-shot may name it all the same"
        )


def on_people(count: int | None, complete: int, people: int) -> Iterator[str]:
    """That only so many people are used, drawn from those who show every expression, if it is asked for."""
    if count:
        yield (
            f"{counted(count, 'person is', 'people are')} drawn by corpus.subjects, from the {complete} of {people} "
            "who show every one of corpus.expressions"
        )


def on_expressions(unused: pl.Series, expressions: Sequence[str], free: bool) -> Iterator[str]:
    """Which labels no expression of the corpus has, with their counts; `free` ones may also be misspelt."""
    counts = list(unused.value_counts(sort=True).sort("count", unused.name, descending=[True, False]).iter_rows())
    strange = [(label, count) for label, count in counts if free and not is_usual(label)]
    others = [(label, count) for label, count in counts if (label, count) not in strange]
    if others:
        names = _listed(f"{label} ({count})" for label, count in others)
        total = sum(count for _, count in others)
        faces = counted(total, "face is", "faces are")
        yield f"{faces} left out, of expressions that corpus.expressions does not list: {names}"
    if strange:
        names = _listed(f"{label!r} ({count}{_meant(label, expressions)})" for label, count in strange)
        total = sum(count for _, count in strange)
        yield (
            f"{counted(total, 'face is', 'faces are')} left out for labels that are not understood: {names}; correct "
            "the labels, or list them in corpus.expressions"
        )


def on_single_faces(subjects: pl.Series) -> Iterator[str]:
    """That no subject has two faces."""
    if subjects.n_unique() == len(subjects) > 1:
        yield (
            f"no two of the {len(subjects)} faces are of one subject; if subjects are numbers of files and not of "
            "people, one person may be both trained on and tested on"
        )


def on_subjects(subjects: Iterable[str]) -> Iterator[str]:
    """Whose names differ so little that they may be one person's."""
    groups = defaultdict(set)
    for subject in subjects:
        groups[_plain(subject)].add(subject)
    alike = sorted(sorted(names) for names in groups.values() if len(names) > 1)
    if alike:
        names = _listed((" and ".join(map(_told_apart(group), group)) for group in alike), "; ")
        yield (
            "subjects that differ by case, space, punctuation, leading zeros or the encoding of a letter alone: "
            f"{names}; if they are one person, write one name, or that person may be both trained on and tested on"
        )


def on_files(root: str, faces: pl.DataFrame) -> Iterator[str]:
    """Which meshes and textures are not where the rows say."""
    files = pl.concat([faces["path"], faces["texture"].drop_nulls()]).unique(maintain_order=True)
    absent = [name for name in files if not is_file(Path(root, name))]
    if absent:
        linked = sum(Path(root, name).is_symlink() for name in absent)
        links, are = agreeing(linked, "is a link", "are links"), agreeing(len(absent), "is", "are")
        remedy = f"; {linked} of them {links} to what is not here: fetch it first" if linked else ""
        yield f"{len(absent)} of {counted(len(files), 'file')} {are} not there: {_listed(absent)}{remedy}"


def on_copies(root: str, faces: pl.DataFrame, contents: Iterable[Sequence[str]]) -> Iterator[str]:
    """How many meshes are there again, by copies or links, as another person's or of another expression.

    contents: for each face the hashes of all files that it is made of; none of what cannot be read.
    """
    held = pl.Series("held", ["".join(digests) for digests in contents], dtype=pl.String)
    shown = pl.format("{} of {}", "expression", "subject").unique(maintain_order=True)
    alike = faces.with_columns(held).group_by("held", maintain_order=True).agg(pl.col("path").unique(), shown=shown)
    several = alike.filter((pl.col("path").list.len() > 1) & (pl.col("shown").list.len() > 1) & (pl.col("held") != ""))
    copies = [(path, told) for _, path, told in several.iter_rows() if _holds_something(Path(root, path[0]))]
    if copies:
        path, told = copies[0]
        yield (
            f"{len(copies)} of {len(alike)} different meshes {agreeing(len(copies), 'is', 'are')} there several times, "
            f"as {_listed(sorted(path))}: {_listed(told, ' or ')}; leave each there once, or a face may be both "
            "trained on and tested on"
        )


def _holds_something(file: Path) -> bool:
    """Whether a file is there and not empty."""
    return is_file(file) and file.stat().st_size > 0


def _listed(names: Iterable[str], separator: str = ", ") -> str:
    names = list(names)
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return separator.join(names[:_NAMES_SHOWN]) + more


def _meant(label: str, expressions: Sequence[str]) -> str:
    close = nearest(label, expressions)
    return f", nearest: {close}" if close else ""


def _told_apart(names: Sequence[str]) -> Callable[[str], str]:
    """How to write names that differ: by their codes where some look the same."""
    return ascii if len({_shown(name) for name in names}) < len(names) else repr


def _shown(name: str) -> str:
    """What can be seen of a name, in one form of Unicode."""
    return "".join(filter(str.isprintable, unicodedata.normalize("NFKC", name)))


def _plain(subject: str) -> str:
    """What is left of a name without case, spaces and leading zeros, and without the `.0` of a number.

    Of punctuation, what divides two numbers is left, and all where a name has nothing else.
    """
    spaced = "".join(_shown(subject).casefold().split())
    plain = re.sub(r"(?<!\d)[\W_]+|[\W_]+(?!\d)", _marks, re.sub(r"^(\d+)\.0+$", r"\1", spaced)) or spaced
    return re.sub(r"(?<!\d)0+(?=\d)", "", plain)


def _marks(signs: re.Match[str]) -> str:
    """Those of the signs that are part of a letter and no punctuation, as the vowels of Devanagari and Thai."""
    return "".join(sign for sign in signs[0] if unicodedata.category(sign).startswith("M"))
