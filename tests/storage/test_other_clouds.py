"""A study whose home is at Google or in an Azure container."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from polyview.storage import bucket as buckets

pytestmark = pytest.mark.slow
SECONDS = 540


@pytest.mark.parametrize("cloud", ["google", "azure"])
def test_a_study_that_one_machine_has_run_is_done_for_another(
    cloud: str, request: pytest.FixtureRequest, polyview: Callable[..., Any], recipe_file: Path, tmp_path: Path
) -> None:
    url = f"{request.getfixturevalue(cloud)}/of/ours"
    study = recipe_file.with_name(f"{cloud}.yaml")
    study.write_text(
        f"name: {cloud}\nexperiment: tiny.yaml\nseeds: [0, 1]\nmetric: knn/accuracy\nreferences: false\n"
        "variants: {slow: {training.lr: 0.0001}}\n"
    )
    first = polyview(tmp_path / "first", url, "ablate", str(study))
    said, errors = first.communicate(timeout=SECONDS)
    assert first.returncode == 0, errors
    again = polyview(tmp_path / "second", url, "ablate", str(study))
    repeated, errors = again.communicate(timeout=SECONDS)
    assert again.returncode == 0, errors
    assert "4 done before, 0 to run" in repeated
    assert rows(repeated) == rows(said) != []

    scheme, name = url.split("/")[0].removesuffix(":"), url.split("/")[2]
    kept = buckets.open_bucket(scheme, name).stamps("of/ours/")
    buckets.open_bucket.cache_clear()
    assert sum(key.endswith("record.json") for key in kept) == 4
    assert any(key.endswith("report.html") for key in kept)


def rows(said: str) -> list[str]:
    """The table's rows."""
    return re.findall(r"^.*±.*$", said, re.MULTILINE)
