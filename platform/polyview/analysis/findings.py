"""What a study found, in words: the part of a report that does not depend on its format."""

from __future__ import annotations

from dataclasses import dataclass

from polyview.analysis.comparisons import comparisons, margin_of
from polyview.analysis.outcome import Outcome, confusions_of
from polyview.analysis.statistics import Comparison, adjustment, relation, sentence, signed
from polyview.evaluation.metrics import guessing
from polyview.recipe import Study
from polyview.trials.design import RAW_PIXELS, UNTRAINED, baselines
from polyview.wording import counted


@dataclass(frozen=True)
class Finding:
    """One sentence; whether it stands, as a measured level or a significant difference; and whether a test says so."""

    text: str
    settled: bool
    tested: bool = True


def as_measured(text: str) -> Finding:
    """A sentence that rests on no test: a level, a count, or how to read what is beside it."""
    return Finding(text, settled=True, tested=False)


def verdicts(outcome: Outcome) -> list[Finding]:
    """What the study says: the baseline's level, the baseline against the references, each variant against it."""
    study, against = outcome.study, baselines(outcome.study)
    variants, references = comparisons(outcome, study.metric)
    own = [one for one in variants if against.get(one.variant) == one.variant]
    if not any(one.seeds for one in own):
        return [
            Finding(f"“{study.baseline}”, the baseline, has no {study.metric} yet: nothing can be compared.", False)
        ]
    beside = [_against_reference(one, study) for one in references if one.difference is not None]
    said = {one.variant: as_measured(_level(outcome, one, study.metric)) for one in own if one.seeds}
    for one in variants:
        baseline = against.get(one.variant, study.baseline)
        if one.variant != baseline and baseline in said:
            said[one.variant] = against_baseline(outcome, one, study.metric)
    ordered = [said[one.variant] for one in variants if one.variant in said]
    return [ordered[0], *beside, *ordered[1:]]


def against_baseline(outcome: Outcome, one: Comparison, metric: str) -> Finding:
    """What is said of a variant beside its baseline; where they cannot be compared, its own level, and why."""
    baseline = one.against or outcome.study.baseline
    text = sentence(one, metric, baseline, margin_of(outcome.study))
    if one.unpaired:
        return as_measured(f"{text} {_level(outcome, one, metric)}")
    return Finding(text, one.decided)


def _level(outcome: Outcome, one: Comparison, metric: str) -> str:
    """How high a variant scores, and what guessing would give on its own faces."""
    spread = f" ± {100 * one.deviation:.1f}" if one.seeds > 1 else ""
    count = counted(one.seeds, "seed")
    whom = " on validation subjects" if one.side == "validation" else ""
    text = f"“{one.variant}” reaches {100 * one.mean:.1f}{spread} % {metric}{whom} over {count}"
    probe, _, measure = metric.partition("/")
    counts = confusions_of(outcome, one.variant)[1].get(probe)
    if counts is None or len(counts) < 2:
        return f"{text}."
    level = 100 * guessing(counts)[measure]
    return f"{text}; naming the most frequent class always gives {level:.1f} %."


def _against_reference(found: Comparison, study: Study) -> Finding:
    """The baseline against a reference: `found` is the reference's difference, so all signs turn round."""
    assert found.difference is not None
    gain, name = -found.difference, f"“{study.baseline}”"
    start = "the pretrained tower it starts from" if study.experiment.model.start else "the untrained tower"
    other = {UNTRAINED: start, RAW_PIXELS: "the same probe on raw pixels"}[found.variant]
    size = f"{signed(gain)} points of {study.metric}"
    if found.low is None or found.high is None or found.p_adjusted is None:
        return Finding(f"{name} against {other}: {size}, without an interval (seeds in common: {found.pairs}).", False)
    p = f"p {relation(found.p_adjusted)} {adjustment(margin_of(study))}"
    span = f"{size}, 95 % interval {signed(-found.high)} to {signed(-found.low)}, {p}"
    if not found.significant and (found.low > 0 or found.high < 0):
        verb = "may beat" if gain > 0 else "may do worse than"
        return Finding(
            f"{name} {verb} {other}: {span}; of {found.family} comparisons, some such intervals are luck.", False
        )
    if not found.significant:
        return Finding(f"Whether {name} beats {other} is open: {span}.", False)
    return Finding(f"{name} {'beats' if gain > 0 else 'does worse than'} {other}: {span}.", True)
