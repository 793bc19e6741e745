"""What is asked of prompts of one's own as a recipe is read: records of recipes that were read once open without it."""

from __future__ import annotations

import difflib
import string

from polyview.errors import UserError
from polyview.recipe.corpus import EXPRESSIONS
from polyview.recipe.experiment import Experiment


def check_own_prompts(experiment: Experiment, place: str) -> None:
    """Raises `UserError`, with `place` said first, where `language.own` cannot tell classes apart as it is meant to.

    That is where a prompt says nothing, two classes share one but for its letters' case and the marks around it, or the
    name of a class is slightly wrong.
    """
    own, classes = experiment.language.own, experiment.corpus.expressions
    owners: dict[str, str] = {}
    for expression, prompts in own.items():
        for prompt in prompts:
            plain = " ".join(prompt.casefold().split()).strip(string.punctuation + " ")
            if not plain:
                raise UserError(
                    f"{place}: language.own.{expression}: {prompt!r} says nothing; write a sentence, or leave it out"
                )
            if owners.setdefault(plain, expression) != expression:
                raise UserError(
                    f"{place}: language.own: {owners[plain]} and {expression} have the same prompt {prompt!r}, by "
                    "which nothing can tell them apart"
                )
    for name in sorted(set(own) - {*classes, *EXPRESSIONS}):
        if close := difflib.get_close_matches(name, classes, n=1, cutoff=0.8):
            raise UserError(
                f"{place}: language.own has prompts for {name}, which corpus.expressions has not; nearest is {close[0]}"
            )
