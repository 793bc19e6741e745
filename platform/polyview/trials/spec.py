"""What a trial is run with: its recipe, the rendered views, and the faces on either side of its split."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from polyview.corpus.splits import labelled
from polyview.recipe import Experiment, Resources
from polyview.rendering.sequences import open_samples
from polyview.rendering.store import ViewStore
from polyview.training.saving import USUAL_TIMES, CheckpointTimes
from polyview.trials.design import Trial
from polyview.trials.people import sides_of
from polyview.trials.views import PreparedViews


@dataclass(frozen=True)
class TrialSpec:
    """What a worker needs to run a trial: the recipe, the rendered views, and where the records are kept.

    `test` is the store of `evaluation.test`'s views, if the recipe has that. `checkpoints` says when training is
    checkpointed.
    """

    experiment: Experiment
    store: Path
    trials: Path
    test: Path | None = None
    checkpoints: CheckpointTimes = USUAL_TIMES

    @property
    def stores(self) -> tuple[Path, ...]:
        """All that the trial reads pictures from."""
        return (self.store, self.test) if self.test else (self.store,)

    def sides(self) -> tuple[Faces, Faces]:
        """The faces that are trained on and those that are scored, the test subjects' or the validation subjects'.

        Raises `UserError` where there are too few people.
        """
        store, other = self.samples()
        chosen = sides_of(self.experiment, store.labels("subject"), other.labels("subject") if other else None)
        return Faces(store, chosen.train), Faces(other or store, chosen.test)

    def samples(self) -> tuple[ViewStore, ViewStore | None]:
        """What is trained on and, of another corpus that is scored, what that has."""
        modeling = self.experiment.model
        return open_samples(self.store, modeling), open_samples(self.test, modeling) if self.test else None


@dataclass(frozen=True)
class Workplace:
    """Where trials find their views and leave their records, what each may occupy, and how often it is tried again."""

    views: PreparedViews
    folder: Path
    resources: Resources
    retries: int = 1

    def spec(self, trial: Trial) -> TrialSpec:
        """What a worker needs to run a trial."""
        experiment, views = trial.experiment, self.views
        times = CheckpointTimes(60 * self.resources.checkpoint_minutes)
        return TrialSpec(experiment, views.store_of(experiment), self.folder, views.test_store_of(experiment), times)


@dataclass(frozen=True, eq=False)
class Faces:
    """Some of a store's subjects, all their samples."""

    store: ViewStore
    subjects: tuple[str, ...]

    def labelled(self, experiment: Experiment) -> Faces:
        """Those of the training subjects whose labels may be read, by the losses or by the probes."""
        return Faces(self.store, labelled(self.subjects, experiment.language.labelled, experiment.seed))


def fingerprints(train: Faces, test: Faces) -> Iterator[str]:
    """Which faces a trial is of, by the fingerprint of the manifest or of both; and as earlier versions put it.

    For those, which are rarely asked for, every file is looked at.
    """
    manifests = [faces.store.manifest for faces in (train, test)]
    yield "+".join(dict.fromkeys(one.fingerprint for one in manifests))
    for of_both in zip(*(one.former_fingerprints for one in manifests), strict=True):
        yield "+".join(dict.fromkeys(of_both))
