"""The views that trials need: each face is rendered once from every camera that any of them looks through."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from polyview.corpus.manifest import Manifest
from polyview.corpus.scan import Scan, scan
from polyview.errors import UserError
from polyview.recipe import Corpus, Experiment, Rendering, Views, digest
from polyview.rendering.cameras import Camera, cameras
from polyview.rendering.pipeline import RenderSummary, is_rendered, render
from polyview.storage.home import Home
from polyview.storage.mirror import address
from polyview.trials.capacity import Demand
from polyview.trials.waiting import saying_of_machines
from polyview.trials.watcher import Watcher
from polyview.wording import counted

ONE_SHARD = Demand(workers=1, cpus=1, gpus=0)  # what a shard is drawn on

Fingerprints = dict[str, list[str]]
"""Of the faces that experiments share, by their digest: the manifest's fingerprint, and those of earlier versions."""


@dataclass
class PreparedViews:
    """Where the views of each experiment are; `seconds` is the wall time of what had to be rendered.

    `shown` has by manifest the `subject` and the `expression` of every face.
    """

    stores: dict[str, Path] = field(default_factory=dict)
    shown: dict[str, pl.DataFrame] = field(default_factory=dict)
    fingerprints: Fingerprints = field(default_factory=dict)
    seconds: float = 0.0

    def store_of(self, experiment: Experiment) -> Path:
        """The store that holds the experiment's views, perhaps among others."""
        return self.stores[faces_digest(experiment.corpus, experiment.rendering)]

    def test_store_of(self, experiment: Experiment) -> Path | None:
        """The store of the corpus that the experiment is tested on, if that is another."""
        other = experiment.evaluation.other_corpus
        return self.stores[faces_digest(other, experiment.rendering)] if other else None

    def manifest_of(self, experiment: Experiment) -> str:
        """The fingerprint of the experiment's faces, or both if it is tested on another corpus."""
        own = [self.fingerprints[faces_digest(corpus, experiment.rendering)][0] for corpus in corpora(experiment)]
        return "+".join(dict.fromkeys(own))


def manifests_of(experiment: Experiment, fingerprints: Fingerprints) -> list[str]:
    """What a record's manifest is if it is of today's faces: today's, and what an earlier version called the same.

    Empty where the faces are not among the fingerprints.
    """
    own = [fingerprints.get(faces_digest(corpus, experiment.rendering), []) for corpus in corpora(experiment)]
    return ["+".join(dict.fromkeys(names)) for names in zip(*own, strict=True)] if all(own) else []


@dataclass(frozen=True)
class Need:
    """The faces and the cameras that some experiments share."""

    faces: str
    corpus: Corpus
    rendering: Rendering
    cameras: tuple[Camera, ...]


def needs(experiments: Iterable[Experiment]) -> list[Need]:
    """What has to be rendered for the experiments, each face once from every camera that any looks through."""
    groups: dict[str, list[tuple[Corpus, Rendering]]] = {}
    for experiment in experiments:
        for corpus in corpora(experiment):
            groups.setdefault(faces_digest(corpus, experiment.rendering), []).append((corpus, experiment.rendering))
    return [
        Need(faces, *group[0], _union(rendering.views for _, rendering in group)) for faces, group in groups.items()
    ]


def corpora(experiment: Experiment) -> list[Corpus]:
    """The faces that are trained on, and those that are tested on if they are another corpus's."""
    other = experiment.evaluation.other_corpus
    return [experiment.corpus, other] if other else [experiment.corpus]


def corpus_digest(experiment: Experiment) -> str:
    """What experiments share that are of the same people: the corpora, however they are rendered."""
    return digest([corpus.model_dump(mode="json") for corpus in corpora(experiment)])


@dataclass(frozen=True)
class FoundFaces:
    """The faces that some experiments need, as they lie there; nothing is drawn of them yet."""

    scans: tuple[tuple[Need, Scan, float], ...]

    def check(self, experiment: Experiment) -> None:
        """Raises `UserError` if there are too few people or faces for one of the experiments."""
        # torch takes seconds to import, which a study that finds all its trials done need not wait for.
        from polyview.trials.people import check_samples, samples_of

        tables = [manifest.frame for manifest in self.manifests(experiment)]
        check_samples(experiment, *(samples_of(table, experiment.model.temporal) for table in tables))

    def manifests(self, experiment: Experiment) -> list[Manifest]:
        """Those of the experiment's corpora, that it is trained on first."""
        found = {need.faces: scanned.manifest for need, scanned, _ in self.scans}
        return [found[faces_digest(corpus, experiment.rendering)] for corpus in corpora(experiment)]


def find_faces(experiments: Iterable[Experiment]) -> FoundFaces:
    """Look for the faces of the experiments; raises `UserError` if they are not there."""
    experiments, scans = list(experiments), []
    own = [experiment.corpus for experiment in experiments]
    for need in needs(experiments):
        started = time.perf_counter()
        try:
            found = scan(need.corpus)
        except UserError as error:
            raise (error if need.corpus in own else UserError(f"evaluation.test: {error}")) from None
        scans.append((need, found, time.perf_counter() - started))
    return FoundFaces(tuple(scans))


def prepare_views(faces: FoundFaces, home: Home, watcher: Watcher) -> PreparedViews:
    """Render what is not there yet of some faces; raises `UserError` if they cannot be used."""
    prepared = PreparedViews()
    for need, found, seconds in faces.scans:
        started = time.perf_counter() - seconds
        if len(found.skipped):
            watcher.say(f"{counted(len(found.skipped), 'file')} skipped; the first: {', '.join(found.skipped.row(0))}")
        for remark in found.remarks:
            watcher.say(remark)
        watcher.stage("render", len(found.manifest))
        summary = _render(need, found.manifest, home, watcher)
        prepared.stores[need.faces] = summary.store
        prepared.fingerprints[need.faces] = _fingerprints(found.manifest)
        prepared.shown[found.manifest.fingerprint] = found.manifest.frame.select("subject", "expression")
        faces_and_views = f"views: {counted(summary.rendered, 'face')} x {counted(len(need.cameras), 'view')}"
        if summary.cached:
            watcher.say(f"{faces_and_views}, rendered before ({address(summary.store)})")
        else:
            prepared.seconds += time.perf_counter() - started
            watcher.say(f"{faces_and_views} in {summary.seconds:.1f} s ({address(summary.store)})")
        if summary.damaged:
            first, count = address(summary.damaged[0]), len(summary.damaged)
            watcher.say(f"{counted(count, 'file')} of the views gone or damaged, to be made anew; the first: {first}")
        for line in summary.doubts:
            watcher.say(line)
        if summary.rejected:
            watcher.say(f"{counted(summary.rejected, 'mesh', 'meshes')} rejected; {address(summary.reasons)} says why")
    return prepared


def _render(need: Need, manifest: Manifest, home: Home, watcher: Watcher) -> RenderSummary:
    told: list[int] = []  # first what was there before, then what each shard makes it

    def advance(done: int, _total: int) -> None:
        told.append(done)
        watcher.advance(done)

    with saying_of_machines(ONE_SHARD, lambda: len(told) == 1, watcher.say):
        return render(manifest, need.rendering, need.cameras, home, need.corpus.max_rejected, advance)


def views_to_render(faces: FoundFaces, home: Home) -> tuple[int, Fingerprints]:
    """How many pictures of the faces are not there yet, and the fingerprints of what they are of."""
    missing, fingerprints = 0, Fingerprints()
    for need, found, _ in faces.scans:
        manifest = found.manifest
        fingerprints[need.faces] = _fingerprints(manifest)
        if not is_rendered(manifest, need.rendering, need.cameras, home):
            missing += len(manifest) * len(need.cameras)
    return missing, fingerprints


def _fingerprints(manifest: Manifest) -> list[str]:
    return [manifest.fingerprint, *manifest.former_fingerprints]


def _union(rigs: Iterable[Views]) -> tuple[Camera, ...]:
    return tuple(sorted({camera for views in rigs for camera in cameras(views)}))


def faces_digest(corpus: Corpus, rendering: Rendering) -> str:
    """What two experiments share if the same pictures serve both: all but the cameras."""
    plain = rendering.model_copy(update={"views": Views()})
    return digest([corpus.model_dump(mode="json"), plain.model_dump(mode="json")])
