from __future__ import annotations

import pytest

from polyview.recipe import Experiment, Study


@pytest.fixture(scope="session")
def tiny_study(tiny: Experiment) -> Study:
    """Two variants under two seeds, one epoch each, with the references: eight trials."""
    once = tiny.model_copy(update={"training": tiny.training.model_copy(update={"epochs": 1})})
    return Study(name="study", experiment=once, seeds=(0, 1), remove={"no alignment": "objective.alignment"})
