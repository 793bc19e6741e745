"""Where text comes from: prompts, and the labels or pseudo-labels that they are written from."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from polyview.recipe.schema import Model, Natural, Positive, PositiveFloat, equals


class Pseudolabels(Model):
    """How samples are given classes without reading a label: by their embeddings and the classes' prompts.

    The paper leaves all of it open. The defaults are those with which towers without pretrained weights learned.
    """

    assign: Literal["sinkhorn", "kmeans"] = "kmeans"
    centre: Literal["subject", "all"] = Field(
        "subject", description="whose mean a face is compared with before it is assigned: its own person's, or all's"
    )
    start: Natural = Field(
        0, description="epochs before the first assignment; each sample is its own class then, and terms with text rest"
    )
    refresh: Positive = Field(1, description="epochs from one assignment to the next")
    confident: Annotated[float, Field(gt=0, le=1)] = Field(
        0.5, description="share of the samples whose pseudo-label is taken to be right: those of the largest margin"
    )
    sharpness: PositiveFloat = Field(20.0, description="sinkhorn: the inverse of the entropy's weight, 1 / epsilon")


class Language(Model):
    """Where a prompt comes from: the sample's own label (weak supervision), a pseudo-label, or nowhere.

    `labelled` says of how many of the training subjects a label may be read at all, by the losses or by the probes;
    the others' samples are seen without text.

    In a file, `file` names a YAML file of a list of prompts per expression. It is read into `own` at once, so that
    the prompts themselves are part of the recipe and of its identity; those that a study's variants name are read with
    the study, into `Study.files`.
    """

    prompts: Literal["label", "pseudo", "none"] = "label"
    labelled: Annotated[float, Field(gt=0, le=1)] = Field(
        1.0,
        exclude_if=equals(1.0),
        description="share of the training subjects whose labels may be read, one at least; under one seed a larger "
        "share has all the people of a smaller one",
    )
    unlabelled: Literal["none", "pseudo"] = Field(
        "none",
        exclude_if=equals("none"),
        description="prompts label: what text the other subjects' samples have, none or that of a pseudo-label",
    )
    shuffled: Literal["none", "pretraining", "all"] = Field(
        "none",
        exclude_if=equals("none"),
        description="for audits: exchange the labels of the training samples at random, those that pretraining may "
        "read, or those of the probes too",
    )
    ensemble: Positive = Field(4, description="prompts per class")
    attributes: bool = Field(False, description="a further prompt per class and sort of person, by age and gender")
    own: dict[str, tuple[str, ...]] = Field(
        default_factory=dict, description="prompts by expression, in place of the built-in ones"
    )
    pseudo: Pseudolabels = Pseudolabels()

    @property
    def assigns(self) -> bool:
        """Whether samples are given pseudo-labels: all of them, or those whose labels may not be read."""
        return self.prompts == "pseudo" or (self.unlabelled == "pseudo" and self.labelled < 1)

    @model_validator(mode="after")
    def _unlabelled_are_beside_labelled(self) -> Self:
        if self.unlabelled == "pseudo" and self.prompts != "label":
            raise ValueError(
                f"unlabelled: pseudo gives text to those without a label, beside prompts: label, and prompts is "
                f"{self.prompts}; set prompts: label, or leave unlabelled out"
            )
        return self
