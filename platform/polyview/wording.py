"""Numbers in sentences, in the singular and in the plural."""

from __future__ import annotations


def counted(number: int, one: str, several: str | None = None) -> str:
    """A number with what it counts, as in `1 seed` and `2 seeds`; `several` is not always `one` with an s."""
    return f"{number} {agreeing(number, one, several or f'{one}s')}"


def agreeing(number: float, one: str, several: str) -> str:
    """The word that fits a number, as in `1 of 3 trials has` and `2 of 3 trials have`."""
    return one if number == 1 else several
