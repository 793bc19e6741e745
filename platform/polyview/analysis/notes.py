"""How to read a study's numbers, what is amiss with them, and what they cannot say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from polyview.analysis.comparisons import comparisons, family_of, margin_of
from polyview.analysis.curves import idle_terms
from polyview.analysis.outcome import (
    Outcome,
    count_without_predictions,
    finished,
    quoted,
    scored_people,
    shared_faces,
)
from polyview.analysis.scored import no_test_results, not_compared, shared_names
from polyview.analysis.statistics import Comparison, adjustment, in_points
from polyview.analysis.supervision import known_to_start
from polyview.recipe import Experiment, UntilDecided
from polyview.rendering.renderer import backend_of
from polyview.trials.design import REFERENCES, UNTRAINED, studied_experiment
from polyview.trials.ledger import Record
from polyview.wording import agreeing, counted

CEILING = 0.95
"""A score above which little is left to gain."""
DECIDING = ("polyview", "git_commit", "torch")
"""What a result could differ by, of all that a record's environment names."""


def notes(outcome: Outcome) -> list[str]:
    """How to read the numbers, and what they cannot say."""
    variants, references = comparisons(outcome, outcome.study.metric)
    compared = [*variants, *references]
    reading = [*_stale(outcome), *no_test_results(outcome), *not_compared(outcome)]
    if not finished(outcome):
        return reading
    if all(one.seeds < 2 for one in compared):
        reading.append("One seed has no spread: neither an interval nor a test is possible. Add seeds to the study.")
    elif all((one.seeds if one.unpaired else one.pairs) < 2 for one in compared):
        reading.append(
            "± is the standard deviation over seeds. Nothing has two seeds in common with its baseline: no difference "
            "is tested."
        )
    else:
        family = [one for of_metric in family_of(outcome).values() for one in of_metric]
        untested = any(one.p is None and one.against for one in family)
        reading += [_how_to_read(outcome, variants, untested), *_of_whom(outcome, compared)]
    if differing := describe_versions(outcome):
        reading.append(differing)
    reading += _without_predictions(outcome)
    reading += doubtful_faces(outcome)
    reading += _zero_shot(outcome)
    reading += [
        f"Before this training the tower has {100 * one.mean:.1f} % {outcome.study.metric} already: what a part of the "
        "training adds can hardly show there. Compare in another metric, or on harder faces."
        for one in references
        if one.variant == UNTRAINED and one.mean >= CEILING and not one.significant
    ]
    if len(trained := _precisions(outcome)) > 1:
        counts = ", ".join(f"{count} in {precision}" for precision, count in sorted(trained.items()))
        reading.append(
            f"The trials were not all trained in one precision ({counts}): differences between them may come from "
            "that. Set training.precision to compare like with like."
        )
    reading += _drawn_by(outcome)
    reading += [
        f"In {outcome.study.baseline} {term} had {share:.1%} of the gradient at most: leaving it out says nothing of "
        f"what it could earn. Raise objective.{term}.weight."
        for term, share in idle_terms(outcome).items()
    ]
    return reading


def _drawn_by(outcome: Outcome) -> list[str]:
    """Which variants are of pictures of another backend than others."""
    variants: dict[str, dict[str, None]] = {}
    for trial, _ in finished(outcome):
        variants.setdefault(backend_of(trial.experiment.rendering), {})[trial.variant] = None
    if len(variants) < 2:
        return []
    told = ", ".join(f"{quoted(names)} by {backend}" for backend, names in sorted(variants.items()))
    return [
        f"The pictures are not all of one rendering.backend ({told}). They agree but for a few pixels at edges, "
        "and a difference between these variants is that of other pictures of the same faces."
    ]


def _zero_shot(outcome: Outcome) -> list[str]:
    """Of which variants zero-shot says nothing of what they learned."""
    scored: dict[str, bool] = {}
    untrained_text: dict[str, None] = {}
    for trial, record in finished(outcome):
        scored[trial.variant] = any(name.startswith("zero_shot/") for name in record.scores)
        objective, trains = trial.experiment.objective, trial.experiment.training.trains
        if scored[trial.variant] and trains and not objective.trains_text and trial.variant not in REFERENCES:
            untrained_text[trial.variant] = None
    without = [variant for variant, has in scored.items() if not has]
    found = []
    if without and any(scored.values()):
        found.append(f"Zero-shot is not defined for {quoted(without)}, without text.")
    if untrained_text:
        found.append(f"Zero-shot of {quoted(untrained_text)} is by a text tower that its training did not change.")
    return found


def caveats(outcome: Outcome) -> list[str]:
    """What results lack, and what is amiss with the faces that they are of."""
    return [
        *_stale(outcome),
        *no_test_results(outcome),
        *not_compared(outcome),
        *_without_predictions(outcome),
        *doubtful_faces(outcome),
    ]


def doubtful_faces(outcome: Outcome) -> list[str]:
    """Which scored faces were trained on under another name, are of people who may have been seen, or show nothing."""
    return [*_shared(outcome), *_namesakes(outcome), *_known_people(outcome), *_blank(outcome)]


def _stale(outcome: Outcome) -> list[str]:
    if not outcome.stale:
        return []
    return [
        f"{counted(len(outcome.stale), 'result is', 'results are')} left out: of faces that have changed since, or "
        "that were read or drawn in another way. Running the study again keeps what it has beside the new."
    ]


def _without_predictions(outcome: Outcome) -> list[str]:
    results = [trial.id for trial, _ in finished(outcome)]
    missing = count_without_predictions(outcome, results)
    if missing in (0, len(results)):  # where all are of an early version, each comparison says so
        return []
    untried = sum(trial_id not in outcome.predictions for trial_id in results)
    remedy = " Running the study again makes them where a checkpoint is left." if untried else ""
    failed = f" Of {missing - untried} they could not be made." if missing > untried else ""
    return [
        f"{missing} of {counted(len(results), 'result')} {agreeing(missing, 'has', 'have')} no predictions, without "
        "which a seed says nothing of other people: intervals are reckoned from the others or from the seeds "
        f"alone.{failed}{remedy}"
    ]


def _shared(outcome: Outcome) -> list[str]:
    """Whose faces were trained on and scored."""
    shared = shared_faces(outcome)
    if not shared:
        return []
    people = scored_people(outcome)
    who = counted(len(shared), f"face of a {people.removesuffix('s')} was", f"faces of {people} were")
    return [f"{who} trained on too, under another name: {_first(shared)}. Mend the corpus."]


def _namesakes(outcome: Outcome) -> list[str]:
    """Who is scored under the name of somebody who was trained on."""
    names, test = shared_names(outcome), studied_experiment(outcome.study).evaluation.test
    if not names:
        return []
    return [
        f"{len(names)} of those who are scored have names of people who were trained on ({_first(names)}). If they are "
        "the same people, the scores are not of people whom nothing saw: give other people other names"
        + (f", or leave the same ones out of the {test.dataset} that is tested on." if test else ".")
    ]


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")


def _known_people(outcome: Outcome) -> list[str]:
    """Who is scored though the weights that pretraining started from had seen them, by variants alike in that."""
    alike: dict[tuple[str, ...], list[str]] = {}
    for variant, seen in known_to_start(outcome).items():
        if seen.subjects:
            alike.setdefault(seen.subjects, []).append(variant)
    return [
        f"The weights that {quoted(variants)} started from had seen, by their names, {len(subjects)} of those who are "
        f"scored ({_first(subjects)}): such scores are not of people whom nothing saw. Start from weights of others, "
        "or score others."
        for subjects, variants in alike.items()
    ]


def _blank(outcome: Outcome) -> list[str]:
    """Which variants were scored on pictures that show nothing, and why that may be."""
    found: dict[str, tuple[Experiment, set[str]]] = {}
    for trial, record in finished(outcome):
        if record.blank_pictures:
            found.setdefault(trial.variant, (record.experiment, set()))[1].update(record.blank_pictures)
    return [
        f"Of “{variant}” {counted(len(names), 'scored picture is', 'scored pictures are')} of one colour, where no "
        f"score says anything of a face. {_why_blank(experiment)}"
        for variant, (experiment, names) in found.items()
    ]


def _why_blank(experiment: Experiment) -> str:
    if experiment.model.temporal != "dynamic_image":
        return "Look at polyview sheet."
    if experiment.scored_corpus.frames == "rise":
        return (
            "In their films nothing moves from the first frame to the apex, or it moves back before: look at the order "
            "of the frames, and at their intensities."
        )
    return "A film that ends as it began cancels itself out in a dynamic image; set corpus.frames: rise."


def _how_to_read(outcome: Outcome, variants: Sequence[Comparison], untested: bool) -> str:
    study, people = outcome.study, scored_people(outcome)
    person = people.removesuffix("s")
    family = max((one.family for one in variants), default=1)
    by = adjustment(margin_of(study))
    adjusted = f"{by} over the {family} comparisons" if family > 1 else "that of the one comparison"
    text = (
        f"± is the standard deviation over seeds, and does not say how a score would vary with other {people}; the "
        f"intervals of polyview table do. Differences are to the baseline, paired by seed and {person}, in "
        "points. The interval and p are for other people under other seeds: both are taken as drawn at random, as "
        "crossed effects, with degrees of freedom near Satterthwaite's that were chosen by simulation, and a "
        f"{person} of several seeds is one person; "
        f"a {person}'s part of F1 is the jackknife's. A number of seeds takes the difference and the spread that "
        "were seen for the true ones, which few seeds hardly tell. Beside them is Student's interval over seeds, for "
        f"these people under other seeds. Intervals are each for itself; p is {adjusted}, and a difference is claimed "
        "where it is at most 0.05."
    )
    if untested:
        want = "of seeds or of a spread of them"
        if any(one.unpaired for one in variants):
            want = "of seeds, of a spread of them, or of the same people, classes and faces"
        text += f" What could not be tested, for want {want}, is one of the comparisons too."
    if study.references:
        start = ", which here is the pretrained one before this training," if study.experiment.model.start else ""
        text += f" The untrained tower{start} and raw pixels are a family of their own, in each metric."
    if margin := margin_of(study):
        text += f" A variant is the same where two one-sided tests exclude differences of {in_points(margin)} or more."
    if isinstance(study.seeds, UntilDecided):
        text += (
            f" Seeds were added, {study.seeds.first} at a time and {study.seeds.most} at most, for the comparisons "
            "that were open; p allows for every look (Lan and DeMets 1983, spending as Pocock), and intervals are "
            "those of the last look."
        )
    return text


def _of_whom(outcome: Outcome, compared: Sequence[Comparison]) -> list[str]:
    """What the numbers cannot say of other people."""
    studied, found = studied_experiment(outcome.study), list[str]()
    evaluation, people = studied.evaluation, scored_people(outcome)
    weights = "the weights that do not come pretrained" if studied.model.start else "the weights"
    if any(_wider_for_these_people(one) for one in compared):
        found.append(
            "Student's interval for these people is the wider one in places: of few seeds it has few degrees of "
            "freedom, and does not know what is known of the people. Neither interval knows which scores are possible."
        )
    if any(one.pairs > 1 and not one.people for one in compared):
        text = "Predictions of some trials were not kept. Their intervals for other people are "
        found.append(
            text + "those of hold-outs drawn by each seed, corrected for what these share (Nadeau and Bengio 2003)."
            if evaluation.protocol == "holdout"
            else text + "not known; run the study again to have them made from its checkpoints."
        )
    if evaluation.protocol == "holdout" and evaluation.split_seed is None:
        found.append(
            f"A seed changes the {people}, {weights} and the batches. Every seed draws its training people from "
            f"the same people, which is not allowed for: intervals are of other {people}, not of other training "
            "people."
        )
    else:
        drawn = evaluation.protocol == "subject_kfold" and evaluation.split_seed is None
        changed = f"who is in which fold, {weights}" if drawn else weights
        found.append(
            f"A seed changes {changed}, the batches and how the probes are fitted. Training people are the same under "
            "every seed: intervals are not of other training people."
        )
    if evaluation.repeats > 1:
        found.append(
            "Folds train on each other's test subjects, which makes their scores depend on one another; this is not "
            "allowed for."
        )
    if any(_alike(one) for one in compared):
        found.append(
            "Where both intervals are the same, no variance between people could be told from that between seeds, and "
            "none is in the interval."
        )
    return found


def _alike(one: Comparison) -> bool:
    return bool(one.estimate and one.people and not one.estimate.people_variance)


def _wider_for_these_people(one: Comparison) -> bool:
    if one.low is None or one.high is None or one.seeds_low is None or one.seeds_high is None:
        return False
    return one.seeds_high - one.seeds_low > (one.high - one.low) * (1 + 1e-9)


def describe_versions(outcome: Outcome) -> str | None:
    """Which variants ran with which code, where that is not one and the same; None if it is."""
    by_version: dict[str, dict[str, set[int]]] = {}
    for trial, record in finished(outcome):
        by_version.setdefault(version_of(record), {}).setdefault(trial.variant, set()).add(trial.seed)
    if len(by_version) < 2:
        return None
    groups = [f"With {version or 'unknown versions'}: {_listed(ran)}" for version, ran in by_version.items()]
    return (
        "The trials were made by different code, and differences between them may come from that. "
        f"{'. '.join(groups)}. Run a variant anew with --force to compare like with like."
    )


def version_of(record: Record) -> str:
    """The code that made a record, as far as a result could differ by it; empty where it was not kept."""
    return ", ".join(f"{name} {record.environment[name]}" for name in DECIDING if name in record.environment)


def _listed(ran: Mapping[str, set[int]]) -> str:
    return ", ".join(f"{variant} (seeds {', '.join(map(str, sorted(seeds)))})" for variant, seeds in ran.items())


def _precisions(outcome: Outcome) -> Counter[str]:
    """How many finished trials were trained in each precision."""
    return Counter(record.precision for _, record in finished(outcome) if record.precision)
