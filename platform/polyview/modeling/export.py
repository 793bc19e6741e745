"""A model's towers as a folder that open_clip reads by itself: `create_model_and_transforms("local-dir:FOLDER")`."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from polyview.errors import UserError
from polyview.modeling.model import MultiviewModel
from polyview.modeling.towers import load_folder, save_tokenizer
from polyview.recipe import Experiment
from polyview.recipe.weights import CONFIG, IN_FOLDERS
from polyview.storage.arrays import save_tensors
from polyview.storage.home import replacing


def export_towers(model: MultiviewModel, experiment: Experiment, metadata: Mapping[str, str], folder: Path) -> None:
    """Write the image and the text tower to `folder`, whole or not at all; pictures are of the rendering's size.

    `metadata` goes into the header of the weights' file.

    open_clip has no place for attention over time, the fusion of views, the projector and the supervised head: a face
    there is one picture's embedding, or the mean of several. Raises `UserError` if `folder` has something in it, or
    open_clip could not read what would be written. Source of the layout: `open_clip.push_to_hf_hub`, of version 3.3.
    """
    folder = folder.resolve()
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise UserError(f"{folder}: there is something here already; name a folder that is new or empty")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as place:
        # A folder within it, as the temporary one itself is closed to everybody else.
        temporary = Path(place) / folder.name
        temporary.mkdir()
        _write(model, experiment, metadata, temporary)
        _check(experiment, temporary)
        temporary.rename(folder)


def export_weights(model: MultiviewModel, metadata: Mapping[str, str], file: Path) -> None:
    """Write the towers' weights alone to `file`, whole, in half precision: what `model.pretrained` may name."""
    weights = {
        name: value.half() if value.is_floating_point() else value for name, value in model.towers.state_dict().items()
    }
    with replacing(file) as temporary:
        save_tensors(weights, temporary, metadata)


def _write(model: MultiviewModel, experiment: Experiment, metadata: Mapping[str, str], folder: Path) -> None:
    (folder / CONFIG).write_text(model.description)
    save_tensors(model.towers.state_dict(), folder / IN_FOLDERS, metadata)
    save_tokenizer(experiment.model.tower, folder)


def _check(experiment: Experiment, folder: Path) -> None:
    # A plain call builds towers from timm at their own size, and the weights of some depend on it.
    tower, size = experiment.model.tower, experiment.rendering.size
    try:
        load_folder(folder, size)
    except Exception as error:  # as of `build_towers`
        reason = " ".join(str(error).split())[:300]
        raise UserError(
            f"{tower}: open_clip could not read it from a folder at rendering.size {size} ({reason}); "
            "such a tower can be exported if it was trained at its own size"
        ) from error
