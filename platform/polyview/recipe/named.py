"""The files and folders that a study's variants name: what they were when the study was read.

A variant may be planned long after it was read, and from another folder. So what it names is read once, with the study,
and is part of it from then on; the name stays as it was written, for it may be the name of a variant too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from polyview.recipe.schema import Model, equals
from polyview.recipe.weights import OWN, weights_file

PROMPTS, WEIGHTS = "language.file", "model.pretrained"
ROOTS = ("corpus.root", "evaluation.test.root")
OF_LISTS = ("grid", "fraction", "across")
"""The parts of a study that list values of keys."""


def _has_weights(path: Path) -> bool:
    return weights_file("", str(path)) is not None


_IS_THERE: Mapping[str, Callable[[Path], bool]] = {
    PROMPTS: Path.is_file,
    WEIGHTS: _has_weights,
    **dict.fromkeys(ROOTS, Path.is_dir),
}


class NamedFiles(Model):
    """What a study's variants mean by the names of files and folders, as it was found when the study was read."""

    prompts: dict[str, dict[str, tuple[str, ...]]] = Field(
        {}, exclude_if=equals({}), description="of language.file: the prompts by expression, by the file's name"
    )
    roots: dict[str, str] = Field(
        {}, exclude_if=equals({}), description="of corpus.root and evaluation.test.root: where that is, by its name"
    )
    weights: dict[str, tuple[str, str]] = Field(
        {}, exclude_if=equals({}), description="of model.pretrained: where that is and the hash of its content"
    )

    def settled(self, overrides: Mapping[str, Any], section: str = "") -> dict[str, Any]:
        """Overrides with what they name in place of the names; what is not known here stays as it is."""
        found: dict[str, Any] = {}
        for name, value in overrides.items():
            key = f"{section}{name}"
            if isinstance(value, Mapping):
                found[name] = self.settled(value, f"{key}.")
            elif not isinstance(value, str):
                found[name] = value
            elif key == PROMPTS and value in self.prompts:
                found[f"{name.removesuffix('file')}own"] = self.prompts[value]
            elif key == WEIGHTS and value in self.weights:
                found |= {name: self.weights[value][0], f"{name}_content": self.weights[value]}
            else:
                found[name] = self.roots.get(value, value) if key in ROOTS else value
        return found


def names_in(study: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """What a study's variants name, read or not: where the study says it, the key of the experiment, and the name."""
    for variant, changes in _items(study.get("variants")):
        yield from _names(f"variants.{variant}", changes)
    for part in OF_LISTS:
        for key, values in _items(study.get(part)):
            for value in values if isinstance(values, list) else ():
                yield from _names(part, {key: value})
    search = study.get("search")
    for key, parameter in _items(search.get("space") if isinstance(search, dict) else None):
        choices = parameter.get("categorical") if isinstance(parameter, dict) else None
        for value in choices if isinstance(choices, list) else ():
            yield from _names("search.space", {key: value})


def beside(key: str, name: str, folder: Path) -> str:
    """What `name` leads to from the working directory, or, where it leads to nothing there, from `folder`."""
    is_there, path = _IS_THERE.get(key), Path(name)
    if is_there is None or name in ("", OWN) or name.startswith("~") or path.is_absolute() or is_there(path):
        return name
    return str((folder / path).absolute()) if is_there(folder / path) else name


def all_beside(recipe: Any, folder: Path, key: str = "") -> Any:
    """A recipe with all files and folders that it names looked for in this way."""
    if isinstance(recipe, dict):
        return {name: all_beside(value, folder, f"{key}.{name}" if key else name) for name, value in recipe.items()}
    return beside(key, recipe, folder) if isinstance(recipe, str) else recipe


def _names(place: str, changes: Any, section: str = "") -> Iterator[tuple[str, str, str]]:
    for name, value in _items(changes):
        key = f"{section}{name}"
        if isinstance(value, dict):
            yield from _names(place, value, f"{key}.")
        elif key in _IS_THERE and isinstance(value, str) and value:
            yield f"{place}.{key}", key, value


def _items(found: Any) -> Iterator[tuple[str, Any]]:
    yield from found.items() if isinstance(found, dict) else ()
