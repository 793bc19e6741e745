"""The views that trials need: each face is rendered once from every camera that any of them looks through."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from polyview.corpus.scan import scan
from polyview.paths import Home
from polyview.recipe import Experiment, Views, digest
from polyview.rendering.cameras import cameras
from polyview.rendering.pipeline import render
from polyview.studies.watcher import Watcher


@dataclass
class PreparedViews:
    """Where the views of each experiment are; `seconds` is the wall time of what had to be rendered."""

    stores: dict[str, Path] = field(default_factory=dict)
    fingerprints: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    def store_of(self, experiment: Experiment) -> Path:
        """The store that holds the experiment's views, perhaps among others."""
        return self.stores[_faces(experiment)]

    def manifest_of(self, experiment: Experiment) -> str:
        """The fingerprint of the experiment's faces."""
        return self.fingerprints[_faces(experiment)]


def prepare_views(experiments: Sequence[Experiment], home: Home, watcher: Watcher) -> PreparedViews:
    """Render what the experiments need and is not there yet; raises `UserError` if the faces cannot be used."""
    groups: dict[str, list[Experiment]] = {}
    for experiment in experiments:
        groups.setdefault(_faces(experiment), []).append(experiment)
    prepared = PreparedViews()
    for faces, group in groups.items():
        started = time.perf_counter()
        corpus, rendering = group[0].corpus, group[0].rendering
        found = scan(corpus)
        if len(found.skipped):
            watcher.say(f"{len(found.skipped)} files skipped; the first: {': '.join(found.skipped.row(0))}")
        union = sorted({camera for experiment in group for camera in cameras(experiment.rendering.views)})
        watcher.stage("render", len(found.manifest))
        summary = render(
            found.manifest, rendering, union, home, corpus.max_rejected, lambda done, _total: watcher.advance(done)
        )
        prepared.stores[faces] = summary.store
        prepared.fingerprints[faces] = found.manifest.fingerprint
        faces_and_views = f"views: {summary.rendered} faces x {len(union)} views"
        if summary.cached:
            watcher.say(f"{faces_and_views}, rendered before ({summary.store})")
        else:
            prepared.seconds += time.perf_counter() - started
            watcher.say(f"{faces_and_views} in {summary.seconds:.1f} s ({summary.store})")
        if summary.rejected:
            watcher.say(f"{summary.rejected} meshes rejected; {summary.store / 'rejected.parquet'} says why")
    return prepared


def _faces(experiment: Experiment) -> str:
    """What two experiments share if the same pictures serve both: all but the cameras."""
    rendering = experiment.rendering.model_copy(update={"views": Views()})
    return digest([experiment.corpus.model_dump(mode="json"), rendering.model_dump(mode="json")])
