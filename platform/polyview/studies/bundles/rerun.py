"""A bundle's study in another home: with faces that lie elsewhere, and otherwise as it was."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from polyview.analysis.agreement import agreement, same_predictions
from polyview.analysis.notes import DECIDING
from polyview.analysis.outcome import Outcome, cost, finished
from polyview.corpus.scan import scan
from polyview.environment import describe_environment
from polyview.errors import UserError
from polyview.recipe import Corpus, Study
from polyview.recipe.weights import FORMER
from polyview.reporting.agreement import Rerun
from polyview.storage.home import Home
from polyview.storage.mirror import refresh
from polyview.studies.bundles.bundle import Bundle, Needed
from polyview.studies.bundles.known_faces import FaceDifferences
from polyview.studies.bundles.portable import own_weights, places_of, recipe_wherever
from polyview.studies.outcome import POINTS, study_folder
from polyview.trials.design import BEST, plan
from polyview.trials.ledger import Record
from polyview.trials.search import Points
from polyview.trials.views import corpora
from polyview.wording import agreeing, counted

_TAKES = "where the faces and the same weights lie, resources, fewer seeds or variants"
_JUDGED = ("metric", "metrics", "margin", "baseline")


@dataclass(frozen=True)
class FoundCorpus:
    """Faces that were found where a bundle's study looks for them, against those that it was of.

    differences: None where the bundle does not say who they were, but for the fingerprint.
    """

    corpus: Corpus
    samples: int
    fingerprint: str
    bundled: str
    differences: FaceDifferences | None

    @property
    def same(self) -> bool:
        """Whether they are the bundle's, whatever their files are called."""
        return self.fingerprint == self.bundled or bool(self.differences and self.differences.same)

    def __str__(self) -> str:
        if self.fingerprint == self.bundled:
            samples = counted(self.samples, "sample")
            return f"faces of {self.corpus.dataset}: the same {samples} (manifest {self.fingerprint})"
        told = self.differences or "not the same, and the bundle does not say which they were"
        return f"faces of {self.corpus.dataset}: {told} (manifest {self.fingerprint}, in the bundle {self.bundled})"


def moved_study(bundle: Bundle, assignments: Sequence[str]) -> Study:
    """The bundle's study, with what `assignments` say of where things lie and what a worker has.

    Raises `UserError` where they ask for another recipe, or leave out where something lies that the bundle lacks.
    """
    study, own = own_weights().study(bundle.load(assignments)), bundle.study
    if lacking := [one for one in bundle.about.needed if _is_lacking(one, study)]:
        told = " ".join(f"--set {shlex.quote(one.assignment)}" for one in lacking)
        former = any(one.name in FORMER for one in lacking)
        raise UserError(
            f"{bundle.path}: does not hold all that {own.name} reads; say where it lies by {told}"
            + ("; these weights came with an earlier version of polyview" if former else "")
        )
    known = {trial.place: recipe_wherever(trial.experiment) for trial in plan(own)}
    others = [trial for trial in plan(study) if known.get(trial.place) != recipe_wherever(trial.experiment)]
    judged = [name for name in _JUDGED if getattr(study, name) != getattr(own, name)]
    if others or judged or study.search != own.search:
        name = others[0].name if others else judged[0] if judged else "the search"
        raise UserError(
            f"{bundle.path}: {name} would be another than the bundle's; rerun takes {_TAKES}, and for what is asked "
            "otherwise there is polyview ablate"
        )
    return study


def find_corpora(bundle: Bundle, study: Study) -> list[FoundCorpus]:
    """The faces of a bundle's study as they lie here, each corpus once; raises `UserError` if they are not there."""
    own = {trial.place: trial for trial in bundle.outcome.trials}
    fingerprints: dict[Corpus, str] = {}
    for trial in plan(study):
        before = own.get(trial.place)
        record = bundle.outcome.records.get(before.id) if before else None
        if record and record.manifest:
            names = record.manifest.split("+")
            found = corpora(trial.experiment)
            fingerprints |= dict(zip(found, names if len(names) == len(found) else names * len(found), strict=True))
    return [_found(bundle, corpus, fingerprint) for corpus, fingerprint in fingerprints.items()]


def _found(bundle: Bundle, corpus: Corpus, fingerprint: str) -> FoundCorpus:
    manifest, known = scan(corpus).manifest, bundle.manifests.get(fingerprint)
    differences = known.compare(manifest) if known and manifest.fingerprint != fingerprint else None
    return FoundCorpus(corpus, len(manifest), manifest.fingerprint, fingerprint, differences)


def continue_search(bundle: Bundle, study: Study, home: Home) -> None:
    """Have a search try the bundle's points, in their order, where it has tried none here yet."""
    points = Points(study_folder(study, home) / POINTS)
    refresh([points.path])
    if study.search and not points.read(study.search):
        points.add(study.search, bundle.outcome.searched.points)


def remarks_before(bundle: Bundle, found: Sequence[FoundCorpus]) -> list[str]:
    """What is to be known before a bundle is run again, a line each: what it took, its faces, and other versions."""
    here, there = describe_environment(), bundle.about.environment
    hours, machine = cost(bundle.outcome)[0], there.get("machine", "a machine that is not known")
    took = f"the bundle's trials took {hours:.2g} trial-hours on {machine}"
    versions = [
        f"{name}: {there.get(name, 'unknown')} made the bundle's results, and {here[name]} is here"
        for name in DECIDING
        if there.get(name) != here[name]
    ]
    missing = [f"the bundle has no result of {'; '.join(bundle.about.absent)}"] if bundle.about.absent else []
    return [took, *missing, *map(str, found), *versions]


def compare_with(bundle: Bundle, outcome: Outcome, found: Sequence[FoundCorpus]) -> Rerun:
    """The bundle's results beside those of running it again on the faces that were found."""
    lines = ["{} of {} trials predict the same of every sample".format(*same_predictions(bundle.outcome, outcome))]
    own = {_run_of(record): record.scores for record in bundle.outcome.records.values()}
    copies = [record.scores == own[run] for record in outcome.records.values() if (run := _run_of(record)) in own]
    if sum(copies):
        own_results = counted(
            sum(copies), "result is the bundle's own and was", "results are the bundle's own and were"
        )
        lines.append(f"{own_results} not run again: this home had {agreeing(sum(copies), 'it', 'them')} already")
    if changed := copies.count(False):
        others = counted(changed, "result is", "results are")
        lines.append(f"{others} of the bundle's own runs with other scores: it or this home was changed")
    if _has_another_best(bundle.outcome, outcome):
        lines.append("the search chose another point here, so the two best points found are of different recipes")
    return Rerun(
        outcome.study.name,
        agreement(bundle.outcome, outcome),
        remarks_before(bundle, found),
        lines,
        other_faces=not all(one.same for one in found),
        left_out=_left_out(bundle.outcome, outcome),
    )


def _left_out(before: Outcome, after: Outcome) -> int:
    """How many results of a bundle's variants and seeds have none beside them."""
    again = {trial.place for trial, _ in finished(after)}
    return sum(trial.place not in again for trial, _ in finished(before))


def _run_of(record: Record) -> tuple[float, float]:
    """What two results share that are of one run: no other began and ended just then."""
    return record.started, record.ended


def _has_another_best(before: Outcome, after: Outcome) -> bool:
    known, found = (
        {recipe_wherever(trial.experiment) for trial in outcome.trials if trial.variant == BEST}
        for outcome in (before, after)
    )
    return bool(known) and not found <= known


def _is_lacking(needed: Needed, study: Study) -> bool:
    """Whether a study still calls what its bundle lacks by the name that stands for it there."""
    texts = set(places_of(study.model_dump(mode="json")))
    return not texts.isdisjoint({(needed.key, needed.name), (f"experiment.{needed.key}", needed.name)})
