from __future__ import annotations

from typing import Any

import pytest

from polyview.recipe import Experiment, with_overrides
from polyview.studies.findings import SUPERVISION, supervision


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "label"),
        ({"language.prompts": "pseudo"}, "pseudo"),
        ({"objective": {"contrast": {}}, "language.prompts": "pseudo"}, "pseudo"),
        ({"objective": {"contrast": {}}}, "label"),
        ({"objective": {"margin": {}}}, "label"),
        ({"objective": {"triplet": {}}, "language.prompts": "none"}, "none"),
        ({"objective": {"supervised": {}}}, "label"),
        ({"objective": {"decorrelation": {}}}, "none"),
        ({"objective": {"joint": {}, "simclr": {}}, "language.prompts": "pseudo"}, "none"),
    ],
)
def test_a_recipes_supervision_is_what_its_terms_read(tiny: Experiment, changes: dict[str, Any], expected: str) -> None:
    assert supervision(with_overrides(tiny, changes)) == expected
    assert expected in SUPERVISION
