"""All studies of a home: what each asks, what it says so far, and which need to be looked after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from rich import box
from rich.table import Column, Table
from rich.text import Text

from polyview.analysis.comparisons import comparisons
from polyview.analysis.findings import Finding, verdicts
from polyview.analysis.notes import describe_versions
from polyview.analysis.outcome import Outcome, cost
from polyview.reporting.pages import render
from polyview.reporting.report import csv
from polyview.reporting.rows import NONE, first_that_fits, say_left_out

State = Literal["complete", "half done", "not run", "not known"]


@dataclass(frozen=True)
class StudyEntry:
    """One study of a home.

    `folder` is the name of its own, `finished` of its `planned` trials have ended, `decided` and `undecided` are its
    variants by whether their comparison is open, `needs` says what is stale or failed, and `ended` when its last trial
    did (Unix seconds). Of a study that an earlier version ran only the name, the trials and the report are known.
    """

    folder: str
    name: str
    state: State
    has_report: bool
    finished: int
    planned: int | None = None
    question: str = ""
    metric: str = ""
    findings: Sequence[Finding] = ()
    decided: Sequence[str] = ()
    undecided: Sequence[str] = ()
    needs: Sequence[str] = ()
    trial_hours: float | None = None
    gpu_hours: float | None = None
    ended: float | None = None

    @property
    def claims(self) -> list[Finding]:
        """What it says that is settled: levels, and differences that are significant."""
        return [one for one in self.findings if one.settled]

    @property
    def trials(self) -> str:
        """How many of its trials are finished, in words."""
        return str(self.finished) if self.planned is None else f"{self.finished} of {self.planned}"

    @property
    def day(self) -> str:
        """The day on which its last trial ended."""
        return NONE if self.ended is None else f"{datetime.fromtimestamp(self.ended):%Y-%m-%d}"

    @property
    def hours(self) -> tuple[str, str]:
        """Its trial-hours and GPU-hours, in words."""
        trial, gpu = (NONE if one is None else f"{one:.2g}" for one in (self.trial_hours, self.gpu_hours))
        return trial, gpu


@dataclass(frozen=True)
class Overview:
    """The studies of the home at an address, and what all their trials took: one that several share counts once."""

    address: str
    studies: Sequence[StudyEntry]
    trial_hours: float
    gpu_hours: float


def entry(outcome: Outcome, folder: str, finished: int, planned: int, report: str | None) -> StudyEntry:
    """A study of which so many trials have ended; `report` is the table that its report came with, if it has one."""
    study, records = outcome.study, outcome.records.values()
    compared = [one for one in comparisons(outcome, study.metric)[0] if one.difference is not None]
    trial_hours, gpu_hours = cost(outcome)
    return StudyEntry(
        folder,
        study.name,
        "complete" if finished == planned else "half done" if finished else "not run",
        report is not None,
        finished,
        planned,
        study.question,
        study.metric,
        verdicts(outcome),
        [one.variant for one in compared if one.decided],
        [one.variant for one in compared if not one.decided],
        _needs(outcome, report),
        trial_hours,
        gpu_hours,
        max((record.ended for record in records), default=None),
    )


def _needs(outcome: Outcome, report: str | None) -> list[str]:
    """What is stale or has failed, each with what mends it."""
    found = []
    if failed := len(outcome.failures):
        found.append(f"{count(failed, 'trial')} failed; its report tells why, and running it again tries them again")
    if stale := len(outcome.stale):
        found.append(f"{count(stale, 'result')} left out, of faces that have changed since; run it again")
    if describe_versions(outcome):
        found.append("its trials were made by different code; its report says which, and --force runs a variant anew")
    if outcome.records and report != csv(outcome):
        what = "there is no report" if report is None else "its report is of other results than there are now"
        found.append(f"{what}; run it again, which runs no trial that has a result")
    return found


def page(overview: Overview) -> str:
    """A page that needs no script and no other file, to lie beside the studies' folders."""
    return render("studies.html.j2", overview=overview)


def table(overview: Overview, width: int = 120) -> Table:
    """A row for each study; those that need something are marked. A narrow one leaves columns out."""
    return first_that_fits((_table(overview, shown) for shown in (4, 2, 0)), width)


def _table(overview: Overview, figures: int) -> Table:
    heads = ("decided", "open", "hours", "last result")
    shown = Table(
        Column("study", min_width=14, overflow="fold"),
        Column("trials", justify="right"),
        Column("state", no_wrap=True),
        *(Column(head, justify="right", no_wrap=True) for head in heads[:figures]),
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    say_left_out(shown, heads[figures:])
    for one in overview.studies:
        counts = [str(len(found)) if one.metric else NONE for found in (one.decided, one.undecided)]
        state = f"{one.state} !" if one.needs else one.state
        shown.add_row(*map(Text, (one.folder, one.trials, state, *[*counts, one.hours[0], one.day][:figures])))
    return shown


def needs(overview: Overview) -> list[str]:
    """What is stale, has failed or is not known, a line each."""
    return [f"! {one.folder}: {need}" for one in overview.studies for need in one.needs]


def count(number: int, noun: str) -> str:
    """A number of things."""
    return f"{number} {noun}" + ("" if number == 1 else "s")
