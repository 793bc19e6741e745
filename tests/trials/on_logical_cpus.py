"""python on_logical_cpus.py CPUS HOME STUDY.json: a study on a Ray that is told it has so many CPUs."""

from __future__ import annotations

import sys
from pathlib import Path

import ray
from test_searching import Listener

from polyview.recipe import Study
from polyview.storage.home import Home
from polyview.studies.driver import run_stages


def main() -> None:
    cpus, home, study = sys.argv[1:]
    ray.init(address="local", num_cpus=int(cpus), include_dashboard=False, log_to_driver=False)
    asked = Study.model_validate_json(Path(study).read_text())
    outcome, failures = run_stages(asked, Home(Path(home)), Listener())
    print("finished", len(outcome.records), "failed", len(failures))


if __name__ == "__main__":
    main()
