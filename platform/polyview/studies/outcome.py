"""What is known of a study, read from the ledger and from the study's own folder; nothing is run."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from polyview.analysis.comparisons import scores
from polyview.analysis.needed import needed_trials
from polyview.analysis.outcome import Outcome, Searched
from polyview.analysis.people import bears_out, contradiction
from polyview.analysis.searches import best_trials
from polyview.errors import UserError
from polyview.recipe import Study, load_stored_study
from polyview.storage.home import Home, replacing
from polyview.storage.mirror import address, refresh
from polyview.studies.known_files import with_known_files
from polyview.trials.design import Trial, plan
from polyview.trials.ledger import InterimScores, Ledger, Record, diverged_trials, pruned_trials
from polyview.trials.search import Points, interim_scores_of, make_trials, wanted
from polyview.trials.views import Fingerprints, corpus_digest, manifests_of

POINTS, LINKS, STAGES, SHEET = "points.json", "links.json", "stages.json", "views.png"
FACES, STUDY = "faces.json", "study.json"


@dataclass
class Stages:
    """The wall time of each stage, kept in a file: a stage that had nothing to do keeps its last time.

    One that a run comes to twice, as a search's study does to its trials, has the sum.
    """

    path: Path
    seconds: dict[str, float] = field(default_factory=dict)
    _begun: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.seconds = _read_json(self.path)

    def record(self, name: str, seconds: float) -> None:
        """Note a stage's time."""
        self.seconds[name] = seconds + (self.seconds.get(name, 0.0) if name in self._begun else 0.0)
        self._begun.add(name)
        with replacing(self.path) as temporary:
            temporary.write_text(json.dumps(self.seconds))


def stages_of(trials: Sequence[Trial], folder: Path) -> Stages:
    """How long the stages took of the study with these trials; nothing is known where another has run there since."""
    stages = Stages(folder / STAGES)
    if not _ran_here(trials, folder):
        stages.seconds = {}
    return stages


def _ran_here(trials: Sequence[Trial], folder: Path) -> bool:
    """Whether the study that last ran in a folder has these trials, or some, or more: another may have its name."""
    path = folder / STUDY
    refresh([path])
    if not path.exists():  # as in a bundle, and as of earlier versions
        return True
    try:
        last = {trial.id for trial in plan(load_stored_study(path.read_text(encoding="utf-8"), address(path)))}
    except UserError:
        return False
    here = {trial.id for trial in trials}
    return last <= here or here <= last


def study_folder(study: Study, home: Home) -> Path:
    """Where a study's report is kept: by its name and its experiment, so that overrides get a folder of their own."""
    return home.studies / f"{study.name}-{study.experiment.digest[:8]}"


def load_outcome(study: Study, home: Home, faces: Fingerprints | None = None) -> Outcome:
    """What the ledger knows of a study; nothing is run.

    `faces` are those that its results have to be of, if they are others than it last ran on.
    """
    study = with_known_files(study, home, study_folder(study, home) / "report")
    trials, folder, ledger = plan(study), study_folder(study, home), Ledger(home.trials)
    refresh_folder(folder)
    sheet = folder / SHEET
    points = Points(folder / POINTS).read(study.search) if study.search else []
    searched = make_trials(study, points)
    faces = load_faces(folder) if faces is None else faces
    records, stale = _of_one_corpus([*trials, *searched], ledger, faces)
    # Until the search is over, another point may yet be the best.
    again = best_trials(study, points, records) if len(points) >= wanted(study) else []
    of_best, stale_of_best = _of_one_corpus(again, ledger, faces)
    records |= of_best
    trials = [*trials, *again]
    for trial_id, record in records.items():
        if fault := contradiction(record):
            raise UserError(f"{address(ledger.path(trial_id))}: {fault}; delete it, and run the study again")
    predictions = ledger.read_predictions(records)
    for trial_id, table in predictions.items():
        if not bears_out(table, records[trial_id]):
            raise UserError(
                f"{address(ledger.predictions(trial_id))}: not what its record was scored by; delete it, and run the "
                "study again, which makes it anew"
            )
    embeddings = [ledger.embeddings(trial.id) for trial in trials if trial.variant == study.baseline]
    outcome = Outcome(
        study,
        trials,
        records,
        stages_of(trials, folder).seconds,
        sheet if sheet.exists() else None,
        home.tracking_address,
        folder,
        ledger.read_failures(trial.id for trial in [*trials, *searched]),
        Searched(points, searched, _interim_scores(study, searched, ledger, faces)),
        _first_existing(embeddings),
        _load_links(folder / LINKS),
        predictions,
        stale | stale_of_best,
    )
    return replace(outcome, trials=needed_trials(outcome))


def _of_one_corpus(
    trials: Sequence[Trial], ledger: Ledger, faces: Fingerprints
) -> tuple[dict[str, Record], dict[str, Record]]:
    """The records of the faces that the study last ran on, and those of faces that have changed since, by trial id.

    Where the study did not note its faces, as earlier versions did not, they are those of the newest record of each
    corpus.
    """
    found = ledger.read_all(trial.id for trial in trials)
    newest: dict[str, Record] = {}
    for trial in trials:
        if record := found.get(trial.id):
            corpus = corpus_digest(trial.experiment)
            newest[corpus] = max(record, newest.get(corpus, record), key=lambda one: one.ended)
    current = {
        trial.id: manifests_of(trial.experiment, faces) or [newest[corpus_digest(trial.experiment)].manifest]
        for trial in trials
        if trial.id in found
    }
    stale = {trial_id for trial_id, record in found.items() if record.manifest not in current[trial_id]}
    return (
        {trial_id: record for trial_id, record in found.items() if trial_id not in stale},
        {trial_id: found[trial_id] for trial_id in stale},
    )


def _interim_scores(
    study: Study, searched: Sequence[Trial], ledger: Ledger, faces: Fingerprints
) -> dict[str, InterimScores]:
    """Those of a search's trials on the faces that the study last ran on; on any, if it did not note them."""
    found = interim_scores_of(study, searched, ledger)
    current = {trial.id: manifests_of(trial.experiment, faces) for trial in searched}
    return {name: one for name, one in found.items() if not current[name] or one.manifest in current[name]}


def mean_scores(outcome: Outcome) -> dict[str, float]:
    """The mean of the study's metric over the seeds of each variant."""
    metric = outcome.study.metric
    by_variant = scores(outcome, metric)
    return {
        f"{name}/{metric}": fmean(one.score for one in by_seed.values())
        for name, by_seed in by_variant.items()
        if by_seed
    }


def progress(outcome: Outcome) -> tuple[int, int]:
    """How many of a study's trials have ended, and of how many.

    A search's may also have been pruned, or have diverged; while it goes on, its best point has yet to run again.
    """
    searched, points = outcome.searched, wanted(outcome.study)
    early = {*pruned_trials(searched.interim_scores), *diverged_trials(outcome.failures)}
    ended = sum(trial.id in outcome.records for trial in outcome.trials)
    ended += sum(trial.id in outcome.records or trial.id in early for trial in searched.trials)
    again = len(outcome.study.all_seeds) if len(searched.trials) < points else 0
    return ended, len(outcome.trials) + points + again


def is_complete(outcome: Outcome) -> bool:
    """Whether every trial that the study asks for has ended."""
    ended, planned = progress(outcome)
    return ended == planned


def refresh_folder(folder: Path) -> None:
    """Have here what a study keeps beside its records."""
    refresh(folder / name for name in (POINTS, LINKS, STAGES, SHEET, FACES))


def save_links(folder: Path, links: dict[str, str]) -> None:
    """Add to the links that lead to each trial in MLflow's user interface, by trial id."""
    path = folder / LINKS
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(_load_links(path) | links))


def save_faces(folder: Path, fingerprints: Fingerprints) -> None:
    """Note which faces the study runs on, by which its results are told from those of faces that have changed."""
    with replacing(folder / FACES) as temporary:
        temporary.write_text(json.dumps(fingerprints))


def load_faces(folder: Path) -> Fingerprints:
    """Which faces the study last ran on; nothing where an earlier version did not note it."""
    found: Fingerprints = _read_json(folder / FACES)
    return found


def _first_existing(paths: Iterable[Path]) -> Path | None:
    for path in paths:
        refresh([path])
        if path.exists():
            return path
    return None


def _load_links(path: Path) -> dict[str, str]:
    found: dict[str, str] = _read_json(path)
    return found


def _read_json(path: Path) -> Any:
    """What a file of a study's folder holds, nothing where it is not there; raises `UserError` where it is broken."""
    try:
        return json.loads(path.read_text()) if path.exists() else {}
    except ValueError:
        raise UserError(f"{address(path)}: broken; remove it and run the study again, which trains nothing") from None
