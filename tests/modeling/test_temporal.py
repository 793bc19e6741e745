from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from polyview.modeling.model import MultiviewModel
from polyview.modeling.temporal import TemporalAttention, time_code
from polyview.recipe import Experiment, Modeling, Training, with_overrides
from polyview.training.loop import make_optimizer

WIDTH = 16


def films_of(frames: int, batch: int = 6, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return normalize(torch.randn(batch, frames, WIDTH, generator=generator), dim=-1)


def built(seed: int = 0) -> TemporalAttention:
    torch.manual_seed(seed)
    return TemporalAttention(WIDTH)


@pytest.mark.parametrize("frames", [1, 2, 7])
def test_untrained_attention_is_the_mean_of_the_frames(frames: int) -> None:
    films = films_of(frames)
    torch.testing.assert_close(built()(films), films.mean(dim=1))


def test_a_film_is_embedded_by_itself_whatever_stands_before_it() -> None:
    temporal, films = built().eval(), films_of(5, batch=6).unflatten(0, (2, 3))
    nn.init.normal_(temporal.shift.weight)
    torch.testing.assert_close(temporal(films)[1, 2], temporal(films[1, 2][None])[0])


def test_no_two_moments_have_the_same_code() -> None:
    code = time_code(films_of(64))
    assert (torch.cdist(code, code) + 9 * torch.eye(64)).min() > 0.1


def test_the_code_of_a_moment_does_not_depend_on_how_many_frames_a_film_has() -> None:
    torch.testing.assert_close(time_code(films_of(9))[::2], time_code(films_of(5)))


def test_the_order_of_frames_can_be_learned_by_the_recipes_own_optimizer() -> None:
    """Every film is a random start, and a small step along one direction or against it; the mean tells nothing."""
    temporal, head = built(), nn.Linear(WIDTH, 1)
    model = nn.ModuleList([temporal, head])
    optimizer = make_optimizer(model, Training(lr=3e-3))

    def films(seed: int) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(seed)
        sign = torch.randint(2, (64,), generator=generator) * 2.0 - 1
        steps = torch.linspace(-0.3, 0.3, 5)[None, :, None] * sign[:, None, None] * torch.eye(WIDTH)[0]
        return normalize(torch.randn(64, 1, WIDTH, generator=generator) / WIDTH**0.5 + steps, dim=-1), sign

    for seed in range(300):
        shown, sign = films(seed)
        loss = nn.functional.soft_margin_loss(head(temporal(shown))[:, 0], sign)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    shown, sign = films(10_000)
    told = head(temporal(shown))[:, 0].sign()
    assert (told == sign).float().mean() > 0.9
    # Backwards each is the other sort.
    assert (head(temporal(shown.flip(1)))[:, 0].sign() == -sign).float().mean() > 0.9


def test_an_untrained_models_film_is_the_mean_of_its_frames_pictures(tiny: Experiment) -> None:
    torch.manual_seed(0)
    model = MultiviewModel(tiny.model_copy(update={"model": Modeling(temporal="attention")})).eval()
    films = torch.rand(2, 3, 4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    still = model.encode_views(films.transpose(1, 2).flatten(0, 1)[:, :, None]).unflatten(0, (2, 4))
    torch.testing.assert_close(model.encode_views(films), normalize(still.mean(dim=1), dim=-1), atol=1e-5, rtol=1e-4)


def test_a_recipe_without_it_has_the_weights_it_always_had(tiny: Experiment) -> None:
    def weights(**changes: str) -> dict[str, Tensor]:
        torch.manual_seed(0)
        varied = with_overrides(tiny, {f"model.{key}": value for key, value in changes.items()})
        return MultiviewModel(varied).state_dict()

    plain, attending = weights(), weights(temporal="attention")
    assert not any(name.startswith("temporal.") for name in plain)
    assert plain.keys() == {name for name in attending if not name.startswith("temporal.")}
