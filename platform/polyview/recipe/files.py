"""Recipes read from YAML and changed by dotted keys; every error of theirs is told at once."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from polyview.errors import UserError
from polyview.recipe.corpus import Corpus, absolute_root
from polyview.recipe.experiment import Experiment, weights_digest
from polyview.recipe.language import Language
from polyview.recipe.named import PROMPTS, ROOTS, NamedFiles, all_beside, beside, names_in
from polyview.recipe.overrides import check_nothing_is_left_out, flat, parse_assignments, updated
from polyview.recipe.prompts import check_all_are_read, check_own_prompts, read_prompts
from polyview.recipe.revisions import as_stored
from polyview.recipe.schema import STORED
from polyview.recipe.study import Study
from polyview.recipe.validation import validated
from polyview.recipe.weights import OWN, weights_file
from polyview.recipe.yaml_files import first_comment, read_yaml


def build_corpus(dataset: str, root: str | None, assignments: Sequence[str] = ()) -> Corpus:
    """A corpus by itself, with `key=value` assignments to its own keys; raises `UserError`."""
    content = {"dataset": dataset, "root": root}
    overrides = {key.removeprefix("corpus."): value for key, value in parse_assignments(assignments).items()}
    return validated(Corpus, updated(OmegaConf.create(content), overrides), f"scan {dataset}")


def with_overrides(experiment: Experiment, overrides: Mapping[str, Any], place: str = "overrides") -> Experiment:
    """The experiment with dotted keys replaced, validated anew; its weights stay those that it was read with.

    Raises `UserError` that lists every error, with `place` said first.
    """
    config = OmegaConf.create(experiment.model_dump(mode="json"))
    changed = validated(Experiment, updated(config, overrides), place, STORED)
    if changed.language.own != experiment.language.own:
        check_own_prompts(changed, place)
        if not (_is_stated(experiment) or any(key == "language.ensemble" for key, _ in flat(overrides))):
            check_all_are_read(changed, place)
    return changed


def load_experiment(path: Path, assignments: Sequence[str] = ()) -> Experiment:
    """Read an experiment from YAML, with `key=value` assignments on top; raises `UserError`."""
    config = _read_recipe(path)
    overrides = parse_assignments(assignments)
    for key, value in overrides.items():
        check_nothing_is_left_out(config, key, value, f"{path}: ")
    experiment = validated(Experiment, updated(config, overrides), str(path))
    _check_prompts(experiment, str(path))
    return experiment


def load_stored_experiment(path: Path) -> Experiment:
    """Read an experiment that `to_yaml` of this or of an earlier version has written; raises `UserError`."""
    return validated(Experiment, as_stored(OmegaConf.to_container(read_yaml(path))), str(path), STORED)


def load_study(path: Path, assignments: Sequence[str] = (), changes: Mapping[str, Any] | None = None) -> Study:
    """Read a study from YAML; raises `UserError`.

    `experiment` in the file is a path relative to the file, or a recipe written in place, and `set` in the file are
    changes to it, by dotted keys. An assignment whose first name is a key of the study (`seeds=[0,1]`) changes the
    study; any other changes the experiment, after `set`. `experiment=FILE` puts another recipe
    underneath. `changes`, by dotted keys too, come before the assignments. What the file says of itself above its first
    key is the study's question, if it has none of its own.

    Files and folders are looked for from the working directory and then beside the file that names them. Those that
    variants name are read at once, into `Study.files`, unless they are there already.
    """
    config, overrides = read_yaml(path), {**(changes or {}), **parse_assignments(assignments)}
    if "studies" in config:
        raise UserError(f"{path}: the definition of a table, which polyview table prints; it is no study")
    if "experiment" not in config and {"corpus", "objective"} & set(config):
        raise UserError(
            f"{path}: a recipe, which polyview pretrain runs; a study, as in ablations/, has one under `experiment`"
        )
    if isinstance(overrides.get("experiment"), str):
        config["experiment"] = _read_recipe(Path(overrides.pop("experiment")))
    elif isinstance(config.get("experiment"), str):
        config["experiment"] = _read_recipe(path.parent / config["experiment"])
    for recipe in (config.get("experiment"), overrides.get("experiment")):
        if recipe is not None and not isinstance(recipe, Mapping | DictConfig):
            raise UserError(f"{path}: experiment: {recipe} is not allowed; expected a recipe's keys, or its file")
    for key, value in [*_shared(config, path), *overrides.items()]:
        if key in ("seed", "experiment.seed"):
            listed = value if isinstance(value, list) else [value]
            raise UserError(f"{path}: seed: a study runs under `seeds` alone; for a single one, seeds={listed}")
        changed = key if key.split(".")[0] in Study.model_fields else f"experiment.{key}"
        check_nothing_is_left_out(config, changed, value, f"{path}: ")
        config = OmegaConf.create(updated(config, {changed: value}))
    content = {"question": first_comment(path.read_text(encoding="utf-8-sig")), **OmegaConf.to_container(config)}
    _check_variants(content, str(path))
    content |= {"experiment": all_beside(content.get("experiment"), path.parent)}
    if isinstance(files := content.get("files", {}), dict):
        content |= {"files": {**files, **_named_files(content, path)}}
    study = validated(Study, content, str(path))
    _check_prompts(study.experiment, str(path))
    return study


def _named_files(study: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """What a study's variants name, by `NamedFiles`' keys: what it has of it already, and what lies there now."""
    known = {part: _mapping(_mapping(study.get("files")).get(part)) for part in NamedFiles.model_fields}
    found: dict[str, Any] = {part: {} for part in known}
    for place, key, name in names_in(study):
        named_by, place_of = f"{path}: {place}", beside(key, name, path.parent)
        if key == PROMPTS:
            found["prompts"][name] = known["prompts"].get(name) or _checked_prompts(place_of, named_by)
        elif key in ROOTS:
            found["roots"][name] = known["roots"].get(name) or absolute_root(place_of, named_by)
        elif name != OWN and (file := weights_file("", place_of)):
            found["weights"][name] = [str(Path(place_of).absolute()), weights_digest(file)]
        elif name in known["weights"]:
            found["weights"][name] = known["weights"][name]
    return found


def _checked_prompts(name: str, named_by: str) -> Any:
    own = read_prompts(name, named_by)
    validated(Language, {"own": own}, f"{named_by}: {name}")
    return own


def _check_prompts(experiment: Experiment, place: str) -> None:
    check_own_prompts(experiment, place)
    if not _is_stated(experiment):
        check_all_are_read(experiment, place)


def _is_stated(experiment: Experiment) -> bool:
    """Whether the recipe itself says how many prompts are read; what was written by polyview says all."""
    return "ensemble" in experiment.language.model_fields_set


def _check_variants(content: Mapping[str, Any], place: str) -> None:
    """Raises `UserError` where a variant leaves out what the experiment says; what is no variant is told later."""
    base = OmegaConf.create(content.get("experiment") or {})
    for name, changes in _mapping(content.get("variants")).items():
        for key, value in _mapping(changes).items():
            check_nothing_is_left_out(base, key, value, f"{place}: variants.{name}.")
    for part in ("grid", "fraction", "across"):
        for key, values in _mapping(content.get(part)).items():
            for value in values if isinstance(values, list) else ():
                check_nothing_is_left_out(base, key, value, f"{place}: {part}.")


def _mapping(found: Any) -> Mapping[str, Any]:
    return found if isinstance(found, dict) else {}


def load_stored_study(text: str, place: str) -> Study:
    """Read a study from the JSON that this or an earlier version has written of it; raises `UserError`."""
    try:
        content = json.loads(text)
        content["experiment"] = as_stored(content["experiment"])
    except (ValueError, TypeError, KeyError):
        raise UserError(
            f"{place}: not a study as polyview keeps it; run the study again to have it kept anew"
        ) from None
    return validated(Study, content, place, STORED)


def _shared(config: Any, path: Path) -> list[tuple[str, Any]]:
    """What `set` of a study, which is taken out of it, changes in the experiment of every variant."""
    changes = OmegaConf.to_container(config).get("set", {})
    config.pop("set", None)
    if not isinstance(changes, dict):
        raise UserError(f"{path}: set: {changes} is not allowed; expected keys of the experiment with their values")
    return [(f"experiment.{key}", value) for key, value in changes.items()]


def keys_set(path: Path, assignments: Sequence[str] = ()) -> list[str]:
    """The dotted keys that a recipe is given by `set` of a study's file, or by assignments."""
    shared = OmegaConf.to_container(read_yaml(path)).get("set") or {}
    return [key for key, _ in flat({**shared, **parse_assignments(assignments)})]


def to_yaml(experiment: Experiment) -> str:
    """The experiment as YAML that `load_stored_experiment` reads back."""
    return OmegaConf.to_yaml(OmegaConf.create(experiment.model_dump(mode="json")))


def _read_recipe(path: Path) -> Any:
    """A recipe, with the paths of what lies beside it and not below the working directory; raises `UserError`."""
    config = read_yaml(path)
    if "experiment" in config:
        raise UserError(f"{path}: a study, which polyview ablate runs; a recipe is such as those in experiments/")
    return OmegaConf.create(all_beside(OmegaConf.to_container(config), path.parent))
