"""Two trials side by side: what differs in what was asked for, and in what came out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from polyview.analysis.statistics import signed
from polyview.recipe import flat
from polyview.trials.ledger import Record

NONE = "—"
Row = tuple[str, str, str, str]  # key, value of one, value of the other, difference


@dataclass(frozen=True)
class DifferenceTable:
    """Rows of one kind."""

    name: str
    rows: tuple[Row, ...]


def differences(one: Record, other: Record) -> list[DifferenceTable]:
    """What differs between two records; scores are in percent, and their difference in points."""
    pair = (one, other)
    sections = [
        DifferenceTable("recipe", _texts(*(dict(flat(record.experiment.model_dump(mode="json"))) for record in pair))),
        DifferenceTable("result", _numbers(one.scores, other.scores)),
        DifferenceTable("seconds", _texts(*map(_seconds, pair))),
        DifferenceTable("faces", _texts(*map(_faces, pair))),
        DifferenceTable("environment", _texts(one.environment, other.environment)),
    ]
    return [section for section in sections if section.rows]


def incomparable(one: Record, other: Record) -> str | None:
    """Why the scores of two records may differ though their recipes are worth the same; None where none is known."""
    known = {
        "on faces of one manifest": (one.manifest, other.manifest),
        "of the same people": (one.scored_subjects, other.scored_subjects),
        "between the same classes": (one.classes, other.classes),
    }
    unlike = [what for what, (first, second) in known.items() if first and second and first != second]
    if not unlike:
        return None
    return f"The scores are not {', nor '.join(unlike)}: their differences may come from that alone."


def _texts(one: Mapping[str, str], other: Mapping[str, str]) -> tuple[Row, ...]:
    keys = dict.fromkeys([*one, *other])
    sections = {key.rpartition(".")[0] for key in keys}  # one that is null in one of the two has keys in the other
    rows = [(key, one.get(key, NONE), other.get(key, NONE), "") for key in keys if key not in sections]
    return tuple(row for row in rows if row[1] != row[2])


def _numbers(one: Mapping[str, float], other: Mapping[str, float]) -> tuple[Row, ...]:
    def shown(scores: Mapping[str, float], key: str) -> str:
        return f"{100 * scores[key]:.1f}" if key in scores else NONE

    def difference(key: str) -> str:
        return signed(other[key] - one[key]) if key in one and key in other else NONE

    keys = [key for key in dict.fromkeys([*one, *other]) if one.get(key) != other.get(key)]
    return tuple((key, shown(one, key), shown(other, key), difference(key)) for key in keys)


def _seconds(record: Record) -> dict[str, str]:
    return {name: f"{seconds:.1f}" for name, seconds in record.seconds.items()}


def _faces(record: Record) -> dict[str, str]:
    kind = "validation subjects" if record.validation_subjects else "test subjects"
    return {"manifest": record.manifest, kind: ", ".join(record.scored_subjects), "classes": ", ".join(record.classes)}
