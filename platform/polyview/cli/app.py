"""The application that the verbs are added to, what they take in common, and how errors end it."""

from __future__ import annotations

import codecs
import errno
import io
import os
import shutil
import signal
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import typer

from polyview.environment import check_arrival, draw_without_windows, find_writable_places, reach_directly
from polyview.errors import UserError
from polyview.parallel import own_log
from polyview.storage.names import is_text, shown, why_no_text
from polyview.studies.interruption import exit_code, handle_signals
from polyview.terminal import errors

FULL = os.strerror(errno.ENOSPC)
FULL_BELOW = 64 * 2**20  # bytes: what did not fit is seldom larger

app = typer.Typer(
    name="polyview",
    help="Ablations of multiview vision-language pretraining on 3D and 4D faces.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Sets = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key of the recipe.")]
ExperimentFile = Annotated[Path, typer.Argument(metavar="EXPERIMENT", help="A recipe, as in experiments/.")]
StudyFile = Annotated[Path, typer.Argument(metavar="STUDY", help="A study, as in ablations/.")]
STUDY_OR_BUNDLE = "A study: its file, as in ablations/, its name or its folder's in the home, or a bundle of one."


PLAIN = {
    **{"−": "-", "–": "-", "—": "-", "±": "+-", "×": "x", "·": "-", "°": " deg", "²": "^2", "µ": "u"},
    **{"“": '"', "”": '"', "’": "'", "…": "...", "†": "*", "‡": "**"},
    **{"→": "->", "←": "<-", "↑": "^", "↓": "v", "≠": "!=", "≤": "<=", "≥": ">="},
}
"""What is printed where a terminal's encoding lacks a sign; of others a question mark."""


def _in_plain_signs(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(PLAIN.get(sign, "?") for sign in error.object[error.start : error.end]), error.end


def _write_whatever_the_terminal_can() -> None:
    """Have signs that the terminal's encoding lacks printed as plain ones."""
    codecs.register_error("plain", _in_plain_signs)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="plain")


def write_document(text: str) -> None:
    """Print what is kept in a file or read by a program: there in UTF-8, whatever the encoding of the terminal is."""
    if isinstance(sys.stdout, io.TextIOWrapper) and not sys.stdout.isatty():
        sys.stdout.reconfigure(encoding="utf-8")
    sys.stdout.write(text)


def _check_folder() -> None:
    """Raises `UserError` where the current folder was deleted, in which libraries fail one by one."""
    try:
        Path.cwd()
    except FileNotFoundError:
        raise UserError("the current folder is not there any more; change to one that is") from None


def _check_names(words: Sequence[str]) -> None:
    """Raises `UserError` where a word, the home or the current folder could not be written in a record or a report."""
    for name in (*words, os.environ.get("POLYVIEW_HOME", ""), str(Path.cwd())):
        if not is_text(name):
            raise UserError(f"{shown(name)}: {why_no_text(name)}")


def _fullest_place(words: Sequence[str]) -> str:
    """Which of the places that a command writes to is full, in words; empty where none is."""
    outputs = [after for word, after in pairwise(words) if word in ("-o", "--out")]
    named = [*outputs, os.environ.get("POLYVIEW_HOME") or "outputs", os.environ.get("TMPDIR") or "/tmp"]
    places = [
        next(one for one in (path, *path.parents) if one.exists()) for path in map(Path.absolute, map(Path, named))
    ]
    free = {place: shutil.disk_usage(place).free for place in places}
    fullest = min(free, key=lambda place: free[place])
    return f" at {fullest}, where {free[fullest] / 2**20:.1f} MiB are left" if free[fullest] < FULL_BELOW else ""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command line: exit code 2 for what the user can fix, 1 for what failed, a traceback only with --debug."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    try:
        if arguments is None:  # the process is ours, and not a program that calls this
            handle_signals()
            _write_whatever_the_terminal_can()
            find_writable_places()
            draw_without_windows()
            reach_directly("localhost", "127.0.0.1", "::1")
        _check_folder()
        _check_names(words)
        check_arrival()
        app([word for word in words if word != "--debug"])
    except SystemExit:
        if (code := exit_code()) is None:
            raise
        sys.exit(code)
    except UserError as error:
        if debug:
            raise
        errors.print(f"polyview: {error}", highlight=False, markup=False, soft_wrap=True)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(exit_code() or 128 + signal.SIGINT)
    except Exception as error:
        if debug:
            raise
        if (code := exit_code()) is not None:  # what a signal broke within a library is no error of its own
            sys.exit(code)
        if isinstance(error, OSError) and error.filename and error.errno != errno.ENOSPC:
            told = f"polyview: {error.filename}: {error.strerror}; name a place that can be read and written"
            errors.print(told, highlight=False, markup=False, soft_wrap=True)
            sys.exit(2)
        if FULL in str(error):  # as Ray and SQLite say it too, in exceptions of their own
            told = f"polyview: {FULL}{_fullest_place(words)}: make room and run this again; what is finished is kept"
            errors.print(told, highlight=False, markup=False, soft_wrap=True)
            sys.exit(2)
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        where = f"; what Ray says is in {log}" if (log := own_log()) else ""
        errors.print(f"polyview: {reason} (--debug shows where{where})", highlight=False, markup=False, soft_wrap=True)
        sys.exit(1)
