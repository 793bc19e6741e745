from __future__ import annotations

import itertools

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from polyview.errors import UserError
from polyview.recipe import Experiment, Resources, with_overrides
from polyview.studies.capacity import Demand, Node, concurrent_trials, demand

NODES = st.lists(st.builds(Node, cpus=st.integers(0, 6), gpus=st.integers(0, 3)), min_size=1, max_size=3)
DEMANDS = st.builds(Demand, workers=st.integers(1, 3), cpus=st.integers(1, 3), gpus=st.sampled_from([0, 0.5, 1, 2]))


def fits(nodes: list[Node], wanted: Demand, trials: int) -> bool:
    """Whether so many trials can be placed, each worker whole on one node: by trying how many go where."""
    workers = trials * wanted.workers
    spread = itertools.product(range(workers + 1), repeat=len(nodes))
    return any(
        sum(here) == workers
        and all(
            count * wanted.cpus <= node.cpus and count * wanted.gpus <= node.gpus
            for count, node in zip(here, nodes, strict=True)
        )
        for here in spread
    )


@given(nodes=NODES, wanted=DEMANDS)
def test_as_many_trials_run_as_fit_and_not_one_more(nodes: list[Node], wanted: Demand) -> None:
    assume(fits(nodes, wanted, 1))
    concurrent = concurrent_trials(nodes, [wanted])
    assert fits(nodes, wanted, concurrent)
    assert not fits(nodes, wanted, concurrent + 1)


@given(nodes=NODES, wanted=st.lists(DEMANDS, min_size=2, max_size=4))
def test_of_unlike_trials_the_most_demanding_decides(nodes: list[Node], wanted: list[Demand]) -> None:
    assume(all(fits(nodes, one, 1) for one in wanted))
    concurrent = concurrent_trials(nodes, wanted)
    assert concurrent == min(concurrent_trials(nodes, [one]) for one in wanted) >= 1


@given(nodes=NODES, wanted=DEMANDS)
def test_a_trial_that_cannot_fit_is_refused_before_anything_starts(nodes: list[Node], wanted: Demand) -> None:
    assume(not fits(nodes, wanted, 1))
    with pytest.raises(UserError, match=r"^a trial needs \d worker\(s\) of .* and the machines \(.*\) hold \d; lower"):
        concurrent_trials(nodes, [wanted])


def test_the_refusal_says_what_is_there_and_what_is_missing() -> None:
    with pytest.raises(UserError) as caught:
        concurrent_trials([Node(2, 0)], [Demand(2, 1, 0.5)])
    assert str(caught.value) == (
        "a trial needs 2 worker(s) of 1 CPUs and 0.5 GPUs each, and the machines (2 CPUs and 0 GPUs) hold 0; "
        "lower resources or training.workers, or add machines"
    )


def test_a_trials_demand_is_its_workers_times_the_studys_resources(tiny: Experiment) -> None:
    nested = with_overrides(tiny, {"training.workers": 2})
    assert demand(nested, Resources(cpus=3, gpus=0.25)) == Demand(2, 3, 0.25)
