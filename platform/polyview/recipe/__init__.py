"""What a user may ask for: an `Experiment` is one recipe, a `Study` compares many.

In: YAML and `key=value` overrides. Out: frozen, validated models, identified by the hash of their content; every error
of a file is listed at once, with its dotted path. Read `experiment.py` first, then `study.py`.
"""

from polyview.recipe.corpus import EXPRESSIONS, OWN_EXPRESSIONS, Axes, Corpus, DatasetName, Generator, Geometry
from polyview.recipe.evaluation import Evaluation, MetricName, ProbeName, few_shot
from polyview.recipe.experiment import Experiment, Level, Modeling, Output, Rendering, Views, digest
from polyview.recipe.files import (
    build_corpus,
    keys_set,
    load_experiment,
    load_stored_experiment,
    load_stored_study,
    load_study,
    to_yaml,
    with_overrides,
)
from polyview.recipe.language import Language, Pseudolabels
from polyview.recipe.overrides import flat
from polyview.recipe.study import CostName, Parameter, Pruning, Resources, Scalar, Search, Study, UntilDecided, same
from polyview.recipe.table import Layout, Published
from polyview.recipe.table_studies import StudiesTable, load_definition, studies_in, tables_of
from polyview.recipe.training import Training
from polyview.recipe.yaml_files import is_zip, names_file

__all__ = [
    "EXPRESSIONS",
    "OWN_EXPRESSIONS",
    "Axes",
    "Corpus",
    "CostName",
    "DatasetName",
    "Evaluation",
    "Experiment",
    "Generator",
    "Geometry",
    "Language",
    "Layout",
    "Level",
    "MetricName",
    "Modeling",
    "Output",
    "Parameter",
    "ProbeName",
    "Pruning",
    "Pseudolabels",
    "Published",
    "Rendering",
    "Resources",
    "Scalar",
    "Search",
    "StudiesTable",
    "Study",
    "Training",
    "UntilDecided",
    "Views",
    "build_corpus",
    "digest",
    "few_shot",
    "flat",
    "is_zip",
    "keys_set",
    "load_definition",
    "load_experiment",
    "load_stored_experiment",
    "load_stored_study",
    "load_study",
    "names_file",
    "same",
    "studies_in",
    "tables_of",
    "to_yaml",
    "with_overrides",
]
