"""What a study's numbers were learned from: which faces, from what start, by which labels, and who was tested."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from polyview.analysis.outcome import Outcome, centred_variants, finished, quoted, scored_people, shared_faces
from polyview.analysis.scored import shared_names
from polyview.analysis.supervision import describe_start, describe_supervision, known_to_start
from polyview.recipe import Corpus
from polyview.recipe.evaluation import Side
from polyview.trials.design import RAW_PIXELS, REFERENCES, studied_experiment
from polyview.wording import counted


def learned_from(outcome: Outcome) -> list[str]:
    """What the towers were allowed to see: the faces, the source of the text, and who the test subjects were."""
    study = outcome.study
    corpus, views = study.experiment.corpus, study.experiment.rendering.views
    prints = sorted({record.manifest for _, record in finished(outcome) if record.manifest})
    counts = {trial.experiment.rendering.views.count for trial in outcome.trials if trial.variant not in REFERENCES}
    several = f"{min(counts)} to {max(counts)} views" if len(counts) > 1 else counted(views.count, "view")
    faces = f"Faces: {corpus.dataset}, {counted(len(corpus.expressions), 'expression')}, {several} of "
    faces += f"{study.experiment.rendering.size} pixels" + (f"; manifest {', '.join(prints)}." if prints else ".")
    return [
        faces,
        *_absent_classes(outcome),
        *_start(outcome),
        _supervision(outcome),
        *_people(outcome),
        *_centred(outcome),
    ]


def _never_shown(outcome: Outcome) -> list[str]:
    """The classes that nobody who is scored shows, of whatever seed, though the recipe lists them of their corpus."""
    records = [record for _, record in finished(outcome) if record.confusions]
    shown = {
        name
        for record in records
        for counts in record.confusions.values()
        for name, row in zip(record.classes, counts, strict=True)
        if sum(row)
    }
    listed = outcome.study.experiment.scored_corpus.expressions
    return [name for name in listed if name not in shown] if records else []


def _absent_classes(outcome: Outcome) -> list[str]:
    """What is to be known of classes that nobody who is scored shows."""
    if not (absent := _never_shown(outcome)):
        return []
    other = outcome.study.experiment.evaluation.other_corpus
    key = "evaluation.test.expressions" if other else "corpus.expressions"
    return [
        f"No {scored_people(outcome).removesuffix('s')} shows {', '.join(absent)}: no score speaks of that, and "
        f"zero-shot may name it all the same. Set {key} to what there is."
    ]


def _start(outcome: Outcome) -> list[str]:
    trained = [
        trial for trial, _ in finished(outcome) if trial.variant not in REFERENCES and trial.experiment.training.trains
    ]
    known = known_to_start(outcome)
    said = _by_variants((describe_start(trial.experiment, known[trial.variant]), trial.variant) for trial in trained)
    return [f"Start: {said}."] if trained else []


def _by_variants(pairs: Iterable[tuple[str, str]]) -> str:
    """What is said of variants, each with the names that it is said of, where there are several."""
    variants: dict[str, dict[str, None]] = {}
    for text, variant in pairs:
        variants.setdefault(text, {})[variant] = None
    return "; ".join(text + (f" ({quoted(names)})" if len(variants) > 1 else "") for text, names in variants.items())


def _supervision(outcome: Outcome) -> str:
    people = {trial.id: len(record.train_subjects) or None for trial, record in finished(outcome)}
    largest = max((count for count in people.values() if count), default=None)
    said = _by_variants(
        (describe_supervision(trial.experiment, people.get(trial.id, largest)), trial.variant)
        for trial in outcome.trials
        if trial.variant not in REFERENCES
    )
    return f"Supervision in pretraining: {said}."


def _centred(outcome: Outcome) -> list[str]:
    """Of which variants the tested faces were moved as a whole before they were scored."""
    if not (names := centred_variants(outcome)):
        return []
    absent = _never_shown(outcome)
    whose = "" if len(names) == len({trial.variant for trial in outcome.trials}) else f" of {quoted(names)}"
    return [
        f"Centred: the tested faces' embeddings{whose} were moved as a whole onto the mean of the training faces'. No "
        "label was read for it, but all of the faces: what is said of one depends on the others, and on how often each "
        "expression is among them."
        + (f" Their own mean lacks {', '.join(absent)}, so that all were moved wrongly." if absent else "")
    ]


def _people(outcome: Outcome) -> list[str]:
    """How many were trained on and scored, and that those who were scored had not been seen, as far as it is known."""
    sizes: dict[Side, set[tuple[int, int]]] = {}
    for _, record in finished(outcome):
        if record.scored_subjects:
            size = len(record.train_subjects), len(record.scored_subjects)
            sizes.setdefault(record.experiment.evaluation.scored_side, set()).add(size)
    but = ", except faces that have another name in training" if shared_faces(outcome) else ""
    but += _unless_start_saw_them(outcome)
    other = studied_experiment(outcome.study).evaluation.test
    found = []
    for side, of_side in sizes.items():
        if other and side == "test":
            found += _of_another_corpus(outcome, other, of_side, but)
        else:
            found += _of_one_corpus(outcome, side, of_side, but)
    return found


def _of_another_corpus(outcome: Outcome, other: Corpus, sizes: Iterable[tuple[int, int]], but: str) -> list[str]:
    """Of sizes of the training side and the test side."""
    names = shared_names(outcome)
    unseen = (
        f"{len(names)} of whom have names of the former, so that they may have been seen"
        if names
        else "whom neither saw"
    )
    return [
        f"People: pretraining and probes saw the {train} of {outcome.study.experiment.corpus.dataset}, and scores "
        f"are of the {test} of {other.dataset}, {unseen}{but}."
        for train, test in sorted(sizes)
    ]


def _of_one_corpus(outcome: Outcome, side: Side, sizes: Iterable[tuple[int, int]], but: str) -> list[str]:
    """Of sizes of the training side and the side that is scored."""
    evaluation = studied_experiment(outcome.study).evaluation
    fewer = any(trial.experiment.language.labelled < 1 for trial in outcome.trials)
    probed = "those of the other {} whose labels may be read" if fewer else "the other {}"
    audited = {trial.variant: None for trial in outcome.trials if trial.experiment.language.shuffled == "all"}
    exchanged = f" (those of {quoted(audited)} on exchanged labels)" if audited else ""
    each = f"each of {evaluation.repeats} folds has" if evaluation.repeats > 1 else "every seed has"
    if evaluation.protocol == "holdout" and evaluation.split_seed is not None:
        each += " the same"
    apart = " Test subjects are none of these, and no score is of them." if side == "validation" else ""
    by_total: dict[int, list[int]] = {}
    for train, scored in sorted(sizes):
        by_total.setdefault(train + scored, []).append(scored)
    return [
        f"People: {each} {_or(sorted(counts))} of {total} as {side} subjects, drawn before pretraining. Probes are "
        f"fitted on {probed.format(_or([total - one for one in sorted(counts, reverse=True)]))}{exchanged} and scored "
        f"on the {side} subjects, whom pretraining never saw{but}.{apart}"
        for total, counts in sorted(by_total.items())
    ]


def _unless_start_saw_them(outcome: Outcome) -> str:
    """What is to be added where it is said that nothing saw those who are scored."""
    started = {variant: seen for variant, seen in known_to_start(outcome).items() if variant != RAW_PIXELS}

    def weights(variants: Sequence[str]) -> str:
        return f"the weights that {'it' if len(variants) == len(started) else quoted(variants)} started from"

    text = ""
    if unknown := [variant for variant, seen in started.items() if not seen.complete]:
        text += f", but perhaps {weights(unknown)}"
    if knowing := [variant for variant, seen in started.items() if seen.subjects]:
        most = max(len(started[variant].subjects) for variant in knowing)
        text += f", but {weights(knowing)} had seen up to {most} of them, by their names"
    return text


def _or(counts: Sequence[int]) -> str:
    return " or ".join(map(str, counts))
