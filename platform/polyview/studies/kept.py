"""What a home keeps of its studies: each as it last ran, in its own folder, so that it is known without its file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from polyview.analysis.outcome import costs
from polyview.errors import UserError
from polyview.recipe import Study, load_stored_study, load_study, names_file
from polyview.reporting.overview import Overview, StudyEntry, entry, page
from polyview.storage.home import Home, replacing
from polyview.storage.mirror import address, files, refresh, resolve
from polyview.studies.outcome import STUDY, load_outcome, progress
from polyview.trials.design import plan

LOCK = "lock"


def save_study(folder: Path, study: Study) -> None:
    """Keep a study, resolved, as it runs now."""
    with replacing(folder / STUDY) as temporary:
        temporary.write_text(study.model_dump_json(indent=1), encoding="utf-8")


def read_study(folder: Path) -> Study:
    """The study that last ran in a folder; raises `UserError` if it was not kept there, or cannot be read."""
    path = folder / STUDY
    refresh([path])
    if not path.exists():
        raise UserError(
            f"{address(folder)}: an earlier version ran this study and did not keep what it was; ablate it again, "
            "which runs no trial that has a result"
        )
    return load_stored_study(path.read_text(encoding="utf-8"), address(path))


def variants_lost(folder: Path, study: Study) -> list[str]:
    """The variants of the study that last ran in a folder which `study`, of the same name, does not have."""
    try:
        before = [trial.variant for trial in plan(read_study(folder))]
    except UserError:  # nothing was kept, or nothing that this version can read
        return []
    now = {trial.variant for trial in plan(study)}
    return [variant for variant in dict.fromkeys(before) if variant not in now]


def study_folders(home: Home) -> list[Path]:
    """The folders of the studies that have run in a home, by name."""
    return sorted({path.parent for path in files(home.studies, "*/*") if path.name != LOCK})


def find_study(
    named: str, home: Home, assignments: Sequence[str] = (), changes: Mapping[str, Any] | None = None
) -> Study | None:
    """A study by its YAML file, read as `load_study` does, or by its name or folder in the home; None if it is neither.

    Raises `UserError` if it cannot be read, several have the name, or a folder's, which is as it ran, is to be changed.
    """
    path = Path(named)
    if names_file(path):
        return load_study(path, assignments, changes)
    folders = study_folders(home)
    folder = next((one for one in (home.studies / named, resolve(named).resolve()) if one in folders), None)
    called_so = [one for one in folders if one.name.rpartition("-")[0] == named]
    if folder is None and len(called_so) > 1:
        names = ", ".join(one.name for one in called_so)
        raise UserError(f"{named}: several studies are called so; name one of {names}")
    folder = folder or next(iter(called_so), None)
    if folder and (assignments or changes):
        raise UserError(f"{named}: a study as it ran, in which nothing can be set; name its file, or leave out --set")
    return read_study(folder) if folder else None


def overview(home: Home) -> Overview:
    """All studies of a home, that with the newest result first; one that cannot be read is among them, and says why."""
    entries, taken = [], dict[str, tuple[float, float]]()
    for folder in study_folders(home):
        try:
            outcome = load_outcome(read_study(folder), home)
            entries.append(entry(outcome, folder.name, *progress(outcome), _reported(folder)))
        except UserError as error:
            entries.append(_unread(folder, str(error)))
        else:
            taken |= costs(outcome)
    newest = sorted(entries, key=lambda one: one.ended or 0.0, reverse=True)
    trial_hours, gpu_hours = (sum(hours) for hours in zip((0.0, 0.0), *taken.values(), strict=True))
    return Overview(address(home.root), newest, trial_hours, gpu_hours)


def write_overview(found: Overview, home: Home) -> Path:
    """Put the page of all studies beside their folders; returns where it is."""
    path = home.studies / "index.html"
    with replacing(path) as temporary:
        temporary.write_text(page(found), encoding="utf-8")
        temporary.chmod(0o644)
    return path


def _reported(folder: Path) -> str | None:
    """The table that a study's report came with, None if it has no report; in a mirror, both are here then."""
    report, results = folder / "report" / "report.html", folder / "report" / "results.csv"
    refresh([report, results])
    return results.read_text(encoding="utf-8") if report.exists() and results.exists() else None


def _unread(folder: Path, reason: str) -> StudyEntry:
    """What is known of a study that was not kept, or whose results cannot be read."""
    results = _reported(folder)
    trials = 0 if results is None else len({line.partition(",")[0] for line in results.splitlines()[1:]})
    name = folder.name.rpartition("-")[0] or folder.name
    told = reason.removeprefix(f"{address(folder)}: ")
    return StudyEntry(folder.name, name, "not known", results is not None, trials, needs=[" ".join(told.split())])
