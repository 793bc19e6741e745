"""Which faces: a dataset, where it lies, what of it is used, and what is done to its meshes."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from polyview.errors import UserError
from polyview.recipe.schema import Interval, Model, Natural, Positive, PositiveFloat, Unit, Weight, equals
from polyview.storage.mirror import CachedPath, address, expanded, resolve


def absolute_root(root: str, named_by: str = "") -> str:
    """Where a dataset lies, which a recipe means wherever it is read: a folder's full path, or an address in a bucket.

    Raises `UserError` for what is neither; `named_by` is the key that a user gave it with.
    """
    try:
        here = resolve(root)
    except UserError as error:
        raise UserError(f"{named_by}: {error}" if named_by else str(error)) from None
    return address(here) if isinstance(here, CachedPath) else str(expanded(here, named_by).absolute())


def _absolute(root: str) -> str:
    # A recipe means the same folder, and has the same hash, wherever it is read.
    try:
        return absolute_root(root)
    except UserError as error:
        raise ValueError(error) from None


GENERATED = ("synthetic", "facekit")
"""The datasets that make their own faces, as `generator` asks for."""
DatasetName = Literal["synthetic", "facekit", "folder", "bu3dfe", "bu4dfe", "bosphorus", "bp4d", "coma"]
EXPRESSIONS = ("neutral", "anger", "disgust", "fear", "happiness", "sadness", "surprise")
OWN_EXPRESSIONS = {
    "bu4dfe": EXPRESSIONS[1:],
    "bp4d": ("happiness", "sadness", "surprise", "embarrassment", "fear", "pain", "anger", "disgust"),
    "coma": (
        "bareteeth",
        "cheeks_in",
        "eyebrow",
        "high_smile",
        "lips_back",
        "lips_up",
        "mouth_down",
        "mouth_extreme",
        "mouth_middle",
        "mouth_open",
        "mouth_side",
        "mouth_up",
    ),
}
"""What the datasets hold that have other expressions than `EXPRESSIONS`; those of bp4d in the order of its tasks."""


class Generator(Model):
    """How many faces the datasets that make their own (synthetic, facekit) should make."""

    subjects: Annotated[int, Field(gt=0, le=1_000_000)] = 100
    sequences: Annotated[int, Field(gt=0, le=10_000)] = Field(2, description="sequences per subject and expression")
    frames: Annotated[int, Field(gt=0, le=10_000)] = Field(
        1, description="frames per sequence, neutral to apex to neutral; 1 is the apex"
    )
    apex: Interval = Field((0.7, 1.0), description="range of the expression's strength at the apex")
    pose: Weight = Field(5.0, description="standard deviation of the head's yaw and pitch, degrees")
    noise: Weight = Field(0.0, description="standard deviation of the scan noise, millimetres")
    holes: Annotated[int, Field(ge=0, le=1000)] = Field(0, description="scan holes per face")
    variety: Unit = Field(
        0.0,
        exclude_if=equals(0),
        description="synthetic only: 0 are heads of one kind; 1 have other proportions, muscles and colours (or none), "
        "light in their texture, scans' faults",
    )
    seed: Natural = 0


Direction = Literal["x", "-x", "y", "-y", "z", "-z"]


class Axes(Model):
    """Which way the files' faces lie: the axis that goes up, and the one that comes out of the face."""

    up: Direction = "y"
    front: Direction = "z"


class Geometry(Model):
    """What is done to each mesh as it is loaded, in this order; by default nothing, and of a folder unit and axes."""

    unit: Annotated[float, Field(gt=0, le=1e9)] | Literal["auto"] | None = Field(
        None, description="millimetres per unit of the files; auto: as the extent shows; null: auto of a folder"
    )
    axes: Axes | Literal["auto"] | None = Field(
        None,
        exclude_if=equals(None),
        description="up and front of the files, such as {up: z, front: -y}; auto: as the surface shows; as unit",
    )
    spikes: PositiveFloat | None = Field(None, description="cut faces with an edge of more than so many median edges")
    holes: Natural = Field(0, description="close holes of up to so many edges")
    align: Literal["none", "nose", "landmarks"] = Field(
        "none", description="nose tip to the origin; landmarks: also eyes and mouth upright and facing forward"
    )
    crop: PositiveFloat | None = Field(None, description="keep what lies within so many millimetres of the nose tip")

    @field_validator("axes")
    @classmethod
    def _are_two(cls, axes: Axes | str | None) -> Axes | str | None:
        if isinstance(axes, Axes) and axes.up[-1] == axes.front[-1]:
            raise ValueError(f"up is {axes.up} and front {axes.front}: two ways along one axis")
        return axes


class Corpus(Model):
    """Which faces: a dataset, where it lies, and what of it is used."""

    dataset: DatasetName = "synthetic"
    root: Annotated[str, AfterValidator(_absolute)] | None = Field(
        None, description="the dataset's folder, on this machine or in a bucket (s3://bucket/path); none for synthetic"
    )
    table: str | None = Field(None, description="folder only: CSV or Parquet with path, subject, expression")
    pattern: str | None = Field(
        None, description="folder only, in place of a table: such as {subject}/{expression}/{frame}.obj"
    )
    subset: Literal["I", "II"] | None = Field(
        None, description="bu3dfe only: I is 60 subjects and the two highest intensities, II all subjects and all"
    )
    subjects: Positive | None = Field(
        None,
        exclude_if=equals(None),
        description="so many of those who show every one of expressions, drawn once and for all; null: everybody",
    )
    code_shift: int = Field(
        0,
        exclude_if=equals(0),
        description="bp4d only: what is added to the frame of an action unit's code to get the mesh's number; -1 where "
        "codes count from 1 and meshes from 0, as in some copies of BP4D+",
    )
    frames: Literal["all", "rise", "apex"] = Field(
        "all", description="of a sequence: all, those up to the strongest, or the strongest alone"
    )
    every: Annotated[int, Field(gt=0, le=1_000_000)] = Field(
        1, description="of the frames of a sequence, keep each so-manieth"
    )
    expressions: tuple[str, ...] = Field(
        default_factory=lambda fields: OWN_EXPRESSIONS.get(fields.get("dataset", ""), EXPRESSIONS),
        min_length=2,
        description="those that are used; if not said, all that the dataset has of the field's",
    )
    intensity: Interval = Field((0.0, 1.0), description="frames kept, by intensity; neutral always stays")
    max_rejected: Unit = Field(0.1, description="share of unreadable meshes above which rendering is an error")
    generator: Generator = Generator()
    geometry: Geometry = Geometry()

    @model_validator(mode="after")
    def _settings_fit_the_dataset(self) -> Self:
        if self.dataset != "synthetic" and self.root is None:
            raise ValueError(f"dataset {self.dataset} needs corpus.root, the folder where it lies")
        if self.dataset == "synthetic" and self.root:
            raise ValueError(
                f"root is {self.root}, and dataset is synthetic, which is generated and lies in no folder; set "
                "corpus.dataset to what lies there, as in corpus.dataset=folder"
            )
        if twice := [name for name in self.expressions if self.expressions.count(name) > 1]:
            raise ValueError(f"expressions names {twice[0]} twice; leave one out")
        if self.generator.variety and self.dataset == "facekit":
            raise ValueError("generator.variety is of synthetic heads; the people of facekit are the face model's own")
        if self.subset and self.dataset != "bu3dfe":
            raise ValueError(f"subset is a protocol of bu3dfe; {self.dataset} has none")
        if self.code_shift and self.dataset != "bp4d":
            raise ValueError(f"code_shift is about the action units of bp4d; {self.dataset} has none")
        if self.pattern and (self.dataset != "folder" or self.table):
            raise ValueError("pattern is for dataset folder, in place of table")
        return self
