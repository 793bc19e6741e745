"""Who is trained on and who is scored, and whether they are enough: a table of samples tells, before any is drawn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from polyview.corpus.manifest import SEQUENCE
from polyview.corpus.splits import Split, few, holdout, kfold, labelled, leave_one_out
from polyview.errors import UserError
from polyview.evaluation.protocols import check_shots
from polyview.recipe import Experiment
from polyview.recipe.corpus import GENERATED
from polyview.training.order import check_people, check_size
from polyview.wording import agreeing, counted


def sides_of(experiment: Experiment, subjects: Sequence[str], others: Sequence[str] | None = None) -> Split:
    """The training subjects and those who are scored, the test subjects or the validation subjects.

    subjects: everybody of the recipe's corpus; others: of the corpus that it is tested on, if that is another.
    Raises `UserError` where there are too few people.
    """
    evaluation = experiment.evaluation
    # With another corpus as the test, everybody is trained on; a search's points are scored on some of them.
    whole = Split(tuple(sorted(set(subjects))), ()) if evaluation.test else _split_of(experiment, subjects)
    if evaluation.validation:
        return holdout(whole.train, evaluation.validation, _split_seed(experiment))
    return whole if others is None else Split(whole.train, tuple(sorted(set(others))))


def check_samples(experiment: Experiment, samples: pl.DataFrame, others: pl.DataFrame | None = None) -> Split:
    """Who is on which side, as `sides_of` has it.

    Raises `UserError` where the samples are too few for the protocol, the probes or the batches.

    samples: one row each of `subject` and `expression`; others: those of the corpus that is tested on.
    """
    sides = sides_of(experiment, samples["subject"].to_list(), None if others is None else others["subject"].to_list())
    train = samples.filter(pl.col("subject").is_in(sides.train))
    readable = labelled(sides.train, experiment.language.labelled, experiment.seed)
    for people in experiment.evaluation.shots:
        check_shots(people, len(readable))
        _check_shown(train, few(readable, people, experiment.seed))
    shown = sorted(set(train.filter(pl.col("subject").is_in(readable))["expression"]))
    if "linear" in experiment.evaluation.probes and len(shown) < 2:
        raise UserError(
            "the linear probe tells expressions apart, and all training subjects whose labels may be read "
            f"({len(readable)}) show {', '.join(shown) or 'none'}; raise language.labelled, or use more subjects"
        )
    if others is not None:
        _check_other_people(experiment, set(train["subject"]), set(others["subject"]))
        _check_classes(experiment, set(train["expression"]), set(others["expression"]))
    training = experiment.training
    if training.trains:
        check_size(len(train), training.batch_size)
        if training.persons:
            owners = np.unique(train["subject"].to_list(), return_inverse=True)[1]
            check_people(owners, training.persons, training.batch_size // training.persons)
    return sides


def _check_shown(samples: pl.DataFrame, chosen: Sequence[str]) -> None:
    """Raises `UserError` where the few people of a few-shot probe show one expression, of which it learns nothing."""
    shown = samples.filter(pl.col("subject").is_in(chosen))["expression"].unique()
    if len(shown) < 2:
        people = counted(len(chosen), "person who is", "people who are")
        raise UserError(
            f"evaluation.shots has {len(chosen)}, and the {people} drawn ({', '.join(chosen[:3])}) "
            f"{agreeing(len(chosen), 'shows', 'show')} {', '.join(shown) or 'nothing'} only; raise it, or set "
            "corpus.subjects to draw people who show every expression"
        )


def _check_other_people(experiment: Experiment, trained_on: set[str], scored: set[str]) -> None:
    """Raises `UserError` where people of the corpus that is trained on are those of the other that is scored."""
    corpus, test = experiment.corpus, experiment.scored_corpus
    generated = corpus.dataset in GENERATED
    alike = corpus.generator.seed == test.generator.seed if generated else corpus.root == test.root
    if corpus.dataset == test.dataset and alike and (both := sorted(trained_on & scored)):
        raise UserError(
            f"evaluation.test has {len(both)} of the people who are trained on, such as {both[0]}: name other people "
            f"there{' by another generator.seed' if generated else ''}, or use another evaluation.protocol"
        )


def _check_classes(experiment: Experiment, shown: set[str], asked: set[str]) -> None:
    """Raises `UserError` where a probe is asked about expressions of another corpus that it could not learn."""
    fitted = [probe for probe in experiment.evaluation.measured if probe != "zero_shot"]
    if fitted and (unknown := sorted(asked - shown)):
        raise UserError(
            f"evaluation.test has faces of {', '.join(unknown)}, and no training subject shows that: {fitted[0]} could "
            "not name it; list in evaluation.test.expressions what both have, or set evaluation.probes=[zero_shot]"
        )


def samples_of(faces: pl.DataFrame, temporal: str) -> pl.DataFrame:
    """The samples that a manifest's faces make: each of them, or each sequence where a model takes it as one."""
    return faces if temporal == "frame" else faces.unique(SEQUENCE)


def _split_of(experiment: Experiment, subjects: Sequence[str]) -> Split:
    evaluation, seed = experiment.evaluation, _split_seed(experiment)
    match evaluation.protocol:
        case "subject_kfold":
            return kfold(subjects, evaluation.folds, evaluation.fold, seed)
        case "loso":
            return leave_one_out(subjects, evaluation.folds, evaluation.fold)
    return holdout(subjects, evaluation.share, seed)


def _split_seed(experiment: Experiment) -> int:
    """The seed by which test subjects and validation subjects are drawn."""
    own = experiment.evaluation.split_seed
    return experiment.seed if own is None else own
