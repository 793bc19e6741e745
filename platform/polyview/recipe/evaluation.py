"""Who the test subjects are, and what is measured on them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from typing import Annotated, Literal, Self, get_args

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from polyview.recipe.corpus import Corpus
from polyview.recipe.schema import STORED, Model, Natural, Positive, Seed, Share, equals

ProbeName = Literal["linear", "knn", "zero_shot"]
Side = Literal["test", "validation"]
"""Of which subjects a score is."""
MEASURES = ("accuracy", "uf1", "uar")
METRICS = tuple(f"{probe}/{measure}" for probe in get_args(ProbeName) for measure in MEASURES)
_FEW_SHOT = re.compile(rf"linear@[1-9][0-9]*/({'|'.join(MEASURES)})")


def check_metric(name: str, others: Sequence[str] = ()) -> str:
    """The name, if it is that of a probe's metric or one of `others`; else raises ValueError with the nearest."""
    allowed = (*METRICS, *others)
    if name in allowed or _FEW_SHOT.fullmatch(name):
        return name
    few, measure = re.match(r"linear@\d+/", name), name.rpartition("/")[2]
    close = difflib.get_close_matches(measure if few else name, MEASURES if few else allowed, n=1)
    nearest = f" (nearest: {few[0] if few else ''}{close[0]})" if close else ""
    raise ValueError(
        f"{name!r} is not allowed; expected {', '.join(map(repr, allowed))}, or of K labelled people "
        f"'linear@K/{MEASURES[0]}'{nearest}"
    )


MetricName = Annotated[str, AfterValidator(check_metric)]


def few_shot(people: int) -> str:
    """What the linear probe is called that is fitted on so many people."""
    return f"linear@{people}"


class Evaluation(Model):
    """Who the test subjects are, and by which probes embeddings are scored."""

    protocol: Literal["holdout", "subject_kfold", "loso", "cross_dataset"] = "holdout"
    share: Share = Field(0.3, description="holdout: share of the subjects that pretraining never sees")
    folds: Annotated[int, Field(ge=2, le=10_000)] = Field(
        10,
        description="subject_kfold: parts of the subjects, each tested on once; loso: the number of subjects",
    )
    fold: Natural = Field(0, description="which of the folds has the test subjects; a study runs them all")
    test: Corpus | None = Field(None, description="cross_dataset: the faces that are tested on, all of them")
    centred: bool = Field(
        False,
        exclude_if=equals(False),
        description="cross_dataset: the tested faces' mean embedding is moved onto that of the training faces; reads "
        "all tested faces, and no label",
    )
    split_seed: Seed | None = Field(
        None,
        exclude_if=equals(None),
        description="of the draw of test subjects; null: the recipe's seed, so that every seed of a study has others",
    )
    validation: Share | None = Field(
        None,
        exclude_if=equals(None),
        description="share of the training subjects that neither pretraining nor a probe sees, and that are scored in "
        "place of the test subjects, which stay unseen; for choices, as a search makes them",
    )
    probes: tuple[ProbeName, ...] = Field(("linear", "knn", "zero_shot"), min_length=1)
    shots: tuple[Positive, ...] = Field(
        (),
        exclude_if=equals(()),
        description="numbers of labelled people: for each, K, a further linear probe, linear@K, is fitted on K of them",
    )

    @field_validator("probes")
    @classmethod
    def _are_fitted_once(cls, probes: tuple[ProbeName, ...], info: ValidationInfo) -> tuple[ProbeName, ...]:
        if len(set(probes)) < len(probes) and info.context != STORED:
            raise ValueError(f"probes repeat: {list(probes)}")
        return probes

    @property
    def measured(self) -> tuple[str, ...]:
        """All that is fitted and scored: the probes, and the linear one on few people."""
        return (*self.probes, *map(few_shot, self.shots))

    @property
    def scored_side(self) -> Side:
        """Of which subjects the scores are: those of validation subjects are no test results."""
        return "validation" if self.validation else "test"

    @property
    def other_corpus(self) -> Corpus | None:
        """The corpus whose faces are scored, if that is another than is trained on."""
        return None if self.validation else self.test

    @property
    def moves_tested(self) -> bool:
        """Whether the scored faces are centred: validation faces are of the corpus that is trained on."""
        return self.centred and self.other_corpus is not None

    @property
    def repeats(self) -> int:
        """How many folds there are, each with its own test subjects."""
        return self.folds if self.protocol in ("subject_kfold", "loso") else 1

    @model_validator(mode="after")
    def _fits_the_protocol(self) -> Self:
        if self.fold >= self.repeats:
            raise ValueError(f"fold is {self.fold}, and protocol {self.protocol} has folds 0 to {self.repeats - 1}")
        if (self.test is not None) != (self.protocol == "cross_dataset"):
            raise ValueError("protocol cross_dataset needs test, the corpus to be tested on; the others have none")
        if self.centred and self.test is None:
            raise ValueError(
                f"centred moves the faces of another dataset, and {self.protocol} tests on the one that is trained on; "
                "leave it out"
            )
        if self.validation and self.repeats > 1:
            raise ValueError(
                f"validation subjects are no test subjects, and under {self.protocol} everybody is one; use holdout or "
                "cross_dataset"
            )
        if self.split_seed is not None and self.protocol in ("loso", "cross_dataset"):
            raise ValueError(f"split_seed draws test subjects, and {self.protocol} draws none; leave it out")
        if len(set(self.shots)) < len(self.shots):
            raise ValueError(f"shots repeat: {list(self.shots)}")
        return self
