"""Checkpoints: a folder with the weights, the trainer's state, the recipe, the history and the environment."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from safetensors.numpy import load_file as load_arrays
from safetensors.torch import load_file
from torch import Tensor
from torch.utils._pytree import tree_leaves

from polyview.corpus.manifest import Manifest
from polyview.corpus.splits import labelled
from polyview.environment import describe_environment
from polyview.errors import DiskFullError, UserError
from polyview.language.pseudolabels import SampleLabels
from polyview.modeling.model import MultiviewModel
from polyview.recipe import Experiment, digest, load_stored_experiment, to_yaml
from polyview.recipe.weights import CONFIG
from polyview.storage.arrays import save_arrays, save_tensors
from polyview.storage.checksums import changed_file, write_checksums
from polyview.storage.mirror import CachedPath, address, alone, fetch_folder, files, remove, upload_folder
from polyview.training.averaging import WeightAverage
from polyview.training.history import Epoch, Progress
from polyview.training.provenance import Provenance, provenance_of_start
from polyview.training.sharding import copied, load_moments
from polyview.wording import counted

P = TypeVar("P")
_HISTORY = TypeAdapter(tuple[Epoch, ...])
_WEIGHTS, _LAST_WEIGHTS = "model.safetensors", "last_weights.safetensors"
_TRAINER, _PSEUDOLABELS = "trainer.pt", "pseudolabels.safetensors"
_PREFIX, _PACKED, _MARK, _PROGRESS = "epoch-", "epoch-*.tar", "history.json", "progress.json"


class Source(BaseModel):
    """What a checkpoint was trained on: the manifest's fingerprint, and the subjects of it.

    `start` says whom the weights had seen that training started from; earlier versions did not note that.
    """

    model_config = ConfigDict(frozen=True)

    manifest: str
    subjects: tuple[str, ...]
    start: Provenance | None = None

    def is_of(self, manifest: Manifest, subjects: tuple[str, ...]) -> bool:
        """Whether it is of these faces and people."""
        return self.subjects == subjects and manifest.is_called(self.manifest)


@dataclass(frozen=True)
class TrainerState:
    """What a step changes besides the weights: the optimiser's moments, the scale of fp16 losses, weights' average."""

    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    average: WeightAverage | None = None

    def state_dict(self) -> dict[str, Any]:
        """The optimiser's and the scaler's own, which can be read again without unpickling anything."""
        return {"optimizer": self.optimizer.state_dict(), "scaler": self.scaler.state_dict()}

    def load(self, path: Path) -> None:
        """Take on what was saved of a `state_dict`."""
        saved = torch.load(path, map_location="cpu", weights_only=True)
        load_moments(self.optimizer, saved["optimizer"])
        self.scaler.load_state_dict(saved["scaler"])


@dataclass(frozen=True)
class Checkpoint:
    """A finished checkpoint on disk."""

    folder: Path

    def check(self) -> None:
        """Raises `UserError` where a file is not as it was written; earlier versions did not note that."""
        if changed := changed_file(self.folder):
            raise self._damaged(changed)

    @property
    def experiment(self) -> Experiment:
        return load_stored_experiment(self.folder / "experiment.yaml")

    @property
    def source(self) -> Source:
        return self._parsed("source.json", Source.model_validate_json)

    @property
    def start(self) -> Provenance:
        """Whom the weights had seen that training started from.

        Earlier versions did not note that, or not whose labels were read, which the recipe may tell still.
        """
        noted = self.source.start
        if noted and noted.labelled is not None:
            return noted
        asked = provenance_of_start(self.experiment.model)
        return asked if noted is None or noted.people == asked.people else noted

    @property
    def provenance(self) -> Provenance:
        """Whom its weights have seen, and whose labels they have read."""
        experiment, people = self.experiment, self.source.subjects
        reads = experiment.supervision == "label"
        read = labelled(people, experiment.language.labelled, experiment.seed) if reads else ()
        return self.start.and_of(experiment.corpus, people, read)

    @property
    def history(self) -> tuple[Epoch, ...]:
        return self._parsed(_MARK, _HISTORY.validate_json)

    @property
    def progress(self) -> Progress:
        """What is trained of the epoch after those of the history."""
        return (
            self._parsed(_PROGRESS, Progress.model_validate_json) if (self.folder / _PROGRESS).exists() else Progress()
        )

    def _parsed(self, name: str, parse: Callable[[bytes], P]) -> P:
        try:
            return parse((self.folder / name).read_bytes())
        except ValidationError:
            raise self._damaged(name) from None

    def _damaged(self, name: str) -> UserError:
        return UserError(
            f"{address(self.folder / name)}: gone, or not as it was written; delete the folder of its trial and run "
            "the study again, which trains it anew"
        )

    @property
    def unfinished(self) -> str:
        """How far its training has come, in words; empty where it has ended, or an earlier version did not say."""
        last, steps = max(self.history, key=lambda epoch: epoch.epoch, default=None), self.progress.steps
        if last is None:
            return f"half-trained: {counted(steps, 'step')} of the first epoch" if steps else ""
        return f"half-trained: {last.epoch} of {counted(last.of, 'epoch')}" if last.epoch < last.of else ""

    def build_model(self) -> MultiviewModel:
        """The model, without its weights; those that it was pretrained from need not be there any more."""
        config = self.folder / CONFIG
        return MultiviewModel(self.experiment, config.read_text() if config.exists() else None)

    def load_model(self) -> MultiviewModel:
        """The model with its saved weights, or their average, ready to embed."""
        model = self.build_model()
        model.load_state_dict(load_file(self.folder / _WEIGHTS))
        return model.eval()

    def model_in_training(self) -> MultiviewModel:
        """The model with the weights that are trained on, where `load_model` has their average."""
        model, last = self.build_model(), self.folder / _LAST_WEIGHTS
        model.load_state_dict(load_file(last if last.exists() else self.folder / _WEIGHTS))
        return model

    def load_trainer(self, state: TrainerState) -> None:
        """Put what a step changes besides the weights into `state`."""
        if state.average:
            state.average.load(load_file(self.folder / _WEIGHTS))
        state.load(self.folder / _TRAINER)

    @property
    def pseudolabels(self) -> SampleLabels | None:
        """The pseudo-labels of the training samples that the last epoch, or the one under way, was trained on."""
        path = self.folder / _PSEUDOLABELS
        return SampleLabels(**load_arrays(path)) if path.exists() else None


@dataclass(frozen=True, eq=False)
class Snapshot:
    """All that a checkpoint keeps, in main memory: training that goes on changes none of it.

    Of several workers, it is the first one's. last_weights are those that are trained on, where `weights` are their
    average.
    """

    weights: Mapping[str, Tensor]
    last_weights: Mapping[str, Tensor] | None
    trainer: Mapping[str, Any]
    description: str
    experiment: Experiment
    source: Source
    history: tuple[Epoch, ...]
    progress: Progress
    pseudolabels: SampleLabels | None = None

    @classmethod
    def take(
        cls,
        model: MultiviewModel,
        state: TrainerState,
        experiment: Experiment,
        source: Source,
        history: Sequence[Epoch],
        progress: Progress,
        pseudolabels: SampleLabels | None = None,
    ) -> Snapshot:
        """What there is now; all workers have to ask if the model is spread over them."""
        weights = copied(model.state_dict())
        return cls(
            weights=copied(state.average.weights) if state.average else weights,
            last_weights=weights if state.average else None,
            trainer=copied(state.state_dict()),
            description=model.description,
            experiment=experiment,
            source=source,
            history=tuple(history),
            progress=progress,
            pseudolabels=pseudolabels,
        )

    def write(self, folder: Path) -> Checkpoint:
        """Write it by its name in `folder`, whole or not at all, and drop the one before it.

        On object storage it is one object, with a digest of history and progress and .tar behind that name: another
        training's has another.
        """
        name = checkpoint_name(len(self.history), self.progress.steps)
        temporary = folder / ".checkpoint"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        try:
            self._write_parts(temporary)
        except Exception:
            # Each library says it in its own way that a disk is full, and some do not.
            shutil.rmtree(temporary, ignore_errors=True)
            self._check_room(folder)
            raise
        upload_folder(temporary, _packed(temporary, folder / name))
        _drop([folder / name])
        temporary.rename(folder / name)
        _drop(_folders(folder) - {folder / name})
        for older in files(folder, _PACKED)[:-1]:
            remove(older)
        return Checkpoint(folder / name)

    def _check_room(self, folder: Path) -> None:
        """Raises `DiskFullError` where the checkpoint is larger than what is left on the disk."""
        tensors = tree_leaves([self.weights, self.last_weights, self.trainer])
        needed = sum(one.numel() * one.element_size() for one in tensors if isinstance(one, Tensor))
        left = shutil.disk_usage(folder).free
        if left < needed:
            raise DiskFullError(
                f"{address(folder)}: a checkpoint of {needed / 2**20:.1f} MiB does not fit on the disk, where "
                f"{left / 2**20:.1f} MiB are left; make room and run this again: what is finished is kept"
            )

    def _write_parts(self, folder: Path) -> None:
        save_tensors(self.weights, folder / _WEIGHTS)
        if self.last_weights is not None:
            save_tensors(self.last_weights, folder / _LAST_WEIGHTS)
        torch.save(self.trainer, folder / _TRAINER)
        (folder / CONFIG).write_text(self.description)
        if self.pseudolabels is not None:
            parts = {name: part for name, part in vars(self.pseudolabels).items() if part is not None}
            save_arrays(parts, folder / _PSEUDOLABELS)
        (folder / "experiment.yaml").write_text(to_yaml(self.experiment))
        (folder / "source.json").write_text(self.source.model_dump_json(indent=1))
        if self.progress.steps:
            (folder / _PROGRESS).write_text(self.progress.model_dump_json(indent=1))
        (folder / _MARK).write_bytes(_HISTORY.dump_json(self.history, indent=1))
        (folder / "environment.json").write_text(json.dumps(describe_environment(), indent=1))
        write_checksums(folder)


def checkpoint_name(epochs: int, steps: int) -> str:
    """epoch-NNNN, or in mid-epoch epoch-NNNN-step-NNNNNN, which comes between the names of two epochs."""
    return f"{_PREFIX}{epochs:04d}" + (f"-step-{steps:06d}" if steps else "")


def latest_checkpoint(folder: Path) -> Checkpoint | None:
    """The newest finished checkpoint in a trial's folder, if there is one."""
    finished = _finished(folder)
    return Checkpoint(finished[-1]) if finished else None


def fetch_checkpoint(folder: Path) -> None:
    """Have the newest checkpoint of a trial here and no other, where the home is on object storage."""
    if not isinstance(folder, CachedPath):
        return
    with alone(folder):
        newest = files(folder, _PACKED)[-1:]
        current = [path for path in _finished(folder) if [_packed(path, path)] == newest]
        _drop(_folders(folder).difference(current))
        if newest and not current:
            fetch_folder(newest[0], folder / newest[0].name.rpartition("-")[0])


def has_checkpoint_of_others(folder: Path, manifest: Manifest, subjects: tuple[str, ...]) -> bool:
    """Whether a trial's folder has a checkpoint that was trained on anything but these subjects of the manifest.

    Going on from one would let today's test subjects have been seen in pretraining. Raises `UserError` where it is
    damaged.
    """
    for checkpoint in map(Checkpoint, _finished(folder)):
        checkpoint.check()
        if not checkpoint.source.is_of(manifest, subjects):
            return True
    return False


def open_checkpoint(path: Path) -> Checkpoint:
    """A checkpoint by its own folder or its trial's; raises `UserError` if there is none, or it is damaged."""
    fetch_checkpoint(path.parent if path.name.startswith(_PREFIX) else path)
    while checkpoint := _newest(path):
        try:
            checkpoint.check()
        except UserError:
            if _newest(path) == checkpoint:  # and no writer has put another in its place as it was read
                raise
        else:
            return checkpoint
    raise UserError(
        f"{address(path)}: no checkpoint here; expected model.safetensors, or epoch-NNNN folders; the references, the "
        "untrained tower and raw pixels, have none"
    )


def _newest(path: Path) -> Checkpoint | None:
    return Checkpoint(path) if (path / _WEIGHTS).is_file() else latest_checkpoint(path)


def _packed(made: Path, path: Path) -> Path:
    """What the checkpoint `made` is called in a bucket if it is `path` in a folder."""
    told = [place.read_text() for place in (made / _MARK, made / _PROGRESS) if place.exists()]
    return path.with_name(f"{path.name}-{digest(''.join(told))}.tar")


def _folders(folder: Path) -> set[Path]:
    """The checkpoints in a trial's folder, and what is left of some."""
    return set(folder.glob(f"{_PREFIX}*/"))


def _finished(folder: Path) -> list[Path]:
    """The checkpoints in a trial's folder, in their order.

    A listing that found none because a writer put another in place of the one it saw is taken again.
    """
    while True:
        seen = _folders(folder)
        finished = sorted(path for path in seen if (path / _MARK).is_file())
        if finished or _folders(folder) == seen:
            return finished


def _drop(folders: Iterable[Path]) -> None:
    """Delete checkpoints here; one whose deletion is cut short has lost its history first, and is none."""
    for folder in folders:
        (folder / _MARK).unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
