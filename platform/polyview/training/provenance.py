"""Whom weights have seen, which travels with them: in a checkpoint, and in the file that is exported of it."""

from __future__ import annotations

import functools
from collections.abc import Iterable
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
    """Whom of some people weights have seen, by their names; where not `complete`, they may have seen more of them."""

    model_config = ConfigDict(frozen=True)

    subjects: tuple[str, ...] = ()
    complete: bool = True


class Provenance(BaseModel):
    """The people that weights were trained on, their names by corpus; `complete` where there are no others."""

    model_config = ConfigDict(frozen=True)

    people: dict[str, tuple[str, ...]] = {}
    complete: bool = True

    def and_of(self, corpus: Corpus, subjects: Iterable[str]) -> Self:
        """This, and subjects of a corpus besides."""
        name = _corpus_name(corpus.dataset, corpus.generator.seed)
        both = sorted({*self.people.get(name, ()), *subjects})
        return self.model_copy(update={"people": {**self.people, name: tuple(both)}})

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


NOBODY, UNKNOWN = Provenance(), Provenance(complete=False)


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
    return Provenance(people={_corpus_name("synthetic", OWN_SEED): trained_on})


def _corpus_name(dataset: str, seed: int) -> str:
    return f"{dataset} of seed {seed}" if dataset in GENERATED else dataset
