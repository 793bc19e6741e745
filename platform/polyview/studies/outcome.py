"""What is known of a study, read from the ledger and from the study's own folder; nothing is run."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean

from polyview.analysis.comparisons import scores
from polyview.analysis.needed import needed_trials
from polyview.analysis.outcome import Outcome, Searched
from polyview.analysis.searches import best_trials
from polyview.recipe import Study
from polyview.storage.home import Home, replacing
from polyview.storage.mirror import refresh
from polyview.trials.design import plan
from polyview.trials.ledger import Ledger, pruned_trials
from polyview.trials.search import Points, interim_scores_of, make_trials, wanted

POINTS, LINKS, STAGES, SHEET = "points.json", "links.json", "stages.json", "views.png"


@dataclass
class Stages:
    """The wall time of each stage, kept in a file: a stage that had nothing to do keeps its last time."""

    path: Path
    seconds: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.path.exists():
            self.seconds = json.loads(self.path.read_text())

    def record(self, name: str, seconds: float) -> None:
        """Note a stage's time."""
        self.seconds[name] = seconds
        with replacing(self.path) as temporary:
            temporary.write_text(json.dumps(self.seconds))


def study_folder(study: Study, home: Home) -> Path:
    """Where a study's report is kept: by its name and its experiment, so that overrides get a folder of their own."""
    return home.studies / f"{study.name}-{study.experiment.digest[:8]}"


def load_outcome(study: Study, home: Home) -> Outcome:
    """What the ledger knows of a study; nothing is run."""
    trials, folder, ledger = plan(study), study_folder(study, home), Ledger(home.trials)
    refresh_folder(folder)
    sheet = folder / SHEET
    points = Points(folder / POINTS).read(study.search) if study.search else []
    searched = make_trials(study, points)
    records = ledger.read_all(trial.id for trial in [*trials, *searched])
    # Until the search is over, another point may yet be the best.
    again = best_trials(study, points, records) if len(points) >= wanted(study) else []
    records |= ledger.read_all(trial.id for trial in again)
    trials = [*trials, *again]
    embeddings = [ledger.embeddings(trial.id) for trial in trials if trial.variant == study.baseline]
    outcome = Outcome(
        study,
        trials,
        records,
        Stages(folder / STAGES).seconds,
        sheet if sheet.exists() else None,
        home.tracking_uri,
        folder,
        ledger.read_failures(trial.id for trial in [*trials, *searched]),
        Searched(points, searched, interim_scores_of(study, searched, ledger)),
        _first_existing(embeddings),
        _load_links(folder / LINKS),
        ledger.read_predictions(records),
    )
    return replace(outcome, trials=needed_trials(outcome))


def mean_scores(outcome: Outcome) -> dict[str, float]:
    """The mean of the study's metric over the seeds of each variant."""
    metric = outcome.study.metric
    by_variant = scores(outcome, metric)
    return {
        f"{name}/{metric}": fmean(one.score for one in by_seed.values())
        for name, by_seed in by_variant.items()
        if by_seed
    }


def is_complete(outcome: Outcome) -> bool:
    """Whether every trial that the study asks for, those of its search included, has a record."""
    searched = outcome.searched
    ended = {*outcome.records, *pruned_trials(searched.interim_scores)}
    trials = [*outcome.trials, *searched.trials]
    return len(searched.trials) == wanted(outcome.study) and all(trial.id in ended for trial in trials)


def refresh_folder(folder: Path) -> None:
    """Have here what a study keeps beside its records."""
    refresh(folder / name for name in (POINTS, LINKS, STAGES, SHEET))


def save_links(folder: Path, links: dict[str, str]) -> None:
    """Add to the links that lead to each trial in MLflow's user interface, by trial id."""
    path = folder / LINKS
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(_load_links(path) | links))


def _first_existing(paths: Iterable[Path]) -> Path | None:
    for path in paths:
        refresh([path])
        if path.exists():
            return path
    return None


def _load_links(path: Path) -> dict[str, str]:
    found: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    return found
