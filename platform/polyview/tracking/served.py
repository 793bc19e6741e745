"""A trial's model as MLflow serves it: paths of meshes or pictures in, expression scores and embeddings out.

`mlflow.pyfunc.load_model` imports this module from the code that lies beside the model, and calls `_load_pyfunc`.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from packaging.requirements import Requirement
from PIL import Image, ImageOps
from safetensors.numpy import load_file

from polyview.corpus.formats.limits import FORMATS, format_of, pixels
from polyview.corpus.mesh import MeshError
from polyview.errors import UserError
from polyview.evaluation.probes import LinearProbe, fit_linear
from polyview.modeling.export import export_towers
from polyview.rendering.cameras import Camera, cameras
from polyview.rendering.doubts import doubt_of
from polyview.rendering.renderer import make_renderer
from polyview.storage.arrays import save_arrays
from polyview.storage.checksums import CHECKSUMS
from polyview.tracking.meshes import MeshSource
from polyview.training.batches import to_images
from polyview.training.checkpoint import Checkpoint, open_checkpoint
from polyview.trials.scoring import embedded
from polyview.trials.spec import TrialSpec

if TYPE_CHECKING:
    import pandas as pd

PACKAGE = Path(__file__).resolve().parents[1]
CHECKPOINT, TOWERS, PROBE, CLASSES, MESHES = "checkpoint", "towers", "probe.safetensors", "classes.json", "meshes.json"
PICTURES = {".png", ".jpg", ".jpeg", ".bmp", ".webp"}
SQUARE = 1.1
"""How many times as long as the other a side of a picture may be that is taken for square."""
FRONT = Camera(0, 0)


def save_model(spec: TrialSpec, folder: Path) -> None:
    """Write a finished trial's model to `folder` as MLflow has models, with a linear probe of its training subjects.

    `folder/data/polyview/towers` is for open_clip. Nothing in it is a pickle. Raises `UserError` where open_clip could
    not read the towers, the model looks at films, or its scores are of centred faces.
    """
    import mlflow.pyfunc
    import pandas as pd

    experiment = spec.experiment
    if experiment.model.temporal != "frame":
        raise UserError("a model that looks at films is not served; `polyview evaluate` scores its checkpoint")
    if experiment.evaluation.moves_tested:
        raise UserError(
            "a trial whose tested faces are centred is scored on all of them together, and a served model sees faces "
            "one by one; `polyview evaluate` scores its checkpoint"
        )
    checkpoint, (train, _) = open_checkpoint(spec.trials / experiment.digest), spec.sides()
    model = checkpoint.load_model()
    probe = fit_linear(embedded(experiment, model, train.labelled(experiment)), experiment.seed)
    meshes = MeshSource.of(train.store.manifest)
    with tempfile.TemporaryDirectory() as place:
        data = Path(place, "polyview")
        shutil.copytree(
            checkpoint.folder, data / CHECKPOINT, ignore=shutil.ignore_patterns("trainer.pt", "last_*", CHECKSUMS)
        )
        export_towers(model, experiment, checkpoint.provenance.as_metadata(), data / TOWERS)
        save_arrays({"weights": probe.weights, "biases": probe.biases}, data / PROBE)
        (data / CLASSES).write_text(json.dumps(probe.classes))
        (data / MESHES).write_text(meshes.model_dump_json())
        mlflow.pyfunc.save_model(
            str(folder),
            loader_module=__name__,
            data_path=str(data),
            code_paths=[str(PACKAGE)],
            pip_requirements=_requirements(),
            signature=_signature(probe.classes),
            input_example=pd.DataFrame({"path": [train.store.manifest.frame["path"][0]]}),
        )


def _requirements() -> list[str]:
    """What polyview needs, in the versions that are here."""
    needed = [Requirement(line) for line in metadata.requires("polyview") or []]
    plain = [one.name for one in needed if one.marker is None]
    return [f"{name}=={metadata.version(name).partition('+')[0]}" for name in plain]


def _signature(classes: Sequence[str]) -> Any:
    from mlflow.models.signature import ModelSignature
    from mlflow.types import ColSpec, Schema
    from mlflow.types.schema import Array, DataType

    scores = [ColSpec(DataType.double, name) for name in classes]
    return ModelSignature(
        inputs=Schema([ColSpec(DataType.string, "path")]),
        outputs=Schema([ColSpec(DataType.string, "expression"), *scores, ColSpec(Array(DataType.double), "embedding")]),
    )


def _load_pyfunc(data: str) -> ServedModel:
    return ServedModel(Path(data))


class ServedModel:
    """A model with its probe, that looks at files."""

    def __init__(self, data: Path) -> None:
        checkpoint, arrays = Checkpoint(data / CHECKPOINT), load_file(data / PROBE)
        self.experiment, self.model = checkpoint.experiment, checkpoint.load_model()
        self.meshes = MeshSource.model_validate_json((data / MESHES).read_text())
        classes = json.loads((data / CLASSES).read_text())
        self.probe = LinearProbe(classes, arrays["weights"], arrays["biases"])
        self.renderer = make_renderer(self.experiment.rendering)

    def predict(self, faces: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:  # noqa: ARG002
        """The likeliest expression, the probability of each, and the embedding of the face at each `path`.

        A path is one of this machine, or of the dataset. A mesh is drawn from the cameras of the pretraining; a
        picture is one view from the front, of a face that fills it as in those. What was guessed of a mesh, and what is
        suspicious about its views or a picture, is warned of. Raises `MeshError` or `OSError` where a file cannot be
        read, and `UserError` where the model cannot look at a picture.
        """
        import pandas as pd

        embeddings = np.stack([self._embed(str(path)) for path in faces["path"]])
        scores = self.probe.probabilities(embeddings.astype(np.float64))
        best = [self.probe.classes[place] for place in scores.argmax(axis=1)]
        table = pd.DataFrame(scores, columns=self.probe.classes)
        table.insert(0, "expression", best)
        table["embedding"] = embeddings.astype(float).tolist()
        return table

    @torch.inference_mode()
    def _embed(self, path: str) -> NDArray[np.float32]:
        views, rig = self._views(path)
        angles = torch.tensor([[camera.yaw, camera.pitch] for camera in rig])
        encoded = self.model.encode_views(to_images(torch.from_numpy(views[np.newaxis])))
        embedding: NDArray[np.float32] = self.model.fuse(encoded, angles)[0].numpy()
        return embedding

    def _views(self, path: str) -> tuple[NDArray[np.uint8], Sequence[Camera]]:
        """A face's views (V, S, S, 3), and the cameras that they are of."""
        rendering = self.experiment.rendering
        rig = cameras(rendering.views)
        if Path(path).suffix.lower() in PICTURES:
            if self.experiment.model.fusion == "concat":
                raise UserError(
                    f"{path}: a picture is one view, and this model joins {len(rig)} (model.fusion: concat); give it a "
                    "mesh, or train with fusion mean or attention"
                )
            picture = _upright_picture(path, rendering.background)
            for remark in _doubts_of_picture(picture):
                warnings.warn(f"{path}: {remark}", stacklevel=2)
            resized = picture.resize((rendering.size, rendering.size), Image.Resampling.BILINEAR)
            return np.array(resized)[np.newaxis], [FRONT]
        if Path(path).is_file() and format_of(path) not in FORMATS:
            meshes, pictures = " ".join(FORMATS), " ".join(sorted(PICTURES))
            raise MeshError(f"{path}: neither a mesh ({meshes}) nor a picture ({pictures})")
        mesh = self.meshes.load(path)
        views = self.renderer.render(mesh, rig)[: len(rig)]
        doubt = doubt_of(views, mesh, rig, rendering)
        for remark in (*mesh.guesses, *([doubt] if doubt else [])):
            warnings.warn(f"{path}: {remark}", stacklevel=2)
        return views, rig


def _upright_picture(path: str, background: tuple[int, int, int]) -> Image.Image:
    """The picture as people see it: turned as its camera was held, and on the background of views where it is clear.

    Raises `MeshError` where it cannot be read, and `OSError` where it is not there.
    """
    try:
        with Image.open(path) as opened:
            picture = ImageOps.exif_transpose(opened)
            if picture.has_transparency_data:
                clear = picture.convert("RGBA")
                picture = Image.alpha_composite(Image.new("RGBA", clear.size, (*background, 255)), clear)
            return Image.fromarray(pixels(picture, path))
    except (FileNotFoundError, PermissionError):
        raise
    except Exception as error:  # Pillow's decoders raise whatever a broken picture leads them to
        raise MeshError(f"{path}: not readable as a picture: {' '.join(str(error).split())[:200]}") from None


def _doubts_of_picture(picture: Image.Image) -> Iterator[str]:
    """What is suspicious about a picture that is to be a square view of a face."""
    wide, high = picture.size
    if max(wide, high) > SQUARE * min(wide, high):
        yield f"{wide} x {high} pixels are squeezed into a square view: crop it to the face"
    if not np.ptp(np.asarray(picture), axis=(0, 1)).any():
        yield "has one colour, and no face"
