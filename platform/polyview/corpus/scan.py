"""From a dataset, wherever it lies, to a manifest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from polyview.corpus import remarks
from polyview.corpus.axes import common_axes, look_at
from polyview.corpus.datasets import bosphorus, bp4d, bu3dfe, bu4dfe, coma, facekit, folder, synthetic
from polyview.corpus.manifest import SEQUENCE, Manifest
from polyview.corpus.splits import few
from polyview.corpus.units import on_units
from polyview.errors import UserError
from polyview.recipe import EXPRESSIONS, OWN_EXPRESSIONS, Corpus, Geometry
from polyview.recipe.corpus import GENERATED
from polyview.storage.home import named_home
from polyview.storage.mirror import CachedPath, address, fetch_all, resolve
from polyview.storage.names import is_text, shown, why_no_text
from polyview.wording import counted

_DATASETS = {
    "synthetic": synthetic.scan,
    "facekit": facekit.scan,
    "folder": folder.scan,
    "bu3dfe": bu3dfe.scan,
    "bu4dfe": bu4dfe.scan,
    "bosphorus": bosphorus.scan,
    "bp4d": bp4d.scan,
    "coma": coma.scan,
}
_GEOMETRIES: dict[str, dict[str, Any]] = {"coma": {"unit": coma.UNIT}, "folder": {"unit": "auto", "axes": "auto"}}
"""What is known of a dataset's meshes, where the recipe does not say it."""


@dataclass
class Scan:
    """What was found, and what was left out.

    skipped: path and reason of what cannot be used; unused: how many faces the recipe does not ask for;
    remarks: sentences about what its user should know.
    """

    manifest: Manifest
    skipped: pl.DataFrame
    unused: int
    remarks: tuple[str, ...]


def scan(corpus: Corpus) -> Scan:
    """Find the faces of `corpus`: of its frames, expressions, intensities and people; neutral stays at any intensity.

    Raises `UserError` where the dataset is not at its root, nothing of it is left, or too few people are.
    """
    here = _here(corpus)
    root = str(Path(here.root).expanduser().resolve()) if here.root and corpus.dataset != "synthetic" else ""
    if not is_text(root):
        raise UserError(f"corpus.root: {shown(root)}: {why_no_text(root)}")
    dataset = _DATASETS[corpus.dataset](here)
    found, skipped = dataset.rows, dataset.skipped
    vocabulary = {*EXPRESSIONS, *OWN_EXPRESSIONS.get(corpus.dataset, ())}
    if unknown := sorted(set(corpus.expressions) - set(found["expression"]) - vocabulary):
        present = ", ".join(found["expression"].unique().sort())
        raise UserError(f"corpus.expressions: {corpus.dataset} has no face of {', '.join(unknown)}; it has {present}")
    sampled = _sampled(found, corpus)
    is_asked = sampled["expression"].is_in(corpus.expressions)
    asked = sampled.filter(is_asked)
    within = asked.filter(_within(*corpus.intensity))
    if within.is_empty():
        raise UserError(f"corpus: {_nothing_left(corpus, found, skipped)}")
    complete, people = _complete(within, corpus.expressions), within["subject"].n_unique()
    kept = within
    if corpus.subjects:
        drawn = _drawn(complete, corpus.subjects, f"{counted(people, 'person', 'people')} of {corpus.dataset}")
        kept = within.filter(pl.col("subject").is_in(drawn))
    set_in_recipe = corpus.geometry.model_dump(exclude_none=True)
    geometry = Geometry.model_validate(_GEOMETRIES.get(corpus.dataset, {}) | set_in_recipe)
    is_guessed = corpus.dataset not in GENERATED and "auto" in (geometry.axes, geometry.unit)
    looks = list(look_at(kept, root, geometry)) if is_guessed else []
    of_axes: list[str] = []
    if is_guessed and geometry.axes == "auto":
        axes, of_axes = common_axes(looks)
        geometry = geometry.model_copy(update={"axes": axes})
    manifest = Manifest.build(kept, root if here is corpus else str(corpus.root), geometry)
    notes = [
        *dataset.remarks,
        *remarks.on_frames(len(found) - len(sampled), corpus.frames != "all" or corpus.every > 1),
        *remarks.on_order(found),
        *remarks.on_gaps(found),
        *(remarks.on_apexes(found) if corpus.frames != "all" else ()),
        *remarks.on_expressions(
            sampled["expression"].filter(~is_asked), corpus.expressions, free=corpus.dataset == "folder"
        ),
        *remarks.on_intensities(len(asked) - len(within), *corpus.intensity),
        *remarks.on_absence(corpus.dataset, _absent(within, corpus)),
        *remarks.on_people(corpus.subjects, len(complete), people),
        *remarks.on_subjects(kept["subject"].unique()),
        *(remarks.on_single_faces(kept["subject"]) if corpus.dataset == "folder" else ()),
        *(remarks.on_files(root, kept) if corpus.dataset not in GENERATED else ()),
        *(remarks.on_copies(root, manifest.frame, manifest.contents) if corpus.dataset not in GENERATED else ()),
        *of_axes,
        *on_units({look.path: look.unit for look in looks if look.unit}),
    ]
    return Scan(manifest, skipped, len(found) - len(kept), tuple(notes))


def _here(corpus: Corpus) -> Corpus:
    """The same where it lies on this machine; of a root in a bucket all is fetched, and the root is where that is."""
    folder = resolve(corpus.root or "")
    if not isinstance(folder, CachedPath):
        return corpus
    home = named_home().root
    if folder == home or folder in home.parents or home in folder.parents:
        raise UserError(
            f"corpus.root: {corpus.root} and the home, {address(home)}, lie in one another; put the faces beside the "
            "home, for what the one has and the other has not would be taken away"
        )
    try:
        fetch_all(folder)
    except UserError as error:
        raise type(error)(f"corpus.root: {error}") from None
    except OSError as error:
        raise UserError(f"corpus.root: {corpus.root} cannot be kept as files here: {error}") from None
    if all(path.name.startswith(".") for path in folder.iterdir()):
        raise UserError(f"corpus.root: {corpus.root} holds nothing; set it to where {corpus.dataset} lies")
    return corpus.model_copy(update={"root": str(folder)})


def _sampled(found: pl.DataFrame, corpus: Corpus) -> pl.DataFrame:
    """Of each sequence the frames that are asked for; where several are strongest, the one nearest to its middle."""
    place, count = pl.int_range(pl.len()).over(SEQUENCE), pl.len().over(SEQUENCE)
    ordered = found.sort("frame", maintain_order=True).with_columns(
        place=place, off_centre=(2 * place - count + 1).abs()
    )
    apex = ordered.sort("intensity", "off_centre", descending=[True, False]).unique(SEQUENCE, keep="first")
    if corpus.frames == "apex":
        return apex.select(found.columns)
    if corpus.frames == "rise":
        ends = apex.select(*SEQUENCE, end="place")
        ordered = ordered.join(ends, on=SEQUENCE, maintain_order="left").filter(pl.col("place") <= pl.col("end"))
    return ordered.filter(pl.col("place") % corpus.every == 0).select(found.columns)


def _within(low: float, high: float) -> pl.Expr:
    return (pl.col("expression") == "neutral") | pl.col("intensity").is_between(low, high)


def _absent(faces: pl.DataFrame, corpus: Corpus) -> list[str]:
    """What the recipe lists and nobody shows; the usual expressions are not taken to be listed."""
    unsaid = corpus.expressions == OWN_EXPRESSIONS.get(corpus.dataset, EXPRESSIONS)
    return [] if unsaid else sorted(set(corpus.expressions) - set(faces["expression"]))


def _complete(faces: pl.DataFrame, expressions: Sequence[str]) -> list[str]:
    """The subjects who show every one of the expressions, sorted."""
    shown = faces.group_by("subject").agg(pl.col("expression").n_unique())
    return sorted(shown.filter(pl.col("expression") == len(set(expressions)))["subject"])


def _drawn(complete: Sequence[str], count: int, everybody: str) -> tuple[str, ...]:
    """So many of the complete subjects, the same for every seed of a study; raises `UserError` if they are too few."""
    if len(complete) < count:
        raise UserError(
            f"corpus.subjects is {count}, and {len(complete)} of the {everybody} show every one of corpus.expressions; "
            "lower it, or list fewer expressions"
        )
    return few(complete, count, seed=0)


def _nothing_left(corpus: Corpus, found: pl.DataFrame, skipped: pl.DataFrame) -> str:
    if found.is_empty():
        first = f"; the first: {skipped['path'][0]}: {skipped['reason'][0]}" if len(skipped) else ""
        return f"no face of {corpus.dataset} can be used, {len(skipped)} were skipped{first}"
    present = ", ".join(found["expression"].unique().sort())
    low, high = corpus.intensity
    return (
        f"none of the {counted(len(found), 'face')} of {corpus.dataset} has an expression of "
        f"{', '.join(corpus.expressions)} at an intensity of {low:g} to {high:g}; it has {present}"
    )
