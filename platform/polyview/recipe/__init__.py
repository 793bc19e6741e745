"""What a user may ask for: an `Experiment` is one recipe, a `Study` compares many.

Both are read from YAML, validated as a whole (every fault is listed at once, with its dotted path),
frozen, and identified by the hash of their content.
"""

from polyview.recipe.experiment import (
    EXPRESSIONS,
    OWN_EXPRESSIONS,
    Corpus,
    DatasetName,
    Evaluation,
    Experiment,
    Generator,
    Geometry,
    Language,
    Level,
    MetricName,
    Modeling,
    Output,
    ProbeName,
    Pseudolabels,
    Rendering,
    Training,
    Views,
    digest,
)
from polyview.recipe.files import build_corpus, load_experiment, load_study, to_yaml, with_overrides
from polyview.recipe.study import CostName, Parameter, Pruning, Resources, Scalar, Search, Study, same

__all__ = [
    "EXPRESSIONS",
    "OWN_EXPRESSIONS",
    "Corpus",
    "CostName",
    "DatasetName",
    "Evaluation",
    "Experiment",
    "Generator",
    "Geometry",
    "Language",
    "Level",
    "MetricName",
    "Modeling",
    "Output",
    "Parameter",
    "ProbeName",
    "Pruning",
    "Pseudolabels",
    "Rendering",
    "Resources",
    "Scalar",
    "Search",
    "Study",
    "Training",
    "Views",
    "build_corpus",
    "digest",
    "load_experiment",
    "load_study",
    "same",
    "to_yaml",
    "with_overrides",
]
