"""The front door: `polyview VERB …`, one verb per step.

`app.py` has the application, and each of the other files the verbs of one step. `polyview --help` lists them in the
order in which they are imported here.
"""

from polyview.cli import studies  # isort: skip
from polyview.cli import faces, training  # isort: skip
from polyview.cli import papers  # isort: skip
from polyview.cli import machines  # isort: skip
from polyview.cli.app import app, main

__all__ = ["app", "faces", "machines", "main", "papers", "studies", "training"]
