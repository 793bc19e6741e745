from __future__ import annotations

import pytest

from polyview.wording import agreeing, counted


@pytest.mark.parametrize(("number", "told"), [(0, "0 people"), (1, "1 person"), (2, "2 people"), (1200, "1200 people")])
def test_a_number_is_told_with_the_word_that_fits_it(number: int, told: str) -> None:
    assert counted(number, "person", "people") == told


def test_most_words_have_an_s_in_the_plural() -> None:
    assert [counted(number, "seed") for number in (0, 1, 2)] == ["0 seeds", "1 seed", "2 seeds"]
    assert [agreeing(number, "has", "have") for number in (0, 1, 2)] == ["have", "has", "have"]
    assert [agreeing(number, "point", "points") for number in (0.5, 1.0)] == ["points", "point"]
