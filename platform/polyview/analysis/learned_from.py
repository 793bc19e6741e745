"""What a study's numbers were learned from: which faces, from what start, by which labels, and who was tested."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from polyview.analysis.outcome import Outcome, centred_variants, finished, quoted, shared_faces
from polyview.analysis.supervision import describe_start, describe_supervision, known_to_start
from polyview.trials.design import RAW_PIXELS, REFERENCES, studied_experiment


def learned_from(outcome: Outcome) -> list[str]:
    """What the towers were allowed to see: the faces, the source of the text, and who the test subjects were."""
    study = outcome.study
    corpus, views = study.experiment.corpus, study.experiment.rendering.views
    prints = sorted({record.manifest for _, record in finished(outcome) if record.manifest})
    counts = {trial.experiment.rendering.views.count for trial in outcome.trials if trial.variant not in REFERENCES}
    several = f"{min(counts)} to {max(counts)} views" if len(counts) > 1 else f"{views.count} views"
    faces = f"Faces: {corpus.dataset}, {len(corpus.expressions)} expressions, {several} of "
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
    """The classes that no test subject shows, of whatever seed, though the recipe lists them of the tested corpus."""
    records = [record for _, record in finished(outcome) if record.confusions]
    shown = {
        name
        for record in records
        for counts in record.confusions.values()
        for name, row in zip(record.classes, counts, strict=True)
        if sum(row)
    }
    experiment = outcome.study.experiment
    listed = (experiment.evaluation.test or experiment.corpus).expressions
    return [name for name in listed if name not in shown] if records else []


def _absent_classes(outcome: Outcome) -> list[str]:
    """What is to be known of classes that no test subject shows."""
    if not (absent := _never_shown(outcome)):
        return []
    key = "evaluation.test.expressions" if outcome.study.experiment.evaluation.test else "corpus.expressions"
    return [
        f"No test subject shows {', '.join(absent)}: no score speaks of that, and zero-shot may name it all the same. "
        f"Set {key} to what there is."
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
    sides = {
        (len(record.train_subjects), len(record.test_subjects))
        for _, record in finished(outcome)
        if record.test_subjects
    }
    evaluation = studied_experiment(outcome.study).evaluation
    shared = shared_faces(outcome)
    but = ", except faces that have another name in training" if shared else ""
    but += _unless_start_saw_them(outcome)
    if evaluation.test:
        return [
            f"People: pretraining and probes saw the {train} of {outcome.study.experiment.corpus.dataset}, and scores "
            f"are of the {test} of {evaluation.test.dataset}, whom neither saw{but}."
            for train, test in sorted(sides)
        ]
    fewer = any(trial.experiment.language.labelled < 1 for trial in outcome.trials)
    probed = "those of the other {} whose labels may be read" if fewer else "the other {}"
    audited = {trial.variant: None for trial in outcome.trials if trial.experiment.language.shuffled == "all"}
    exchanged = f" (those of {quoted(audited)} on exchanged labels)" if audited else ""
    each = f"each of {evaluation.repeats} folds has" if evaluation.repeats > 1 else "every seed has"
    if evaluation.protocol == "holdout" and evaluation.split_seed is not None:
        each += " the same"
    totals = sorted({train + test for train, test in sides})
    by_total = {total: sorted({test for train, test in sides if train + test == total}) for total in totals}
    return [
        f"People: {each} {_or(tests)} of {total} as test subjects, drawn before pretraining. Probes are fitted on "
        f"{probed.format(_or([total - test for test in reversed(tests)]))}{exchanged} and scored on the test subjects, "
        f"whom pretraining never saw{but}."
        for total, tests in by_total.items()
    ]


def _unless_start_saw_them(outcome: Outcome) -> str:
    """What is to be added where it is said that nothing saw the test subjects."""
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
