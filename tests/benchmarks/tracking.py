"""What tracking costs a study's driver, and how soon MLflow's prepared page of a large study is there.

    python tests/benchmarks/tracking.py --json tracking.json

The first row is of trials that run beside each other: how long the driver is kept by each epoch that it tells of, while
the thread that writes is behind with the earlier ones. The second is of a store with many runs: how long the server
takes for the first page of the variants and of the trials, and a browser to show it, where Playwright and chromium are.
The store is SQLite.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from polyview.analysis.outcome import RESULTS
from polyview.recipe import Experiment
from polyview.storage.home import Home
from polyview.tracking import pages
from polyview.tracking.runs import Point, StudyRun, TrialRun, VariantRun
from polyview.tracking.store import reachable
from polyview.tracking.tracker import Tracker

METRIC = "linear/accuracy"
TERMS = ("decorrelation", "alignment", "redundancy")
METRICS = ["loss", *TERMS, *(f"share/{term}" for term in TERMS), *(f"cosine/{term}" for term in TERMS), "lr"]
EXPERIMENT = Experiment.model_validate({"name": "empty", "objective": {"alignment": {}}}).model_dump(mode="json")
STARTED = 1_700_000_000.0


def trial(number: int, variant: str, epochs: int) -> TrialRun:
    """A trial that has ended."""
    return TrialRun(
        id=f"{number:08x}",
        name=f"{variant} · seed {number}",
        variant=variant,
        started=STARTED + number,
        ended=STARTED + number + epochs,
        params=EXPERIMENT,
        tags={"variant": variant, "seed": str(number)},
        epochs=[point(number, epoch) for epoch in range(1, epochs + 1)],
        scores={METRIC: 0.5},
    )


def point(number: int, epoch: int) -> Point:
    """What is told of an epoch."""
    return Point(epoch, STARTED + number + epoch, dict.fromkeys(METRICS, 1 / epoch))


def opened(home: Home, variants: Sequence[str]) -> Tracker:
    """A study's tracker."""
    tracker = Tracker(home, "large")
    told = [VariantRun(name, tags={"order": f"{place:04d}"}) for place, name in enumerate(variants)]
    tracker.open(StudyRun("d", {}, variants=told, views=pages.views(METRIC, TERMS), started=STARTED))
    return tracker


def driver(home: Home, trials: int, epochs: int) -> dict[str, float]:
    """How long each call keeps the driver, with so many trials that train beside each other."""
    tracker = opened(home, ["full"])
    running = [trial(number, "full", epochs) for number in range(trials)]
    starts = [_timed(tracker.start, one) for one in running]
    told = [
        _timed(tracker.epoch, running[number].id, point(number, epoch))
        for epoch in range(1, epochs + 1)
        for number in range(trials)
    ]
    written = _timed(tracker.finish)
    ends = [_timed(tracker.log, one) for one in running]
    tracker.close({}, ended=STARTED)
    return {
        "running trials": trials,
        "start, ms": 1000 * statistics.mean(starts),
        "epoch, ms": 1000 * statistics.mean(told),
        "slowest epoch, ms": 1000 * max(told),
        "end, ms": 1000 * statistics.mean(ends),
        "the writer is behind, s": written,
    }


def page(home: Home, runs: int, variants: int, epochs: int) -> dict[str, float]:
    """How long the first page of a study of so many runs takes."""
    from mlflow.tracking import MlflowClient

    names = [f"variant {number}" for number in range(variants)]
    tracker = opened(home, names)
    for number in range(runs):
        tracker.log(trial(number, names[number % variants], epochs))
    tracker.close({}, ended=STARTED)
    client = MlflowClient(home.tracking_uri)

    def search(kind: str, order: str) -> float:
        return _timed(client.search_runs, ["1"], f"tags.`polyview.kind` = '{kind}'", 1, 100, [order])

    found = {
        "runs": runs + variants + 1,
        "search variants, s": search("variant", "tags.`order` ASC"),
        "search trials, s": search("trial", "tags.`polyview.started` DESC"),
    }
    chromium = shutil.which("chromium")
    if chromium:
        found |= {"browser, s": browse(home, chromium)}
    return found


def browse(home: Home, chromium: str) -> float:
    """How long a browser takes from the address to the rows, the second time that the server is asked."""
    from playwright.sync_api import sync_playwright

    with served(home) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])

        def look() -> None:
            visited = browser.new_page()
            visited.goto(f"{address}/{pages.link('1', RESULTS)}")
            visited.get_by_role("gridcell").first.wait_for(timeout=120_000)
            visited.close()

        look()
        return _timed(look)


@contextmanager
def served(home: Home) -> Iterator[str]:
    """The address of `polyview ui`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    command = [sys.executable, "-m", "polyview", "ui", "--port", port]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    server = subprocess.Popen(command, env=os.environ | {"POLYVIEW_HOME": str(home.root)}, **quiet)
    address = f"http://127.0.0.1:{port}"
    while server.poll() is None and reachable(address):
        time.sleep(0.2)
    yield address
    server.terminate()
    server.wait()


def _timed(work: Callable[..., object], *told: Any) -> float:
    started = time.perf_counter()
    work(*told)
    return time.perf_counter() - started


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure once, print a table for each measurement, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=100, help="trials that train beside each other")
    parser.add_argument("--runs", type=int, default=2000, help="runs of trials in the large study")
    parser.add_argument("--epochs", type=int, default=20, help="epochs of each trial")
    parser.add_argument("--json", type=Path, help="where the numbers go")
    asked = parser.parse_args(arguments)
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    rows = []
    for measure in (
        lambda home: driver(home, asked.trials, asked.epochs),
        lambda home: page(home, asked.runs, 40, asked.epochs),
    ):
        with tempfile.TemporaryDirectory() as folder:
            rows.append(measure(Home(Path(folder))))
        table = Table(*rows[-1])
        table.add_row(*(f"{value:.3g}" if value < 1000 else f"{value:.0f}" for value in rows[-1].values()))
        Console().print(table)
    if asked.json:
        asked.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
