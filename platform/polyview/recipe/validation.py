"""Validation errors as lines a person can act on: the dotted path, what is allowed, the nearest valid name."""

from __future__ import annotations

import difflib
import types
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails


def describe_errors(kind: type[BaseModel], error: ValidationError, place: str) -> str:
    """All errors of `error`, one line each, under a line that names `place`."""
    # A default that waits for another value is no error of its own when that value is one.
    details = [detail for detail in error.errors() if detail["type"] != "default_factory_not_called"]
    errors = [_describe(kind, detail) for detail in details]
    count = "1 error" if len(errors) == 1 else f"{len(errors)} errors"
    return "\n".join([f"{place}: {count}", *(f"  {error}" for error in errors)])


def _describe(kind: type[BaseModel], detail: ErrorDetails) -> str:
    # A part that begins with a bar says which of several kinds a value was taken for.
    path = ".".join(str(part) for part in detail["loc"] if not str(part).startswith("|"))
    message = detail["msg"].removeprefix("Value error, ")
    match detail["type"]:
        case "extra_forbidden":
            return f"{path}: unknown key{_nearest(kind, detail['loc'])}"
        case "missing":
            return f"{path}: missing, and it has no default"
        case "value_error":
            return f"{path}: {message}" if path else message
        case "literal_error":
            return f"{path}: {detail['input']!r} is not allowed{_nearest_choice(detail)}"
        case _:
            return f"{path}: {detail['input']!r} is not allowed; {message[:1].lower()}{message[1:]}"


def _nearest_choice(detail: ErrorDetails) -> str:
    expected = str(detail.get("ctx", {}).get("expected", ""))
    close = difflib.get_close_matches(
        str(detail["input"]), [name.strip("' ") for name in expected.replace(" or ", ",").split(",")], n=1
    )
    return f"; expected {expected}" + (f" (nearest: {close[0]})" if close else "")


def _nearest(kind: type[BaseModel], loc: tuple[int | str, ...]) -> str:
    parent = _model_at(kind, loc[:-1])
    if parent is None:
        return ""
    names = list(parent.model_fields)
    close = difflib.get_close_matches(str(loc[-1]), names, n=1)
    hint = f"; nearest is {'.'.join([*map(str, loc[:-1]), close[0]])}" if close else ""
    return f"{hint}; allowed here: {', '.join(names)}"


def _model_at(kind: type[BaseModel], loc: tuple[int | str, ...]) -> type[BaseModel] | None:
    current: type[BaseModel] | None = kind
    for part in loc:
        field = current.model_fields.get(str(part)) if current else None
        current = _model_in(field.annotation) if field else None
    return current


def _model_in(annotation: Any) -> type[BaseModel] | None:
    options = get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)
    return next((option for option in options if isinstance(option, type) and issubclass(option, BaseModel)), None)
