"""Scored pictures that say nothing of faces that were never seen: those trained on as well, and blank ones."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from polyview.recipe import Experiment
from polyview.rendering.cameras import Camera, cameras
from polyview.trials.spec import Faces


@dataclass(frozen=True)
class UselessPictures:
    """The scored samples whose picture is also one of those trained on, bit for bit, one face under two names; and
    those whose picture is of one colour, though their face is not neutral and so moves.
    """

    shared: tuple[str, ...]
    blank: tuple[str, ...]


def useless_pictures(experiment: Experiment, train: Faces, test: Faces) -> UselessPictures:
    """Look for scored samples whose score says nothing of faces that were never seen, by what the first camera sees."""
    first = cameras(experiment.rendering.views)[:1]
    trained = {digest for _, digest in _pictures(train, first)}
    scored = [*_pictures(test, first)]
    expressions = dict(zip(test.store.sample_ids, test.store.labels("expression"), strict=True))
    return UselessPictures(
        tuple(name for name, digest in scored if digest and digest in trained),
        tuple(name for name, digest in scored if not digest and expressions[name] != "neutral"),
    )


def _pictures(faces: Faces, views: Sequence[Camera], at_once: int = 256) -> Iterator[tuple[str, bytes]]:
    """Each sample's name, and a hash of what the cameras see of it, which is empty if that is of one colour."""
    rows = faces.store.rows_of(faces.subjects)
    for start in range(0, len(rows), at_once):
        chunk = rows[start : start + at_once]
        for row, picture in zip(chunk, faces.store.gather(chunk, views), strict=True):
            colours = picture.reshape(-1, picture.shape[-1])
            digest = (
                b"" if (colours == colours[0]).all() else hashlib.blake2b(picture.tobytes(), digest_size=16).digest()
            )
            yield faces.store.sample_ids[row], digest
