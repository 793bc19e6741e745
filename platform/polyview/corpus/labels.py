"""Expressions as people write them: in any case, as nouns and adjectives, and as the codes of the field's datasets."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Sequence

from polyview.errors import UserError

_WRITTEN = {
    "neutral": ("ne", "neu", "neut", "n_n", "neutrality", "neutral face", "no expression", "expressionless", "rest"),
    "anger": ("an", "ang", "angry", "angered"),
    "disgust": ("di", "dis", "disgusted"),
    "fear": ("fe", "fea", "af", "fearful", "afraid", "scared"),
    "happiness": ("ha", "hap", "happy", "joy", "joyful"),
    "sadness": ("sa", "sad", "sorrow"),
    "surprise": ("su", "sur", "surprised"),
    "contempt": ("contemptuous",),
    "embarrassment": ("embarrassed",),
    "pain": ("painful", "in pain"),
}
"""By expression how else it is written; numbers are not among it, for each dataset counts in an order of its own."""
_DEGREES = (
    "very bit quite rather really extremely highly strongly intensely fully moderately somewhat slightly mildly "
    "lightly weakly subtly barely hardly extreme high strong intense full maximum medium moderate half slight mild "
    "weak subtle low minimum more most less least not no almost happily sadly angrily fearfully disgustedly"
)
"""Words before an expression that make it another one, or say how much of it is shown; none that is a name too."""
_MINUS = "\N{MINUS SIGN}"


def meanings(expressions: Sequence[str]) -> dict[str, str]:
    """What each way of writing means, as `key` has it: one of `expressions` by its own name or by another one.

    What `expressions` does not have is called by the field's usual name. Raises `UserError` where two of `expressions`
    are one label.
    """
    own: dict[str, str] = {}
    for name in expressions:
        if own.setdefault(key(name), name) != name:
            raise UserError(
                f"corpus.expressions: {own[key(name)]!r} and {name!r} are one label, for case, spaces and punctuation "
                "do not count; list one of them, or rename one in the table and here"
            )
    known: dict[str, str] = {}
    for usual, others in _WRITTEN.items():
        written = [key(name) for name in (usual, *others)]
        name = next((own[form] for form in written if form in own), usual)
        known |= dict.fromkeys(written, name)
    return known | own


def key(label: str) -> str:
    """What is the same of a label in any case, with or without spaces, underscores and Bosphorus' leading `E_`.

    What makes it another label stays: a sign before or behind it, as in `arousal-`, and what divides its digits, as in
    `AU1+2`.
    """
    plain = unicodedata.normalize("NFKC", label).replace(_MINUS, "-").casefold().strip()
    divided = re.sub(r"(?<=\d)[\W_]+(?=\d)", _divider, re.sub(r"^e_", "", plain))
    return re.sub(r"(?!^[+-]|[+-]$|(?<=\d)[+,](?=\d))[\W_]", "", divided) or plain


def _divider(between: re.Match[str]) -> str:
    return "+" if "+" in between[0] else ","


def is_of_degree(words: str) -> bool:
    """Whether words that stand before an expression, as in `very_happy`, belong to it rather than to a name."""
    found = {*re.findall(r"[^\W_]+", words.casefold())} - {"a"}
    return bool(found) and found <= {*_DEGREES.split()}


def is_usual(label: str) -> bool:
    """Whether the field has an expression of this name."""
    return label in _WRITTEN


def nearest(label: str, expressions: Sequence[str]) -> str | None:
    """What was probably meant by a label that is none."""
    known = meanings(expressions)
    close = difflib.get_close_matches(key(label), known, n=1, cutoff=0.75)
    return known[close[0]] if close else None
