"""polyview: which loss, how many views, which prompts earned how much, on 3D and 4D faces.

The names below are the public interface for Python. Each is imported when it is first asked for, so that
`import polyview` itself takes no time.
"""

from __future__ import annotations

import atexit
import gc
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from polyview.errors import UserError
    from polyview.recipe import Experiment, Study
    from polyview.studies.results import Results, load_results, load_study, run_study

if sys.platform == "win32":
    raise SystemExit("polyview runs on Linux and macOS; on Windows, install and run it in WSL 2")

__version__ = "0.1.0"
__all__ = ["Experiment", "Results", "Study", "UserError", "__version__", "load_results", "load_study", "run_study"]

_MODULES = {
    "Experiment": "polyview.recipe",
    "Results": "polyview.studies.results",
    "Study": "polyview.recipe",
    "UserError": "polyview.errors",
    "load_results": "polyview.studies.results",
    "load_study": "polyview.studies.results",
    "run_study": "polyview.studies.results",
}

# Imports make half a million objects that stay. To look them through time and again takes a quarter of a process's
# start, and at its end a second more.
gc.set_threshold(10_000)
atexit.register(gc.freeze)


if not TYPE_CHECKING:  # which would take any name for one of the module's

    def __getattr__(name: str) -> Any:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
