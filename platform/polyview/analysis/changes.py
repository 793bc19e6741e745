"""Two studies side by side: which settings differ, which scores moved, and which verdicts turned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from polyview.analysis.comparisons import comparison_of_each, scores
from polyview.analysis.inference import SeedScore
from polyview.analysis.notes import version_of
from polyview.analysis.outcome import Outcome, absent, finished
from polyview.analysis.statistics import Comparison, adjust_comparisons, compare
from polyview.recipe import Study, flat
from polyview.recipe.study import DESCRIPTIVE
from polyview.trials.design import baselines

NONE = "—"
SAME_TRIALS = "same trials"
EARLIER = ""  # which no variant is called
TOLD_BY_VARIANT = {"experiment", "remove", "variants", "grid", "fraction", "across"}
SAYING_NOTHING = {"name", *DESCRIPTIVE}
"""What of a study is told by the recipes of its variants, and what says nothing of its results."""


@dataclass(frozen=True)
class SettingChange:
    """A dotted key that differs between two studies, and of which variants; of none: it is the study's own."""

    key: str
    before: str
    after: str
    variants: tuple[str, ...] = ()


@dataclass(frozen=True)
class VariantChange:
    """A variant as two studies have it, each against its own baseline, and what lies between its two scores.

    `between` has the later score less the earlier one, with its uncertainty where the two can be paired; where they
    cannot, `unpaired` says why.
    """

    variant: str
    before: Comparison
    after: Comparison
    between: Comparison
    unpaired: str = ""

    @property
    def turned(self) -> bool:
        """Whether both studies compare the variant with a baseline, and do not say the same of it."""
        judged = self.before.difference is not None and self.after.difference is not None
        decided = self.before.decided or self.after.decided
        return judged and decided and self.before.verdict != self.after.verdict


@dataclass(frozen=True)
class Changes:
    """What is different in the second of two studies; `remarks` say what the comparison does not allow for."""

    metric: str
    settings: Sequence[SettingChange]
    variants: Sequence[VariantChange]
    only_before: Sequence[str]
    only_after: Sequence[str]
    remarks: Sequence[str]


def changes(before: Outcome, after: Outcome) -> Changes:
    """Compare two studies variant by variant, in the metric of the first.

    A variant's scores are paired by seed and test subject where both studies tested the same people on the same faces
    under the same seeds. Its p-value is adjusted over all variants that are compared here (Holm 1979).
    """
    metric = before.study.metric
    studies = [comparison_of_each(outcome, metric) for outcome in (before, after)]
    both = [name for name in studies[0] if name in studies[1]]
    scored = [scores(outcome, metric) for outcome in (before, after)]
    pairs = [_between(name, before, after, scored[0][name], scored[1][name]) for name in both]
    tested = iter(adjust_comparisons([one for one, unpaired in pairs if not unpaired]))
    return Changes(
        metric,
        _settings(before, after, both),
        [
            VariantChange(name, studies[0][name], studies[1][name], one if unpaired else next(tested), unpaired)
            for name, (one, unpaired) in zip(both, pairs, strict=True)
        ],
        [name for name in studies[0] if name not in studies[1]],
        [name for name in studies[1] if name not in studies[0]],
        _remarks(before, after, both),
    )


def _between(
    variant: str,
    before: Outcome,
    after: Outcome,
    earlier: Mapping[int, SeedScore],
    later: Mapping[int, SeedScore],
) -> tuple[Comparison, str]:
    """The variant's later score against its earlier one, and why they are not paired, if they are not."""
    unpaired = _unpaired(variant, before, after, earlier, later)
    paired: Mapping[int, SeedScore] = {} if unpaired else earlier
    found, _ = compare({variant: later, EARLIER: paired}, EARLIER)
    return found, unpaired


def _unpaired(
    variant: str,
    before: Outcome,
    after: Outcome,
    earlier: Mapping[int, SeedScore],
    later: Mapping[int, SeedScore],
) -> str:
    shared = sorted(set(earlier) & set(later))
    if not earlier or not later:
        return "no score"
    if _manifests(before, [variant]) != _manifests(after, [variant]):
        return "other faces"
    if not shared:
        return "other seeds"
    trials, people = ([of(outcome, variant) for outcome in (before, after)] for of in (_trials, _people))
    if all(trials[0][seed] == trials[1][seed] for seed in shared):
        return SAME_TRIALS
    return "" if all(people[0][seed] == people[1][seed] for seed in shared) else "other people"


def _trials(outcome: Outcome, variant: str) -> dict[int, set[str]]:
    found: dict[int, set[str]] = {}
    for trial, _ in finished(outcome, variant):
        found.setdefault(trial.seed, set()).add(trial.id)
    return found


def _people(outcome: Outcome, variant: str) -> dict[int, set[str]]:
    """Who was scored under each seed."""
    found: dict[int, set[str]] = {}
    for trial, record in finished(outcome, variant):
        found.setdefault(trial.seed, set()).update(record.scored_subjects)
    return found


def _manifests(outcome: Outcome, variants: Sequence[str]) -> set[str]:
    return {record.manifest for name in variants for _, record in finished(outcome, name)}


def _settings(before: Outcome, after: Outcome, variants: Sequence[str]) -> list[SettingChange]:
    """The study's own keys first, then those of the recipes; what differs alike in several variants is one row."""
    own = _different(_own_settings(before.study), _own_settings(after.study))
    recipes = [_recipes(outcome) for outcome in (before, after)]
    found: dict[tuple[str, str, str], list[str]] = {}
    for name in variants:
        for row in _different(recipes[0][name], recipes[1][name]):
            found.setdefault(row, []).append(name)
    return [SettingChange(*row) for row in own] + [SettingChange(*row, tuple(names)) for row, names in found.items()]


def _different(one: Mapping[str, str], other: Mapping[str, str]) -> list[tuple[str, str, str]]:
    keys = dict.fromkeys([*one, *other])
    return [(key, one.get(key, NONE), other.get(key, NONE)) for key in keys if one.get(key) != other.get(key)]


def _own_settings(study: Study) -> dict[str, str]:
    return dict(flat(study.model_dump(mode="json", exclude=TOLD_BY_VARIANT | SAYING_NOTHING)))


def _recipes(outcome: Outcome) -> dict[str, dict[str, str]]:
    """The resolved recipe of each variant, without that in which its own trials differ."""
    found: dict[str, dict[str, str]] = {}
    for trial in outcome.trials:
        if trial.variant not in found:
            content = trial.experiment.model_dump(
                mode="json", exclude={"name": True, "seed": True, "evaluation": {"fold"}}
            )
            found[trial.variant] = dict(flat(content))
    return found


def _remarks(before: Outcome, after: Outcome, variants: Sequence[str]) -> list[str]:
    pair = (before, after)
    found = [
        f"The {which} study is not complete; no result yet, as not run or failed: {'; '.join(missing)}."
        for which, outcome in zip(("first", "second"), pair, strict=True)
        if (missing := absent(outcome))
    ]
    metrics = [outcome.study.metric for outcome in pair]
    if metrics[0] != metrics[1]:
        found.append(
            f"The second study is judged in {metrics[1]}; scores and verdicts here are in {metrics[0]} for both."
        )
    faces = [_manifests(outcome, variants) for outcome in pair]
    if all(faces) and faces[0] != faces[1]:
        names = " and ".join(", ".join(sorted(one)) or "none" for one in faces)
        found.append(
            f"The faces are not the same (manifests {names}): scores are not paired, and differences between them may "
            "come from the faces alone."
        )
    if before.study.baseline != after.study.baseline and set(baselines(before.study)) & set(baselines(after.study)):
        found.append(
            f"The baselines differ (“{before.study.baseline}” and “{after.study.baseline}”): a verdict may turn with "
            "them."
        )
    versions = [_versions(outcome) for outcome in pair]
    if all(versions) and versions[0] != versions[1]:
        names = " before, ".join("; ".join(sorted(one)) for one in versions)
        found.append(f"The trials were made by different code ({names} after): differences may come from that.")
    return found


def _versions(outcome: Outcome) -> set[str]:
    return {version_of(record) for _, record in finished(outcome)} - {""}
