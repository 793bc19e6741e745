"""Of whom a study's scores are: which variants are not compared for it, and what the scores are no evidence of."""

from __future__ import annotations

from collections.abc import Sequence

from polyview.analysis.comparisons import comparison_of_each
from polyview.analysis.outcome import Outcome, finished, quoted
from polyview.training.provenance import namesakes
from polyview.trials.ledger import Record


def unpaired_variants(outcome: Outcome) -> dict[str, str]:
    """Why variants are not compared with their baseline, by their name; see `unpaired` of `inference`."""
    return {
        name: one.unpaired for name, one in comparison_of_each(outcome, outcome.study.metric).items() if one.unpaired
    }


def not_compared(outcome: Outcome) -> list[str]:
    """Which variants are scored on other people or faces or between other classes, and what can be done about it."""
    by_reason: dict[str, list[str]] = {}
    for name, reason in unpaired_variants(outcome).items():
        by_reason.setdefault(reason, []).append(name)
    if not by_reason:
        return []
    told = "; ".join(f"{quoted(names)} ({reason})" for reason, names in by_reason.items())
    return [
        "Not compared, as they are scored on other people or faces than their baseline or between other classes: "
        f"{told}. Such scores have neither a difference nor an interval or p of one. What changes them belongs under "
        "across, where each value has a baseline of its own."
    ]


def no_test_results(outcome: Outcome) -> list[str]:
    """What scores of validation subjects are not."""
    validated = dict.fromkeys(
        trial.variant for trial, _ in finished(outcome) if trial.experiment.evaluation.scored_side == "validation"
    )
    if not validated:
        return []
    everything = len(validated) == len({trial.variant for trial, _ in finished(outcome)})
    whose = "Scores" if everything else f"Scores of {quoted(validated)}"
    return [
        f"{whose} are of validation subjects, set aside within the training side for making choices: they are no test "
        "results, and flatter whatever is chosen by them. Leave out evaluation.validation to score test subjects."
    ]


def shared_names(outcome: Outcome) -> list[str]:
    """Who has the name of a person that was trained on, in another corpus that may be of the same people."""
    return sorted({name for _, record in finished(outcome) for name in _namesakes(record)})


def _namesakes(record: Record) -> Sequence[str]:
    experiment = record.experiment
    if not experiment.evaluation.other_corpus:
        return ()
    return namesakes(experiment.corpus, record.train_subjects, experiment.scored_corpus, record.scored_subjects)
