"""Whom weights have seen, which travels with them: in a checkpoint, and in the file that is exported of it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError, safe_open

from polyview.corpus.expressions import subject_name
from polyview.recipe import Corpus, Modeling
from polyview.recipe.corpus import GENERATED
from polyview.recipe.experiment import file_digest, own_contents
from polyview.recipe.weights import FORMER, OWN, OWN_PEOPLE, OWN_SEED, weights_file

_KEY = "polyview"


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

    def among(self, corpus: Corpus, subjects: Iterable[str]) -> tuple[str, ...] | None:
        """Which of a corpus's subjects these weights have seen, going by their names; None where that is not known."""
        seen = {*self.people.get(_corpus_name(corpus.dataset, corpus.generator.seed), ())}
        found = tuple(sorted(seen.intersection(subjects)))
        return found if found or self.complete else None

    def as_metadata(self) -> dict[str, str]:
        """What the header of a safetensors file is given, and `read_provenance` reads from it."""
        return {_KEY: self.model_dump_json()}


NOBODY, UNKNOWN = Provenance(), Provenance(complete=False)


def provenance_of_start(modeling: Modeling) -> Provenance:
    """Whom the weights have seen that `model.pretrained` names."""
    if modeling.pretrained is None:
        return NOBODY
    content = modeling.pretrained_content
    if (content[1] if content else modeling.pretrained) in (OWN, *own_contents(), *FORMER):
        own = tuple(subject_name(person) for person in range(OWN_PEOPLE))
        return Provenance(people={_corpus_name("synthetic", OWN_SEED): own})
    file = weights_file(modeling.tower, modeling.pretrained)
    return read_provenance(file) if file and content and content[1] == file_digest(file) else UNKNOWN


def read_provenance(file: Path) -> Provenance:
    """What a file of weights says of it; it is not known of a file that was not exported by polyview."""
    try:
        with safe_open(file, "numpy") as weights:
            return Provenance.model_validate_json((weights.metadata() or {}).get(_KEY, ""))
    except (SafetensorError, ValidationError):
        return UNKNOWN


def _corpus_name(dataset: str, seed: int) -> str:
    return f"{dataset} of seed {seed}" if dataset in GENERATED else dataset
