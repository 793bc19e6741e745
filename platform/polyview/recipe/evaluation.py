"""Who the test subjects are, and what is measured on them."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from polyview.recipe.corpus import Corpus
from polyview.recipe.schema import Model, Natural, Share

ProbeName = Literal["linear", "knn", "zero_shot"]
MetricName = Literal[
    "linear/accuracy",
    "linear/uf1",
    "linear/uar",
    "knn/accuracy",
    "knn/uf1",
    "knn/uar",
    "zero_shot/accuracy",
    "zero_shot/uf1",
    "zero_shot/uar",
]


class Evaluation(Model):
    """Who the test subjects are, and by which probes embeddings are scored."""

    protocol: Literal["holdout", "subject_kfold", "loso", "cross_dataset"] = "holdout"
    share: Share = Field(0.3, description="holdout: share of the subjects that pretraining never sees")
    folds: Annotated[int, Field(ge=2)] = Field(
        10,
        description="subject_kfold: parts of the subjects, each tested on once; loso: the number of subjects",
    )
    fold: Natural = Field(0, description="which of the folds has the test subjects; a study runs them all")
    test: Corpus | None = Field(None, description="cross_dataset: the faces that are tested on, all of them")
    probes: tuple[ProbeName, ...] = Field(("linear", "knn", "zero_shot"), min_length=1)

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
        return self
