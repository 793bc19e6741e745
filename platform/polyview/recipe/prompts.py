"""Prompts of one's own: read from their file, and what is asked of them as a recipe is read.

Records of recipes that were read once open without these checks.
"""

from __future__ import annotations

import difflib
import re
import string
from typing import Any

from omegaconf import OmegaConf

from polyview.errors import UserError
from polyview.recipe.corpus import EXPRESSIONS
from polyview.recipe.experiment import Experiment
from polyview.recipe.yaml_files import read_yaml
from polyview.storage.mirror import expanded


def read_prompts(file: str, named_by: str) -> Any:
    """What a file of prompts says, by expression; raises `UserError` that names the key which the file is named by."""
    path = expanded(file, named_by)
    if not path.is_file():
        raise UserError(f"{named_by}: there is no file {file}")
    return OmegaConf.to_container(read_yaml(path))


def check_own_prompts(experiment: Experiment, place: str) -> None:
    """Raises `UserError`, with `place` said first, where `language.own` cannot tell classes apart as it is meant to.

    That is where a prompt says nothing or is a template, a class has one twice or two classes share one, but for its
    letters' case and the marks around it, or the name of a class is slightly wrong.
    """
    own, classes = experiment.language.own, experiment.corpus.expressions
    owners: dict[str, tuple[str, int]] = {}
    for expression, prompts in own.items():
        for number, prompt in enumerate(prompts):
            plain = " ".join(prompt.casefold().split()).strip(string.punctuation + " ")
            if not plain:
                raise UserError(
                    f"{place}: language.own.{expression}: {prompt!r} says nothing; write a sentence, or leave it out"
                )
            if re.search(r"\{\w*\}", prompt):
                raise UserError(
                    f"{place}: language.own.{expression}: nothing fills the braces of {prompt!r}; write the prompt as "
                    "it is to be read"
                )
            owner, _ = first = owners.setdefault(plain, (expression, number))
            if owner != expression:
                raise UserError(
                    f"{place}: language.own: {owner} and {expression} have the same prompt {prompt!r}, by which "
                    "nothing can tell them apart"
                )
            if first != (expression, number):
                raise UserError(
                    f"{place}: language.own.{expression} has the prompt {prompt!r} twice, which would count double; "
                    "leave one of them out"
                )
    for name in sorted(set(own) - {*classes, *EXPRESSIONS}):
        if close := difflib.get_close_matches(name, classes, n=1, cutoff=0.8):
            raise UserError(
                f"{place}: language.own has prompts for {name}, which corpus.expressions has not; nearest is {close[0]}"
            )


def check_all_are_read(experiment: Experiment, place: str) -> None:
    """Raises `UserError`, with `place` said first, where `language.ensemble` leaves some of the own prompts unread.

    It is asked where `language.ensemble` is not stated: nobody has decided then that they are to be left out.
    """
    language, counts = experiment.language, _counts(experiment)
    most = max(counts, key=lambda name: counts[name], default="")
    if language.prompts != "none" and most and counts[most] > language.ensemble:
        raise UserError(
            f"{place}: language.own has {counts[most]} prompts for {most}, and language.ensemble, which is not set, is "
            f"{language.ensemble}: the others would not be read; set language.ensemble to {min(counts.values())}, or "
            f"to {language.ensemble} to leave them out"
        )


def how_many_are_read(experiment: Experiment) -> str:
    """How many of the own prompts are read, in words; empty where that is all of them."""
    counts, ensemble = _counts(experiment).values(), experiment.language.ensemble
    if experiment.language.prompts == "none" or max(counts, default=0) <= ensemble:
        return ""
    given = f"{min(counts)}" if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"
    return f"{ensemble} of {given} prompts of each class are read, as language.ensemble says"


def with_prompts_read(experiment: Experiment) -> Experiment:
    """The experiment without the own prompts that it does not read."""
    language = experiment.language
    read = {name: language.own[name][: language.ensemble] for name in _counts(experiment)}
    return experiment.model_copy(update={"language": language.model_copy(update={"own": read})})


def _counts(experiment: Experiment) -> dict[str, int]:
    """How many own prompts each class has."""
    own = experiment.language.own
    return {name: len(own[name]) for name in experiment.corpus.expressions if name in own}
