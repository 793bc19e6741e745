from __future__ import annotations

import dataclasses

import pytest
import torch
from torch.nn.functional import cross_entropy, normalize

from polyview.objectives.alignment import alignment
from polyview.objectives.contrast import contrast
from polyview.objectives.decorrelation import decorrelation
from polyview.objectives.joint import joint
from polyview.objectives.margin import margin
from polyview.objectives.objective import BatchEmbeddings, total_loss
from polyview.objectives.redundancy import redundancy
from polyview.objectives.simclr import simclr
from polyview.objectives.triplet import triplet
from polyview.recipe import objective as terms


@pytest.fixture
def batch() -> BatchEmbeddings:
    generator = torch.Generator().manual_seed(0)
    return BatchEmbeddings(
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


def test_total_is_the_weighted_sum_of_the_terms(batch: BatchEmbeddings) -> None:
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
        "redundancy": redundancy(batch.fused, batch.text, batch.prompt_index, "full"),
    }
    total, values = total_loss(objective, batch)
    assert values == expected
    weighted = 2 * expected["decorrelation"] + 3 * expected["alignment"] + 0.5 * expected["redundancy"]
    assert torch.allclose(total, weighted)


EACH = {
    "decorrelation": terms.Decorrelation(off_diagonal=0.1),
    "alignment": terms.Alignment(),
    "redundancy": terms.Redundancy(),
    "joint": terms.Joint(),
    "contrast": terms.Contrast(margin=0.1, temperature=0.3),
    "simclr": terms.SimCLR(temperature=0.2),
    "supervised": terms.Supervised(),
    "margin": terms.Margin(margin=0.3),
    "triplet": terms.Triplet(margin=0.7),
}


@pytest.mark.parametrize("name", EACH)
def test_a_null_term_is_left_out(batch: BatchEmbeddings, name: str) -> None:
    objective = terms.Objective.model_validate({name: EACH[name].model_copy(update={"weight": 3.0})})
    total, values = total_loss(objective, batch)
    assert list(values) == [name]
    assert torch.allclose(total, 3 * values[name])


def test_every_term_reaches_its_own_formula_with_its_settings(batch: BatchEmbeddings) -> None:
    assert EACH.keys() == terms.Objective.model_fields.keys()
    _, values = total_loss(terms.Objective.model_validate(EACH), batch)
    assert batch.class_logits is not None
    grouped = (batch.projections, batch.label, batch.confident, batch.subject)
    expected = {
        "joint": joint(batch.projections),
        "contrast": contrast(*grouped, 0.1, 0.3),
        "simclr": simclr(batch.projections, 0.2),
        "supervised": cross_entropy(batch.class_logits, batch.label),
        "margin": margin(*grouped, 0.3),
        "triplet": triplet(*grouped, 0.7),
    }
    assert {name: values[name] for name in expected} == expected


def test_a_vision_only_batch_trains_on_decorrelation_and_refuses_text_terms(batch: BatchEmbeddings) -> None:
    blind = dataclasses.replace(batch, text=None, prompt_index=None)
    total, _ = total_loss(terms.Objective(decorrelation=terms.Decorrelation()), blind)
    assert total.isfinite()
    for objective in (
        terms.Objective(alignment=terms.Alignment()),
        terms.Objective(redundancy=terms.Redundancy()),
    ):
        with pytest.raises(ValueError, match="need text"):
            total_loss(objective, blind)
