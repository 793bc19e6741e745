from __future__ import annotations

import pytest

from polyview.errors import UserError
from polyview.language.prompts import PROMPTS, prompts_for
from polyview.modeling.towers import load_open_clip
from polyview.recipe import EXPRESSIONS, Language, digest

CONTEXT = 24


@pytest.mark.parametrize("expression", [*EXPRESSIONS, "lip_corner_depressor", "contempt"])
def test_every_prompt_fits_the_smallest_context(expression: str) -> None:
    tokenizer = load_open_clip().SimpleTokenizer()
    for prompt in prompts_for(expression, Language(ensemble=8, attributes=True)):
        tokens = [tokenizer.sot_token_id, *tokenizer.encode(prompt), tokenizer.eot_token_id]
        assert len(tokens) <= CONTEXT, prompt


def test_every_expression_of_the_recipe_has_prompts_of_its_own() -> None:
    assert set(PROMPTS) == set(EXPRESSIONS)
    everything = [prompt for prompts in PROMPTS.values() for prompt in prompts]
    assert len(set(everything)) == len(everything)


def test_a_smaller_ensemble_is_the_beginning_of_a_larger() -> None:
    assert prompts_for("happiness", Language(ensemble=2)) == prompts_for("happiness", Language(ensemble=5))[:2]


def test_an_unknown_expression_is_named_in_every_prompt() -> None:
    assert all("mild contempt" in prompt for prompt in prompts_for("mild_contempt", Language(attributes=True)))
    assert len(set(prompts_for("mild_contempt", Language(ensemble=8)))) == 8


def test_asking_for_too_many_says_how_many_there_are() -> None:
    with pytest.raises(UserError, match=r"ensemble is 9.* 8 prompts for 'fear'"):
        prompts_for("fear", Language(ensemble=9))


def test_attributes_add_one_prompt_per_sort_of_person() -> None:
    plain, more = (prompts_for("anger", Language(ensemble=3, attributes=wanted)) for wanted in (False, True))
    assert more[:3] == plain
    assert set(more[3:]) == {
        f"{who} with an angry expression" for who in ("a young woman", "a young man", "an older woman", "an older man")
    }


def test_ones_own_prompts_stand_in_place_of_the_built_in_ones() -> None:
    own = Language(ensemble=1, own={"anger": ("a cross face", "a wild face")})
    assert prompts_for("anger", own) == ("a cross face",)
    with pytest.raises(UserError, match=r"ensemble is 4.* 2 prompts for 'anger'"):
        prompts_for("anger", own.model_copy(update={"ensemble": 4}))


def test_the_built_in_prompts_are_those_that_earlier_results_were_trained_on() -> None:
    """They are no part of a trial's id: other sentences would be other results under the same id."""
    assert digest(PROMPTS) == "7a7be096b3f34d8f"
