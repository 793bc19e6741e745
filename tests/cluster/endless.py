"""A test that starts a cluster and does not end, for test_interrupted.py: no other run collects it."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any


def test_a_head_is_up_until_somebody_ends_it(head: Any) -> None:
    Path(os.environ["ENDLESS"]).write_text(head.address)
    while True:
        time.sleep(60)
