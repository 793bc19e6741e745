"""One recipe, from faces to scores."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from polyview.errors import UserError
from polyview.recipe.objective import Objective
from polyview.recipe.schema import Interval, Model, Natural, Positive, PositiveFloat, Seed, Share, Unit, Weight
from polyview.storage.mirror import expanded


def _absolute(root: str) -> str:
    # A recipe means the same folder, and has the same hash, wherever it is read.
    try:
        return str(expanded(root).absolute())
    except UserError as error:
        raise ValueError(error) from None


# A setting that came later is not part of recipes that do not use it: their hashes stay.
def _is_zero(number: int) -> bool:
    return number == 0


def _is_none(setting: object) -> bool:
    return setting is None


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
Output = Literal["shaded", "color", "texture", "normal", "depth"]
Level = Annotated[int, Field(ge=0, le=255)]


class Generator(Model):
    """How many faces the datasets that make their own (synthetic, facekit) should make."""

    subjects: Positive = 100
    sequences: Positive = Field(2, description="sequences per subject and expression")
    frames: Positive = Field(1, description="frames per sequence, neutral to apex to neutral; 1 is the apex")
    apex: Interval = Field((0.7, 1.0), description="range of the expression's strength at the apex")
    pose: Weight = Field(5.0, description="standard deviation of the head's yaw and pitch, degrees")
    noise: Weight = Field(0.0, description="standard deviation of the scan noise, millimetres")
    holes: Natural = Field(0, description="scan holes per face")
    seed: Natural = 0


Direction = Literal["x", "-x", "y", "-y", "z", "-z"]


class Axes(Model):
    """Which way the files' faces lie: the axis that goes up, and the one that comes out of the face."""

    up: Direction = "y"
    front: Direction = "z"


class Geometry(Model):
    """What is done to each mesh as it is loaded, in this order; by default nothing, and of a folder unit and axes."""

    unit: PositiveFloat | Literal["auto"] | None = Field(
        None, description="millimetres per unit of the files; auto: as the extent shows; null: auto of a folder"
    )
    axes: Axes | Literal["auto"] | None = Field(
        None,
        exclude_if=_is_none,
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
        None, description="the dataset's folder; none for synthetic"
    )
    table: str | None = Field(None, description="folder only: CSV or Parquet with path, subject, expression")
    pattern: str | None = Field(
        None, description="folder only, in place of a table: such as {subject}/{expression}/{frame}.obj"
    )
    subset: Literal["I", "II"] | None = Field(
        None, description="bu3dfe only: I is 60 subjects and the two highest intensities, II all subjects and all"
    )
    code_shift: int = Field(
        0,
        exclude_if=_is_zero,
        description="bp4d only: what is added to the frame of an action unit's code to get the mesh's number; -1 where "
        "codes count from 1 and meshes from 0, as in some copies of BP4D+",
    )
    frames: Literal["all", "rise", "apex"] = Field(
        "all", description="of a sequence: all, those up to the strongest, or the strongest alone"
    )
    every: Positive = Field(1, description="of the frames of a sequence, keep each so-manieth")
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
        if self.subset and self.dataset != "bu3dfe":
            raise ValueError(f"subset is a protocol of bu3dfe; {self.dataset} has none")
        if self.code_shift and self.dataset != "bp4d":
            raise ValueError(f"code_shift is about the action units of bp4d; {self.dataset} has none")
        if self.pattern and (self.dataset != "folder" or self.table):
            raise ValueError("pattern is for dataset folder, in place of table")
        return self


class Views(Model):
    """A rig of cameras around the face."""

    rig: Literal["arc", "front_left_right"] = "arc"
    count: Positive = 3
    span: Annotated[float, Field(ge=0, le=180)] | None = Field(
        None, description="degrees from the first camera to the last; null: 60 for arc, 120 for front_left_right"
    )

    @model_validator(mode="after")
    def _front_left_right_is_three(self) -> Self:
        if self.rig == "front_left_right" and self.count != 3:
            raise ValueError(f"rig front_left_right has 3 views, not {self.count}; use rig arc for another count")
        return self


class Rendering(Model):
    """How a mesh becomes views."""

    views: Views = Views()
    size: Annotated[int, Field(ge=16, le=1024)] = Field(64, description="pixels, square")
    shading: Output = Field("shaded", description="lit albedo, colours or texture unlit, directions, or distances")
    outputs: tuple[Output, ...] = Field((), description="further pictures of the same pass, in columns of their own")
    albedo: Literal["color", "grey"] = Field("color", description="what is lit: the face's own colours, or plain grey")
    light: Literal["camera", "world"] = Field("camera", description="what the light is fixed to")
    culling: bool = Field(False, description="leave out triangles seen from behind; scans are open, so they show")
    supersampling: Literal[1, 2] = Field(1, description="samples per pixel each way: 2 smooths edges")
    background: tuple[Level, Level, Level] = Field((64, 64, 64), description="red, green, blue")
    framing: Literal["face", "whole"] = Field("face", description="the face fills the picture, or the whole mesh")
    radius: PositiveFloat = Field(95.0, description="half the picture's width at the face, millimetres")
    backend: Literal["auto", "raster", "opengl"] = "auto"

    @model_validator(mode="after")
    def _names_each_output_once(self) -> Self:
        drawn = (self.shading, *self.outputs)
        twice = [output for output in drawn if drawn.count(output) > 1]
        if twice:
            raise ValueError(
                f"{twice[0]} is asked for twice: outputs are drawn beside shading, which is {self.shading}"
            )
        return self


FRAMES = 8


class Modeling(Model):
    """The towers, and what joins the views."""

    tower: str = Field("tiny-resnet", description="an open_clip model's name, or one of polyview's own")
    pretrained: str | None = Field(None, description="open_clip's tag of pretrained weights, or a local file")
    text_layers: Natural | None = Field(
        None, description="of the text tower, how many last layers are trained; null: all, 0: none, it is frozen"
    )
    projector: tuple[Positive, ...] = Field((128, 128), description="widths of the decorrelation head; none if empty")
    fusion: Literal["attention", "mean", "concat"] = "attention"
    temporal: Literal["frame", "mean", "dynamic_image", "attention"] = Field(
        "frame",
        description="of a sequence: each frame is a sample, and their embeddings are averaged for the probes; or its "
        "pictures become one, their mean or their dynamic image; or a small transformer makes one of their embeddings",
    )
    frames: Annotated[int, Field(ge=2)] = Field(
        FRAMES,
        exclude_if=lambda frames: frames == FRAMES,
        description="attention: how many frames of a sequence are taken, evenly spread; those of a shorter one repeat",
    )


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

    In a file, `file` names a YAML file of a list of prompts per expression. It is read into `own` at once, so that
    the prompts themselves are part of the recipe and of its identity.
    """

    prompts: Literal["label", "pseudo", "none"] = "label"
    ensemble: Positive = Field(4, description="prompts per class")
    attributes: bool = Field(False, description="a further prompt per class and sort of person, by age and gender")
    own: dict[str, tuple[str, ...]] = Field(
        default_factory=dict, description="prompts by expression, in place of the built-in ones"
    )
    pseudo: Pseudolabels = Pseudolabels()


class Training(Model):
    """The optimiser and its schedule."""

    epochs: Natural = Field(10, description="0 evaluates the towers as they are")
    batch_size: Annotated[int, Field(ge=2)] = 64
    lr: PositiveFloat = 1e-3
    weight_decay: Weight = 0.05
    warmup: Annotated[float, Field(ge=0, lt=1)] = Field(0.1, description="share of the steps")
    augment: bool = Field(True, description="a small random turn, zoom, shift and change of light on each view")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", description="auto: bf16 where the device computes it natively, else fp32; the record says which it was"
    )
    accumulate: Positive = Field(
        1, description="parts in which the image tower takes a batch, for less memory; the losses still see it whole"
    )
    workers: Positive = 1
    ingest: Literal["mapped", "streaming"] = Field(
        "mapped", description="streaming: pictures come through Ray Data and are not kept, for a disk that is too small"
    )

    @model_validator(mode="after")
    def _workers_have_equal_shares(self) -> Self:
        if self.batch_size % self.workers:
            raise ValueError(f"batch_size {self.batch_size} does not divide by workers {self.workers}")
        return self


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


class Experiment(Model):
    """One recipe, from faces to scores."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    corpus: Corpus = Corpus()
    rendering: Rendering = Rendering()
    model: Modeling = Modeling()
    language: Language = Language()
    objective: Objective
    training: Training = Training()
    evaluation: Evaluation = Evaluation()
    seed: Seed = Field(0, description="of the split, the weights, the batches: all that is random")

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        objective, views = self.objective, self.rendering.views.count
        unlabelled = objective.pair_terms if self.language.prompts == "none" else ()
        if views < 2 and not objective.augment and (names := (*objective.view_terms, *unlabelled)):
            raise ValueError(
                f"objective.{names[0]} needs pairs of views and rendering.views.count is {views}; "
                f"set objective.decorrelation.augment: true, or remove objective.{names[0]}"
            )
        if objective.augment and not self.training.augment:
            name = "decorrelation" if objective.decorrelation and objective.decorrelation.augment else "simclr"
            raise ValueError(f"objective.{name}.augment needs training.augment: true")
        if views < 2 and self.model.fusion == "concat":
            raise ValueError("model.fusion: concat joins two views or more, and rendering.views.count is 1; use mean")
        if self.corpus.frames == "apex" and self.model.temporal in ("dynamic_image", "attention"):
            raise ValueError(
                f"model.temporal: {self.model.temporal} needs several frames of a sequence, and corpus.frames: apex "
                "leaves one; use model.temporal: frame, or corpus.frames: rise"
            )
        if self.language.prompts == "none" and objective.text_terms:
            raise ValueError(f"objective.{objective.text_terms[0]} needs text; language.prompts is none")
        strange = set(self.evaluation.test.expressions if self.evaluation.test else ()) - set(self.corpus.expressions)
        if strange:
            raise ValueError(
                f"evaluation.test.expressions has {', '.join(sorted(strange))}, which corpus.expressions has not; "
                "list those that both have"
            )
        if self.evaluation.test == self.corpus:
            raise ValueError("evaluation.test is the corpus that is trained on; name another, or use holdout")
        unsaid = [name for name in self.corpus.expressions if self.language.own and not self.language.own.get(name)]
        if unsaid:
            raise ValueError(f"language.own has no prompts for {', '.join(unsaid)}")
        waits = self.language.prompts == "pseudo" and self.language.pseudo.start
        if waits and not set(objective.terms) - set(objective.text_terms):
            raise ValueError("language.pseudo.start needs a term without text to train on until then, such as contrast")
        if objective.supervised and self.language.prompts != "label":
            raise ValueError("objective.supervised reads every sample's label; set language.prompts: label")
        return self

    @property
    def digest(self) -> str:
        """Sixteen hex digits that identify what is computed.

        The name, what bad meshes are borne, how many workers there are and how they come by their pictures do not
        count: a trial may go on with others.
        """
        immaterial: Mapping[str, set[str] | bool] = {
            "name": True,
            "corpus": {"max_rejected"},
            "training": {"workers", "ingest"},
        }
        return digest(self.model_dump(mode="json", exclude=immaterial))


def digest(content: Any) -> str:
    """Sixteen hex digits of the BLAKE2 hash of `content` as canonical JSON."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
