"""A server of NFS in namespaces of its own, for tests whose machines share a folder as those of a cluster do."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

TOOLS = ("exportfs", "rpc.nfsd", "rpc.mountd", "mount.nfs4")
FILE_SYSTEMS = ("nfs4", "nfsd")
SERVE = """
mount -t tmpfs state /var/lib/nfs
mkdir /var/lib/nfs/v4recovery
touch /var/lib/nfs/etab /var/lib/nfs/rmtab
mount -t nfsd nfsd /proc/fs/nfsd
exportfs -o rw,no_root_squash,no_subtree_check,fsid=0 '*:{folder}'
rpc.mountd --no-nfs-version 3
rpc.nfsd --no-nfs-version 3 --grace-time 10 --lease-time 10 8
"""


def skip_without_nfs() -> None:
    """Skips where NFS cannot be served or mounted, and says why; tests/README.md tells of a kernel that can."""
    if absent := [tool for tool in TOOLS if shutil.which(tool) is None]:
        pytest.skip(f"not installed: {', '.join(absent)}")
    loaded = Path("/proc/filesystems").read_text().split()
    if missing := [kind for kind in FILE_SYSTEMS if kind not in loaded]:
        pytest.skip(f"the kernel has not loaded {' and '.join(missing)}")
