"""What a report says beside the comparison, each part where the study has it."""

from __future__ import annotations

from polyview.analysis.audit import audit
from polyview.analysis.comparisons import comparisons
from polyview.analysis.findings import against_baseline, as_measured
from polyview.analysis.outcome import Outcome
from polyview.reporting.rows import comparison_cells, comparison_heads
from polyview.reporting.sections.classes import classes
from polyview.reporting.sections.curves import across, view_counts
from polyview.reporting.sections.factorials import factorials
from polyview.reporting.sections.search import search
from polyview.reporting.sections.section import Section


def sections(outcome: Outcome) -> list[Section]:
    """The parts that this study needs."""
    study = outcome.study
    found = factorials(outcome)
    if study.search:
        found.append(search(outcome))
    found += [_further_metric(outcome, metric) for metric in study.metrics]
    if audited := audit(outcome):
        found.append(Section("Whether anything leaks", "audit", audited))
    return [*found, *across(outcome), *view_counts(outcome), *classes(outcome), *_failures(outcome)]


def _further_metric(outcome: Outcome, metric: str) -> Section:
    """The comparisons in a metric that the study compares in beside its own."""
    variants, _ = comparisons(outcome, metric)
    sentences = [
        against_baseline(outcome, one, metric) for one in variants if one.difference is not None or one.unpaired
    ]
    rows = [comparison_heads(outcome, metric), *(comparison_cells(one, outcome) for one in variants)]
    return Section(f"In {metric}", f"metric-{metric.replace('/', '-')}", sentences, rows)


def _failures(outcome: Outcome) -> list[Section]:
    """Each trial that failed, with the end of its log."""
    trials = {trial.id: trial for trial in (*outcome.trials, *outcome.searched.trials)}
    sentences = [
        as_measured(f"{trials[trial_id].name} failed {failure.tries}: {failure.reason}")
        for trial_id, failure in outcome.failures.items()
    ]
    logs = [
        "\n".join([f"{trials[trial_id].name} ({trial_id}), {failure.log}", *failure.last_lines])
        for trial_id, failure in outcome.failures.items()
    ]
    return [Section("What failed", "failures", sentences, log="\n\n".join(logs))] if sentences else []
