"""Patterns such as {subject}/{expression}/{frame}.obj, and every way in which one reads a name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from polyview.errors import UserError

FIELDS = ("subject", "expression", "sequence", "intensity", "frame")
_NUMBERS = {"intensity": r"\d*\.?\d+", "frame": r"\d+"}
# Beside what may be anything, a number begins with its first digit and ends with its last one.
_BEGINS = {"intensity": r"(?<![\d.])", "frame": r"(?<!\d)"}
_ENDS = {"intensity": r"(?!\.?\d)", "frame": r"(?!\d)"}

Part = tuple[str | None, re.Pattern[str]]
"""The field, if it is one, and what may stand in its place."""


@dataclass(frozen=True)
class Pattern:
    """The parts of a pattern in their order, and the whole of it; {field} and * are anything within one name."""

    parts: tuple[Part, ...]
    whole: re.Pattern[str]

    @classmethod
    def parse(cls, pattern: str) -> Pattern:
        """Raises `UserError` where a field is missing, unknown or named twice, or nothing divides two of them."""
        tokens = [*filter(None, re.split(r"(\{\w+\}|\*)", pattern))]
        fields = [_field(token) for token in tokens]
        _check(pattern, tokens)
        forms = [_form(*two) for two in pairwise(("", *tokens))]
        parts = tuple((field, re.compile(form)) for field, form in zip(fields, forms, strict=True))
        return cls(parts, re.compile("".join(forms)))

    def readings(self, name: str) -> list[dict[str, str]]:
        """What each field is, in every way in which the name fits; first the one whose first fields are longest."""
        if not self.whole.fullmatch(name):
            return []
        return [*{tuple(way.values()): way for way in _ways(self.parts, name, 0)}.values()]


def deeper(text: str, name: str) -> str | None:
    """The pattern with as many folders before it as a name has that does not fit it; None where that does not fit."""
    folders = name.count("/") - text.count("/")
    extended = "*/" * folders + text
    return extended if folders > 0 and Pattern.parse(extended).readings(name) else None


def above_subjects(text: str) -> int | None:
    """How many folders lie above what has the subject's name, where a `*` stands for any of them; None where none."""
    above, subject, _ = text.partition("{subject}")
    folders = above.rpartition("/")[0]
    return above.count("/") if subject and "*" in folders else None


def _field(token: str) -> str | None:
    return token[1:-1] if re.fullmatch(r"\{\w+\}", token) else None


def _check(pattern: str, tokens: Sequence[str]) -> None:
    named = [field for token in tokens if (field := _field(token))]
    if not set(named) <= set(FIELDS) or len(set(named)) < len(named) or not {"subject", "expression"} <= set(named):
        raise UserError(
            f"corpus.pattern: {pattern} needs {{subject}} and {{expression}}, and may have {{sequence}}, {{intensity}} "
            "and {frame}, each once"
        )
    for one, other in pairwise(_field(token) for token in tokens if token != "*"):  # which divides nothing
        if one and other and (one in _NUMBERS) == (other in _NUMBERS):
            raise UserError(
                f"corpus.pattern: nothing says where {{{one}}} ends and {{{other}}} begins in {pattern}; write what "
                f"stands between them, such as {{{one}}}_{{{other}}}, or use corpus.table"
            )


def _form(before: str, token: str) -> str:
    """What may stand in a token's place, after that of another."""
    left, field = _field(before), _field(token)
    if field in _NUMBERS:
        return (_BEGINS[field] if _is_open(before) else "") + _NUMBERS[field]
    if not _is_open(token):
        return re.escape(token)
    return (_ENDS[left] if left in _NUMBERS else "") + ("[^/]+" if field else "[^/]*")


def _is_open(token: str) -> bool:
    """Whether it may be anything, in which a number's digits may be too."""
    return token == "*" or _field(token) is not None


def _ways(parts: Sequence[Part], name: str, start: int) -> Iterator[dict[str, str]]:
    if not parts:
        if start == len(name):
            yield {}
        return
    field, part = parts[0]
    for end in range(len(name), start - 1, -1):
        if part.fullmatch(name, start, end):
            own = {field: name[start:end]} if field else {}
            yield from (own | rest for rest in _ways(parts[1:], name, end))
