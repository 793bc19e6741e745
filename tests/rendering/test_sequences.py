from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from polyview.errors import UserError
from polyview.recipe import Experiment, Modeling, with_overrides
from polyview.rendering.cameras import cameras
from polyview.rendering.sequences import FilmStore, dynamic_image, evenly, mean_image, open_samples
from polyview.rendering.store import ViewStore

films = arrays(np.uint8, st.tuples(st.integers(2, 6), st.just(4), st.just(5)))


@pytest.fixture(scope="module")
def films_of_two(tiny: Experiment, store_of: Callable[[Experiment], ViewStore]) -> ViewStore:
    """Two people, three expressions, sequences of five frames."""
    changes = {"corpus.generator.subjects": 2, "corpus.generator.frames": 5}
    return store_of(with_overrides(tiny, changes))


def test_frames_are_the_store_itself(films_of_two: ViewStore) -> None:
    assert len(open_samples(films_of_two.folder, Modeling())) == len(films_of_two) == 30


def test_a_sequence_is_one_row_with_its_strongest_frames_labels(films_of_two: ViewStore) -> None:
    samples = open_samples(films_of_two.folder, Modeling(temporal="mean"))
    assert len(samples) == 6
    assert sorted(set(zip(samples.labels("subject"), samples.labels("expression"), strict=True))) == sorted(
        set(zip(films_of_two.labels("subject"), films_of_two.labels("expression"), strict=True))
    )
    strongest = {
        name: frame
        for name, frame, label in zip(*map(samples.labels, ("sequence", "frame", "expression")), strict=True)
        if label != "neutral"
    }
    assert set(strongest.values()) == {"2"}


def test_rows_are_the_pooled_frames_in_their_order(films_of_two: ViewStore, tiny: Experiment) -> None:
    rig = cameras(tiny.rendering.views)
    sequences = films_of_two.labels("sequence")
    for temporal, pool in (("mean", mean_image), ("dynamic_image", dynamic_image)):
        samples = open_samples(films_of_two.folder, Modeling(temporal=temporal))
        found = samples.gather(np.array([4, 1]), rig)
        for row, picture in zip((4, 1), found, strict=True):
            own = samples.labels("sequence")[row]
            frames = np.flatnonzero([name == own for name in sequences])
            by_time = frames[np.argsort([int(films_of_two.labels("frame")[frame]) for frame in frames])]
            np.testing.assert_array_equal(picture, pool(films_of_two.gather(by_time, rig)))


def test_a_single_frame_has_no_dynamic_image(tiny_store: ViewStore) -> None:
    assert len(open_samples(tiny_store.folder, Modeling(temporal="mean"))) == len(tiny_store)
    with pytest.raises(UserError, match=r"model\.temporal: dynamic_image needs two frames"):
        open_samples(Path(tiny_store.folder), Modeling(temporal="dynamic_image"))


def test_single_frames_are_no_films(tiny_store: ViewStore) -> None:
    with pytest.raises(UserError, match=r"model\.temporal: attention needs sequences of two frames or more"):
        open_samples(Path(tiny_store.folder), Modeling(temporal="attention"))


@pytest.mark.parametrize("frames", [3, 5, 8])
def test_a_film_has_frames_spread_evenly_over_the_sequence(
    films_of_two: ViewStore, tiny: Experiment, frames: int
) -> None:
    rig = cameras(tiny.rendering.views)
    samples = open_samples(films_of_two.folder, Modeling(temporal="attention", frames=frames))
    assert isinstance(samples, FilmStore)
    films = samples.gather(np.array([4, 1]), rig)
    assert films.shape == (2, len(rig), frames, 32, 32, 3)
    for row, film in zip((4, 1), films, strict=True):
        shown = films_of_two.gather(samples.rows_in(row), rig)
        np.testing.assert_array_equal(film.swapaxes(0, 1), shown[evenly(5, frames)])


@given(count=st.integers(1, 40), chosen=st.integers(2, 40))
def test_what_is_chosen_evenly_begins_and_ends_with_the_whole_and_leaves_no_gap(count: int, chosen: int) -> None:
    places = evenly(count, chosen)
    assert (places[0], places[-1], len(places)) == (0, count - 1, chosen)
    steps = np.diff(places)
    assert 0 <= steps.min() <= steps.max() <= steps.min() + 1
    if chosen >= count:
        assert set(places) == set(range(count))


@given(films)
def test_a_film_backwards_is_the_dynamic_image_inverted(film: np.ndarray) -> None:
    there, back = dynamic_image(film).astype(int), dynamic_image(film[::-1]).astype(int)
    assert np.abs(there + back - 255).max() <= 1


@given(films, st.integers(0, 255))
def test_what_rests_does_not_show(film: np.ndarray, level: int) -> None:
    still = np.full_like(film, level)
    assert (dynamic_image(still) == 128).all()
    np.testing.assert_array_equal(mean_image(still), still[0])
