"""Recipes without the paths of the machine that they ran on.

A dataset's folder is called `/faces/NAME` instead, a table or a file of prompts by its name alone, and a file of
weights by the hash of what it holds, which is how it counts for a trial's identity anyway: so do polyview's own, which
another version may have others of. The folder counts by its path: trials of faces that lie in one have ids of their own
once it is called so.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from polyview.recipe import Experiment, Study
from polyview.recipe.experiment import own_contents
from polyview.recipe.named import PROMPTS, NamedFiles
from polyview.recipe.schema import STORED
from polyview.recipe.weights import OWN

FACES = "/faces"
OF_PATHS = ("corpus.root", "corpus.table", "evaluation.test.root", "evaluation.test.table", "model.pretrained")
"""The keys whose values are paths, wherever a study sets them."""


@dataclass(frozen=True)
class Names:
    """What stands for each path of this machine: dataset folders, tables and files of weights."""

    roots: Mapping[str, str] = field(default_factory=dict)
    tables: Mapping[str, str] = field(default_factory=dict)
    weights: Mapping[str, str] = field(default_factory=dict)
    written: Mapping[str, str] = field(default_factory=dict)
    """Where folders and weights lie that variants name otherwise, by how they name them."""
    prompts: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, experiments: Iterable[Experiment], files: NamedFiles | None = None) -> Names:
        """Names for all paths that these recipes have, or that variants name, which mean `files`."""
        roots: dict[str, str] = {}
        tables: dict[str, str] = {}
        weights: dict[str, str] = {}
        for experiment in experiments:
            for corpus in filter(None, (experiment.corpus, experiment.evaluation.test)):
                if corpus.root and corpus.root not in roots:
                    roots[corpus.root] = _free_name(corpus.dataset, roots.values())
                if corpus.table:
                    tables[corpus.table] = Path(corpus.table).name
            if content := experiment.model.pretrained_content:
                weights[content[0]] = content[1]
        files = files or NamedFiles()
        written = {**files.roots, **{name: known[0] for name, known in files.weights.items()}}
        prompts: dict[str, str] = {}
        for name in files.prompts:
            prompts[name] = _free_file(name, {*prompts.values(), *files.prompts}) if _is_of_here(name) else name
        return cls(roots, tables, weights, written, prompts)

    def has(self, place: str) -> bool:
        """Whether a place of this machine is called as a bundle calls its own."""
        return any(name == place or name.startswith(f"{place}/") for name in self.roots.values())

    def study(self, study: Study) -> Study:
        """The study, with its paths called so."""
        data = study.model_dump(mode="json", exclude={"experiment": {"model": {"pretrained_content"}}})
        if files := data.get("files"):
            elsewhere = {part: self._not_renamed(files.get(part, {})) for part in ("roots", "weights")}
            prompts = {self.prompts.get(name, name): own for name, own in files.get("prompts", {}).items()}
            data["files"] = {"prompts": prompts, **elsewhere}
        return Study.model_validate_json(json.dumps(self.values(data)), context=STORED)

    def experiment(self, experiment: Experiment) -> Experiment:
        """The recipe, with its paths called so."""
        data = experiment.model_dump(mode="json", exclude={"model": {"pretrained_content"}})
        return Experiment.model_validate_json(json.dumps(self.values(data)), context=STORED)

    def _not_renamed(self, known: Mapping[str, Any]) -> dict[str, Any]:
        return {name: place for name, place in known.items() if name not in self.written}

    def values(self, data: Any, key: str = "") -> Any:
        """Settings, with the paths among them called so: what another key has may look like one, and is none."""
        if isinstance(data, dict):
            return {name: self.values(value, f"{key}.{name}" if key else name) for name, value in data.items()}
        if isinstance(data, list):
            return [self.values(value, key) for value in data]
        key = key.removesuffix(".categorical")
        if isinstance(data, str) and key.endswith(PROMPTS):
            return self.prompts.get(data, data)
        if not isinstance(data, str) or not data or not key.endswith(OF_PATHS):
            return data
        data = self.written.get(data, data)
        names = {**self.roots, **self.tables, **self.weights}
        # What earlier versions kept of a variant is as it was typed, and was made absolute in the recipe alone.
        path = Path(os.path.expanduser(data))  # noqa: PTH111 - Path's own raises where there is no such user
        return names.get(data) or names.get(str(path.absolute()), data)


def recipe_wherever(experiment: Experiment) -> str:
    """What identifies a recipe wherever its faces lie."""
    evaluation, nowhere = experiment.evaluation, {"root": None, "table": None}
    update: dict[str, Any] = {"corpus": experiment.corpus.model_copy(update=nowhere)}
    if evaluation.test:
        update["evaluation"] = evaluation.model_copy(update={"test": evaluation.test.model_copy(update=nowhere)})
    return experiment.model_copy(update=update).digest


def own_weights() -> Names:
    """Gives the weights that this polyview brings along their name back."""
    return Names(weights=dict.fromkeys(own_contents(), OWN))


def places_of(settings: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Every text in settings with its dotted key; those of a list have the list's."""
    if isinstance(settings, str):
        yield key, settings
    elif isinstance(settings, list):
        for one in settings:
            yield from places_of(one, key)
    elif isinstance(settings, dict):
        for name, value in settings.items():
            yield from places_of(value, f"{key}.{name}" if key else name)


def _is_of_here(name: str) -> bool:
    return Path(name).is_absolute() or name.startswith("~") or ".." in Path(name).parts


def _free_file(name: str, taken: Collection[str]) -> str:
    file = Path(name)
    names = (f"{file.stem}{f'-{number}' if number > 1 else ''}{file.suffix}" for number in itertools.count(1))
    return next(one for one in names if one not in taken)


def _free_name(dataset: str, taken: Iterable[str]) -> str:
    names = (f"{FACES}/{dataset}" + (f"-{number}" if number > 1 else "") for number in itertools.count(1))
    return next(name for name in names if name not in taken)
