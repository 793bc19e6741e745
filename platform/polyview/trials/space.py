"""The space of a search: which keys a point has, and which values they may take."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from polyview.recipe import Parameter, same

if TYPE_CHECKING:
    import optuna

Point = dict[str, Any]
Space = Mapping[str, Parameter]


def suggest(space: Space, suggestion: optuna.Trial) -> Point:
    """The point of one of Optuna's trials: a value for each key whose condition the keys before it fulfil."""
    point: Point = {}
    for key, parameter in space.items():
        if is_active(parameter, point):
            point[key] = _suggest(key, parameter, suggestion)
    return point


def contains(space: Space, point: Point) -> bool:
    """Whether the point has just the keys that it must have, with values that they may take."""
    active = {key: parameter for key, parameter in space.items() if is_active(parameter, point)}
    return point.keys() == active.keys() and all(active[key].can_be(value) for key, value in point.items())


def is_active(parameter: Parameter, point: Point) -> bool:
    """Whether a point with these values has the key of a parameter: its condition is fulfilled, or it has none."""
    return all(
        key in point and any(same(one, point[key]) for one in wanted) for key, wanted in parameter.conditions.items()
    )


def combinations(space: Space, values: Mapping[str, Sequence[Any]]) -> Iterator[Point]:
    """Every combination of the keys' `values` that makes a point, each once."""
    return _completions({}, list(space), space, values)


def draw(space: Space, values: Mapping[str, Sequence[Any]], chances: random.Random) -> Point:
    """A point with one of the `values` of each key that it has."""
    point: Point = {}
    for key, parameter in space.items():
        if is_active(parameter, point):
            point[key] = chances.choice(values[key])
    return point


def ends(parameter: Parameter) -> Sequence[Any]:
    """The lowest and the highest value, or all choices."""
    return parameter.categorical or parameter.integer or parameter.uniform or parameter.log_uniform or ()


def choices(parameter: Parameter) -> list[Any]:
    """Every value of a key that has only so many."""
    if parameter.integer:
        return list(range(parameter.integer[0], parameter.integer[1] + 1))
    return list(parameter.categorical or ())


def is_discrete(parameter: Parameter) -> bool:
    """Whether a key has only so many values."""
    return bool(parameter.integer or parameter.categorical)


def _completions(
    point: Point, keys: Sequence[str], space: Space, values: Mapping[str, Sequence[Any]]
) -> Iterator[Point]:
    """The points that begin with `point`, to which `keys` are yet to be added."""
    if not keys:
        yield point
    elif is_active(space[keys[0]], point):
        for value in values[keys[0]]:
            yield from _completions({**point, keys[0]: value}, keys[1:], space, values)
    else:
        yield from _completions(point, keys[1:], space, values)


def _suggest(key: str, parameter: Parameter, suggestion: optuna.Trial) -> Any:
    if parameter.uniform:
        return suggestion.suggest_float(key, *parameter.uniform)
    if parameter.log_uniform:
        return suggestion.suggest_float(key, *parameter.log_uniform, log=True)
    if parameter.integer:
        return suggestion.suggest_int(key, *parameter.integer)
    return suggestion.suggest_categorical(key, parameter.categorical or ())
