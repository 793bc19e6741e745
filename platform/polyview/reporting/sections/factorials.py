"""What the factors of a study do, and pairs of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from polyview.analysis.comparisons import scores
from polyview.analysis.effects import Effect, effects
from polyview.analysis.findings import Finding, as_measured
from polyview.analysis.inference import SeedScore, unpaired
from polyview.analysis.outcome import Outcome
from polyview.analysis.statistics import relation, signed
from polyview.reporting.figures.intervals import draw_effects
from polyview.reporting.rows import NONE
from polyview.reporting.sections.section import Section
from polyview.trials.design import cells, fraction_cells, short_names
from polyview.wording import agreeing, counted

READING = (
    "An effect is the mean with a factor's second value less that with its first, over all else; of two factors, half "
    "of what one adds to the other's effect. Each is taken in every seed and test subject by itself; intervals are for "
    "other people under other seeds, each for itself, and p is after Holm over all effects."
)


def factorials(outcome: Outcome) -> list[Section]:
    """The effects of a full factorial and of a fraction of one, where the study has them."""
    study = outcome.study
    return [
        _factorial(outcome, title, levels, chosen)
        for title, levels, chosen in (
            ("Full factorial", study.grid, cells(study.grid)),
            ("Fractional factorial", study.fraction, fraction_cells(study.fraction)),
        )
        if levels
    ]


def _factorial(
    outcome: Outcome, title: str, levels: Mapping[str, Sequence[Any]], chosen: Mapping[str, Mapping[str, Any]]
) -> Section:
    metric, by_variant, names = outcome.study.metric, scores(outcome, outcome.study.metric), short_names(list(levels))
    factors = {names[key]: [str(value) for value in values] for key, values in levels.items()}
    # A combination that is the baseline's own is not run beside it.
    scored = {name: by_variant.get(name, by_variant.get(outcome.study.baseline, {})) for name in chosen}
    found = effects(factors, {tuple(map(str, cell.values())): scored[name] for name, cell in chosen.items()})
    key = title.lower().replace(" ", "-")
    if not found:
        return Section(title, key, [as_measured(_without_effects(list(scored.values()), metric))])
    heads = ["effect", f"points of {metric}", "95 % interval", "p", "Holm", "cannot be told from"]
    sentences = [Finding(_effect_sentence(effect, metric, factors), True) for effect in found if effect.significant]
    untested = sum(effect.p is None for effect in found)
    if insignificant := sum(not effect.significant for effect in found) - untested:
        are = agreeing(insignificant, "is", "are")
        text = f"{insignificant} of {counted(len(found), 'effect')} {are} not significant."
        sentences.append(Finding(text, False))
    if untested:
        some = f"{untested} of {counted(len(found), 'effect')} {agreeing(untested, 'has', 'have')}"
        sentences.append(as_measured(f"{some} no test, for want of seeds or of any spread of them."))
    sentences.append(as_measured(READING))
    return Section(
        title,
        key,
        sentences,
        [heads, *map(_effect_row, found)],
        partial(draw_effects, found, metric),
        "Main effects and interactions of pairs with 95 % interval; hollow where nothing can be claimed",
    )


def _without_effects(scored: Sequence[Mapping[int, SeedScore]], metric: str) -> str:
    """Why combinations with these scores have no effects."""
    if reason := unpaired(scored):
        return f"Its combinations are scored on {reason} than one another, so that no effect of a factor can be told."
    waiting = sum(not by_seed for by_seed in scored)
    return f"{waiting} of {len(scored)} combinations have no {metric} yet: no effect can be estimated."


def _effect_row(effect: Effect) -> list[str]:
    span = NONE if effect.low is None or effect.high is None else f"{signed(effect.low)} to {signed(effect.high)}"
    tests = [NONE if p is None else relation(p).lstrip("= ") for p in (effect.p, effect.p_holm)]
    return [effect.name, signed(effect.size), span, *tests, ", ".join(effect.aliases) or NONE]


def _effect_sentence(effect: Effect, metric: str, factors: Mapping[str, Sequence[Any]]) -> str:
    assert effect.low is not None
    assert effect.high is not None
    assert effect.p_holm is not None
    step = ""
    if "×" not in effect.name:
        factor = effect.name.partition("=")[0]
        step = f" ({factors[factor][0]} to {effect.name.partition('=')[2] or factors[factor][1]})"
    alias = f", or {', '.join(effect.aliases)}, which this fraction cannot tell apart" if effect.aliases else ""
    return (
        f"{effect.name}{step}{alias}: {signed(effect.size)} points of {metric}, 95 % interval "
        f"{signed(effect.low)} to {signed(effect.high)}, p {relation(effect.p_holm)} after Holm."
    )
