"""The files that a study names, from its records, where they are gone or an earlier version did not keep them."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Set
from contextlib import suppress
from pathlib import Path

from polyview.errors import UserError
from polyview.recipe import Study
from polyview.recipe.named import PROMPTS, WEIGHTS, NamedFiles, names_in
from polyview.recipe.weights import HUB, OWN
from polyview.storage.home import Home
from polyview.storage.mirror import refresh
from polyview.trials.design import repeated, variants, vary
from polyview.trials.ledger import Ledger, Record

RESULTS = "results.csv"


def with_known_files(study: Study, home: Home, report: Path) -> Study:
    """The study; where a file that it names is gone, or was not kept with it, with what its records say was in it.

    `report` is the folder of the study's report, by which each record's variant is known.
    """
    study = _with_known_weights(study, home)
    if not (unknown := unknown_files(study)):
        return study
    records = sorted(Ledger(home.trials).all(), key=lambda record: record.ended, reverse=True)
    reported = _reported_variants(report / RESULTS)
    for key, name in unknown:
        filled = [study.model_copy(update={"files": files}) for files in _files_of(study, key, name, records)]
        fitting = [one for one in filled if _has_run(one, key, name, {record.id for record in records}, reported)]
        if len(fitting) == 1:  # of several, nobody can say which it was
            study = fitting[0]
    return study


def _reported_variants(results: Path) -> Mapping[str, str]:
    """The variant of each trial in a report's table, by the trial's id; nothing where there is none."""
    refresh([results])
    if not results.exists():
        return {}
    with results.open(encoding="utf-8", newline="") as file:
        return {row["trial"]: row["variant"] for row in csv.DictReader(file) if {"trial", "variant"} <= row.keys()}


def unknown_files(study: Study) -> list[tuple[str, str]]:
    """The files that variants name and that nothing is known of: the key of the experiment, and the name."""
    files = study.files
    named = dict.fromkeys((key, name) for _, key, name in names_in(study.model_dump(mode="json")))
    return [
        (key, name)
        for key, name in named
        if (key == PROMPTS and name not in files.prompts)
        or (key == WEIGHTS and name not in files.weights and not name.startswith(HUB) and Path(name).suffix)
    ]


def _files_of(study: Study, key: str, name: str, records: Iterable[Record]) -> list[NamedFiles]:
    """The study's files, with what each of the records was made with for the one that is called `name`."""
    files, found = study.files, list[NamedFiles]()
    for record in records:
        own, known = record.experiment.language.own, record.experiment.model.pretrained_content
        if key == PROMPTS and own:
            found.append(files.model_copy(update={"prompts": {**files.prompts, name: own}}))
        elif key == WEIGHTS and known and Path(known[0]).name == Path(name).name:
            found.append(files.model_copy(update={"weights": {**files.weights, name: known}}))
    return [one for number, one in enumerate(found) if one not in found[:number]]


def _has_run(study: Study, key: str, name: str, recorded: Set[str], reported: Mapping[str, str]) -> bool:
    """Whether a variant that names this file has a record: one that is its own, where a report knows of any."""
    for variant, overrides in variants(study).items():
        own = {trial for trial, name_there in reported.items() if name_there == variant}
        if (key, name) in {found[1:] for found in names_in({"variants": {variant: overrides}})}:
            with suppress(UserError):
                trials = repeated(variant, vary(study, overrides), study.all_seeds)
                ids = recorded & ({trial.id for trial in trials} - (reported.keys() - own))
                if ids & own or (ids and not own):
                    return True
    return False


def _with_known_weights(study: Study, home: Home) -> Study:
    model = study.experiment.model
    if model.pretrained in (None, OWN) or model.pretrained == model.tower or model.pretrained_content:
        return study
    for record in Ledger(home.trials).all():
        known = record.experiment.model.pretrained_content
        if known and Path(known[0]).absolute() == Path(model.pretrained).absolute():
            changed = model.model_copy(update={"pretrained_content": (model.pretrained, known[1])})
            return study.model_copy(update={"experiment": study.experiment.model_copy(update={"model": changed})})
    return study
