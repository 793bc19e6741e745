from __future__ import annotations

from polyview.corpus.scan import scan
from polyview.recipe import Corpus, Generator


def synthetic(**settings: object) -> Corpus:
    return Corpus.model_validate({"generator": Generator(subjects=3, frames=5), **settings})


def test_only_the_expressions_asked_for_are_made() -> None:
    found = scan(synthetic(expressions=("happiness", "anger"))).manifest
    assert set(found.frame["expression"]) == {"happiness", "anger"}


def test_weak_frames_are_left_out_and_neutral_ones_stay() -> None:
    everything, strong = scan(synthetic()).manifest.frame, scan(synthetic(intensity=(0.6, 1.0))).manifest.frame
    assert strong.filter(strong["expression"] != "neutral")["intensity"].min() >= 0.6  # type: ignore[operator]
    assert len(strong) < len(everything)
    neutral = [frame.filter(frame["expression"] == "neutral") for frame in (everything, strong)]
    assert neutral[0].equals(neutral[1])


def test_the_fingerprint_is_the_content_s() -> None:
    assert scan(synthetic()).manifest.fingerprint == scan(synthetic()).manifest.fingerprint
    other = synthetic(generator=Generator(subjects=3, frames=5, seed=1))
    assert scan(synthetic()).manifest.fingerprint != scan(other).manifest.fingerprint
    reordered = synthetic(expressions=("surprise", "neutral", "anger"))
    same = synthetic(expressions=("anger", "surprise", "neutral"))
    assert scan(reordered).manifest.fingerprint == scan(same).manifest.fingerprint


def test_of_a_sequence_all_frames_its_rise_or_its_apex() -> None:
    kept = {
        frames: scan(synthetic(expressions=("happiness", "anger"), frames=frames)).manifest.frame
        for frames in ("all", "rise", "apex")
    }
    by_sequence = {
        name: {tuple(own.sort("frame")["frame"]) for _, own in frame.group_by("subject", "sequence")}
        for name, frame in kept.items()
    }
    assert by_sequence == {"all": {(0, 1, 2, 3, 4)}, "rise": {(0, 1, 2)}, "apex": {(2,)}}
