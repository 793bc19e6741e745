"""Recipes read from YAML and changed by dotted keys; every error of theirs is told at once."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ValidationError
from yaml import YAMLError

from polyview.errors import UserError
from polyview.recipe.corpus import Corpus
from polyview.recipe.experiment import Experiment, weights_digest
from polyview.recipe.language import Language
from polyview.recipe.named import PROMPTS, ROOTS, NamedFiles, all_beside, beside, names_in
from polyview.recipe.prompts import check_all_are_read, check_own_prompts
from polyview.recipe.revisions import as_stored, with_defaults_of_its_revision
from polyview.recipe.schema import STORED, Model
from polyview.recipe.study import Study
from polyview.recipe.table import Layout, TableOfStudies
from polyview.recipe.validation import defaults_at, describe_errors
from polyview.recipe.weights import OWN, weights_file
from polyview.recipe.yaml_text import first_comment, quote_names, read_value
from polyview.storage.mirror import expanded

M = TypeVar("M", bound=Model)
OF_DOTTED_NAMES = ("grid", "fraction", "across", "search.space", "remove")
KINDS = ("dataset", "rig")  # keys that say which others there are
SECTIONS = ("corpus", "rendering", "model", "language", "training", "evaluation")
RESOLVER = re.compile(r"\$\{\s*([\w.]+\s*:)")


@dataclass(frozen=True)
class StudiesTable:
    """A table that is asked for: its studies, by what they are called in it, and what it shows of them."""

    name: str
    layout: Layout
    studies: Mapping[str, Study]


def build_corpus(dataset: str, root: str | None, assignments: Sequence[str] = ()) -> Corpus:
    """A corpus by itself, with `key=value` assignments to its own keys; raises `UserError`."""
    content = {"dataset": dataset, "root": root}
    overrides = {key.removeprefix("corpus."): value for key, value in _parse(assignments).items()}
    return _validate(Corpus, _updated(OmegaConf.create(content), overrides), f"scan {dataset}")


def with_overrides(experiment: Experiment, overrides: Mapping[str, Any], place: str = "overrides") -> Experiment:
    """The experiment with dotted keys replaced, validated anew; its weights stay those that it was read with.

    Raises `UserError` that lists every error, with `place` said first.
    """
    config = OmegaConf.create(experiment.model_dump(mode="json"))
    changed = _validate(Experiment, _updated(config, overrides), place, STORED)
    if changed.language.own != experiment.language.own:
        check_own_prompts(changed, place)
        if not (_is_stated(experiment) or any(key == "language.ensemble" for key, _ in flat(overrides))):
            check_all_are_read(changed, place)
    return changed


def load_experiment(path: Path, assignments: Sequence[str] = ()) -> Experiment:
    """Read an experiment from YAML, with `key=value` assignments on top; raises `UserError`."""
    config = _read_recipe(path)
    if "experiment" in config:
        raise UserError(f"{path}: a study, which polyview ablate runs; a recipe is such as those in experiments/")
    overrides = _parse(assignments)
    for key, value in overrides.items():
        _check_nothing_is_left_out(config, key, value, f"{path}: ")
    experiment = _validate(Experiment, _updated(config, overrides), str(path))
    _check_prompts(experiment, str(path))
    return experiment


def load_stored_experiment(path: Path) -> Experiment:
    """Read an experiment that `to_yaml` of this or of an earlier version has written; raises `UserError`."""
    return _validate(Experiment, as_stored(OmegaConf.to_container(_read(path))), str(path), STORED)


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
    config, overrides = _read(path), {**(changes or {}), **_parse(assignments)}
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
    for key, value in [*_shared(config, path), *overrides.items()]:
        if key in ("seed", "experiment.seed"):
            raise UserError(f"{path}: seed: a study runs under `seeds` alone; for a single one, seeds=[{value}]")
        changed = key if key.split(".")[0] in Study.model_fields else f"experiment.{key}"
        _check_nothing_is_left_out(config, changed, value, f"{path}: ")
        config = OmegaConf.create(_updated(config, {changed: value}))
    content = {"question": first_comment(path.read_text(encoding="utf-8-sig")), **OmegaConf.to_container(config)}
    _check_variants(content, str(path))
    content |= {"experiment": all_beside(content.get("experiment"), path.parent)}
    if isinstance(files := content.get("files", {}), dict):
        content |= {"files": {**files, **_named_files(content, path)}}
    study = _validate(Study, content, str(path))
    _check_prompts(study.experiment, str(path))
    return study


def _named_files(study: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """What a study's variants name, by `NamedFiles`' keys: what it has of it already, and what lies there now."""
    known = {part: _mapping(_mapping(study.get("files")).get(part)) for part in NamedFiles.model_fields}
    found: dict[str, Any] = {part: {} for part in known}
    for place, key, name in names_in(study):
        named_by, place_of = f"{path}: {place}", beside(key, name, path.parent)
        if key == PROMPTS:
            found["prompts"][name] = known["prompts"].get(name) or _read_own_prompts(place_of, named_by)
        elif key in ROOTS:
            found["roots"][name] = known["roots"].get(name) or str(expanded(place_of, named_by).absolute())
        elif name != OWN and (file := weights_file("", place_of)):
            found["weights"][name] = [str(Path(place_of).absolute()), weights_digest(file)]
        elif name in known["weights"]:
            found["weights"][name] = known["weights"][name]
    return found


def _read_own_prompts(name: str, named_by: str) -> Any:
    """The prompts of a file, by expression; raises `UserError` that names the key which the user gave it with."""
    path = expanded(name, named_by)
    if not path.is_file():
        raise UserError(f"{named_by}: there is no file {name}")
    own = OmegaConf.to_container(_read(path))
    _validate(Language, {"own": own}, f"{named_by}: {name}")
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
            _check_nothing_is_left_out(base, key, value, f"{place}: variants.{name}.")
    for part in ("grid", "fraction", "across"):
        for key, values in _mapping(content.get(part)).items():
            for value in values if isinstance(values, list) else ():
                _check_nothing_is_left_out(base, key, value, f"{place}: {part}.")


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
    return _validate(Study, content, place, STORED)


def load_definition(paths: Sequence[Path]) -> TableOfStudies | None:
    """The definition of a table, if that is what the file is which is named; None where studies are named.

    Raises `UserError` where it is not as it should be, or is named beside others.
    """
    contents = {path: _read(path) for path in paths if not is_zip(path)}
    defined = [path for path, content in contents.items() if "studies" in content]
    if not defined:
        return None
    if len(paths) > 1:
        raise UserError("a table's definition names its studies itself; give that file alone, or studies alone")
    content = OmegaConf.to_container(contents[defined[0]])
    if isinstance(content["studies"], list):
        content["studies"] = [{"study": one} if isinstance(one, str) else one for one in content["studies"]]
    return _validate(TableOfStudies, content, str(defined[0]))


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
                name, _validate(Layout, {**layout.model_dump(mode="json"), **changes}, name), {study.name: study}
            )
            for name, layout in study.tables.items()
        ]
    labelled = _by_label([study.name for study in studies], studies)
    return [StudiesTable("-".join(labelled), _validate(Layout, dict(changes), "table"), labelled)]


def _defined_table(table: TableOfStudies, studies: Sequence[Study], changes: Mapping[str, Any]) -> StudiesTable:
    layout = _validate(TableOfStudies, {**table.model_dump(mode="json"), **changes}, table.name)
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


def _shared(config: Any, path: Path) -> list[tuple[str, Any]]:
    """What `set` of a study, which is taken out of it, changes in the experiment of every variant."""
    changes = OmegaConf.to_container(config).get("set", {})
    config.pop("set", None)
    if not isinstance(changes, dict):
        raise UserError(f"{path}: set: {changes} is not allowed; expected keys of the experiment with their values")
    return [(f"experiment.{key}", value) for key, value in changes.items()]


def keys_set(path: Path, assignments: Sequence[str] = ()) -> list[str]:
    """The dotted keys that a recipe is given by `set` of a study's file, or by assignments."""
    shared = OmegaConf.to_container(_read(path)).get("set") or {}
    return [key for key, _ in flat({**shared, **_parse(assignments)})]


def to_yaml(experiment: Experiment) -> str:
    """The experiment as YAML that `load_stored_experiment` reads back."""
    return OmegaConf.to_yaml(OmegaConf.create(experiment.model_dump(mode="json")))


def flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """The leaves of nested settings as (dotted key, text); lists and null are written as JSON."""
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value if isinstance(value, str) else json.dumps(value)


def is_zip(path: Path) -> bool:
    """Whether a file begins as a zip does, which a recipe never does and a bundle always."""
    try:
        with path.open("rb") as file:
            return file.read(4) in (b"PK\x03\x04", b"PK\x05\x06")
    except OSError:
        return False


def _read_recipe(path: Path) -> Any:
    """A recipe, with the paths of what lies beside it and not below the working directory."""
    return OmegaConf.create(all_beside(OmegaConf.to_container(_read(path)), path.parent))


def _read(path: Path) -> Any:
    if is_zip(path):
        raise UserError(
            f"{path}: a zip, and no recipe; a bundle is read by polyview report, table and figures, and run again by "
            "polyview rerun"
        )
    if path.is_dir():
        raise UserError(f"{path}: a folder; name one of its files")
    try:
        if not (text := path.read_text(encoding="utf-8-sig")).strip():
            raise UserError(f"{path}: is empty; the repository's recipes are in experiments/ and ablations/")
        config = OmegaConf.create(quote_names(text))
        _refuse_resolvers(OmegaConf.to_yaml(config), str(path))
        OmegaConf.resolve(config)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; the repository's recipes are in experiments/ and ablations/") from None
    except RecursionError:
        raise UserError(f"{path}: is nested too deeply to be read; a recipe has a few levels") from None
    except AssertionError:  # OmegaConf's, of what is neither keys nor a list
        raise UserError(f"{path}: expected keys and values at the top level") from None
    except (YAMLError, OmegaConfBaseException, UnicodeDecodeError, OSError) as error:
        raise UserError(f"{path}: not readable as YAML: {' '.join(str(error).split())}") from error
    if not OmegaConf.is_dict(config):
        raise UserError(f"{path}: expected keys and values at the top level")
    return config


def _refuse_resolvers(text: str, place: str) -> None:
    """Raises `UserError` where a value asks OmegaConf for more than a key: the environment may hold secrets."""
    for found in RESOLVER.findall(text):
        raise UserError(f"{place}: ${{{found}…}} is not read; a recipe refers to its own keys, as in ${{training.lr}}")


def _parse(assignments: Sequence[str]) -> dict[str, Any]:
    overrides: dict[str, Any] = {}
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not (key and equals):
            raise UserError(f"--set {assignment}: expected KEY=VALUE, for example --set training.epochs=20")
        if not value.strip():
            raise UserError(f"--set {key}=: there is no value; none at all is written {key}=null")
        try:
            _refuse_resolvers(value, f"--set {key}")
            overrides[key] = read_value(value)
        except (YAMLError, OmegaConfBaseException, RecursionError) as error:
            raise UserError(f"--set {assignment[:200]}: the value is not readable as YAML") from error
    return overrides


def _updated(config: Any, overrides: Mapping[str, Any]) -> Any:
    config = config.copy()
    for key, value in overrides.items():
        try:
            place, name = _split(config, key)
            if name:
                OmegaConf.update(
                    config, place, {**(OmegaConf.select(config, place) or {}), name: value}, merge=False, force_add=True
                )
            else:
                OmegaConf.update(config, place, value, merge=False, force_add=True)
        except (OmegaConfBaseException, ValueError, IndexError):
            raise UserError(f"{key}: no such key; a list is replaced as a whole, as in seeds=[0,1]") from None
    return OmegaConf.to_container(config)


def _check_nothing_is_left_out(config: Any, key: str, value: Any, place: str) -> None:
    """Raises `UserError` where a section's new value would have keys at their defaults again that the recipe sets.

    The objective, which is a sum of the terms that are named, is new as a whole, and so are a corpus of another
    dataset, views of another rig and prompts of one's own.
    """
    section = key.removeprefix("experiment.")
    if section.split(".")[0] not in SECTIONS or not isinstance(value, dict) or section.startswith("language.own"):
        return
    before = OmegaConf.select(config, key)
    if not OmegaConf.is_dict(before) or any(name in value and value[name] != before.get(name) for name in KINDS):
        return
    usual = defaults_at(Experiment, section.split("."))
    left_out = [name for name in before if name not in value and (name not in usual or before[name] != usual[name])]
    if left_out:
        raise UserError(
            f"{place}{section}: {value} leaves out {', '.join(left_out)}, which the recipe sets; set what changes "
            f"alone, as in {section}.{next(iter(value), left_out[0])}, or all of it"
        )


def _split(config: Any, key: str) -> tuple[str, str]:
    """A dotted key as that of a mapping and the name in it, for mappings whose names have dots themselves."""
    for place in OF_DOTTED_NAMES:
        if key.startswith(f"{place}."):
            return place, key.removeprefix(f"{place}.")
    for variant in config.get("variants") or {} if key.startswith("variants.") else ():
        place = f"variants.{variant}"
        if key.startswith(f"{place}.") and "." not in variant:
            return place, key.removeprefix(f"{place}.")
    return key, ""


def _read_prompts(data: Any) -> None:
    """Put what `language.file` says, if it says anything, in the place of `language.own`."""
    for part in (data, data.get("experiment")):
        language = part.get("language") if isinstance(part, dict) else None
        if isinstance(language, dict) and (file := language.pop("file", None)):
            path = expanded(str(file), "language.file")
            if not path.is_file():
                raise UserError(f"language.file: there is no file {file}")
            language["own"] = OmegaConf.to_container(_read(path))


def _validate(kind: type[M], data: Any, place: str, context: str | None = None) -> M:
    _read_prompts(data)
    data = with_defaults_of_its_revision(data)
    if isinstance(data.get("experiment"), dict):
        data["experiment"] = with_defaults_of_its_revision(data["experiment"])
    try:
        # JSON mode keeps strictness and still takes lists for tuples.
        return kind.model_validate_json(json.dumps(data), context=context)
    except ValidationError as error:
        raise UserError(describe_errors(kind, error, data, place)) from None
