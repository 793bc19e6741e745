"""A comparison: one experiment, varied, repeated and searched."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, field_validator, model_validator

from polyview.recipe.evaluation import MetricName, check_metric
from polyview.recipe.experiment import Experiment
from polyview.recipe.named import NamedFiles
from polyview.recipe.schema import FileName, Model, Natural, Positive, PositiveFloat, Seed, Share, Weight, equals
from polyview.recipe.table import Layout, Published

DESCRIPTIVE = {"question", "published", "tables"}
"""What a study says beside what it asks for: neither its trials nor its comparisons are others by it."""

CostName = Literal["views", "parameters", "seconds"]
ObjectiveName = Annotated[str, AfterValidator(lambda name: check_metric(name, get_args(CostName)))]
Scalar = bool | int | float | str | None


class Resources(Model):
    """What one worker of one trial occupies, and how often it keeps what it has done."""

    cpus: Positive = 1
    gpus: Weight = Field(0, description="whole GPUs, or a share of one: 0.25 puts four workers on each")
    memory: PositiveFloat | None = Field(None, description="GiB of main memory; null: not counted")
    checkpoint_minutes: Weight = Field(
        5.0,
        exclude_if=equals(5.0),
        description="of training between two checkpoints, the most that an interruption loses; 0: after every epoch",
    )

    @model_validator(mode="after")
    def _share_or_whole_gpus(self) -> Self:
        if self.gpus > 1 and self.gpus % 1:
            raise ValueError(f"gpus is {self.gpus:g}; a worker has a share of one GPU or whole ones")
        return self


def _span(ends: tuple[float, float]) -> tuple[float, float]:
    if ends[0] >= ends[1]:
        raise ValueError("the lower end comes first, and the ends differ")
    return ends


class Parameter(Model):
    """Where a search looks for one key's value: exactly one of these."""

    uniform: Annotated[tuple[float, float], AfterValidator(_span)] | None = None
    log_uniform: Annotated[tuple[PositiveFloat, PositiveFloat], AfterValidator(_span)] | None = None
    integer: Annotated[tuple[int, int], AfterValidator(_span)] | None = Field(None, description="ends included")
    categorical: tuple[Scalar, ...] | None = Field(None, min_length=2)
    when: dict[str, Scalar | tuple[Scalar, ...]] = Field(
        {}, description="asked for only where keys above it have these values, as in {model.fusion: attention}"
    )

    @field_validator("categorical", mode="before")
    @classmethod
    def _is_of_single_values(cls, choices: Any) -> Any:
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, list | dict):
                raise ValueError(f"a search chooses among single values, and {choice} is none; compare such by `grid`")
        return tuple(choices) if isinstance(choices, list) else choices

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        kinds = [name for name in type(self).model_fields if name != "when"]
        if sum(getattr(self, kind) is not None for kind in kinds) != 1:
            raise ValueError(f"exactly one of {', '.join(kinds)} is needed")
        # 1 and 1.0 are one value to a key of numbers, and to Optuna; true is none of them.
        told_apart = {(isinstance(choice, bool), choice) for choice in self.categorical or ()}
        if self.categorical and len(told_apart) < len(self.categorical):
            raise ValueError(f"choices repeat: {list(self.categorical)}")
        return self

    @property
    def conditions(self) -> dict[str, tuple[Scalar, ...]]:
        """`when`, with all values that each key may have."""
        return {key: wanted if isinstance(wanted, tuple) else (wanted,) for key, wanted in self.when.items()}

    def can_be(self, value: Any) -> bool:
        """Whether a search may give the key this value."""
        if self.categorical is not None:
            return any(same(choice, value) for choice in self.categorical)
        low, high = self.integer or self.uniform or self.log_uniform or (math.nan, math.nan)
        is_number = isinstance(value, int if self.integer else int | float) and not isinstance(value, bool)
        return is_number and low <= value <= high


def same(one: Any, other: Any) -> bool:
    """Equal, and of one type: true is not 1."""
    return type(one) is type(other) and one == other


class Pruning(Model):
    """How points that promise nothing are pruned: by the study's metric, measured on half-trained models."""

    rule: Literal["median", "asha"] = Field(
        "median", description="below the median of the others after as many epochs, or successive halving of all"
    )
    every: Positive = Field(5, description="epochs between two interim scores of a model")


class Search(Model):
    """A search for good values of some keys: every point that it asks for is one trial."""

    sampler: Literal["tpe", "random", "qmc", "cmaes", "nsga2"] = "tpe"
    trials: Positive = 40
    space: dict[str, Parameter] = Field(min_length=1)
    objectives: tuple[ObjectiveName, ...] = Field(
        (), description="scores are maximised, costs minimised; empty: the study's metric"
    )
    seed: Seed = Field(1000, description="of the sampler and of every point's trial; none of the study's seeds")
    prune: Pruning | None = None
    validation: Share = Field(
        0.25,
        exclude_if=equals(0.25),
        description="share of the training subjects that no point trains on, and by whose scores points are chosen",
    )

    @model_validator(mode="after")
    def _sampler_can(self) -> Self:
        if len(set(self.objectives)) < len(self.objectives):
            raise ValueError(f"objectives repeat: {list(self.objectives)}")
        if self.sampler == "cmaes" and len(self.objectives) > 1:
            raise ValueError("sampler cmaes takes one objective; use nsga2 for several")
        if self.sampler == "cmaes" and sum(one.categorical is None for one in self.space.values()) < 2:
            raise ValueError("sampler cmaes needs two numeric keys or more; use tpe")
        if self.sampler == "cmaes" and any(one.when for one in self.space.values()):
            raise ValueError("sampler cmaes takes no keys with `when`; use tpe")
        return self

    @model_validator(mode="after")
    def _conditions_are_decided_before(self) -> Self:
        before: dict[str, Parameter] = {}
        for key, parameter in self.space.items():
            for other, wanted in parameter.conditions.items():
                if other not in before:
                    raise ValueError(f"{key}: when names {other}, which is not among the keys above it")
                if before[other].integer is None and before[other].categorical is None:
                    raise ValueError(f"{key}: when names {other}, which has neither integer nor categorical values")
                for value in wanted:
                    if not before[other].can_be(value):
                        raise ValueError(f"{key}: when asks for {other} {value!r}, which it cannot be")
            before[key] = parameter
        return self

    @model_validator(mode="after")
    def _has_one_score_to_prune_by(self) -> Self:
        if self.prune and (len(self.objectives) > 1 or (self.objectives and "/" not in self.objectives[0])):
            raise ValueError(f"prune takes one score as the objective, and objectives are {list(self.objectives)}")
        return self


class UntilDecided(Model):
    """Seeds that are added for the comparisons that are open, until none is."""

    first: Annotated[int, Field(ge=2)] = Field(3, description="seeds before the first look, and between two looks")
    most: Annotated[int, Field(ge=3, le=1000)] = Field(description="seeds at which whatever is open stays so")
    until: Literal["decided"] = "decided"

    @model_validator(mode="after")
    def _adds_seeds(self) -> Self:
        if self.most <= self.first:
            raise ValueError(f"most is {self.most} and first {self.first}: nothing can be added; raise most")
        return self


def _listed(seeds: Any) -> Any:
    if isinstance(seeds, int) and not isinstance(seeds, bool) and 0 < seeds < 100:
        raise ValueError(f"{seeds} is a number of seeds or one of them; list them, as in {list(range(seeds))}")
    return tuple(seeds) if isinstance(seeds, list) else seeds


SeedList = Annotated[tuple[Seed, ...], Field(min_length=1), BeforeValidator(_listed)]
Seeds = Annotated[
    Annotated[SeedList, Tag("|list")] | Annotated[UntilDecided, Tag("|until")],
    Discriminator(lambda seeds: "|until" if isinstance(seeds, dict | UntilDecided) else "|list"),
]


class Study(Model):
    """A comparison: one experiment, varied."""

    name: FileName
    question: str = Field(
        "", exclude_if=equals(""), description="what it is to answer; else the comment at the top of its file"
    )
    experiment: Experiment
    seeds: Seeds = (0, 1, 2)
    metric: MetricName = "linear/accuracy"
    metrics: tuple[MetricName, ...] = Field(
        (),
        exclude_if=equals(()),
        description="further metrics to compare the variants in; with metric they are one family of comparisons",
    )
    margin: Annotated[float, Field(gt=0, lt=100)] | None = Field(
        None, exclude_if=equals(None), description="points of the metric within which a variant counts as the same"
    )
    baseline: str = "full"
    remove: dict[str, str | Annotated[tuple[str, ...], Field(min_length=1)]] = Field(default_factory=dict)
    variants: dict[str, dict[str, Any]] = Field(default_factory=dict)
    grid: dict[str, tuple[Any, ...]] = Field({}, description="full factorial: every combination is a variant")
    fraction: dict[str, tuple[Any, Any]] = Field({}, description="two levels of many factors, a few combinations")
    across: dict[str, tuple[Any, ...]] = Field(
        {},
        exclude_if=equals({}),
        description="every variant, the baseline too, at each of these values, compared with the baseline there",
    )
    search: Search | None = None
    files: NamedFiles = Field(
        NamedFiles(),
        exclude_if=equals(NamedFiles()),
        description="what variants name, found as the study is read: prompts, folders of faces, weights",
    )
    references: bool = Field(True, description="add rows for raw pixels and for the untrained tower")
    resources: Resources = Resources()
    retries: Natural = Field(1, description="how often a trial that failed is tried again, from its last checkpoint")
    published: tuple[Published, ...] = Field((), exclude_if=equals(()), description="what others report of these faces")
    tables: dict[str, Layout] = Field({}, exclude_if=equals({}), description="tables of this study, by name")

    @model_validator(mode="after")
    def _lists_are_sound(self) -> Self:
        if len(set(self.all_seeds)) < len(self.all_seeds):
            raise ValueError(f"seeds repeat: {list(self.all_seeds)}")
        if self.metric in self.metrics or len(set(self.metrics)) < len(self.metrics):
            raise ValueError(f"metrics are others than metric, {self.metric}, each once; they are {list(self.metrics)}")
        for name, lists in (("grid", self.grid), ("across", self.across), ("fraction", self.fraction)):
            if empty := [key for key, values in lists.items() if not values]:
                raise ValueError(f"{name} lists no value for {', '.join(empty)}")
            for key, values in lists.items():
                if len({str(value) for value in values}) < len(values):
                    raise ValueError(f"{name}.{key} lists values that are written alike: {[*values]}")
        names = (self.baseline, *self.remove, *self.variants)
        if odd := [name for name in names if not name.strip() or not name.isprintable()]:
            raise ValueError(f"{odd[0]!r} names a variant; a name is one line that can be printed")
        both = sorted(set(self.remove) & set(self.variants))
        if both:
            raise ValueError(f"named in both remove and variants: {', '.join(both)}")
        return self

    @property
    def all_seeds(self) -> tuple[int, ...]:
        """The seeds that a variant runs under; of a study that goes on until it is decided, at most."""
        return tuple(range(self.seeds.most)) if isinstance(self.seeds, UntilDecided) else self.seeds

    @property
    def all_metrics(self) -> tuple[str, ...]:
        """What variants are compared in, the study's own first; all comparisons in these are one family."""
        return (self.metric, *self.metrics)

    @model_validator(mode="after")
    def _until_decided_compares_variants(self) -> Self:
        others = {"grid": self.grid, "fraction": self.fraction, "search": self.search}
        if isinstance(self.seeds, UntilDecided) and (beside := [name for name, one in others.items() if one]):
            raise ValueError(
                f"seeds are added until variants are decided, which {beside[0]} does not wait for; list the seeds"
            )
        return self

    @model_validator(mode="after")
    def _across_is_for_variants(self) -> Self:
        others = {"grid": self.grid, "fraction": self.fraction, "search": self.search, "references": self.references}
        if self.across and (beside := [name for name, one in others.items() if one]):
            raise ValueError(
                f"across takes the variants to several values, and cannot do so with {', '.join(beside)}; "
                + ("set references: false" if beside == ["references"] else f"leave out {beside[0]}")
            )
        return self

    @model_validator(mode="after")
    def _probes_make_the_metrics(self) -> Self:
        evaluation = self.experiment.evaluation
        of_tables = [name for table in self.tables.values() for name in table.metrics]
        for name in (*self.all_metrics, *of_tables, *(self.search.objectives if self.search else ())):
            probe = name.partition("/")[0]
            if "/" not in name or probe in evaluation.measured:
                continue
            if "@" in probe:
                shots = list(evaluation.shots)
                raise ValueError(f"metric is {name}, and experiment.evaluation.shots is {shots}; add the number to it")
            probes = ", ".join(evaluation.probes)
            raise ValueError(f"metric is {name}, and experiment.evaluation.probes has only {probes}")
        return self

    @model_validator(mode="after")
    def _looks_come_before_the_end(self) -> Self:
        prune, epochs = self.search.prune if self.search else None, self.experiment.training.epochs
        if prune and epochs is not None and prune.every >= epochs:
            raise ValueError(
                f"search.prune.every {prune.every} leaves nothing to stop of experiment.training.epochs {epochs}"
            )
        return self

    @model_validator(mode="after")
    def _search_leaves_people_to_test_on(self) -> Self:
        evaluation = self.experiment.evaluation
        if self.search and evaluation.repeats > 1:
            raise ValueError(
                f"a search must not see the test subjects, and under {evaluation.protocol} everybody is one; set "
                "experiment.evaluation.protocol to holdout or cross_dataset"
            )
        if self.search and evaluation.validation:
            raise ValueError(
                "experiment.evaluation.validation has scores be of validation subjects, and the best point of a search "
                "is to be scored on test subjects; set search.validation instead"
            )
        return self

    @model_validator(mode="after")
    def _best_is_run_on_fresh_seeds(self) -> Self:
        if self.search and self.search.seed in self.all_seeds:
            raise ValueError(
                f"search.seed {self.search.seed} is one of seeds; the best point is run again on seeds that it was "
                "not chosen by, so take another"
            )
        return self
