from __future__ import annotations

import dataclasses

import pytest
import torch
from torch.nn.functional import normalize

from polyview import recipe
from polyview.objectives.alignment import alignment
from polyview.objectives.decorrelation import decorrelation
from polyview.objectives.objective import Batch, total_loss
from polyview.objectives.redundancy import redundancy


@pytest.fixture
def batch() -> Batch:
    generator = torch.Generator().manual_seed(0)
    return Batch(
        views=normalize(torch.randn(8, 3, 6, generator=generator), dim=-1),
        projections=normalize(torch.randn(8, 3, 5, generator=generator), dim=-1),
        fused=normalize(torch.randn(8, 6, generator=generator), dim=-1),
        text=normalize(torch.randn(4, 6, generator=generator), dim=-1),
        prompt_index=torch.arange(8) % 4,
        logit_scale=torch.tensor(10.0),
    )


def test_total_is_the_weighted_sum_of_the_terms(batch: Batch) -> None:
    objective = recipe.Objective(
        decorrelation=recipe.Decorrelation(weight=2.0, off_diagonal=0.1),
        alignment=recipe.Alignment(weight=3.0),
        redundancy=recipe.Redundancy(weight=0.5, form="full"),
    )
    assert batch.text is not None
    assert batch.prompt_index is not None
    expected = {
        "decorrelation": decorrelation(batch.projections, 0.1),
        "alignment": alignment(batch.views, batch.fused, batch.text, batch.prompt_index, batch.logit_scale),
        "redundancy": redundancy(batch.fused, batch.text[batch.prompt_index], "full"),
    }
    total, terms = total_loss(objective, batch)
    assert terms == expected
    weighted = 2 * expected["decorrelation"] + 3 * expected["alignment"] + 0.5 * expected["redundancy"]
    assert torch.allclose(total, weighted)


@pytest.mark.parametrize("name", ["decorrelation", "alignment", "redundancy"])
def test_a_null_term_is_left_out(batch: Batch, name: str) -> None:
    kinds = {"decorrelation": recipe.Decorrelation, "alignment": recipe.Alignment, "redundancy": recipe.Redundancy}
    total, terms = total_loss(recipe.Objective(**{name: kinds[name](weight=1.0)}), batch)
    assert list(terms) == [name]
    assert torch.equal(total, terms[name])


def test_a_vision_only_batch_trains_on_decorrelation_and_refuses_text_terms(batch: Batch) -> None:
    blind = dataclasses.replace(batch, text=None, prompt_index=None)
    total, _ = total_loss(recipe.Objective(decorrelation=recipe.Decorrelation()), blind)
    assert total.isfinite()
    for objective in (
        recipe.Objective(alignment=recipe.Alignment()),
        recipe.Objective(redundancy=recipe.Redundancy()),
    ):
        with pytest.raises(ValueError, match="needs text"):
            total_loss(objective, blind)
