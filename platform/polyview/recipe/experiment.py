"""One recipe, from faces to scores."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from polyview.recipe.corpus import Corpus
from polyview.recipe.evaluation import Evaluation
from polyview.recipe.language import Language
from polyview.recipe.objective import Objective
from polyview.recipe.schema import STORED, FileName, Model, Natural, PositiveFloat, Seed, Share, equals
from polyview.recipe.training import Training
from polyview.recipe.weights import CONFIG, HUB, LOCAL, OWN, own_towers, weights_file, why_no_start

Output = Literal["shaded", "color", "texture", "normal", "depth"]
Level = Annotated[int, Field(ge=0, le=255)]


class Views(Model):
    """A rig of cameras around the face."""

    rig: Literal["arc", "front_left_right"] = "arc"
    count: Annotated[int, Field(gt=0, le=1000)] = 3
    span: Annotated[float, Field(ge=0, le=180)] | None = Field(
        None, description="degrees from the first camera to the last; null: 60 for arc, 120 for front_left_right"
    )

    @model_validator(mode="after")
    def _front_left_right_is_three(self) -> Self:
        if self.rig == "front_left_right" and self.count != 3:
            raise ValueError(f"rig front_left_right has 3 views, not {self.count}; use rig arc for another count")
        return self

    @model_validator(mode="after")
    def _stand_apart(self, info: ValidationInfo) -> Self:
        if self.count > 1 and self.span == 0 and info.context != STORED:
            raise ValueError(
                f"span is 0, so that all {self.count} cameras stand in one place and see the same; set count: 1, or a "
                "span"
            )
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

    tower: str = Field(
        "tiny-resnet", description="an open_clip model's name, one of polyview's own, or hf-hub:OWNER/NAME"
    )
    pretrained: str | None = Field(
        None,
        description="polyview: its own, of tiny-resnet; open_clip's tag of weights; a local file, or a folder as "
        "`polyview export` writes it; of a tower of the hub its own address; null: random",
    )
    pretrained_content: tuple[str, str] | None = Field(
        None,
        exclude_if=equals(None),
        validate_default=True,
        description="of pretrained, where it is a file: its path and the hash of its content, found as it is read",
    )
    image_layers: Natural | None = Field(
        None,
        exclude_if=equals(None),
        description="of the image tower, how many last layers are trained; null: all, 0: none, it is frozen",
    )
    text_layers: Natural | None = Field(
        None, description="of the text tower, how many last layers are trained; null: all, 0: none, it is frozen"
    )
    patch_dropout: Share | None = Field(
        None,
        exclude_if=equals(None),
        description="vision transformers: the share of a picture's patches that training leaves out; null: none",
    )
    projector: tuple[Annotated[int, Field(gt=0, le=65_536)], ...] = Field(
        (128, 128), description="widths of the decorrelation head; none if empty"
    )
    fusion: Literal["attention", "mean", "concat"] = "attention"
    temporal: Literal["frame", "mean", "dynamic_image", "attention"] = Field(
        "frame",
        description="of a sequence: each frame is a sample, and their embeddings are averaged for the probes; or its "
        "pictures become one, their mean or their dynamic image; or a small transformer makes one of their embeddings",
    )
    frames: Annotated[int, Field(ge=2)] = Field(
        FRAMES,
        exclude_if=equals(FRAMES),
        description="attention: how many frames of a sequence are taken, evenly spread; those of a shorter one repeat",
    )

    @field_validator("pretrained")
    @classmethod
    def _file_is_the_same_in_every_folder(cls, path: str | None, info: ValidationInfo) -> str | None:
        file = weights_file(info.data.get("tower", ""), path)
        return str(Path(path).absolute()) if file and path and path != OWN else path

    @field_validator("pretrained_content", mode="before")
    @classmethod
    def _is_of_the_file(cls, known: Any, info: ValidationInfo) -> Any:
        path = info.data.get("pretrained")
        file = weights_file(info.data.get("tower", ""), path)
        # A file that is gone, or another machine's, is the one that it was when the recipe was read; and results are of
        # the file that was there then, whatever lies in its place now.
        if known and known[0] == path and (info.context == STORED or not file):
            return tuple(known)
        return (path, weights_digest(file)) if file else None

    @model_validator(mode="after")
    def _names_its_start(self, info: ValidationInfo) -> Self:
        if info.context != STORED and (reason := why_no_start(self.tower, self.pretrained)):
            raise ValueError(reason)
        return self

    @property
    def start(self) -> str | None:
        """What the towers start from, None: random weights; earlier versions took what lies at a tower's address."""
        return self.pretrained or (self.tower if self.tower.startswith((HUB, LOCAL)) else None)


class Experiment(Model):
    """One recipe, from faces to scores."""

    name: FileName
    revision: Annotated[int, Field(ge=1, le=2)] = Field(
        2,
        description="how defaults and parts are meant; 1, as once: decorrelation and redundancy are sums over all "
        "dimensions, and fusion: attention is added to the mean",
    )
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
        if views < 2 and not objective.augmented_terms and (names := (*objective.view_terms, *unlabelled)):
            raise ValueError(
                f"objective.{names[0]} needs pairs of views and rendering.views.count is {views}; "
                f"set objective.decorrelation.augment: true, or remove objective.{names[0]}"
            )
        if objective.augmented_terms and not self.training.augment:
            raise ValueError(f"objective.{objective.augmented_terms[0]}.augment needs training.augment: true")
        if self.training.persons and self.language.labelled < 1:
            raise ValueError(
                "training.persons makes batches of whole people, and language.labelled of labelled samples and others; "
                "set one of them to null or 1"
            )
        if self.training.flip and self.rendering.shading == "normal":
            raise ValueError(
                "training.flip mirrors pictures, and the colours of rendering.shading: normal are directions, which "
                "would stay; set training.flip: false"
            )
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
        left_out = set(self.corpus.expressions) - set(self.evaluation.test.expressions if self.evaluation.test else ())
        if self.evaluation.centred and left_out:
            raise ValueError(
                "evaluation.centred moves faces onto the mean of all classes, and evaluation.test.expressions leaves "
                f"out {', '.join(sorted(left_out))}, without which their own mean is another; leave centred out"
            )
        if self.evaluation.test == self.corpus:
            raise ValueError("evaluation.test is the corpus that is trained on; name another, or use holdout")
        unsaid = [name for name in self.corpus.expressions if self.language.own and not self.language.own.get(name)]
        if unsaid:
            raise ValueError(
                f"language.own, or language.file, has no prompts for {', '.join(unsaid)}; it has some for "
                f"{', '.join(self.language.own)}"
            )
        waits = self.language.prompts == "pseudo" and self.language.pseudo.start
        if waits and not set(objective.terms) - set(objective.text_terms):
            raise ValueError("language.pseudo.start needs a term without text to train on until then, such as contrast")
        if "supervised" in objective.terms and self.language.prompts != "label":
            raise ValueError("objective.supervised reads every sample's label; set language.prompts: label")
        return self

    @property
    def scored_corpus(self) -> Corpus:
        """Whose people are scored."""
        return self.evaluation.other_corpus or self.corpus

    @property
    def supervision(self) -> Literal["label", "pseudo", "none"]:
        """Where the classes come from that its training learns from: `none` if no loss term reads any."""
        reads = self.objective.label_terms or self.objective.pair_terms
        return self.language.prompts if reads and self.training.trains else "none"

    @property
    def digest(self) -> str:
        """Sixteen hex digits that identify what is computed.

        The name, how many bad meshes are borne, how many workers there are, what each has of the model and how they
        come by their pictures do not count: a trial may go on with others. A file of pretrained weights counts by its
        content, wherever it lies.
        """
        immaterial: Mapping[str, set[str] | bool] = {
            "name": True,
            "corpus": {"max_rejected"},
            "training": {"workers", "sharding", "ingest"},
        }
        content = self.model_dump(mode="json", exclude=immaterial)
        if tested := content["evaluation"]["test"]:
            tested["max_rejected"] = Corpus.model_fields["max_rejected"].default
        if file := content["model"].pop("pretrained_content", None):
            content["model"]["pretrained"] = file[1]
        if self.revision == 1:
            del content["revision"]
        return digest(content)


def digest(content: Any) -> str:
    """Sixteen hex digits of the BLAKE2 hash of `content` as canonical JSON."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def own_contents() -> list[str]:
    """The hashes of the weights that polyview brings along, by which a recipe without paths names them."""
    files = (weights_file(tower, OWN) for tower in own_towers())
    return [file_digest(file) for file in files if file]


def weights_digest(file: Path) -> str:
    """What identifies a file of weights: its content, and how a config beside it has pictures normalised."""
    beside = file.with_name(CONFIG)
    if not beside.is_file():
        return file_digest(file)
    try:
        pictures = json.loads(beside.read_text()).get("preprocess_cfg")
    except (ValueError, AttributeError):  # which is told where the towers are built
        pictures = None
    return digest([file_digest(file), pictures]) if pictures else file_digest(file)


def file_digest(path: Path) -> str:
    """Thirty-two hex digits of the BLAKE2 hash of a file's content; one that has not changed is read once."""
    state = path.stat()
    return _file_digest(path, state.st_mtime_ns, state.st_size)


@functools.cache
def _file_digest(path: Path, _changed: int, _size: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
