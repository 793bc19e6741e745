from __future__ import annotations

import json
import os
import resource
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from polyview.errors import UserError
from polyview.evaluation.embed import embed
from polyview.modeling.export import export_towers, export_weights
from polyview.modeling.model import MultiviewModel
from polyview.rendering.cameras import cameras
from polyview.rendering.store import ViewStore
from polyview.training.checkpoint import (
    Checkpoint,
    Snapshot,
    has_checkpoint_of_others,
    latest_checkpoint,
    open_checkpoint,
)
from polyview.training.history import Progress
from polyview.training.loop import Trainer, TrainingJob

MakeJob = Callable[..., TrainingJob]
CPU = torch.device("cpu")


@contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    """The operating system refuses to write more than that, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def trainer(make_job: MakeJob) -> Trainer:
    """A trainer with one epoch behind it, of two."""
    trainer = Trainer(make_job(training__epochs=2), CPU)
    next(trainer.epochs())
    return trainer


def save(trainer: Trainer, epochs: int = 2) -> Checkpoint:
    job, source, history = trainer.job, trainer.source, trainer.history * epochs
    snapshot = Snapshot.take(trainer.model, trainer.state, job.experiment, source, history, Progress())
    return snapshot.write(job.folder)


def test_a_checkpoint_that_could_not_be_written_whole_does_not_exist(trainer: Trainer) -> None:
    first = latest_checkpoint(trainer.job.folder)
    assert first is not None
    weights, moments = ((first.folder / name).stat().st_size for name in ("model.safetensors", "trainer.pt"))
    assert weights < moments
    with files_no_larger_than((weights + moments) // 2), pytest.raises((OSError, RuntimeError)):
        save(trainer)
    assert latest_checkpoint(trainer.job.folder) == first
    assert len(Trainer(trainer.job, CPU).history) == 1
    second = save(trainer)
    assert latest_checkpoint(trainer.job.folder) == second
    assert [path.name for path in trainer.job.folder.iterdir()] == ["epoch-0002"]


def test_what_a_killed_writer_left_is_not_taken_for_a_checkpoint(trainer: Trainer) -> None:
    folder = trainer.job.folder
    (folder / ".checkpoint").mkdir()
    (folder / ".checkpoint" / "model.safetensors").write_bytes(b"half")
    assert latest_checkpoint(folder) == Checkpoint(folder / "epoch-0001")
    assert save(trainer).load_model()
    assert sorted(path.name for path in folder.iterdir()) == ["epoch-0002"]


def test_what_a_killed_deletion_left_is_not_taken_for_a_checkpoint(trainer: Trainer) -> None:
    folder = trainer.job.folder
    for name in ("epoch-0002", "epoch-0003"):
        (folder / name).mkdir()
        (folder / name / "trainer.pt").write_bytes(b"half")
    assert latest_checkpoint(folder) == Checkpoint(folder / "epoch-0001")
    assert open_checkpoint(folder).history == tuple(trainer.history)
    assert save(trainer).load_model()
    assert [path.name for path in folder.iterdir()] == ["epoch-0002"]


def test_a_reader_always_finds_a_checkpoint_while_a_writer_puts_others_in_its_place(trainer: Trainer) -> None:
    folder = trainer.job.folder
    with ThreadPoolExecutor(1) as pool:
        writer = pool.submit(lambda: [save(trainer, epochs) for epochs in range(2, 100)])
        while not writer.done():
            assert latest_checkpoint(folder) is not None
    assert latest_checkpoint(folder) == writer.result()[-1]


def test_a_checkpoint_tells_its_recipe_history_and_environment(trainer: Trainer) -> None:
    checkpoint = open_checkpoint(trainer.job.folder)
    assert checkpoint.experiment == trainer.job.experiment
    assert list(checkpoint.history) == trainer.history
    assert '"torch"' in (checkpoint.folder / "environment.json").read_text()


def test_a_loaded_model_embeds_as_the_trained_one(trainer: Trainer, tiny_store: ViewStore) -> None:
    rig = cameras(trainer.job.experiment.rendering.views)
    rows = trainer.batches.rows
    trained = embed(trainer.model, tiny_store, rows, rig, CPU)
    loaded = embed(open_checkpoint(trainer.job.folder).load_model(), tiny_store, rows, rig, CPU)
    np.testing.assert_allclose(loaded, trained, atol=1e-5)
    assert np.abs(trained - embed(MultiviewModel(trainer.job.experiment), tiny_store, rows, rig, CPU)).max() > 0.01


def test_a_checkpoint_loads_and_goes_on_when_what_it_was_pretrained_from_is_gone(
    make_job: MakeJob, tmp_path: Path, clip: str
) -> None:
    """Also its normalisation is kept, which the file's neighbour said."""
    start = MultiviewModel(make_job(model__tower=clip).experiment)
    (tmp_path / "start").mkdir()
    save_file(
        {k: v.contiguous() for k, v in start.towers.state_dict().items()}, tmp_path / "start" / "weights.safetensors"
    )
    config = {"model_cfg": {}, "preprocess_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}}
    (tmp_path / "start" / "open_clip_config.json").write_text(json.dumps(config))
    pretrained = str(tmp_path / "start" / "weights.safetensors")
    first = Trainer(make_job(model__tower=clip, model__pretrained=pretrained), CPU)
    next(first.epochs())
    shutil.rmtree(tmp_path / "start")
    checkpoint = open_checkpoint(first.job.folder)
    assert checkpoint.experiment.digest == first.job.experiment.digest
    loaded, images = checkpoint.load_model(), torch.rand(2, 3, 3, 32, 32)
    assert loaded.mean.flatten().tolist() == [0.5, 0.5, 0.5]
    assert torch.equal(loaded.encode_views(images), first.model.eval().encode_views(images))
    assert len(list(Trainer(first.job, CPU).epochs())) == 1


def test_weights_from_a_folder_load_when_it_is_gone(make_job: MakeJob, tmp_path: Path, clip: str) -> None:
    small = make_job(model__tower=clip).experiment
    export_towers(MultiviewModel(small), small, {}, tmp_path / "exported")
    trainer = Trainer(
        make_job(model__tower=clip, model__pretrained=str(tmp_path / "exported"), training__epochs=1), CPU
    )
    list(trainer.epochs())
    shutil.rmtree(tmp_path / "exported")
    images = torch.rand(2, 3, 3, 32, 32)
    loaded = open_checkpoint(trainer.job.folder).load_model()
    assert torch.equal(loaded.encode_views(images), trainer.model.eval().encode_views(images))


def test_a_checkpoint_of_older_versions_which_does_not_describe_its_towers_loads(trainer: Trainer) -> None:
    checkpoint = open_checkpoint(trainer.job.folder)
    (checkpoint.folder / "open_clip_config.json").unlink()
    images = torch.rand(2, 3, 3, 32, 32)
    assert torch.equal(checkpoint.load_model().encode_views(images), trainer.model.eval().encode_views(images))


def test_the_optimisers_moments_come_back(trainer: Trainer) -> None:
    fresh = Trainer(trainer.job, CPU)
    saved, loaded = trainer.state.optimizer.state_dict()["state"], fresh.state.optimizer.state_dict()["state"]
    assert saved.keys() == loaded.keys()
    assert all(torch.equal(saved[key][name], loaded[key][name]) for key in saved for name in saved[key])


def test_a_folder_without_a_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no checkpoint here; expected model.safetensors, or epoch-NNNN folders"):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize(
    "name",
    ["model.safetensors", "trainer.pt", "experiment.yaml", "source.json", "history.json", "open_clip_config.json"],
)
def test_a_file_of_a_checkpoint_that_was_changed_or_cut_is_named(trainer: Trainer, name: str) -> None:
    folder = trainer.job.folder
    file = open_checkpoint(folder).folder / name
    whole = file.read_bytes()
    place = len(whole) // 2
    told = rf"epoch-0001/{name}: gone, or not as it was written; delete the folder of its trial and run the study"
    for content in (whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :], whole[:place], b""):
        file.write_bytes(content)
        with pytest.raises(UserError, match=told):
            open_checkpoint(folder)
        with pytest.raises(UserError, match=told):
            has_checkpoint_of_others(folder, trainer.batches.store.manifest, trainer.job.subjects)
    file.write_bytes(whole)
    assert not has_checkpoint_of_others(folder, trainer.batches.store.manifest, trainer.job.subjects)


def test_a_checkpoint_says_how_far_its_training_has_come(trainer: Trainer) -> None:
    assert open_checkpoint(trainer.job.folder).unfinished == "half-trained: 1 of 2 epochs"
    list(trainer.epochs())
    assert open_checkpoint(trainer.job.folder).unfinished == ""


def test_a_checkpoint_of_earlier_versions_which_noted_no_checksums_opens(trainer: Trainer) -> None:
    checkpoint = open_checkpoint(trainer.job.folder)
    (checkpoint.folder / "SHA256SUMS").unlink()
    earlier = open_checkpoint(trainer.job.folder)
    assert earlier.load_model()
    (earlier.folder / "history.json").write_text("[{")
    with pytest.raises(UserError, match=r"history.json: gone, or not as it was written"):
        earlier.history  # noqa: B018


def test_a_pickle_in_place_of_the_moments_is_never_run(trainer: Trainer, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
            return Path, (str(tmp_path / "sprung"),)

    checkpoint = open_checkpoint(trainer.job.folder)
    torch.save(Trap(), checkpoint.folder / "trainer.pt")
    with pytest.raises(Exception, match="Weights only"):
        Trainer(trainer.job, CPU)


def test_whoever_shares_the_home_may_read_a_checkpoint_and_what_is_exported_from_it(
    trainer: Trainer, tmp_path: Path
) -> None:
    before = os.umask(0o002)
    try:
        model = save(trainer).load_model()
        export_towers(model, trainer.job.experiment, {}, tmp_path / "towers")
        export_weights(model, {}, tmp_path / "weights.safetensors")
    finally:
        os.umask(before)
    written = [*trainer.job.folder.glob("epoch-*/*"), *tmp_path.glob("towers/*"), tmp_path / "weights.safetensors"]
    modes = {path.name: oct(path.stat().st_mode & 0o777) for path in written}
    assert {"model.safetensors", "open_clip_model.safetensors", "weights.safetensors"} <= modes.keys()
    assert set(modes.values()) == {"0o664"}
