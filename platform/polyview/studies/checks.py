"""What can be known to be wrong with trials before anything is rendered or trained."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from polyview.errors import UserError
from polyview.recipe import Resources
from polyview.storage.home import locked
from polyview.trials.capacity import concurrent_trials, demand
from polyview.trials.design import Trial
from polyview.trials.ledger import Ledger
from polyview.trials.views import FoundFaces


def without_record(trials: Sequence[Trial], ledger: Ledger) -> list[Trial]:
    """The trials that have no record, of whatever faces."""
    records = ledger.read_all(trial.id for trial in trials)
    return [trial for trial in trials if trial.id not in records]


def check_recipes(missing: Sequence[Trial], resources: Resources) -> None:
    """Raises `UserError` that names the first trial whose recipe no faces could make run here."""
    if not missing:
        return
    # torch and Ray take seconds to import, which a study that finds all its trials done need not wait for.
    from polyview.trials.scheduler import nodes
    from polyview.trials.trial import check_recipe

    for trial in missing:
        with naming(trial):
            check_recipe(trial.experiment)
    concurrent_trials(nodes(), [demand(trial.experiment, resources) for trial in missing])


def check_people(missing: Sequence[Trial], faces: FoundFaces) -> None:
    """Raises `UserError` that names the first trial for which there are too few people or faces."""
    for trial in missing:
        with naming(trial):
            faces.check(trial.experiment)


@contextmanager
def naming(trial: Trial) -> Iterator[None]:
    """Says in a `UserError` which trial it is about."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{trial.name}: {error}") from None


@contextmanager
def only_driver(folder: Path) -> Iterator[None]:
    """Hold the study for this process; raises `UserError` if another process runs it now."""
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(folder / "lock", wait=False))
        except BlockingIOError:
            raise UserError(
                f"{folder.name}: another polyview is running this study, or one of its name and recipe; wait for it, "
                "or use another name"
            ) from None
        yield
