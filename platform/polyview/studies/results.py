"""Studies from Python: load one, run it, and read what came of it as polars tables.

These are the names that `from polyview import …` offers. The command line does the same with the same functions.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import polars as pl

from polyview import recipe
from polyview.analysis.comparisons import comparisons
from polyview.analysis.findings import verdicts
from polyview.analysis.outcome import Outcome, predictions_table
from polyview.errors import UserError
from polyview.recipe import Study
from polyview.storage.home import Home, check_exists, check_writable
from polyview.storage.mirror import expanded, resolve
from polyview.studies.driver import run_stages
from polyview.studies.outcome import load_outcome
from polyview.training.history import Epoch
from polyview.trials.design import Trial, baselines, check_keys_are_read, check_variants_are_meant
from polyview.trials.ledger import Record

AnyPath = str | os.PathLike[str]

_TRIAL = {"trial": pl.String, "variant": pl.String, "seed": pl.Int64, "fold": pl.Int64}
_SCORES = {**_TRIAL, "probe": pl.String, "metric": pl.String, "value": pl.Float64}
_HISTORY = {**_TRIAL, "epoch": pl.Int64, "metric": pl.String, "value": pl.Float64}
_FAILURES = {**_TRIAL, "reason": pl.String, "log": pl.String}
_COMPARISON = {
    "variant": pl.String,
    "seeds": pl.Int64,
    "mean": pl.Float64,
    "deviation": pl.Float64,
    "difference": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "seeds_low": pl.Float64,
    "seeds_high": pl.Float64,
    "p": pl.Float64,
    "verdict": pl.String,
}


@dataclass(frozen=True, eq=False)
class Results:
    """What is known of a study, as tables. Scores lie between 0 and 1, so a difference of 0.02 is two points.

    `scores`, `history`, `predictions` and `failures` have a row per trial and more, and name the trial by its id, its
    variant, its seed and its fold. The points of a search come last in them; they are in none of the comparisons.
    """

    outcome: Outcome

    @property
    def study(self) -> Study:
        """The study that these are the results of."""
        return self.outcome.study

    @property
    def report(self) -> Path:
        """The page that the last run in the study's folder wrote, `report.html`; the tables and figures lie beside it.

        A study of the same name and recipe has the same folder.
        """
        return self.outcome.folder / "report" / "report.html"

    @property
    def findings(self) -> tuple[str, ...]:
        """What the study says, a sentence each, as the report begins."""
        return tuple(finding.text for finding in verdicts(self.outcome))

    @cached_property
    def scores(self) -> pl.DataFrame:
        """What each finished trial scored: trial, variant, seed, fold, probe, metric, value."""
        rows = [
            (*_key(trial), *name.split("/", 1), value)
            for trial, record in self._finished()
            for name, value in record.scores.items()
        ]
        return pl.DataFrame(rows, schema=_SCORES, orient="row")

    @cached_property
    def history(self) -> pl.DataFrame:
        """What was measured in each epoch of each finished trial: trial, variant, seed, fold, epoch, metric, value.

        The metrics are the loss, each term of the objective without its weight, the learning rate, the seconds, the
        samples per second, and the load of the machine as `system/…`.
        """
        rows = [
            (*_key(trial), epoch.epoch, metric, value)
            for trial, record in self._finished()
            for epoch in record.history
            for metric, value in epoch.metrics.items()
        ]
        return pl.DataFrame(rows, schema=_HISTORY, orient="row")

    @cached_property
    def comparison(self) -> pl.DataFrame:
        """Each variant against the baseline in the study's metric, paired by seed; the two references come last.

        `mean` and `deviation` are over the `seeds`. `low` and `high` bound the 95 % interval of the `difference` for
        other people under other seeds, `seeds_low` and `seeds_high` that for these people under other seeds. `p` is
        the adjusted p-value that decides the `verdict`, which is `baseline`, `better`, `worse`, `same`, `open`, or
        `untested` for want of seeds, of any spread of them, or of the same people, classes and faces. What the
        scores cannot give is null.
        """
        families, own = comparisons(self.outcome, self.study.metric), set(baselines(self.study).values())
        rows = [
            (
                one.variant,
                one.seeds,
                *map(_defined, (one.mean, one.deviation, one.difference, one.low, one.high)),
                *map(_defined, (one.seeds_low, one.seeds_high)),
                one.decisive_p,
                "baseline" if one.variant in own else one.verdict,
            )
            for family in families
            for one in family
        ]
        return pl.DataFrame(rows, schema=_COMPARISON, orient="row")

    @property
    def predictions(self) -> pl.DataFrame:
        """What each probe said of each test sample: trial, variant, seed, fold, probe, sample, subject, truth and more.

        The `score` of each `prediction` is the probability of the linear probe, the share of the neighbours' votes, or
        the cosine of zero-shot.
        """
        return predictions_table(self.outcome)

    @cached_property
    def failures(self) -> pl.DataFrame:
        """The trials that failed in every attempt: trial, variant, seed, fold, reason, and the log with all of it."""
        found = self.outcome.failures
        rows = [(*_key(one), found[one.id].reason, found[one.id].log) for one in self._trials() if one.id in found]
        return pl.DataFrame(rows, schema=_FAILURES, orient="row")

    def _trials(self) -> Iterable[Trial]:
        return (*self.outcome.trials, *self.outcome.searched.trials)

    def _finished(self) -> Iterator[tuple[Trial, Record]]:
        for trial in self._trials():
            if trial.id in self.outcome.records:
                yield trial, self.outcome.records[trial.id]


@dataclass
class Lines:
    """A watcher that passes the lines on and draws nothing."""

    tell: Callable[[str], object]

    def stage(self, name: str, total: int) -> None:
        """Draws no bar for the stage."""

    def advance(self, done: int, trial: Trial | None = None) -> None:
        """Draws no bar for the stage."""

    def epoch(self, trial: Trial, epoch: Epoch) -> None:
        """Draws no bar for the trial."""

    def say(self, message: str) -> None:
        """Pass a line on."""
        self.tell(message)


def load_study(path: AnyPath, *assignments: str) -> Study:
    """Read a study from a YAML file, as in `ablations/`.

    path: the file. assignments: changes to it, as `--set` takes them: `"seeds=[0,1]"`, `"training.epochs=3"`.

    Raises `UserError`, which lists everything that is wrong.
    """
    for assignment in assignments:
        if not isinstance(assignment, str):
            raise UserError(f"load_study: {assignment!r} is no text; each change is one, as in 'training.epochs=3'")
    return recipe.load_study(Path(path), assignments)


def run_study(
    study: Study,
    home: AnyPath | None = None,
    *,
    force: str | None = None,
    say: Callable[[str], object] = print,
) -> Results:
    """Run the trials of a study that have no result yet, log them to MLflow, write the report, return the results.

    A trial that has a result is not run again, and one that was interrupted goes on from its last checkpoint. Ray is
    started on this machine unless `RAY_ADDRESS` names a cluster.

    home: the folder, or as s3://bucket/path, where everything is kept; else `POLYVIEW_HOME`, else `outputs`.
    force: a variant whose results are set aside, so that it runs again. say: is given a line whenever there is
    something worth knowing.

    Raises `UserError` before anything is trained if the study cannot be run. A trial that fails does not stop the
    others; it is in `Results.failures`.
    """
    _check_is_study(study)
    opened = _home(home)
    check_writable(opened.root)
    check_keys_are_read(study)
    check_variants_are_meant(study)
    outcome, _ = run_stages(study, opened, Lines(say), force)
    return Results(outcome)


def load_results(study: Study, home: AnyPath | None = None) -> Results:
    """What is known of a study already; nothing is run and nothing is written.

    home: as in `run_study`.

    Raises `UserError` if the home is not there.
    """
    _check_is_study(study)
    kept = _home(home)
    check_exists(kept.root, "home" if home is not None else "POLYVIEW_HOME")
    return Results(load_outcome(study, kept))


def _check_is_study(study: object) -> None:
    if not isinstance(study, Study):
        raise UserError(f"{study!r} is no study; load_study reads one from its file")


def _home(home: AnyPath | None) -> Home:
    given = home if home is not None else os.environ.get("POLYVIEW_HOME") or "outputs"
    return Home(expanded(resolve(os.fspath(given)), "home").resolve())


def _key(trial: Trial) -> tuple[str, str, int, int]:
    return trial.id, trial.variant, trial.seed, trial.experiment.evaluation.fold


def _defined(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value
