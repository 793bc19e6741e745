"""How the model is trained: its batches, its optimiser, and what is done to the pictures."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from polyview.recipe.schema import Model, Natural, Positive, PositiveFloat, Share, Unit, Weight, equals

EPOCHS = 10


def _epochs(fields: dict[str, Any]) -> int | None:
    return None if fields.get("steps") else EPOCHS


class Training(Model):
    """The optimiser and its schedule, the batches, and how pictures are varied."""

    steps: Positive | None = Field(
        None, exclude_if=equals(None), description="in place of epochs: how many steps are taken in all"
    )
    epochs: Natural | None = Field(
        default_factory=_epochs, description="0 evaluates the towers as they are; null where steps are given"
    )
    batch_size: Annotated[int, Field(ge=2)] = 64
    persons: Positive | None = Field(
        None,
        exclude_if=equals(None),
        description="how many people are in a batch, each with as many samples; null: samples of anybody",
    )
    lr: PositiveFloat = 1e-3
    head_lr: PositiveFloat | None = Field(
        None,
        exclude_if=equals(None),
        description="the learning rate of all that has no pretrained weights: fusion, projector, classifier; null: lr",
    )
    layer_decay: Annotated[float, Field(gt=0, le=1)] = Field(
        1.0,
        exclude_if=equals(1.0),
        description="of the learning rate, from each layer of the towers to the one before it; 1: all have lr",
    )
    weight_decay: Weight = 0.05
    warmup: Annotated[float, Field(ge=0, lt=1)] = Field(0.1, description="share of the steps")
    ema: Share | None = Field(
        None,
        exclude_if=equals(None),
        description="decay of an exponential moving average of the weights, which is what is evaluated; null: none",
    )
    augment: bool = Field(True, description="a small random turn, zoom, shift and change of light on each view")
    crop: Share | None = Field(
        None,
        exclude_if=equals(None),
        description="a random crop of each view, of this share of its area or more, made as large as the view",
    )
    erase: Unit = Field(
        0.0, exclude_if=equals(0.0), description="how probable it is that a rectangle of a view is made one colour"
    )
    flip: bool = Field(
        False,
        exclude_if=equals(False),
        description="every second face is mirrored: its pictures, and which camera has which of them",
    )
    precision: Literal["auto", "fp32", "tf32", "bf16", "fp16"] = Field(
        "auto",
        description="auto: bf16 where the device computes it natively, else fp32; the record says which it was; tf32: "
        "fp32 whose products a GPU may round",
    )
    compile: bool = Field(
        False, exclude_if=equals(False), description="by torch.compile: minutes at the start, then quicker steps"
    )
    accumulate: Positive = Field(
        1, description="parts in which the image tower takes a batch, for less memory; the losses still see it whole"
    )
    workers: Positive = 1
    sharding: Literal["ddp", "fsdp"] = Field(
        "ddp",
        exclude_if=equals("ddp"),
        description="ddp: each worker has the whole model; fsdp: its part of the weights, gradients and moments, for "
        "towers that do not fit",
    )
    ingest: Literal["mapped", "streaming"] = Field(
        "mapped", description="streaming: pictures come through Ray Data and are not kept, for a disk that is too small"
    )

    @property
    def trains(self) -> bool:
        """Whether there is anything to train: 0 epochs evaluate the towers as they are."""
        return bool(self.steps or self.epochs)

    def total_steps(self, per_epoch: int) -> int:
        """How many steps are taken in all, of `per_epoch` in an epoch."""
        return self.steps or (self.epochs or 0) * per_epoch

    @model_validator(mode="after")
    def _is_as_long_as_one_of_both_says(self) -> Self:
        if self.steps and self.epochs is not None:
            raise ValueError(f"steps is {self.steps} and epochs {self.epochs}; set one of them to null")
        if not self.steps and self.epochs is None:
            raise ValueError("neither steps nor epochs says how long training takes; set one of them")
        return self

    @model_validator(mode="after")
    def _workers_have_equal_shares(self) -> Self:
        if self.batch_size % self.workers:
            raise ValueError(f"batch_size {self.batch_size} does not divide by workers {self.workers}")
        return self

    @model_validator(mode="after")
    def _is_sharded_over_several_workers(self) -> Self:
        if self.sharding == "fsdp" and self.workers == 1:
            raise ValueError("sharding: fsdp spreads the model over workers, and workers is 1; set one of them anew")
        return self

    @model_validator(mode="after")
    def _persons_have_equal_shares(self) -> Self:
        if self.persons and self.batch_size % self.persons:
            raise ValueError(f"batch_size {self.batch_size} does not divide by persons {self.persons}")
        return self
