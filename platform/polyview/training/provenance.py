"""Whom weights have seen, which travels with them: in a checkpoint, and in the file that is exported of it."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError, safe_open

from polyview.corpus.expressions import subject_name
from polyview.corpus.splits import holdout
from polyview.recipe import Corpus, Modeling
from polyview.recipe.corpus import GENERATED
from polyview.recipe.experiment import own_contents, weights_digest
from polyview.recipe.weights import FORMER, OWN, OWN_DRAWN, OWN_SEED, weights_file

_KEY = "polyview"
_SORTED_BY_HAND = "folder"


class Seen(BaseModel):
    """Whom of some people weights have seen, by their names; where not `complete`, they may have seen more of them.

    `labels` says of how many people of each corpus they have read labels; None where that is not known.
    """

    model_config = ConfigDict(frozen=True)

    subjects: tuple[str, ...] = ()
    complete: bool = True
    labels: dict[str, int] | None = None


class Provenance(BaseModel):
    """The people that weights were trained on, their names by corpus; `complete` where there are no others.

    `labelled` are those of whom labels were read; None where that is not known, as earlier versions did not note it.
    """

    model_config = ConfigDict(frozen=True)

    people: dict[str, tuple[str, ...]] = {}
    complete: bool = True
    labelled: dict[str, tuple[str, ...]] | None = None

    def and_of(self, corpus: Corpus, subjects: Iterable[str], labelled: Iterable[str] = ()) -> Self:
        """This, and subjects of a corpus besides, of some of whom labels were read."""
        name = _corpus_name(corpus.dataset, corpus.generator.seed)
        read = None if self.labelled is None else _with(self.labelled, name, labelled)
        return self.model_copy(update={"people": _with(self.people, name, subjects), "labelled": read})

    def at_start(self, corpus: Corpus, scored: Iterable[str]) -> Seen:
        """What a training that starts from these weights is to know of them, where it is scored on those subjects."""
        labels = None if self.labelled is None else {name: len(people) for name, people in self.labelled.items()}
        return self.among(corpus, scored).model_copy(update={"labels": labels})

    def among(self, corpus: Corpus, subjects: Iterable[str]) -> Seen:
        """Which of a corpus's subjects these weights have seen.

        A folder that somebody has sorted may be of any of the datasets on disk, so that its people are sought among
        theirs, and theirs among its.
        """
        asked, on_disk = _corpus_name(corpus.dataset, corpus.generator.seed), corpus.dataset not in GENERATED
        known: set[str] = set()
        for name, people in self.people.items():
            sorted_by_hand = _SORTED_BY_HAND in (asked, name) and on_disk and not name.startswith(GENERATED)
            if name == asked or sorted_by_hand:
                known.update(people)
        return Seen(subjects=tuple(sorted(known.intersection(subjects))), complete=self.complete)

    def as_metadata(self) -> dict[str, str]:
        """What the header of a safetensors file is given, and `read_provenance` reads from it."""
        return {_KEY: self.model_dump_json()}


NOBODY, UNKNOWN = Provenance(labelled={}), Provenance(complete=False)


def _with(people: Mapping[str, tuple[str, ...]], corpus: str, more: Iterable[str]) -> dict[str, tuple[str, ...]]:
    both = {*people.get(corpus, ()), *more}
    return {**people, corpus: tuple(sorted(both))} if both else {**people}


def namesakes(corpus: Corpus, trained_on: Iterable[str], other: Corpus, scored: Iterable[str]) -> tuple[str, ...]:
    """Which of those `scored` of another corpus may be people who were trained on, as they have their names."""
    return NOBODY.and_of(corpus, trained_on).among(other, scored).subjects


def provenance_of_start(modeling: Modeling) -> Provenance:
    """Whom the weights have seen that a model starts from."""
    if modeling.start is None:
        return NOBODY
    known = modeling.pretrained_content
    content = known[1] if known else modeling.start
    if content in (OWN, *own_contents()):
        return _of_own(OWN_DRAWN)
    if content in FORMER:
        return _of_own(FORMER[content])
    file = weights_file(modeling.tower, modeling.pretrained)
    return read_provenance(file) if file and known and content == weights_digest(file) else UNKNOWN


def read_provenance(file: Path) -> Provenance:
    """What a file of weights says of it; it is not known of a file that was not exported by polyview."""
    try:
        with safe_open(file, "numpy") as weights:
            return Provenance.model_validate_json((weights.metadata() or {}).get(_KEY, ""))
    except (SafetensorError, ValidationError):
        return UNKNOWN


@functools.cache
def _of_own(drawn: int) -> Provenance:
    """Of polyview's own weights, by the split of their recipe, experiments/generator_pretraining.yaml."""
    trained_on = holdout([subject_name(person) for person in range(drawn)], 0.1, 0).train
    people = {_corpus_name("synthetic", OWN_SEED): trained_on}
    return Provenance(people=people, labelled=people)


def _corpus_name(dataset: str, seed: int) -> str:
    return f"{dataset} of seed {seed}" if dataset in GENERATED else dataset
