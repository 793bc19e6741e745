from __future__ import annotations

import dataclasses

import pytest
import torch
from torch.nn.functional import normalize

from polyview import terms
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
        label=torch.arange(8) % 4,
        confident=torch.arange(8) % 3 > 0,
        subject=torch.arange(8) // 2,
        class_logits=torch.randn(8, 4, generator=generator),
    )


def test_total_is_the_weighted_sum_of_the_terms(batch: Batch) -> None:
    objective = terms.Objective(
        decorrelation=terms.Decorrelation(weight=2.0, off_diagonal=0.1),
        alignment=terms.Alignment(weight=3.0),
        redundancy=terms.Redundancy(weight=0.5, form="full"),
    )
    assert batch.text is not None
    assert batch.prompt_index is not None
    expected = {
        "decorrelation": decorrelation(batch.projections, 0.1),
        "alignment": alignment(batch.views, batch.fused, batch.text, batch.prompt_index, batch.logit_scale),
        "redundancy": redundancy(batch.fused, batch.text[batch.prompt_index], "full"),
    }
    total, values = total_loss(objective, batch)
    assert values == expected
    weighted = 2 * expected["decorrelation"] + 3 * expected["alignment"] + 0.5 * expected["redundancy"]
    assert torch.allclose(total, weighted)


@pytest.mark.parametrize("name", ["decorrelation", "alignment", "redundancy"])
def test_a_null_term_is_left_out(batch: Batch, name: str) -> None:
    kinds = {"decorrelation": terms.Decorrelation, "alignment": terms.Alignment, "redundancy": terms.Redundancy}
    total, values = total_loss(terms.Objective(**{name: kinds[name](weight=1.0)}), batch)
    assert list(values) == [name]
    assert torch.equal(total, values[name])


def test_a_vision_only_batch_trains_on_decorrelation_and_refuses_text_terms(batch: Batch) -> None:
    blind = dataclasses.replace(batch, text=None, prompt_index=None)
    total, _ = total_loss(terms.Objective(decorrelation=terms.Decorrelation()), blind)
    assert total.isfinite()
    for objective in (
        terms.Objective(alignment=terms.Alignment()),
        terms.Objective(redundancy=terms.Redundancy()),
    ):
        with pytest.raises(ValueError, match="need text"):
            total_loss(objective, blind)
