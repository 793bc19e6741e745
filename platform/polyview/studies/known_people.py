"""Who is scored though a trial will have seen them, or may have: told before it trains."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from polyview.training.provenance import namesakes
from polyview.trials.design import Trial

if TYPE_CHECKING:
    from polyview.trials.spec import Workplace


def known_people(trials: Sequence[Trial], workplace: Workplace) -> Iterator[str]:
    """Lines on the variants that score people whom their start has seen, or who have names of those trained on."""
    # torch takes seconds to import, which a study that finds all its trials done need not wait for.
    from polyview.trials.trial import seen_by_start

    seen, shared = dict[str, set[str]](), dict[str, set[str]]()
    for trial in trials:
        experiment = trial.experiment
        if experiment.model.start or experiment.evaluation.other_corpus:
            trained_on, scored = (side.subjects for side in workplace.spec(trial).sides())
            seen.setdefault(trial.variant, set()).update(seen_by_start(experiment, scored).subjects)
            if experiment.evaluation.other_corpus:
                names = namesakes(experiment.corpus, trained_on, experiment.scored_corpus, scored)
                shared.setdefault(trial.variant, set()).update(names)
    for variant, subjects in seen.items():
        if subjects:
            yield (
                f"{variant}: model.pretrained has seen, by their names, {len(subjects)} of the people who will be "
                f"scored, such as {min(subjects)}; start from weights of others to score people whom nothing saw"
            )
    for variant, names_of_both in shared.items():
        if names_of_both:
            yield (
                f"{variant}: {len(names_of_both)} of the people of evaluation.test have names of people who will be "
                f"trained on, such as {min(names_of_both)}; if they are the same people, leave them out on one side, "
                "and if not, give them other names"
            )
