"""What a job takes along: the package and the recipes of the current folder, and no data."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from polyview.errors import UserError

MIB = 2**20
LIMIT = 32 * MIB
LARGEST_SHOWN = 3
PACKAGE = Path(__file__).resolve().parents[1]
PROJECT = ("experiments", "ablations", "pyproject.toml", "constraints.txt")
RECIPES = (".yaml", ".yml")
RESULTS = (".zip", ".png", ".svg")  # bundles and pictures beside recipes, which no job reads unless it names them
ASSIGNED = re.compile(r"|experiment|(.+\.)?language\.file(\.categorical)?")  # words, and what --set gives a file to


@dataclass(frozen=True)
class JobPackage:
    """Files by their path in the job's folder, and the words of the job's command, whose paths are relative to it."""

    files: dict[Path, Path]
    words: tuple[str, ...]

    def write(self, folder: Path) -> None:
        """Copy the files to their paths below `folder`."""
        for target, source in self.files.items():
            (folder / target).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, folder / target)


def pack(words: Sequence[str], folder: Path, limit: int = LIMIT) -> JobPackage:
    """Choose what a command needs: the package, the project's recipes in `folder`, and the recipes that it names.

    What a recipe names goes along too: the recipe that it varies, and files of prompts, but for those that are on the
    cluster alone, by a path from its root. Raises `UserError` if a recipe that is named is missing or lies elsewhere,
    or if all is larger than `limit` bytes.
    """
    files = {Path("platform", "polyview", path.relative_to(PACKAGE)): path for path in _files(PACKAGE)}
    for name in PROJECT:
        recipes = (path for path in _files(folder / name) if path.suffix not in RESULTS)
        files |= {path.relative_to(folder): path for path in recipes}
    rewritten = []
    for word in words:
        key, _, value = word.rpartition("=")
        if value.endswith(RECIPES) and ASSIGNED.fullmatch(key) and not _is_of_the_cluster(Path(value)):
            target = _relative(Path(value), folder)
            files |= {path: folder / path for path in _with_what_it_names(target, folder)}
            word = f"{key}={target.as_posix()}" if key else target.as_posix()
        elif key and value.startswith("[") and ASSIGNED.fullmatch(key):
            files |= {path: folder / path for path in _listed(value, folder)}
        rewritten.append(word)
    _check_size(files, limit)
    return JobPackage(files, tuple(rewritten))


def _listed(value: str, folder: Path) -> Iterator[Path]:
    """The files of the folder in a list that --set gives."""
    try:
        names = yaml.safe_load(value)
    except yaml.YAMLError:
        return  # which is told where it is read
    for _, name in _names(names, "language.file"):
        if not _is_of_the_cluster(Path(name)):
            yield _relative(Path(name), folder)


def _with_what_it_names(recipe: Path, folder: Path) -> Iterator[Path]:
    """A recipe of the folder and all that it reads, by their paths in the folder."""
    yield recipe
    try:
        content = yaml.safe_load((folder / recipe).read_text(encoding="utf-8-sig"))
    except (yaml.YAMLError, UnicodeDecodeError):
        return  # which is told where it is read
    for base, name in _names(content):
        beside = recipe.parent / name
        path = beside if base or ((folder / beside).is_file() and not (folder / name).is_file()) else Path(name)
        if not _is_of_the_cluster(path):
            yield from _with_what_it_names(_relative(path, folder), folder)


def _names(content: Any, key: str = "") -> Iterator[tuple[str | None, str]]:
    """The files that settings name: ("recipe", name) is relative to the recipe, (None, name) to the working folder.

    What is relative to the working folder and is not there may lie beside the recipe.
    """
    if isinstance(content, dict):
        for name, value in content.items():
            yield from _names(value, f"{key}.{name}" if key else str(name))
    elif isinstance(content, list):
        for one in content:
            yield from _names(one, key)
    elif isinstance(content, str) and key in ("experiment", "studies", "studies.study"):
        yield "recipe", content
    elif isinstance(content, str) and key.removesuffix(".categorical").endswith("language.file"):
        yield None, content


def _is_of_the_cluster(path: Path) -> bool:
    return path.is_absolute() and not path.exists()


def _files(path: Path) -> Iterator[Path]:
    """The files at or below a path, but neither what is hidden nor what Python has compiled."""
    if path.is_file():
        yield path
    elif path.is_dir() and path.name != "__pycache__":
        for child in sorted(path.iterdir()):
            if not child.name.startswith("."):
                yield from _files(child)


def _relative(recipe: Path, folder: Path) -> Path:
    found = (folder / recipe).resolve()
    if not found.is_file():
        raise UserError(f"{recipe}: no such file; name a recipe below {folder}")
    if not found.is_relative_to(folder.resolve()):
        raise UserError(f"{recipe}: outside of {folder}, which is what is sent; run submit in a folder that holds it")
    return found.relative_to(folder.resolve())


def _check_size(files: dict[Path, Path], limit: int) -> None:
    sizes = {target: source.stat().st_size for target, source in files.items()}
    if (total := sum(sizes.values())) <= limit:
        return
    largest = sorted(sizes, key=lambda target: -sizes[target])[:LARGEST_SHOWN]
    named = ", ".join(f"{target} ({sizes[target] / MIB:.1f} MiB)" for target in largest)
    raise UserError(
        f"{total / MIB:.1f} MiB to send, and {limit / MIB:g} MiB is the limit; the largest: {named}; "
        "data belongs on the cluster's shared folder or in a bucket, where corpus.root names it"
    )
