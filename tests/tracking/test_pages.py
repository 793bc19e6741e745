"""What a visitor sees of a study in MLflow's pages: with a real browser, on the pages that `polyview ui` serves."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.ports import free_port

from polyview.analysis.outcome import CURVES, RESULTS
from polyview.recipe import Experiment, Study, with_overrides
from polyview.storage.home import Home
from polyview.studies.driver import run_stages
from polyview.tracking import pages
from polyview.tracking.store import reachable
from polyview.training.history import Epoch
from polyview.trials.design import Trial

pytestmark = pytest.mark.slow

WIDE, NARROW = 1600, 1100
PATIENCE = 150_000  # milliseconds: charts take long to draw without a graphics card


@dataclass
class Site:
    """MLflow's pages of one home; `pictures` is where the picture of each visit is kept."""

    address: str
    chromium: str
    pictures: Path

    @contextmanager
    def visit(self, place: str, width: int = WIDE) -> Iterator[Any]:
        """A page in the browser of somebody who has never been here."""
        from playwright.sync_api import sync_playwright

        # Playwright's loop ends with each visit: Ray must not meet it in its own thread.
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=self.chromium, args=["--no-sandbox", "--disable-gpu"])
            page = browser.new_page(viewport={"width": width, "height": 1000})
            page.set_default_timeout(PATIENCE)
            page.goto(f"{self.address}/{place}")
            yield page
            name = os.environ["PYTEST_CURRENT_TEST"].rpartition("::")[2].partition(" ")[0]
            page.screenshot(path=self.pictures / f"{name}.png", animations="disabled")
            browser.close()


@pytest.fixture(scope="module")
def study(tiny: Experiment) -> Study:
    return Study(
        name="pages",
        experiment=with_overrides(tiny, {"training.epochs": 3}),
        seeds=(0, 1),
        remove={"no alignment": "objective.alignment"},
        variants={"slower": {"training.lr": 1e-4}},
        references=False,
    )


@pytest.fixture(scope="module")
def chromium() -> str:
    pytest.importorskip("playwright.sync_api", reason="Playwright is not installed here")
    found = shutil.which("chromium")
    if found is None:
        pytest.skip("chromium is not installed here")
    return found


@pytest.fixture(scope="module")
def home(study: Study, prepare: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        home = Home(tmp_path_factory.mktemp("home"))
        prepare(home, study.experiment)
        yield home


@pytest.fixture(scope="module")
def site(home: Home, chromium: str, tmp_path_factory: pytest.TempPathFactory, wait_for: Any) -> Iterator[Site]:
    port = str(free_port())
    program = [sys.executable, "-m", "polyview", "ui", "--port", port]
    environment = os.environ | {"POLYVIEW_HOME": str(home.root)}
    server = subprocess.Popen(
        program, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT, start_new_session=True
    )
    address = f"http://127.0.0.1:{port}"

    wait_for(lambda: server.poll() is not None or reachable(address) is None)
    assert server.poll() is None
    yield Site(address, chromium, tmp_path_factory.mktemp("pictures"))
    os.killpg(server.pid, signal.SIGTERM)
    server.wait()


@dataclass
class Spectator:
    """Watches a study, and looks at something once while a trial of a variant trains."""

    variant: str
    look: Callable[[str], None]
    looked: list[str] = field(default_factory=list)

    def stage(self, name: str, total: int) -> None: ...

    def advance(self, done: int, trial: Trial | None = None) -> None: ...

    def say(self, message: str) -> None: ...

    def epoch(self, trial: Trial, epoch: Epoch) -> None:
        """Look, if it is time to."""
        if trial.variant == self.variant and epoch.epoch == 2 and not self.looked:
            self.looked.append(trial.name)
            self.look(trial.name)


def runs(home: Home) -> dict[str, Any]:
    """The runs of the home's one study, by name."""
    from mlflow.tracking import MlflowClient

    return {run.info.run_name: run for run in MlflowClient(home.tracking_uri).search_runs(["1"])}


@pytest.mark.usefixtures("local_ray")
def test_curves_are_drawn_while_a_trial_trains(study: Study, home: Home, site: Site) -> None:
    seen = {}

    def look(trial: str) -> None:
        with site.visit(pages.link("1", CURVES)) as page:
            seen["status"] = runs(home)[trial].info.status
            page.get_by_text("Group: slower").first.wait_for()
            page.locator(".js-line").first.wait_for(state="attached")
            seen["lines"] = page.locator(".js-line").count()
            seen["text"] = page.inner_text("body")

    spectator = Spectator("slower", look)
    _, failures = run_stages(study, home, spectator)
    assert failures == []
    assert len(spectator.looked) == 1
    assert seen["status"] == "RUNNING"
    assert seen["lines"] >= 3  # of each variant in the first chart at least
    assert "Unassigned" not in seen["text"]
    assert {run.info.status for run in runs(home).values()} == {"FINISHED"}


def within(box: dict[str, float] | None, width: int) -> bool:
    """Whether a visitor whose window is so wide sees it without scrolling."""
    return box is not None and 0 <= box["x"] <= box["x"] + box["width"] <= width


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_the_page_of_results_has_a_row_per_variant_with_its_verdict_score_and_interval(
    home: Home, site: Site, width: int, wait_for: Any
) -> None:
    variants = {name: run for name, run in runs(home).items() if run.data.tags["polyview.kind"] == "variant"}
    assert variants.keys() == {"full", "no alignment", "slower"}
    with site.visit(pages.link("1", RESULTS), width) as page:
        page.get_by_text("3 matching runs").wait_for()
        for name, run in variants.items():
            cells = [name, run.data.tags["verdict"], run.data.tags["linear/accuracy"]]
            # Seeds of so few predictions may be too alike for an interval.
            cells += [run.data.tags["interval"]] if "interval" in run.data.tags else []
            for cell in cells:
                # The baseline's last column says "baseline" too, and the grid puts cells into the page in any order.
                found = page.get_by_role("gridcell").filter(has_text=cell)
                wait_for(lambda found=found: any(within(one.bounding_box(), width) for one in found.all()))
        assert page.get_by_role("columnheader", name="linear/accuracy").count()
        # Neither the mode for agents nor the assistant is what a visitor meets.
        assert page.get_by_text("Model training").first.is_visible()
        assert page.get_by_text("Which run performed best?").count() == 0


def test_compared_variants_have_what_was_varied_and_nothing_else(home: Home, site: Site) -> None:
    found = runs(home)
    both = json.dumps([found[name].info.run_id for name in ("full", "slower")])
    with site.visit(f'#/compare-runs?runs={both}&experiments=["1"]') as page:
        page.get_by_text("Comparing 2 Runs").wait_for()
        page.locator("text=training.lr").first.wait_for()
        text = page.inner_text("body")
    assert "model.tower" not in text
    assert "unknown" not in text


def test_the_studys_run_describes_the_verdicts_and_previews_the_report(home: Home, site: Site) -> None:
    run_id = runs(home)["pages"].info.run_id
    with site.visit(f"#/experiments/1/runs/{run_id}") as page:
        page.get_by_text("Show more").first.click()
        page.get_by_text("Whether “no alignment” differs is open").first.wait_for()
        page.goto(f"{site.address}/#/experiments/1/runs/{run_id}/artifacts")
        page.get_by_text("report.html").click()
        page.frame_locator("iframe").get_by_text("no alignment").first.wait_for()


def test_the_best_model_is_registered_and_says_what_it_takes_and_gives(home: Home, site: Site) -> None:
    from mlflow.tracking import MlflowClient

    (model,) = MlflowClient(home.tracking_uri).search_logged_models(["1"])
    with site.visit(f"#/experiments/1/models/{model.model_id}") as page:
        page.get_by_text("Model versions").locator("xpath=../..").get_by_text("pages").wait_for()
        page.goto(f"{site.address}/#/experiments/1/models/{model.model_id}/artifacts")
        page.get_by_text("MLmodel").first.click()
        page.get_by_text("polyview.tracking.served").first.wait_for()
