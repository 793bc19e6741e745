"""A home on NFS, mounted as it is by default: what was not there is remembered not to be, for up to a minute.

Server and clients live in namespaces of their own, and the client has two mounts that know nothing of one another, as
two machines have. It runs where root may mount NFS; containers mostly have no kernel for it.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.nfs import SERVE, skip_without_nfs

MOUNT = """
ip link set lo up
mount --make-rprivate /
mount -t tmpfs share {folder}/share
{serve}
mount -t nfs4 -o nosharecache 127.0.0.1:/ {folder}/here
mount -t nfs4 -o nosharecache 127.0.0.1:/ {folder}/there
touch {folder}/there/begun  # which a server that has just started lets wait
exec {python} {file} {folder}/here {folder}/there
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


def test_what_another_machine_has_written_is_seen_at_once(tmp_path: Path) -> None:
    skip_without_nfs()
    for name in ("share", "here", "there"):
        (tmp_path / name).mkdir()
    file = tmp_path / "look.py"
    file.write_text(LOOK)
    serve = SERVE.format(folder=tmp_path / "share")
    script = MOUNT.format(folder=tmp_path, serve=serve, python=sys.executable, file=file)
    apart = ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]
    ended = subprocess.run([*apart, "sh", "-ec", script], capture_output=True, text=True, timeout=500)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[-1] == "all was seen"
