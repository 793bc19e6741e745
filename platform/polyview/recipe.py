"""What a user may ask for: an `Experiment` is one recipe, a `Study` compares many.

Both are read from YAML, validated as a whole (every fault is listed at once, with its dotted path),
frozen, and identified by the hash of their content.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import AfterValidator, Field, ValidationError, model_validator
from yaml import YAMLError

from polyview.errors import UserError
from polyview.faults import describe_faults
from polyview.schema import Interval, Model, Natural, Positive, PositiveFloat, Seed, Share, Unit, Weight
from polyview.terms import Objective

M = TypeVar("M", bound=Model)


def _absolute(root: str) -> str:
    # A recipe means the same folder, and has the same hash, wherever it is read.
    return str(Path(root).expanduser().absolute())


DatasetName = Literal["synthetic", "facekit", "folder"]
EXPRESSIONS = ("neutral", "anger", "disgust", "fear", "happiness", "sadness", "surprise")
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


class Corpus(Model):
    """Which faces: a dataset, where it lies, and what of it is used."""

    dataset: DatasetName = "synthetic"
    root: Annotated[str, AfterValidator(_absolute)] | None = Field(
        None, description="the dataset's folder; none for synthetic"
    )
    table: str | None = Field(None, description="folder only: CSV or Parquet with path, subject, expression")
    expressions: tuple[str, ...] = Field(EXPRESSIONS, min_length=2)
    intensity: Interval = Field((0.0, 1.0), description="frames kept, by intensity; neutral always stays")
    max_rejected: Unit = Field(0.1, description="share of unreadable meshes above which rendering is an error")
    generator: Generator = Generator()

    @model_validator(mode="after")
    def _has_a_root(self) -> Self:
        if self.dataset != "synthetic" and self.root is None:
            raise ValueError(f"dataset {self.dataset} needs corpus.root, the folder where it lies")
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
    shading: Literal["shaded", "color"] = Field("shaded", description="lit albedo, or vertex colours unlit")
    albedo: Literal["color", "grey"] = Field("color", description="what is lit: vertex colours, or plain grey")
    framing: Literal["face", "whole"] = Field("face", description="the face fills the picture, or the whole mesh")
    radius: PositiveFloat = Field(95.0, description="half the picture's width at the face, millimetres")
    backend: Literal["auto", "raster", "opengl"] = "auto"


class Modeling(Model):
    """The towers, and what joins the views."""

    tower: str = Field("tiny-resnet", description="an open_clip model's name, or one of polyview's own")
    pretrained: str | None = Field(None, description="open_clip's tag of pretrained weights, or a local file")
    text_layers: Natural | None = Field(
        None, description="of the text tower, how many last layers are trained; null: all, 0: none, it is frozen"
    )
    projector: tuple[Positive, ...] = Field((128, 128), description="widths of the decorrelation head; none if empty")
    fusion: Literal["attention", "mean"] = "attention"


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
    precision: Literal["fp32", "bf16"] = "fp32"
    accumulate: Positive = Field(
        1, description="parts in which the image tower takes a batch, for less memory; the losses still see it whole"
    )
    workers: Positive = 1

    @model_validator(mode="after")
    def _workers_have_equal_shares(self) -> Self:
        if self.batch_size % self.workers:
            raise ValueError(f"batch_size {self.batch_size} does not divide by workers {self.workers}")
        return self


class Evaluation(Model):
    """Who is set aside, and what is asked of the embeddings."""

    protocol: Literal["holdout"] = "holdout"
    share: Share = Field(0.3, description="share of the subjects that pretraining never sees")
    probes: tuple[ProbeName, ...] = Field(("linear", "knn", "zero_shot"), min_length=1)


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
        if self.language.prompts == "none" and objective.text_terms:
            raise ValueError(f"objective.{objective.text_terms[0]} needs text; language.prompts is none")
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
        """Sixteen hex digits that identify the content; the name and what bad meshes are borne do not count."""
        return digest(self.model_dump(mode="json", exclude={"name": True, "corpus": {"max_rejected"}}))


class Resources(Model):
    """What one worker of one trial occupies."""

    cpus: Positive = 1
    gpus: Weight = 0


class Study(Model):
    """A comparison: one experiment, varied."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    experiment: Experiment
    seeds: tuple[Seed, ...] = Field((0, 1, 2), min_length=1)
    metric: MetricName = "linear/accuracy"
    baseline: str = "full"
    remove: dict[str, str] = Field(default_factory=dict)
    variants: dict[str, dict[str, Any]] = Field(default_factory=dict)
    grid: dict[str, tuple[Any, ...]] = Field(default_factory=dict)
    references: bool = Field(True, description="add rows for raw pixels and for the untrained tower")
    resources: Resources = Resources()

    @model_validator(mode="after")
    def _lists_are_sound(self) -> Self:
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds repeat: {list(self.seeds)}")
        empty = [key for key, values in self.grid.items() if not values]
        if empty:
            raise ValueError(f"grid lists no value for {', '.join(empty)}")
        both = sorted(set(self.remove) & set(self.variants))
        if both:
            raise ValueError(f"named in both remove and variants: {', '.join(both)}")
        probe, probes = self.metric.partition("/")[0], self.experiment.evaluation.probes
        if probe not in probes:
            raise ValueError(f"metric is {self.metric}, and experiment.evaluation.probes has only {', '.join(probes)}")
        return self


def digest(content: Any) -> str:
    """Sixteen hex digits of the BLAKE2 hash of `content` as canonical JSON."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def build_corpus(dataset: str, root: str | None, assignments: Sequence[str] = ()) -> Corpus:
    """A corpus by itself, with `key=value` assignments to its own keys; raises `UserError`."""
    content = {"dataset": dataset, "root": root}
    overrides = {key.removeprefix("corpus."): value for key, value in _parse(assignments).items()}
    return _validate(Corpus, _updated(OmegaConf.create(content), overrides), f"scan {dataset}")


def with_overrides(experiment: Experiment, overrides: Mapping[str, Any], place: str = "overrides") -> Experiment:
    """The experiment with dotted keys replaced, validated anew.

    Raises `UserError` that lists every fault, with `place` said first.
    """
    config = OmegaConf.create(experiment.model_dump(mode="json"))
    return _validate(Experiment, _updated(config, overrides), place)


def load_experiment(path: Path, assignments: Sequence[str] = ()) -> Experiment:
    """Read an experiment from YAML, with `key=value` assignments on top; raises `UserError`."""
    config = _read(path)
    return _validate(Experiment, _updated(config, _parse(assignments)), str(path))


def load_study(path: Path, assignments: Sequence[str] = ()) -> Study:
    """Read a study from YAML; raises `UserError`.

    `experiment` in the file is a path relative to the file, or a recipe written in place. An assignment
    whose first name is a key of the study (`seeds=[0,1]`) changes the study; any other changes the experiment.
    """
    config = _read(path)
    if isinstance(config.get("experiment"), str):
        config["experiment"] = _read(path.parent / config["experiment"])
    for key, value in _parse(assignments).items():
        own = key.split(".")[0] in Study.model_fields
        config = OmegaConf.create(_updated(config, {key if own else f"experiment.{key}": value}))
    return _validate(Study, OmegaConf.to_container(config), str(path))


def to_yaml(experiment: Experiment) -> str:
    """The experiment as YAML that `load_experiment` reads back."""
    return OmegaConf.to_yaml(OmegaConf.create(experiment.model_dump(mode="json")))


def _read(path: Path) -> Any:
    try:
        config = OmegaConf.load(path)
        OmegaConf.resolve(config)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; the repository's recipes are in experiments/ and ablations/") from None
    except (YAMLError, OmegaConfBaseException, UnicodeDecodeError, OSError) as error:
        raise UserError(f"{path}: not readable as YAML: {' '.join(str(error).split())}") from error
    if not OmegaConf.is_dict(config):
        raise UserError(f"{path}: expected keys and values at the top level")
    return config


def _parse(assignments: Sequence[str]) -> dict[str, Any]:
    overrides: dict[str, Any] = {}
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not (key and equals):
            raise UserError(f"--set {assignment}: expected KEY=VALUE, for example --set training.epochs=20")
        try:
            overrides[key] = OmegaConf.to_container(OmegaConf.create(f"value: {value}"), resolve=True)["value"]
        except (YAMLError, OmegaConfBaseException) as error:
            raise UserError(f"--set {assignment}: the value is not readable as YAML") from error
    return overrides


def _updated(config: Any, overrides: Mapping[str, Any]) -> Any:
    config = config.copy()
    for key, value in overrides.items():
        try:
            OmegaConf.update(config, key, value, merge=False, force_add=True)
        except (OmegaConfBaseException, ValueError, IndexError):
            raise UserError(f"{key}: no such key; a list is replaced as a whole, as in seeds=[0,1]") from None
    return OmegaConf.to_container(config)


def _read_prompts(data: Any) -> None:
    """Put what `language.file` says, if it says anything, in the place of `language.own`."""
    for part in (data, data.get("experiment")):
        language = part.get("language") if isinstance(part, dict) else None
        if isinstance(language, dict) and (file := language.pop("file", None)):
            if not Path(str(file)).is_file():
                raise UserError(f"language.file: there is no file {file}")
            language["own"] = OmegaConf.to_container(_read(Path(str(file))))


def _validate(kind: type[M], data: Any, place: str) -> M:
    _read_prompts(data)
    try:
        # JSON mode keeps strictness and still takes lists for tuples.
        return kind.model_validate_json(json.dumps(data))
    except ValidationError as error:
        raise UserError(describe_faults(kind, error, place)) from None
