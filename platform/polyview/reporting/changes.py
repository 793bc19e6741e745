"""What is different between two studies, as tables and lines of a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Column, Table
from rich.text import Text

from polyview.analysis.changes import SAME_TRIALS, Changes, SettingChange, VariantChange
from polyview.analysis.statistics import relation, sentence, signed
from polyview.reporting.rows import NONE, first_that_fits, level, say_left_out, span
from polyview.wording import counted

BETWEEN = ("difference", "95 % interval,\nother people", "p, Holm")
SHOWN = (True, (0, 1, 2)), (False, (0, 1, 2)), (False, (0,)), (False, ())
"""Whether deviations are shown, and which of what lies between; the most first."""
UNPLANNED = (
    "No study planned these comparisons before its results were seen. p is after Holm over the {count} variants that "
    "are paired here, and allows for no other two studies that were looked at; the verdicts are each study's own."
)


def settings_table(changes: Changes) -> Table:
    """The keys that differ, with their values before and after, and in which variants they do."""
    heads = (Column(head, overflow="fold") for head in ("key", "before", "after", "variants"))
    table = Table(*heads, box=box.SIMPLE_HEAD, pad_edge=False)
    ran_anew = tuple(one.variant for one in changes.variants if one.unpaired != SAME_TRIALS)
    for one in changes.settings:
        table.add_row(*map(Text, (one.key, one.before, one.after, _whose(one, ran_anew))))
    return table


def scores_table(changes: Changes, width: int = 120) -> Table:
    """Each variant of both studies: its scores, what lies between them, and its verdicts; bold where they turn.

    A narrow one leaves the deviations out, and then what lies between.
    """
    return first_that_fits((_scores(changes, with_deviations, between) for with_deviations, between in SHOWN), width)


def _scores(changes: Changes, with_deviations: bool, between: Sequence[int]) -> Table:
    heads = ["before, %", "after, %", *(BETWEEN[place] for place in between)]
    table = Table(
        Column("variant", min_width=12, overflow="fold"),
        *(Column(head, justify="right", no_wrap=True) for head in heads),
        Column("verdict", min_width=8),
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    deviations = [] if with_deviations else ["deviations"]
    say_left_out(table, [*deviations, *(head for place, head in enumerate(BETWEEN) if place not in between)])
    for one in changes.variants:
        levels = [level(side) if with_deviations else level(side).partition(" ")[0] for side in (one.before, one.after)]
        differences = _between(one)
        cells = (one.variant, *levels, *(differences[place] for place in between), _verdicts(one))
        table.add_row(*map(Text, cells), style="bold" if one.turned else None)
    return table


def lines(changes: Changes, before: str, after: str) -> list[str]:
    """What turned and what moved in words, what only one study has, and what the comparison does not allow for."""
    turned = [f"“{one.variant}” ({_verdicts(one)})" for one in changes.variants if one.turned]
    count = f"{counted(len(turned), 'verdict')} turned"
    if changes.variants:
        found = [] if changes.settings else ["No setting differs."]
        found.append(f"{count}: {', '.join(turned)}." if turned else "No verdict turned.")
    else:
        found = ["No variant of one name is in both, so neither recipes nor scores are compared."]
    tested = [one.between for one in changes.variants if not one.unpaired]
    found += [sentence(one, changes.metric, before) for one in tested if one.significant]
    found += [
        f"Only in {name}: {', '.join(variants)}."
        for name, variants in ((before, changes.only_before), (after, changes.only_after))
        if variants
    ]
    found += [
        f"“{one.variant}”: the difference is over the {counted(one.between.pairs, 'seed')} that both have, of "
        f"{one.before.seeds} before and {one.after.seeds} after."
        for one in changes.variants
        if not one.unpaired and {one.before.seeds, one.after.seeds} != {one.between.pairs}
    ]
    found += [
        f"“{one.variant}”: the means are over {counted(one.before.seeds, 'seed')} before and {one.after.seeds} after."
        for one in changes.variants
        if one.unpaired and one.before.seeds != one.after.seeds
    ]
    found += changes.remarks
    return [*found, UNPLANNED.format(count=len(tested))] if tested else found


def _whose(one: SettingChange, ran_anew: tuple[str, ...]) -> str:
    if not one.variants:
        return "the study's own"
    return "all that ran anew" if one.variants == ran_anew else ", ".join(one.variants)


def _between(one: VariantChange) -> tuple[str, str, str]:
    """The difference, its interval and its p-value; for what is not paired the difference of the means, and why."""
    found = one.between
    p = NONE if found.p_adjusted is None else relation(found.p_adjusted).lstrip("= ")
    if not one.unpaired:
        return NONE if found.difference is None else signed(found.difference), span(found.low, found.high), p
    known = one.before.seeds and one.after.seeds
    return signed(one.after.mean - one.before.mean) if known else NONE, one.unpaired, NONE


def _verdicts(one: VariantChange) -> str:
    """The verdict of both studies, or both verdicts where they differ; a baseline has none."""
    before, after = (NONE if side.difference is None else side.verdict for side in (one.before, one.after))
    return before if before == after else f"{before} → {after}"
