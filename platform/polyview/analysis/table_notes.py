"""What stands below a paper's table: how to read it, of whom its numbers are, and what they were learned from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from polyview.analysis.comparisons import margin_of
from polyview.analysis.notes import doubtful_faces
from polyview.analysis.outcome import Outcome, absent, centred_variants, finished, quoted, scored_people
from polyview.analysis.scored import no_test_results, not_compared, shared_names, unpaired_variants
from polyview.analysis.statistics import adjustment
from polyview.analysis.supervision import form_of_labels, known_to_start
from polyview.analysis.tables import MethodsTable, Row, describe_protocol
from polyview.corpus.splits import count_labelled
from polyview.recipe import Experiment, UntilDecided
from polyview.trials.design import REFERENCES, cells, crossed_name, methods
from polyview.wording import agreeing, counted

MARKS = {"better": "↑", "worse": "↓", "same": "="}
SPREADS = {
    "interval": "half the 95 % interval of the mean for other people under other seeds",
    "deviation": "the standard deviation over seeds",
}


def table_notes(table: MethodsTable) -> list[str]:
    """The notes of a table, a sentence or two each."""
    shown = [cell for row in table.rows if row.kind != "published" for cell in row.cells if cell]
    found = [_unit(table)]
    if any(cell.verdict in MARKS for cell in shown):
        found.append(_marks(table))
    if any(cell.best for cell in shown):
        found.append(
            "Bold: no other method of the column, references aside, can be told to be better (one-sided tests of all "
            "pairs for other people, after Bonferroni over the other methods); in 19 columns of 20 the truly best is "
            "bold, and so is what was measured too roughly to tell. It asks another question than ↑ and ↓, by other "
            "tests, and may differ from them."
        )
    if table.averaged:
        found.append(_averages(table))
    found += [describe_people(label, outcome) for label, outcome in table.outcomes.items()]
    found.append(labels_read_by(table.outcomes))
    found += _centred(table.outcomes)
    found += [
        f"{label}: {note}"
        for label, one in table.outcomes.items()
        for note in [*not_compared(one), *no_test_results(one), *doubtful_faces(one), *_unknown_starts(one)]
    ]
    found += _incomplete(table.outcomes)
    if table.without_result:
        found.append(f"Without a result yet, and so without a column: {', '.join(table.without_result)}.")
    if any(isinstance(outcome.study.seeds, UntilDecided) for outcome in table.outcomes.values()):
        found.append("Seeds were added until comparisons were decided, which neither bold nor ± allows for.")
    return [*found, *(f"[{number}] {_source(row)}" for number, row in enumerate(published(table), 1))]


def _unit(table: MethodsTable) -> str:
    metrics = {column.metric for column in table.columns}
    what = f"{metrics.pop()} in percent" if len(metrics) == 1 else "In percent"
    labels: dict[str, list[str]] = {}
    for label, outcome in table.outcomes.items():
        labels.setdefault(scored_people(outcome), []).append(label)
    most = max(labels, key=lambda people: len(labels[people]))
    but = [f", but of {', '.join(of)} on {people}" for people, of in labels.items() if people != most]
    return f"{what}, on {most}{''.join(but)}; ± is {SPREADS[table.layout.spread]}."


def published(table: MethodsTable) -> list[Row]:
    """The rows of published numbers, in the order of their marks."""
    return [row for row in table.rows if row.kind == "published"]


def _marks(table: MethodsTable) -> str:
    outcomes = table.outcomes.values()
    baselines = {f"“{outcome.study.baseline}”" for outcome in outcomes}
    than = baselines.pop() if len(baselines) == 1 else "the study's baseline"
    adjusted = " or ".join(sorted({adjustment(margin_of(outcome.study)) for outcome in outcomes}))
    same = ", = the same within the study's margin" if any(outcome.study.margin for outcome in outcomes) else ""
    unjudged = any(column.metric not in table.outcomes[column.study].study.all_metrics for column in table.columns)
    without = " A metric that a study does not compare in has no marks: its `metrics` lists them." if unjudged else ""
    return (
        f"↑ better, ↓ worse than {than}{_at_the_same_value(table)}{same}: p at most 0.05 for other people under other "
        f"seeds, {adjusted} over all comparisons of a study, as in its own report, where references are a family of "
        f"their own in each metric. Of several studies each errs for itself.{without}"
    )


def _at_the_same_value(table: MethodsTable) -> str:
    crossed = any(outcome.study.across for outcome in table.outcomes.values())
    return " at the same value" if crossed and table.layout.rows == "variant" else " in the same column"


def _averages(table: MethodsTable) -> str:
    counted = {metric: len(numbers) for metric, numbers in table.averaged.items()}
    whole = all(count == sum(column.metric == metric for column in table.columns) for metric, count in counted.items())
    apart = any(unpaired_variants(outcome) for outcome in table.outcomes.values())
    score = "score of the same people, classes and faces" if apart else "score"
    over = "all columns" if whole else f"the columns in which every method has a {score}"
    return (
        f"Averages and mean ranks (1 is best) are over {over} of a metric, and are not tested; references have no rank."
    )


def describe_people(label: str, outcome: Outcome) -> str:
    """Whose faces a study is of, who is tested on, and how often, in one sentence."""
    study = outcome.study
    records = [record for _, record in finished(outcome)]
    seeds = _range([len({trial.seed for trial, _ in finished(outcome, name)}) for name in _variants(outcome)])
    tested = _range([len(record.scored_subjects) for record in records])
    trained = _range([len(record.train_subjects) for record in records if record.train_subjects])
    whom = f"{tested} {_scored_people(outcome)}"
    people = f"; each training sees {trained} people and is scored on {whom}" if tested and trained else ""
    faces = f"{study.experiment.corpus.dataset}, {describe_protocol(study)}"
    start = (
        "; “untrained” is the pretrained tower as it is" if study.references and study.experiment.model.start else ""
    )
    text = f"{label}: {faces}{people}; {seeds} seeds; baseline “{study.baseline}”{start}."
    return text.replace(" 1 seeds", " 1 seed").replace(" 1 others", " 1 other").replace(" 1 people ", " 1 person ")


def _scored_people(outcome: Outcome) -> str:
    """What those who are scored are to those who are trained on."""
    if (people := scored_people(outcome)) != "test subjects":
        return people
    names = shared_names(outcome)
    return f"of another corpus, {len(names)} of whom have names of those" if names else "others"


def _variants(outcome: Outcome) -> list[str]:
    return list(dict.fromkeys(trial.variant for trial, _ in finished(outcome)))


def _range(counts: Sequence[int]) -> str:
    return "" if not counts else f"{min(counts)}" if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"


def labels_read_by(outcomes: Mapping[str, Outcome]) -> str:
    """Which variants read which labels in their pretraining; at the points of `across`, a method is said once."""
    by_source: dict[str, dict[str, None]] = {}
    for outcome in outcomes.values():
        points = list(cells(outcome.study.across)) or [""]
        named = {crossed_name(name, point): name for name in methods(outcome.study) for point in points}
        for trial in outcome.trials:
            if trial.variant not in REFERENCES:
                source = _source_of_labels(trial.experiment)
                by_source.setdefault(source, {})[named.get(trial.variant, trial.variant)] = None
    said = "; ".join(f"{quoted(names)} ({source})" for source, names in by_source.items())
    return f"Labels read in training: {said}. {_read_by_probes(outcomes)}"


def _read_by_probes(outcomes: Mapping[str, Outcome]) -> str:
    """Whose labels the probes read; where only some may be read, of how many people."""
    counts: dict[float, int] = {}
    for outcome in outcomes.values():
        for trial, record in finished(outcome):
            share = trial.experiment.language.labelled
            if share < 1 and record.train_subjects:
                counts[share] = count_labelled(len(record.train_subjects), share)
    if not counts:
        return "Probes read those of the training people."
    few = ", ".join(f"{count} at labelled={share:g}" for share, count in sorted(counts.items()))
    return f"Of so many training people are labels read, by probes too: {few}, else of all."


def _source_of_labels(experiment: Experiment) -> str:
    match experiment.supervision:
        case "label":
            exchanged = ", exchanged at random" if experiment.language.shuffled != "none" else ""
            others = "; pseudo-labels for those who have none" if experiment.language.assigns else ""
            return f"{form_of_labels(experiment)}{exchanged}{others}"
        case "pseudo":
            return "none, pseudo-labels instead"
        case _:
            return "none"


def _centred(outcomes: Mapping[str, Outcome]) -> list[str]:
    """Whose tested faces were moved as a whole before they were scored."""
    moved = dict.fromkeys(name for outcome in outcomes.values() for name in centred_variants(outcome))
    told = (
        f"Centred: the tested faces' embeddings of {quoted(moved)} were moved as a whole onto the training faces' mean."
    )
    return [told] if moved else []


def _unknown_starts(outcome: Outcome) -> list[str]:
    """Which variants may have started from weights that had seen who is scored."""
    unknown = [variant for variant, seen in known_to_start(outcome).items() if not seen.complete]
    return [f"it is not known whom the weights had seen that {quoted(unknown)} started from."] if unknown else []


def _incomplete(outcomes: Mapping[str, Outcome]) -> Iterator[str]:
    for label, outcome in outcomes.items():
        if absent(outcome):
            count = len(outcome.trials) - len(finished(outcome))
            trials, have = counted(len(outcome.trials), "trial"), agreeing(count, "has", "have")
            yield f"{label}: {count} of {trials} {have} no result (not run yet, or failed)."
        if outcome.stale:
            stale = counted(len(outcome.stale), "result is", "results are")
            yield f"{label}: {stale} left out, of faces that have changed since."


def _source(row: Row) -> str:
    """Where the numbers of a row were published, and whether they can be set beside the others."""
    alike = {
        True: "the same protocol",
        False: "another protocol",
        None: "whether the protocol is the same is not known",
    }
    told: dict[str, list[str]] = {}
    for label, one in row.published:
        text = ", ".join(part for part in (one.protocol, alike[one.same_protocol]) if part)
        told.setdefault(text, []).append(label)
    protocols = "; ".join(text if len(told) == 1 else f"{', '.join(of)}: {text}" for text, of in told.items())
    lost = "" if any(row.cells) else " Of no column of this table."
    return f"{row.name}: {row.published[0][1].source}, {protocols}. Published, not measured here.{lost}"
