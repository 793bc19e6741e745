"""Which studies a table is of: those that are named, or those that its definition names."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from polyview.errors import UserError
from polyview.recipe.study import Study
from polyview.recipe.table import Layout, TableOfStudies
from polyview.recipe.validation import validated
from polyview.recipe.yaml_files import is_zip, names_file, read_yaml


@dataclass(frozen=True)
class StudiesTable:
    """A table that is asked for: its studies, by what they are called in it, and what it shows of them."""

    name: str
    layout: Layout
    studies: Mapping[str, Study]


def load_definition(paths: Sequence[Path]) -> TableOfStudies | None:
    """The definition of a table, if that is what the file is which is named; None where studies are named.

    Raises `UserError` where it is not as it should be, or is named beside others.
    """
    contents = {path: read_yaml(path) for path in paths if names_file(path) and not is_zip(path)}
    defined = [path for path, content in contents.items() if "studies" in content]
    if not defined:
        return None
    if len(paths) > 1:
        raise UserError("a table's definition names its studies itself; give that file alone, or studies alone")
    content = OmegaConf.to_container(contents[defined[0]])
    if isinstance(content["studies"], list):
        content["studies"] = [{"study": one} if isinstance(one, str) else one for one in content["studies"]]
    return validated(TableOfStudies, content, str(defined[0]))


def studies_in(files: Sequence[Path], definition: TableOfStudies | None) -> list[tuple[Path, Mapping[str, Any]]]:
    """The studies or bundles that a table is of, `files` or those of a `definition`, and what each changes."""
    if definition is None:
        return [(file, {}) for file in files]
    return [(files[0].parent / one.study, one.set) for one in definition.studies]


def tables_of(
    studies: Sequence[Study], changes: Mapping[str, Any], definition: TableOfStudies | None = None
) -> list[StudiesTable]:
    """The table that `definition` makes of its studies, the tables of one study, or the one of several.

    A study's own `tables` are all made, unless `changes` ask for other metrics; what else they say replaces what a
    definition says. Raises `UserError`.
    """
    if definition:
        return [_defined_table(definition, studies, changes)]
    if len(studies) == 1 and studies[0].tables and "metrics" not in changes:
        (study,) = studies
        return [
            StudiesTable(
                name, validated(Layout, {**layout.model_dump(mode="json"), **changes}, name), {study.name: study}
            )
            for name, layout in study.tables.items()
        ]
    labelled = _by_label([study.name for study in studies], studies)
    return [StudiesTable("-".join(labelled), validated(Layout, dict(changes), "table"), labelled)]


def _defined_table(table: TableOfStudies, studies: Sequence[Study], changes: Mapping[str, Any]) -> StudiesTable:
    layout = validated(TableOfStudies, {**table.model_dump(mode="json"), **changes}, table.name)
    labels = [one.label or study.name for study, one in zip(studies, table.studies, strict=True)]
    also_published = [
        study.model_copy(update={"published": (*study.published, *one.published)})
        for study, one in zip(_by_label(labels, studies).values(), table.studies, strict=True)
    ]
    return StudiesTable(table.name, layout, dict(zip(labels, also_published, strict=True)))


def _by_label(labels: Sequence[str], studies: Sequence[Study]) -> dict[str, Study]:
    """Studies by what they are called in a table; raises `UserError` where one is there twice."""
    if twice := sorted({label for label in labels if labels.count(label) > 1}):
        raise UserError(
            f"{twice[0]} names two studies of the table; give one another `label`, in a file that defines the table"
        )
    labelled = dict(zip(labels, studies, strict=True))
    for (one, study), (other, same) in itertools.combinations(labelled.items(), 2):
        if study == same:
            raise UserError(f"{one} and {other} are one study, which would count twice in the table; leave one out")
    return labelled
