from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyview.corpus.expressions import ACTION_UNITS, Frame, expressivity, perform
from polyview.errors import UserError
from polyview.recipe import EXPRESSIONS, Generator

EMFACS = {
    "happiness": {6, 12},
    "sadness": {1, 4, 15},
    "surprise": {1, 2, 5, 26},
    "fear": {1, 2, 4, 5, 7, 20, 26},
    "anger": {4, 5, 7, 23},
    "disgust": {9, 15, 16},
}


def frames(expressions: tuple[str, ...] = EXPRESSIONS, **settings: object) -> dict[str, Frame]:
    generator = Generator.model_validate({"subjects": 3, **settings})
    return {frame.sample_id: frame for frame in perform(generator, expressions)}


def test_names_and_numbers() -> None:
    found = frames(sequences=2, frames=3)
    assert len(found) == 3 * len(EXPRESSIONS) * 2 * 3
    frame = found["s002_happiness_1_00"]
    assert (frame.subject, frame.sequence_id, frame.frame) == ("s002", "s002_happiness_1", 0)


@pytest.mark.parametrize("expression", EMFACS)
def test_every_expression_shows_its_action_units(expression: str) -> None:
    for frame in frames((expression, "neutral")).values():
        if frame.expression == expression:
            assert set(frame.activations) >= EMFACS[expression]
            assert all(0 < weight <= 1 for weight in frame.activations.values())


def test_neutral_is_almost_nothing_and_never_the_same() -> None:
    neutral = [frame.activations for frame in frames(("neutral", "fear")).values() if frame.expression == "neutral"]
    assert all(weight <= 0.12 for activations in neutral for weight in activations.values())
    assert len({tuple(activations.items()) for activations in neutral}) == len(neutral)


@given(st.integers(1, 30))
def test_a_sequence_rises_to_its_apex_and_falls(count: int) -> None:
    found = [f for f in frames(("surprise", "neutral"), subjects=1, frames=count).values() if f.sequence == 0]
    surprise = np.array([frame.intensity for frame in found if frame.expression == "surprise"])
    assert np.allclose(surprise, surprise[::-1])
    assert (np.diff(surprise[: (count + 1) // 2]) > 0).all()
    assert all(frame.intensity == 0 for frame in found if frame.expression == "neutral")
    if count % 2:
        assert 0.7 <= surprise.max() <= 1.0


def test_a_frame_does_not_depend_on_what_else_is_asked_for() -> None:
    everything, reverse = frames(), frames(tuple(reversed(EXPRESSIONS)), subjects=2, sequences=1)
    assert reverse
    assert all(everything[name] == frame for name, frame in reverse.items())


def test_another_seed_makes_other_frames() -> None:
    assert all(frame != frames(seed=1)[name] for name, frame in frames().items())


def test_people_differ_a_little_in_strength_and_between_their_sides() -> None:
    gains = np.stack([expressivity(0, person) for person in range(50)])
    assert gains.shape == (50, 2, len(ACTION_UNITS))
    assert ((gains > 0.6) & (gains < 1.35)).all()
    assert 0.01 < np.abs(gains[:, 0] - gains[:, 1]).mean() < 0.2


def test_an_expression_that_nobody_can_show_is_named() -> None:
    with pytest.raises(UserError, match=r"boredom cannot be generated; known are neutral, anger"):
        frames(("neutral", "boredom"))
