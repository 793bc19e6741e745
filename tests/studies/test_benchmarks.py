"""The field's benchmarks: each has the scans that its comment tells of, and trains on files of its dataset's form."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tests.corpus.on_disk import (
    BOSPHORUS_CODES,
    BP4D_TASKS,
    BU3DFE_CODES,
    BU4DFE_FOLDERS,
    SIX,
    face_of,
    write_bosphorus,
    write_bp4d,
    write_bu3dfe,
    write_bu4dfe,
    write_codes,
    write_obj,
)
from tests.recipes import STUDIES, TABLES, load_tables

from polyview import load_study
from polyview.corpus.scan import scan
from polyview.errors import UserError
from polyview.recipe import Corpus, Study, load_experiment
from polyview.storage.home import REPOSITORY, Home
from polyview.studies.estimate import estimate
from polyview.trials.design import REFERENCES, Trial, methods, plan
from polyview.trials.ledger import Ledger
from polyview.trials.people import sides_of
from polyview.trials.spec import Workplace
from polyview.trials.trial import run_trial
from polyview.trials.views import PreparedViews, find_faces, needs

BENCHMARKS = sorted(path.stem for path in STUDIES if path.parent.name == "benchmarks")
SMALL = (
    "seeds=[0]",
    "rendering.size=32",
    "model.tower=tiny-resnet",
    "model.pretrained=polyview",
    "model.image_layers=null",
    "model.projector=[16,16]",
    "training.epochs=null",
    "training.steps=2",
    "training.batch_size=6",
    "training.precision=fp32",
    "resources.cpus=1",
    "resources.gpus=0",
)
FEWER = {
    "bosphorus": ("corpus.root={bosphorus}", "corpus.subjects=4", "evaluation.folds=2"),
    "bp4d": ("corpus.root={bp4d}", "evaluation.folds=2"),
    "bu3dfe_subset_1": ("corpus.root={bu3dfe}", "evaluation.folds=2"),
    "bu3dfe_subset_2": ("corpus.root={bu3dfe}", "evaluation.folds=2"),
    "bu3dfe_to_bosphorus": ("corpus.root={bu3dfe}", "evaluation.test.root={bosphorus}"),
    "bu3dfe_to_bp4d": ("corpus.root={bu3dfe}", "evaluation.test.root={bp4d}"),
    "bu4dfe": ("corpus.root={bu4dfe}", "evaluation.folds=2"),
    "micro_expressions_loso": ("corpus.root={clips}", "evaluation.folds=3"),
}
"""What makes a benchmark one of the few people that `roots` has files of."""

Roots = dict[str, Path]


def benchmark(name: str, *assignments: str) -> Study:
    return load_study(REPOSITORY / "ablations" / "benchmarks" / f"{name}.yaml", *assignments)


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> Roots:
    """A few people of each dataset, as they lie on disk; one of Bosphorus does not show fear."""
    folder = tmp_path_factory.mktemp("datasets")
    scans = [f"E_{code}_0" for code in BOSPHORUS_CODES]
    bosphorus = write_bosphorus(folder / "bosphorus", ("bs000", "bs001", "bs002", "bs003"), ["N_N_0", *scans])
    write_bosphorus(bosphorus, ("bs004",), [code for code in scans if code != "E_FEAR_0"])
    bp4d = write_bp4d(folder / "bp4d", ("F001", "F002", "M001"), frames=2)
    write_codes(bp4d, "F001_T1", {1: (0, 0, 1, 1), 2: (0, 0, 0, 1)})
    for subject, label, clip, frame in itertools.product(("s01", "s02", "s03"), SIX, "ab", range(3)):
        file = folder / "clips" / subject / label / f"{subject}_{label}_{clip}" / f"{frame:05d}.obj"
        write_obj(file, face_of(subject, label, frame / 2))
    return {
        "bosphorus": bosphorus,
        "bp4d": bp4d,
        "bu3dfe": write_bu3dfe(folder / "bu3dfe", ("F0001WH", "F0002BL", "M0001AE", "M0002IN")),
        "bu4dfe": write_bu4dfe(folder / "bu4dfe", ("F001", "F002", "M001"), frames=13),
        "clips": folder / "clips",
    }


@pytest.fixture
def small(roots: Roots) -> Callable[..., Study]:
    """A benchmark on the few people, with a small tower that takes two steps."""

    def of_few(name: str, *more: str) -> Study:
        return benchmark(name, *SMALL, *(assignment.format(**roots) for assignment in FEWER[name]), *more)

    return of_few


def test_every_benchmark_is_tried_here() -> None:
    assert list(FEWER) == BENCHMARKS


def test_the_table_joins_all_of_them() -> None:
    (definition,) = (path for path in TABLES if path.parent.name == "benchmarks")
    (table,) = load_tables([definition], [], {})
    assert {study.name.replace("-", "_") for study in table.studies.values()} == set(BENCHMARKS)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_variant_is_the_same_in_every_benchmark(name: str) -> None:
    """So that benchmarks make rows of one table; and both methods are those of the project's recipes."""
    study, usual = benchmark(name), methods(benchmark("bu3dfe_subset_1"))
    compared = methods(study)
    assert study.baseline == "smile-vlm"
    assert {variant: compared[variant] for variant in usual} == usual
    assert set(compared) - set(usual) <= {"smile-vlm, apex alone"}
    trials = {trial.variant: trial.experiment for trial in plan(study)}
    for variant, recipe in (("smile-vlm", "smile_vlm"), ("multiview-vlm", "multiview_vlm")):
        own, experiment = load_experiment(REPOSITORY / "experiments" / f"{recipe}.yaml"), trials[variant]
        assert (experiment.objective, experiment.language) == (own.objective, own.language)


def touched(files: Iterable[Path]) -> None:
    """Empty files: a scan opens none of them."""
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Roots:
    """All subjects of each dataset, as names of empty files; 65 of Bosphorus' show all six expressions."""
    folder = tmp_path_factory.mktemp("whole")
    bu3dfe, bu4dfe, bosphorus, bp4d = (folder / name for name in ("bu3dfe", "bu4dfe", "bosphorus", "bp4d"))
    codes = ["NE00", *(f"{code}{level:02d}" for code in BU3DFE_CODES for level in range(1, 5))]
    people = [f"{sex}{number:04d}" for sex, count in (("F", 56), ("M", 44)) for number in range(1, count + 1)]
    touched(bu3dfe / one / f"{one}_{code}WH_F3D.wrl" for one in people for code in codes)
    people = [f"{sex}{number:03d}" for sex, count in (("F", 58), ("M", 43)) for number in range(1, count + 1)]
    touched(bu4dfe / one / film / f"{frame:03d}.wrl" for one in people for film in BU4DFE_FOLDERS for frame in range(2))
    people = [f"{sex}{number:03d}" for sex, count in (("F", 23), ("M", 18)) for number in range(1, count + 1)]
    touched(bp4d / one / task / f"{frame:03d}.obj" for one in people for task in BP4D_TASKS for frame in range(2))
    for number in range(105):
        shown = BOSPHORUS_CODES if number < 65 else [*BOSPHORUS_CODES][: number % 5 + 1]
        scans = ["N_N_0", "LFAU_12_0", *(f"E_{code}_0" for code in shown)]
        touched(bosphorus / f"bs{number:03d}" / f"bs{number:03d}_{code}.bnt" for code in scans)
    return {"bosphorus": bosphorus, "bp4d": bp4d, "bu3dfe": bu3dfe, "bu4dfe": bu4dfe}


@pytest.mark.parametrize(
    ("name", "people", "samples", "classes"),
    [
        ("bu3dfe_subset_1", 60, 720, 6),
        ("bu3dfe_subset_2", 100, 2400, 6),
        ("bu4dfe", 101, 606, 6),
        ("bosphorus", 60, 360, 6),
        ("bp4d", 41, 328, 8),
    ],
)
def test_a_benchmark_has_the_people_and_scans_that_it_tells_of(
    name: str, people: int, samples: int, classes: int, whole: Roots
) -> None:
    study = benchmark(name, f"corpus.root={whole[name.partition('_')[0]]}")
    faces = scan(study.experiment.corpus).manifest
    assert len(faces.subjects) == people
    assert faces.frame["sequence"].n_unique() == samples
    assert faces.frame["expression"].n_unique() == classes
    folds = [trial.experiment for trial in plan(study) if (trial.variant, trial.seed) == ("smile-vlm", 0)]
    tested = [sides_of(fold, faces.subjects).test for fold in folds]
    assert sorted(itertools.chain(*tested)) == faces.subjects
    assert {len(test) for test in tested} <= {people // 10, people // 10 + 1}


@pytest.mark.parametrize(("name", "people", "samples"), [("bosphorus", 105, 510), ("bp4d", 41, 246)])
def test_another_dataset_is_scored_on_all_of_its_people_and_on_what_both_show(
    name: str, people: int, samples: int, whole: Roots
) -> None:
    study = benchmark(f"bu3dfe_to_{name}", f"corpus.root={whole['bu3dfe']}", f"evaluation.test.root={whole[name]}")
    faces = scan(study.experiment.evaluation.test or Corpus()).manifest
    assert (faces.frame["subject"].n_unique(), len(faces)) == (people, samples)
    assert set(faces.frame["expression"]) == set(SIX)


def test_a_dataset_that_is_not_there_is_told_by_the_key_that_names_it(roots: Roots) -> None:
    study = benchmark("bu3dfe_to_bosphorus", f"corpus.root={roots['bu3dfe'] / 'gone'}")
    with pytest.raises(UserError, match=r"^corpus.root: .*gone is not a folder; set it to where bu3dfe lies$"):
        find_faces([study.experiment])
    study = benchmark("bu3dfe_to_bosphorus", f"corpus.root={roots['bu3dfe']}")
    missing = r"^evaluation.test: corpus.root: /data/Bosphorus is not a folder; set it to where bosphorus lies$"
    with pytest.raises(UserError, match=missing):
        find_faces([study.experiment])


def test_what_the_other_dataset_shows_must_be_learnt_unless_it_is_read_off_the_text(small: Any, roots: Roots) -> None:
    """BU-4DFE has no neutral faces, and Bosphorus has."""
    seven = f"[{', '.join(('neutral', *SIX))}]"
    crossed = (
        "corpus.dataset=bu4dfe",
        f"corpus.root={roots['bu4dfe']}",
        "corpus.subset=null",
        f"corpus.expressions={seven}",
        f"evaluation.test.expressions={seven}",
    )
    study = small("bu3dfe_to_bosphorus", *crossed)
    faces = find_faces([study.experiment])
    with pytest.raises(UserError, match=r"evaluation.test has faces of neutral, and no training subject shows that"):
        faces.check(study.experiment)
    by_text = ("evaluation.probes=[zero_shot]", "metric=zero_shot/accuracy", "metrics=[zero_shot/uar]")
    faces.check(small("bu3dfe_to_bosphorus", *crossed, *by_text).experiment)


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_dry_run_counts_what_a_benchmark_would_cost(name: str, small: Any, tmp_path: Path) -> None:
    study = small(name)
    found = estimate(study, Home(tmp_path))
    evaluation = study.experiment.evaluation
    trials = len(methods(study)) * evaluation.repeats
    assert found.lines()[0] == f"0 of {trials} trials are done"
    corpora = {trial.experiment.corpus: None for trial in plan(study)} | {evaluation.test: None}
    assert found.views == 3 * sum(len(scan(corpus).manifest) for corpus in corpora if corpus)


@pytest.mark.slow
@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_variant_of_a_benchmark_trains_and_scores_the_test_subjects(
    name: str, small: Any, tmp_path: Path, render_into: Any
) -> None:
    study, home = small(name), Home(tmp_path)
    trials = [trial for trial in plan(study) if trial.experiment.evaluation.fold == 0]
    views = PreparedViews()
    for need in needs(trial.experiment for trial in trials):
        drawn = study.experiment.model_copy(update={"corpus": need.corpus, "rendering": need.rendering})
        views.stores[need.faces] = render_into(home, drawn)
    place = Workplace(views, home.trials, study.resources)
    for trial in trials:
        epochs = list(run_trial(place.spec(trial)))
        assert bool(epochs) == (trial.variant not in REFERENCES)
    _check_predictions(study, trials, home)


def _check_predictions(study: Study, trials: list[Trial], home: Home) -> None:
    """All variants were asked about the same samples, by probes that know all classes."""
    ledger = Ledger(home.trials)
    predictions = ledger.read_predictions(trial.id for trial in trials)
    asked = set()
    for trial in trials:
        found = predictions[trial.id].filter(pl.col("probe") == "linear")
        asked.add(tuple(sorted(zip(found["subject"], found["truth"], strict=True))))
        record = ledger.read(trial.id)
        assert record is not None
        assert study.metric in record.scores
        assert not record.shared_faces
        assert not record.blank_pictures
    assert len(asked) == 1
    (samples,) = asked
    assert {truth for _, truth in samples} == set(
        (study.experiment.evaluation.test or study.experiment.corpus).expressions
    )
