"""What a pretraining was told: what it started from, of how many people it read labels, and who a face is."""

from __future__ import annotations

from polyview.analysis.outcome import Outcome, finished
from polyview.corpus.splits import count_labelled
from polyview.recipe import Experiment
from polyview.recipe.experiment import own_contents
from polyview.recipe.weights import FORMER, OWN
from polyview.training.provenance import Seen, provenance_of_start
from polyview.trials.design import PIXELS
from polyview.trials.ledger import Record
from polyview.wording import counted

SUPERVISION = {
    "pseudo": "pseudo-labels, made of the faces and the prompts of all classes, and no label was read",
    "none": "none, and no label was read",
}


def describe_start(experiment: Experiment, seen: Seen) -> str:
    """What the towers had learned before, in words, whom of those who are scored they had seen, and of whom labels."""
    name = experiment.model.start
    if name is None:
        return "random weights"
    whom = f"{len(seen.subjects) or 'none'} of those scored here"
    if is_own(experiment):
        earlier = " of an earlier version" if _content(experiment) in FORMER else ""
        return f"polyview's own weights{earlier}, which have read the labels of generated people, {whom} among them"
    if seen.complete:
        return f"weights {name}, which had seen {whom}, by their names, {_labels(seen)}"
    unknown = "of which it is not known here what they have seen"
    return f"weights {name}, {unknown}" + (f", but {whom} are among it" if seen.subjects else "")


def _labels(seen: Seen) -> str:
    """Of whom weights had read labels, as a clause."""
    if seen.labels is None:
        return "and of which it is not known whether they had read labels"
    read = [f"{counted(count, 'person', 'people')} of {corpus}" for corpus, count in seen.labels.items()]
    return f"and had read labels of {' and '.join(read) or 'nobody'}"


def seen_by_start(record: Record) -> Seen:
    """Whom of the scored subjects the weights had seen that training started from."""
    if record.seen_by_start is not None:
        return record.seen_by_start
    experiment = record.experiment
    if experiment.model.tower == PIXELS:
        return Seen()
    return provenance_of_start(experiment.model).at_start(experiment.scored_corpus, record.scored_subjects)


def known_to_start(outcome: Outcome) -> dict[str, Seen]:
    """Whom of those who are scored the weights had seen that trials started from, by variant; its seeds start alike."""
    found: dict[str, list[Seen]] = {}
    for trial, record in finished(outcome):
        found.setdefault(trial.variant, []).append(seen_by_start(record))
    return {
        variant: Seen(
            subjects=tuple(sorted({subject for one in seen for subject in one.subjects})),
            complete=all(one.complete for one in seen),
            labels=next((one.labels for one in seen if one.labels is not None), None),
        )
        for variant, seen in found.items()
    }


def is_own(experiment: Experiment) -> bool:
    """Whether the towers started from the weights that polyview brings along, or once brought along."""
    return _content(experiment) in (OWN, *own_contents(), *FORMER)


def _content(experiment: Experiment) -> str | None:
    """What the weights hold that the towers started from; their name where that is not known, or says it already."""
    file = experiment.model.pretrained_content
    return file[1] if file else experiment.model.start


def reads_identities(experiment: Experiment) -> bool:
    """Whether the pretraining reads who a face is.

    It does so to centre on each person, to keep a person's faces together, and to make batches of whole people.
    """
    objective, language, training = experiment.objective, experiment.language, experiment.training
    assigned = language.assigns and (objective.label_terms or objective.pair_terms)
    centred = assigned and language.pseudo.centre == "subject"
    return bool(training.trains and (centred or objective.pair_terms or training.persons))


def labels_read(experiment: Experiment, people: int | None) -> str:
    """Of how many of the `people` trained on labels may be read, as in `14 of 140 training people`; None: unknown."""
    share = experiment.language.labelled
    if people is None:
        return f"{100 * share:.3g} % of the training people" if share < 1 else "all training people"
    count = count_labelled(people, share)
    of_all = counted(people, "training person", "training people")
    return f"{count} of {of_all}" if count < people else f"all {of_all}"


def describe_supervision(experiment: Experiment, people: int | None) -> str:
    """What the pretraining read, in words, where it had so many people; None: how many is not known yet."""
    source = experiment.supervision
    if source != "label":
        return SUPERVISION[source] + ("; identities were" if reads_identities(experiment) else "")
    exchanged = ", exchanged at random among them" if experiment.language.shuffled != "none" else ""
    form = form_of_labels(experiment)
    degree = "weak" if form == "as prompts" else "full"
    read = f"the labels of {labels_read(experiment, people)}{exchanged}, {form} ({degree} supervision)"
    return read if labels_read(experiment, people).startswith("all") else f"{read}; {_others(experiment)}"


def form_of_labels(experiment: Experiment) -> str:
    """As what the losses of a recipe read labels."""
    terms = experiment.objective.label_terms
    if terms == ("supervised",):
        return "as classes"
    return "as prompts and as classes" if "supervised" in terms else "as prompts"


def _others(experiment: Experiment) -> str:
    """What the losses make of people whose labels may not be read."""
    if experiment.language.assigns:
        who = ", made with their identities" if reads_identities(experiment) else ""
        return f"the others have pseudo-labels{who}"
    alone = experiment.objective.terms == experiment.objective.label_terms
    return "the others are not used" if alone else "the others are without text"
