"""Data made into a model, or all its errors as lines a person can act on.

A line has the dotted path, what is allowed, and the nearest valid name.
"""

from __future__ import annotations

import difflib
import json
import re
import types
from collections.abc import Sequence
from typing import Annotated, Any, TypeGuard, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from polyview.errors import UserError
from polyview.recipe.prompts import read_prompts
from polyview.recipe.revisions import with_defaults_of_its_revision
from polyview.recipe.schema import Model

M = TypeVar("M", bound=Model)
Path = tuple[int | str, ...]

EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "tuple_type": "a list",
    "dict_type": "keys with values",
    "model_type": "keys with values",
}
"""What is written where pydantic has an error of this type."""


def validated(kind: type[M], data: Any, place: str, context: str | None = None) -> M:
    """The model that `data` says, its prompts read from their file; raises `UserError` that lists every error."""
    _read_prompts(data, place)
    data = with_defaults_of_its_revision(data)
    if isinstance(data.get("experiment"), dict):
        data["experiment"] = with_defaults_of_its_revision(data["experiment"])
    try:
        # JSON mode keeps strictness and still takes lists for tuples.
        return kind.model_validate_json(json.dumps(data), context=context)
    except ValidationError as error:
        raise UserError(describe_errors(kind, error, data, place)) from None


def _read_prompts(data: Any, place: str) -> None:
    """Put what `language.file` says, if it says anything, in `language.own`; raises `UserError` if both do."""
    for part in (data, data.get("experiment")):
        language = part.get("language") if isinstance(part, dict) else None
        if isinstance(language, dict) and (file := language.pop("file", None)):
            if language.get("own"):
                raise UserError(
                    f"{place}: language.file and language.own both say the prompts; set one of them to null"
                )
            language["own"] = read_prompts(str(file), "language.file")


def describe_errors(kind: type[BaseModel], error: ValidationError, data: Any, place: str) -> str:
    """All errors of `error` in `data`, one line each, under a line that names `place`."""
    details = error.errors()
    groups: dict[Path, list[ErrorDetails]] = {}
    for detail in details:
        # A default that waits for another value is no error of its own when that value is one, and no list is too
        # short for having values that are not allowed.
        follows = detail["type"] == "too_short" and any(_is_within(other["loc"], detail["loc"]) for other in details)
        if detail["type"] != "default_factory_not_called" and not follows:
            groups.setdefault(_undecided(detail["loc"], data), []).append(detail)
    errors = [_describe(kind, same, data) for group in groups.values() for same in _best(group, data)]
    count = "1 error" if len(errors) == 1 else f"{len(errors)} errors"
    return "\n".join([f"{place}: {count}", *(f"  {error}" for error in errors)])


def _best(group: Sequence[ErrorDetails], data: Any) -> list[list[ErrorDetails]]:
    """The errors of a value that may be of several kinds, as the kind that it fits best has them, by their place."""
    depth = max(len(_place(detail["loc"], data)) for detail in group)
    deepest = [detail for detail in group if len(_place(detail["loc"], data)) == depth]
    known = [detail for detail in deepest if detail["type"] not in EXPECTED]
    if [detail["type"] for detail in known] == ["literal_error"]:
        return [[*known, *(detail for detail in deepest if detail["type"] in EXPECTED)]]
    if known or len(group) == 1:
        return [[detail] for detail in known or group]
    places: dict[Path, list[ErrorDetails]] = {}
    for detail in deepest:
        places.setdefault(_place(detail["loc"], data), []).append(detail)
    return [*places.values()]


def _describe(kind: type[BaseModel], same: Sequence[ErrorDetails], data: Any) -> str:
    """One error, or that a value is of none of the types which it may be of."""
    detail = same[0]
    loc, given = _place(detail["loc"], data), detail["input"]
    path, message = _dotted(loc), detail["msg"].removeprefix("Value error, ")
    match detail["type"]:
        case "extra_forbidden":
            return f"{path}: unknown key{_nearest(kind, loc)}"
        case "missing":
            return f"{path}: missing, and it has no default"
        case "value_error":
            return f"{path}: {message}" if path else message
        case "literal_error":
            others = "".join(f" or {EXPECTED[one['type']]}" for one in same[1:])
            return f"{path}: {given!r} is not allowed{_nearest_choice(detail)}{others}"
        case "string_pattern_mismatch":  # of names alone, which are those of files
            return f"{path}: {given!r} is not allowed; letters, digits, ., _ and - are, the first a letter or a digit"
        case "too_short":
            least = detail["ctx"]["min_length"]
            needed = f"at least {least} value{' is' if least == 1 else 's are'} needed"
            return f"{path}: {given if isinstance(given, dict) else [*given]} is not allowed; {needed}"
        case wrong if wrong in EXPECTED:
            *some, last = dict.fromkeys(EXPECTED[one["type"]] for one in same)
            expected = f"{', '.join(some)} or {last}" if some else last
            return f"{path}: {given!r} is not allowed; expected {expected}{_how(wrong, given)}"
        case _:
            return f"{path}: {given!r} is not allowed; {message[:1].lower()}{message[1:]}"


def _how(wrong: str, given: Any) -> str:
    """What to change in a value that is nearly what is expected."""
    if wrong == "tuple_type" and not isinstance(given, dict):
        return f", as in [{given}]"
    if wrong == "string_type" and isinstance(given, int | float):
        return ", in quotes" if isinstance(given, bool) else f', as in "{given}"'
    quoted = isinstance(given, str) and re.fullmatch(r"true|false|[-+]?[0-9.]+(e[-+]?[0-9]+)?", given.lower())
    return ", without quotes" if quoted else ""


def _place(loc: Path, data: Any) -> Path:
    """Where a value is in the data: pydantic's own place, without the names of kinds that were tried there."""
    place: list[int | str] = []
    for number, part in enumerate(loc):
        if isinstance(data, dict) and part in data:
            data = data[part]
        elif isinstance(data, list) and isinstance(part, int):
            data = data[part] if part < len(data) else None
        elif str(part).startswith("|"):
            continue  # the tag of a kind that was chosen
        elif isinstance(data, dict) and number == len(loc) - 1:
            data = None  # a key that is missing
        else:
            continue
        place.append(part)
    return tuple(place)


def _undecided(loc: Path, data: Any) -> Path:
    """The place of the first value on the way to an error that may be of several kinds, else of the error itself."""
    place = _place(loc, data)
    same = next((number for number, (one, other) in enumerate(zip(loc, place, strict=False)) if one != other), None)
    return place if same is None and len(loc) == len(place) else place[:same]


def _is_within(loc: Path, other: Path) -> bool:
    return len(loc) > len(other) and loc[: len(other)] == other


def _dotted(place: Path) -> str:
    return ".".join(map(str, place))


def _nearest_choice(detail: ErrorDetails) -> str:
    expected = str(detail.get("ctx", {}).get("expected", ""))
    close = difflib.get_close_matches(
        str(detail["input"]), [name.strip("' ") for name in expected.replace(" or ", ",").split(",")], n=1
    )
    return f"; expected {expected}" + (f" (nearest: {close[0]})" if close else "")


def _nearest(kind: type[BaseModel], loc: Path) -> str:
    parent = _model_at(kind, loc[:-1])
    if parent is None:
        return ""
    names = list(parent.model_fields)
    close = difflib.get_close_matches(str(loc[-1]), names, n=1)
    hint = f"; nearest is {'.'.join([*map(str, loc[:-1]), close[0]])}" if close else ""
    return f"{hint}; allowed here: {', '.join(names)}"


def _model_at(kind: type[BaseModel], loc: Sequence[int | str]) -> type[BaseModel] | None:
    """The model that stands at a place of another, within its lists and mappings too; None where none does."""
    current: Any = kind
    for part in loc:
        if _is_model(current):
            field = current.model_fields.get(str(part))
            current = _holder(field.annotation) if field else None
        else:
            current = next((_holder(one) for one in reversed(get_args(current)) if one is not Ellipsis), None)
    return current if _is_model(current) else None


def defaults_at(kind: type[BaseModel], loc: Sequence[int | str]) -> dict[str, Any]:
    """What the model at a place of another has where nothing is said, as JSON has it; nothing where it must be said."""
    try:
        found = _model_at(kind, loc)
        return found().model_dump(mode="json") if found else {}
    except ValidationError:
        return {}


def _holder(annotation: Any) -> Any:
    """An annotation without what is said of it; of a union its first model, or its first kind that holds others."""
    if get_origin(annotation) is Annotated:
        return _holder(get_args(annotation)[0])
    if get_origin(annotation) not in (Union, types.UnionType):
        return annotation
    options = [_holder(option) for option in get_args(annotation)]
    return next((option for option in options if _is_model(option)), next(filter(get_args, options), None))


def _is_model(annotation: Any) -> TypeGuard[type[BaseModel]]:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
