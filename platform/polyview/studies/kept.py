"""What a home keeps of its studies: each as it last ran, in its own folder, so that it is known without its file."""

from __future__ import annotations

from pathlib import Path

from polyview.errors import UserError
from polyview.recipe import Study, load_stored_study, load_study
from polyview.storage.home import Home, replacing
from polyview.storage.mirror import address, files, refresh, resolve

STUDY, LOCK = "study.json", "lock"


def save_study(folder: Path, study: Study) -> None:
    """Keep a study, resolved, as it runs now."""
    with replacing(folder / STUDY) as temporary:
        temporary.write_text(study.model_dump_json(indent=1))


def read_study(folder: Path) -> Study:
    """The study that last ran in a folder; raises `UserError` if it was not kept there, or cannot be read."""
    path = folder / STUDY
    refresh([path])
    if not path.exists():
        raise UserError(
            f"{address(folder)}: an earlier version ran this study and did not keep what it was; ablate it again, "
            "which runs no trial that has a result"
        )
    return load_stored_study(path.read_text(), address(path))


def study_folders(home: Home) -> list[Path]:
    """The folders of the studies that have run in a home, by name."""
    return sorted({path.parent for path in files(home.studies, "*/*") if path.name != LOCK})


def find_study(named: str, home: Home) -> Study | None:
    """A study by its YAML file, or by its folder in the home; None if it is neither.

    Raises `UserError` if it cannot be read.
    """
    path = Path(named)
    if path.suffix in (".yaml", ".yml") or path.is_file():
        return load_study(path)
    folders = study_folders(home)
    folder = next((one for one in (home.studies / named, resolve(named).resolve()) if one in folders), None)
    return read_study(folder) if folder else None
