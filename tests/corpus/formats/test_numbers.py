"""Numbers in text are those that Python reads, wherever they stand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyview.corpus.formats.numbers import as_indices, read_numbers
from polyview.corpus.mesh import MeshError

WRITTEN = st.from_regex(r"[-+]?(\d{1,20}(\.\d{0,20})?|\.\d{1,20})([eE][-+]?\d{1,2})?", fullmatch=True)


def numbers_in(text: str) -> list[float]:
    return read_numbers(np.frombuffer(text.encode("latin-1"), np.uint8))[0].tolist()


@given(st.lists(WRITTEN.filter(str.isascii), min_size=1, max_size=9), st.sampled_from([" ", ", ", "\n"]))
def test_numbers_of_any_length(words: list[str], separator: str) -> None:
    found = numbers_in(separator.join(words))
    np.testing.assert_allclose(found, [float(word) for word in words], rtol=4e-16)


@pytest.mark.parametrize("digits", range(1, 19))
@pytest.mark.parametrize("decimals", range(19))
def test_a_number_of_many_digits_is_read_as_a_whole(digits: int, decimals: int) -> None:
    word = f"-{'123456789' * 2:.{digits}}.{'987654321' * 3:.{decimals}}"
    np.testing.assert_allclose(numbers_in(f"{word} {'0 ' * 40}")[0], float(word), rtol=4e-16)
    assert numbers_in(f"{word} {'0 ' * 40}")[1:] == [0.0] * 40
    np.testing.assert_allclose(numbers_in(word), float(word), rtol=4e-16)


@pytest.mark.parametrize("word", ["x", "1x", "--1", ".", "-", "1.2.3", "1/2", "nan", "\xff1"])
def test_what_is_no_number_is_quoted(word: str) -> None:
    for text in (f"1 {word}", f"1 {word} {'0 ' * 40}"):
        with pytest.raises(MeshError, match=r"at byte 2 is not a number"):
            numbers_in(text)


def test_indices_are_whole_and_not_absurd() -> None:
    assert as_indices(np.array([0.0, -1.0, 7.0])).tolist() == [0, -1, 7]
    for value, reason in ((0.5, "is not a whole number"), (1e12, "is more than a mesh can have"), (np.nan, "nan")):
        with pytest.raises(MeshError, match=reason):
            as_indices(np.array([1.0, value]))
