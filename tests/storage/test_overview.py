"""The page of all studies of a home in a bucket."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.reporting.outcomes import borne_out, record

from polyview.recipe import Experiment, Study
from polyview.reporting.report import write
from polyview.storage.home import Home
from polyview.storage.mirror import address, resolve
from polyview.studies.kept import find_study, overview, save_study, write_overview
from polyview.studies.outcome import load_outcome, study_folder
from polyview.trials.design import plan
from polyview.trials.ledger import Ledger


def test_another_machine_lists_the_studies_and_has_the_reports_that_the_page_links(
    home: Home,
    tiny: Experiment,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    objects: Callable[[str], dict[str, str]],
) -> None:
    study = Study(name="study", experiment=tiny, references=False)
    for trial in plan(study):
        Ledger(home.trials).write(borne_out(record(trial.experiment, 0.5, trial.seed)))
    folder = study_folder(study, home).name
    save_study(home.studies / folder, study)
    write(load_outcome(study, home))

    url = address(home.root)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another disk"))
    there = Home(resolve(url))
    found = overview(there)
    (entry,) = found.studies
    assert (entry.folder, entry.trials, entry.state, entry.needs) == (folder, "3 of 3", "complete", [])
    assert found.address == url
    page = write_overview(found, there)
    assert "studies/index.html" in objects(url)
    assert f'href="{folder}/report/report.html"' in page.read_text()
    assert (page.parent / folder / "report" / "report.html").is_file()
    assert find_study(f"{url}/studies/{folder}", there) == find_study(folder, there) == study
