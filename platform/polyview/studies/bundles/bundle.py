"""A study and all that is known of it as one file, for others to read and to run again.

A bundle is a zip (see `archive`) that unpacks to a small home, from which a report is made as from any other:
  bundle.json                   what it is, what it was made with, what it does not hold, and every other file's hash
  study.json                    the study with all its defaults, its paths renamed (see `portable`)
  trials/ID/record.json …       the records, predictions and interim scores
  studies/NAME-HASH/*.json      the points of a search, the wall time of each stage, which faces it ran on
  manifests/FINGERPRINT.parquet who the faces are and the hashes of their files (see `known_faces`)
  report/                       the report, its tables and figures
There are no faces or pictures in it, no embeddings, no checkpoints, no logs, and nothing that is executed when read.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import polars as pl
from pydantic import ValidationError

import polyview
from polyview.analysis.outcome import Outcome, absent, count_without_predictions, environment, finished
from polyview.environment import git_commit
from polyview.errors import UserError
from polyview.recipe import Study, load_study
from polyview.recipe.named import PROMPTS
from polyview.recipe.schema import STORED, Model, Natural
from polyview.recipe.validation import describe_errors
from polyview.recipe.weights import OWN
from polyview.reporting.report import latex, write
from polyview.storage.home import Home, check_output, replacing
from polyview.studies.bundles.archive import Contents, in_words, is_bundle, members_of, pack, read_contents, unpack
from polyview.studies.bundles.consistency import check_manifests, check_trials
from polyview.studies.bundles.known_faces import KnownFaces, find_manifests
from polyview.studies.bundles.portable import Names, own_weights, places_of
from polyview.studies.known_files import unknown_files, with_known_files
from polyview.studies.outcome import (
    FACES,
    POINTS,
    STAGES,
    load_faces,
    load_outcome,
    save_faces,
    study_folder,
)
from polyview.trials.design import Trial, plan
from polyview.trials.ledger import Ledger, diverged_trials
from polyview.trials.search import Points, samples
from polyview.trials.views import Fingerprints, corpora, faces_digest
from polyview.wording import counted

STUDY, MANIFESTS = "study.json", "manifests"
NOT_IN_IT = "faces, pictures, embeddings, checkpoints or logs"
_HOLDS = re.compile(
    r"study\.json|trials/[0-9a-f]{16}/(record\.json|predictions\.parquet|looks\.json|fault\.json)"
    rf"|studies/[^/]+/({re.escape(FACES)}|{re.escape(POINTS)}|{re.escape(STAGES)})|manifests/[0-9a-f]{{16}}\.parquet"
    r"|report/(report\.html|report\.md|table\.tex|results\.(csv|parquet)|figures/[^/]+\.svg)"
)


class Needed(Model):
    """What a study needs that is not in its bundle: the key that names it, and what it is called there."""

    key: str
    name: str
    kind: Literal["faces", "weights"]

    @property
    def assignment(self) -> str:
        """What to give to `--set`, where this polyview does not bring it along."""
        return f"{self.key}={'FOLDER' if self.kind == 'faces' else 'FILE'}"

    @property
    def at_hand(self) -> bool:
        """Whether they are weights that this polyview brings along."""
        return self.name in own_weights().weights


class About(Contents):
    """What a bundle says of itself.

    created: when the last of its results ended, ISO 8601 in UTC, so that the same results make the same file, byte by
    byte; of earlier versions, when it was written. command: what made it. polyview, commit: the program's. environment:
    what the trials ran with. trials, results: how many the study asks for, and how many have a record here. absent:
    those that have none. stale: results that are left out, as their faces have changed since. bare: results without
    predictions.
    """

    study: str
    created: str
    command: str
    polyview: str
    commit: str
    environment: dict[str, str]
    seeds: tuple[Natural, ...]
    trials: Natural
    results: Natural
    absent: tuple[str, ...]
    stale: Natural
    bare: Natural
    needed: tuple[Needed, ...]

    @property
    def bare_results(self) -> str:
        """What is to be known of results without predictions, in words."""
        return counted(
            self.bare,
            "result has no predictions, so nothing bears out its scores",
            "results have no predictions, so nothing bears out their scores",
        )


@dataclass(frozen=True, eq=False)
class Bundle:
    """A bundle that was unpacked to `folder` and found to be whole: its study, and what was known of it."""

    path: Path
    folder: Path
    about: About
    study: Study
    outcome: Outcome
    manifests: Mapping[str, KnownFaces]

    def load(self, assignments: Sequence[str], changes: Mapping[str, Any] | None = None) -> Study:
        """The study with assignments and changes on top, as `load_study` takes them; raises `UserError`."""
        with _naming(self.path, self.folder):
            return load_study(self.folder / STUDY, assignments, changes)

    def known(self, study: Study) -> Outcome:
        """What the bundle knows of a study, which may be its own with other keys set."""
        return _known(study, self.folder)


def write_bundle(study: Study, home: Home, out: Path, command: str) -> About:
    """Write all that a home knows of a study as the bundle `out`, whole or not at all; returns what it says of itself.

    It is read back before it takes its name. Raises `UserError` where nothing has run yet.
    """
    outcome = load_outcome(study, home)
    if not outcome.records:
        raise UserError(f"{study.name}: nothing has run yet, so there is nothing to bundle; polyview ablate runs it")
    check_output(out, is_bundle)
    names = _names(outcome)
    with tempfile.TemporaryDirectory(prefix="polyview-") as made, replacing(out) as temporary:
        portable, folder = names.study(outcome.study), Path(made)
        _fill(folder, outcome, names, portable, home)
        known = _known(portable, folder)
        write(replace(known, folder=folder))
        (folder / "report" / "table.tex").write_text(latex(known), encoding="utf-8")
        files = [name for name in names.weights if name != OWN]
        places = [place for place in (*names.roots, *files, str(Path.home()), str(home.root)) if not names.has(place)]
        _check_places(folder, places, study)
        about = _about(outcome, known, names, command).model_copy(update={"members": members_of(folder)})
        pack(folder, about, temporary)
        try:
            with open_bundle(temporary):
                return about
        except UserError as error:
            told = str(error).removeprefix(f"{temporary}: ")
            raise UserError(f"{study.name}: cannot be bundled: {told}") from None


def _check_places(folder: Path, places: Sequence[str], study: Study) -> None:
    """Raises `UserError` where a text of the bundle has a place of this machine in it, as a name or a comment may."""
    named = re.compile("|".join(rf"(?<![\w.-]){re.escape(place)}(?![\w-])" for place in places if len(place) > 1))
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".json", ".md", ".tex", ".csv") and (told := named.search(path.read_text(encoding="utf-8"))):
            raise UserError(
                f"{study.name}: cannot be bundled: {path.relative_to(folder)} would tell of {told[0]}, a place of this "
                "machine, which a variant's name or the comment at the top of the study may have; reword it"
            )


def _say_nothing(_line: str) -> None:
    """For whoever only wants to know that a bundle is whole."""


@contextmanager
def open_bundle(path: Path, say: Callable[[str], object] = _say_nothing) -> Iterator[Bundle]:
    """Read a bundle into a temporary folder; `say` is told its size before anything is unpacked.

    Raises `UserError` that names the file which was changed, added or taken away, or does not fit the others.
    """
    about = read_contents(path, About)
    if strange := [member.path for member in about.members if not _HOLDS.fullmatch(member.path)]:
        raise UserError(f"{path}: {strange[0]} is no file that a bundle has")
    say(
        f"{path}: {len(about.members) + 1} files, {in_words(path.stat().st_size)}, {in_words(about.size)} unpacked; "
        f"of {about.created[:10]}, by polyview {about.polyview}"
    )
    with tempfile.TemporaryDirectory(prefix="polyview-") as made:
        folder = Path(made).resolve()
        unpack(path, about, folder)
        with _naming(path, folder):
            study = _with_its_prompts(_read_study(folder / STUDY, about.needed), folder)
            manifests = _load_manifests(folder)
            check_manifests(manifests)
            check_trials(Home(folder), manifests)
            outcome = _known(study, folder)
            _check_about(about, outcome, folder)
        if about.bare:
            say(about.bare_results)
        yield Bundle(path, folder, about, study, outcome, manifests)


def _known(study: Study, folder: Path) -> Outcome:
    """What an unpacked bundle knows of a study; MLflow's runs stayed where they are."""
    return replace(load_outcome(study, Home(folder)), tracking_address="")


@contextmanager
def _naming(path: Path, folder: Path) -> Iterator[None]:
    """Says in a `UserError` which bundle it is about, and nothing of the folder that it was unpacked to."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{path}: {str(error).replace(f'{folder}/', '')}") from None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(f"{path}: its files are not as a bundle has them: {reason}") from None


def _read_study(path: Path, needed: Sequence[Needed]) -> Study:
    """The study as it is written: a recipe of a user may name further files, and a bundle's must not.

    Raises `UserError` where it is none, or names a place on whatever machine reads it.
    """
    try:
        content = json.loads(text := path.read_bytes())
        study = Study.model_validate_json(text, context=STORED)
    except ValidationError as error:
        raise UserError(describe_errors(Study, error, content, path.name)) from None
    except ValueError as error:
        raise UserError(f"{path.name}: not readable as JSON: {error}") from None
    for key, value in places_of(study.model_dump(mode="json")):
        if Path(value).is_absolute() and value not in {one.name for one in needed}:
            raise UserError(f"{path.name}: {key} is {value}, and a bundle names no place on a machine")
    return study


def _with_its_prompts(study: Study, folder: Path) -> Study:
    """The study with the prompts of its records where its bundle has them there alone, as earlier versions wrote it.

    Raises `UserError` where it has them nowhere: those of a file of that name here may be others.
    """
    found = with_known_files(study, Home(folder), folder / "report")
    if unknown := [name for key, name in unknown_files(found) if key == PROMPTS]:
        raise UserError(f"{STUDY}: language.file is {unknown[0]}, whose prompts an earlier version did not put into it")
    if found != study:
        _write_study(found, folder)
    return found


def _load_manifests(folder: Path) -> dict[str, KnownFaces]:
    found = {}
    for path in sorted((folder / MANIFESTS).glob("*.parquet")):
        try:
            found[path.stem] = KnownFaces.load(path)
        except (ValueError, KeyError, OSError, pl.exceptions.PolarsError) as error:
            raise UserError(f"{MANIFESTS}/{path.name}: {' '.join(str(error).split())}") from None
    return found


def _check_about(about: About, outcome: Outcome, folder: Path) -> None:
    """Raises `UserError` where a record is of no trial of the study, or bundle.json tells of another study."""
    for path in sorted((folder / "trials").glob("*/record.json")):
        if path.parent.name in outcome.stale:
            raise UserError(f"trials/{path.parent.name}/record.json: it is of other faces than the study's others")
        if path.parent.name not in outcome.records:
            raise UserError(f"trials/{path.parent.name}/record.json: the study has no such trial")
    told = (about.study, about.seeds, about.trials, about.results, about.bare)
    bare = count_without_predictions(outcome, outcome.records)
    found = (outcome.study.name, outcome.study.all_seeds, len(outcome.trials), len(finished(outcome)), bare)
    if told != found:
        raise UserError(f"bundle.json tells of {told}, and its files of {found}")


def _names(outcome: Outcome) -> Names:
    """Names for the paths of all recipes that a study has, has had, or may ask for."""
    study = outcome.study
    trials = [*plan(study), *samples(study), *outcome.trials, *outcome.searched.trials]
    return Names.of(
        [*(trial.experiment for trial in trials), *(record.experiment for record in outcome.records.values())],
        study.files,
    )


def _fill(folder: Path, outcome: Outcome, names: Names, portable: Study, home: Home) -> None:
    """Put the study and what is known of it into a folder, as a home has it."""
    _write_study(portable, folder)
    if load_study(folder / STUDY) != portable:
        raise UserError(f"{portable.name}: cannot be bundled: its recipe is read otherwise than it is written")
    trials = [*outcome.trials, *outcome.searched.trials]
    _copy_trials(outcome, trials, names, Ledger(Home(folder).trials))
    own = study_folder(portable, Home(folder))
    save_faces(own, _renamed_faces(load_faces(study_folder(outcome.study, home)), trials, names))
    (own / STAGES).write_text(json.dumps(outcome.stages))
    if portable.search and outcome.searched.points:
        Points(own / POINTS).add(portable.search, names.values(list(outcome.searched.points)))
    wanted = {name for record in outcome.records.values() for name in record.manifest.split("+")}
    for fingerprint, manifest in find_manifests(home, wanted).items():
        KnownFaces.of(manifest).save(folder / MANIFESTS / f"{fingerprint}.parquet")


def _write_study(study: Study, folder: Path) -> None:
    content = json.dumps(study.model_dump(mode="json"), indent=1, ensure_ascii=False)
    (folder / STUDY).write_text(content, encoding="utf-8")


def _copy_trials(outcome: Outcome, trials: Sequence[Trial], names: Names, ledger: Ledger) -> None:
    """Write the records, predictions and interim scores, and which trials diverged, by the ids of renamed recipes."""
    for trial in trials:
        renamed = names.experiment(trial.experiment).digest
        if record := outcome.records.get(trial.id):
            experiment = names.experiment(record.experiment)
            ledger.write(record.model_copy(update={"id": renamed, "experiment": experiment}))
        if trial.id in outcome.predictions:
            ledger.write_predictions(renamed, outcome.predictions[trial.id])
        if interim := outcome.searched.interim_scores.get(trial.id):
            ledger.write_interim_scores(interim.model_copy(update={"id": renamed}))
        if trial.id in diverged_trials(outcome.failures):
            update = {"id": renamed, "log": "its log is not in the bundle", "last_lines": ()}
            ledger.write_failure(outcome.failures[trial.id].model_copy(update=update))


def _renamed_faces(known: Fingerprints, trials: Sequence[Trial], names: Names) -> Fingerprints:
    """Which faces the study ran on, by the digests of renamed corpora."""
    renamed = Fingerprints()
    for trial in trials:
        pairs = zip(corpora(trial.experiment), corpora(names.experiment(trial.experiment)), strict=True)
        for own, other in pairs:
            with suppress(KeyError):  # an earlier version did not note it
                rendering = trial.experiment.rendering
                renamed[faces_digest(other, rendering)] = known[faces_digest(own, rendering)]
    return renamed


def _about(outcome: Outcome, known: Outcome, names: Names, command: str) -> About:
    kinds: dict[str, Literal["faces", "weights"]] = dict.fromkeys(names.roots.values(), "faces")
    kinds |= dict.fromkeys(names.weights.values(), "weights")
    texts = dict.fromkeys(places_of(known.study.model_dump(mode="json")))
    return About(
        study=known.study.name,
        created=datetime.fromtimestamp(max(one.ended for one in known.records.values()), UTC).isoformat("T", "seconds"),
        command=command,
        polyview=polyview.__version__,
        commit=git_commit(),
        environment=environment(known),
        seeds=known.study.all_seeds,
        trials=len(known.trials),
        results=len(finished(known)),
        absent=tuple(absent(known)),
        stale=len(outcome.stale),
        bare=count_without_predictions(known, known.records),
        needed=tuple(
            Needed(key=key.removeprefix("experiment."), name=name, kind=kinds[name])
            for key, name in texts
            if name in kinds
        ),
    )
