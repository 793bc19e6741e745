from __future__ import annotations

import pytest

from polyview.errors import UserError
from polyview.language.prompts import PROMPTS, prompts_for
from polyview.modeling import towers  # noqa: F401  (makes open_clip importable)
from polyview.recipe import EXPRESSIONS

from open_clip.tokenizer import SimpleTokenizer  # isort: skip

CONTEXT = 24


@pytest.mark.parametrize("expression", [*EXPRESSIONS, "lip_corner_depressor", "contempt"])
def test_every_prompt_fits_the_smallest_context(expression: str) -> None:
    tokenizer = SimpleTokenizer()
    for prompt in prompts_for(expression, 8):
        tokens = [tokenizer.sot_token_id, *tokenizer.encode(prompt), tokenizer.eot_token_id]
        assert len(tokens) <= CONTEXT, prompt


def test_every_expression_of_the_recipe_has_prompts_of_its_own() -> None:
    assert set(PROMPTS) == set(EXPRESSIONS)
    everything = [prompt for prompts in PROMPTS.values() for prompt in prompts]
    assert len(set(everything)) == len(everything)


def test_a_smaller_ensemble_is_the_beginning_of_a_larger() -> None:
    assert prompts_for("happiness", 2) == prompts_for("happiness", 5)[:2]


def test_an_unknown_expression_is_named_in_every_prompt() -> None:
    assert all("mild contempt" in prompt for prompt in prompts_for("mild_contempt", 4))
    assert len(set(prompts_for("mild_contempt", 8))) == 8


def test_asking_for_too_many_says_how_many_there_are() -> None:
    with pytest.raises(UserError, match=r"ensemble is 9.* 8 prompts for 'fear'"):
        prompts_for("fear", 9)
