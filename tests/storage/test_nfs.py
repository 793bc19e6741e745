"""A home on NFS, mounted as it is by default: what was not there is remembered not to be, for up to a minute.

Server and clients live in namespaces of their own, and the client has two mounts that know nothing of one another, as
two machines have. It runs where root may mount NFS; containers mostly have no kernel for it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.nfs import SERVE, skip_without_nfs

from polyview.recipe import Experiment

MOUNT = """
ip link set lo up
mount --make-rprivate /
mount -t tmpfs share {folder}/share
{serve}
mount -t nfs4 -o nosharecache 127.0.0.1:/ {folder}/here
mount -t nfs4 -o nosharecache 127.0.0.1:/ {folder}/there
touch {folder}/there/begun  # which a server that has just started lets wait
exec {python} {folder}/look.py {folder}/here {folder}/there
"""
LOOK = """
import sys
from pathlib import Path
from polyview.recipe import Experiment
from polyview.storage.mirror import files
from polyview.trials.ledger import Ledger, Record

here, there = (Ledger(Path(root, "trials")) for root in sys.argv[1:])
experiment = Experiment.model_validate({"name": "shared", "objective": {"alignment": {}}})
first, second = (Record(id=name, experiment=experiment, started=0, ended=1) for name in ("first", "second"))

assert here.read("first") is None  # and neither are the folders above it
there.write(first)
assert not here.path("first").exists(), "absence is not remembered: this shows nothing"
assert here.read("first") == first

assert here.read_all(["first", "second"]).keys() == {"first"}
(there.folder / "second").mkdir()
assert files(here.folder, "*/record.json") == [here.path("first")]
assert here.read_failures(["second"]) == {}
there.write(second)
assert not here.path("second").exists(), "absence is not remembered: this shows nothing"
assert here.find("sec") == second
print("all was seen")
"""


GRID = """
import os
import subprocess
import sys
import time
from pathlib import Path
from polyview.recipe import load_study
from polyview.storage.home import Home
from polyview.studies.outcome import is_complete, load_outcome

here, there = (Home(Path(root, "home")) for root in sys.argv[1:])
file = Path(__file__).with_name("study.json")
study = load_study(file)

def ablate(home):
    environment = os.environ | {"POLYVIEW_HOME": str(home.root), "COLUMNS": "1000"}
    command = [sys.executable, "-m", "polyview", "ablate", str(file)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

driver = ablate(here)
while driver.poll() is None and not load_outcome(study, there).records:
    time.sleep(0.2)
assert driver.poll() is None, driver.communicate()
assert "another polyview is running this study" in ablate(there).communicate()[0]
said, _ = driver.communicate()
assert driver.returncode == 0, said
assert is_complete(load_outcome(study, there))
assert "4 in the study, 4 done before, 0 to run" in ablate(there).communicate()[0]
print("all was seen")
"""


def in_two_places(script: str, folder: Path) -> None:
    """Run a script that is given two mounts of one folder."""
    skip_without_nfs()
    for name in ("share", "here", "there"):
        (folder / name).mkdir()
    (folder / "look.py").write_text(script)
    serve = SERVE.format(folder=folder / "share")
    mounting = MOUNT.format(folder=folder, serve=serve, python=sys.executable)
    apart = ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]
    ended = subprocess.run([*apart, "sh", "-ec", mounting], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[-1] == "all was seen"


def test_what_another_machine_has_written_is_seen_at_once(tmp_path: Path) -> None:
    in_two_places(LOOK, tmp_path)


@pytest.mark.slow
def test_a_grid_that_runs_on_one_machine_is_followed_on_another(tiny: Experiment, tmp_path: Path) -> None:
    recipe = tiny.model_dump(mode="json")
    study = {"name": "shared", "experiment": recipe, "seeds": [0, 1], "grid": {"training.lr": [1e-3, 3e-3]}}
    (tmp_path / "study.json").write_text(json.dumps(study | {"references": False}))
    in_two_places(GRID, tmp_path)
