"""Values that are set by dotted keys: how they are typed, and what they replace."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from polyview.errors import UserError
from polyview.recipe.experiment import Experiment
from polyview.recipe.validation import defaults_at
from polyview.recipe.yaml_files import read_value, refuse_resolvers

OF_DOTTED_NAMES = ("grid", "fraction", "across", "search.space", "remove")
KINDS = ("dataset", "rig")  # keys that say which others there are
SECTIONS = ("corpus", "rendering", "model", "language", "training", "evaluation")


def parse_assignments(assignments: Sequence[str]) -> dict[str, Any]:
    """What `key=value` as typed behind `--set` asks for, by dotted keys; raises `UserError`."""
    overrides: dict[str, Any] = {}
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        key = key.strip()
        if not (key and equals):
            raise UserError(f"--set {assignment}: expected KEY=VALUE, for example --set training.epochs=20")
        if not value.strip():
            raise UserError(f"--set {key}=: there is no value; none at all is written {key}=null")
        try:
            refuse_resolvers(value, f"--set {key}")
            overrides[key] = read_value(value)
        except (YAMLError, OmegaConfBaseException, RecursionError) as error:
            raise UserError(f"--set {assignment[:200]}: the value is not readable as YAML") from error
    return overrides


def updated(config: Any, overrides: Mapping[str, Any]) -> Any:
    """A recipe of OmegaConf with dotted keys replaced, as plain containers; raises `UserError` for no such place."""
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


def check_nothing_is_left_out(config: Any, key: str, value: Any, place: str) -> None:
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


def flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """The leaves of nested settings as (dotted key, text); lists and null are written as JSON."""
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value if isinstance(value, str) else json.dumps(value)


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
