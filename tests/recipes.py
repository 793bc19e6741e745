"""The recipes, studies and tables that the project brings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from polyview.recipe import StudiesTable, load_definition, load_study, studies_in, tables_of
from polyview.storage.home import REPOSITORY

EXPERIMENTS = sorted((REPOSITORY / "experiments").rglob("*.yaml"))
_ABLATIONS = sorted((REPOSITORY / "ablations").rglob("*.yaml"))
TABLES = [path for path in _ABLATIONS if "studies" in yaml.safe_load(path.read_text())]
STUDIES = [path for path in _ABLATIONS if path not in TABLES]


def load_tables(
    files: Sequence[Path], assignments: Sequence[str] = (), changes: Mapping[str, object] | None = None
) -> list[StudiesTable]:
    """The tables that `polyview table` makes of these files, without what is known of their studies."""
    definition = load_definition(files)
    studies = [load_study(path, assignments, changed) for path, changed in studies_in(files, definition)]
    return tables_of(studies, changes or {}, definition)
