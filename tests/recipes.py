"""The recipes, studies and tables that the project brings."""

from __future__ import annotations

import yaml

from polyview.storage.home import REPOSITORY

EXPERIMENTS = sorted((REPOSITORY / "experiments").rglob("*.yaml"))
_ABLATIONS = sorted((REPOSITORY / "ablations").rglob("*.yaml"))
TABLES = [path for path in _ABLATIONS if "studies" in yaml.safe_load(path.read_text())]
STUDIES = [path for path in _ABLATIONS if path not in TABLES]
