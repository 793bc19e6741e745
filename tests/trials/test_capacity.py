from __future__ import annotations

import itertools
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from polyview.errors import UserError
from polyview.recipe import Experiment, Resources, with_overrides
from polyview.trials.capacity import Demand, Node, concurrent_trials, demand

NODES = st.lists(
    st.builds(Node, cpus=st.integers(0, 6), gpus=st.integers(0, 3), memory=st.integers(0, 12)), min_size=1, max_size=3
)
DEMANDS = st.builds(
    Demand,
    workers=st.integers(1, 3),
    cpus=st.integers(1, 3),
    gpus=st.sampled_from([0, 0.1, 0.3, 0.4, 0.5, 1, 2]),
    memory=st.sampled_from([0, 1, 2.5, 4]),
)


def share_gpus(node: Node, wanted: Demand, count: int) -> bool:
    """Whether so many workers find their GPUs, whole ones or a share of one, placed one after the other."""
    free = [Fraction(1)] * int(node.gpus)
    share = Fraction(str(wanted.gpus))
    for _ in range(count):
        for _ in range(max(int(share), 1)):
            place = next((place for place, left in enumerate(free) if left >= min(share, 1)), None)
            if place is None:
                return not share
            free[place] -= min(share, Fraction(1))
    return True


def fits(nodes: list[Node], wanted: Demand, trials: int) -> bool:
    """Whether so many trials can be placed, each worker whole on one node: by trying how many go where."""
    workers = trials * wanted.workers
    spread = itertools.product(range(workers + 1), repeat=len(nodes))
    return any(
        sum(here) == workers
        and all(
            count * wanted.cpus <= node.cpus
            and count * wanted.memory <= node.memory
            and share_gpus(node, wanted, count)
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


def test_where_memory_is_asked_for_the_refusal_says_it() -> None:
    assert concurrent_trials([Node(8, 0, 10)], [Demand(1, 1, 0, 2.5)]) == 4
    with pytest.raises(UserError, match=r"1 CPUs and 0 GPUs and 16 GiB each, .* \(8 CPUs and 0 GPUs and 10.0 GiB\)"):
        concurrent_trials([Node(8, 0, 10)], [Demand(1, 1, 0, 16)])


def test_a_share_of_two_gpus_lies_on_one_of_them() -> None:
    assert concurrent_trials([Node(16, 2)], [Demand(1, 1, 0.4)]) == 4
    assert concurrent_trials([Node(16, 1)], [Demand(1, 1, 0.1)]) == 10
    with pytest.raises(ValidationError, match="a share of one GPU or whole ones"):
        Resources(gpus=1.5)


def test_a_trials_demand_is_its_workers_times_the_studys_resources(tiny: Experiment) -> None:
    nested = with_overrides(tiny, {"training.workers": 2})
    assert demand(nested, Resources(cpus=3, gpus=2, memory=4.0)) == Demand(2, 3, 2, 4.0)


def test_workers_of_one_trial_that_would_share_a_gpu_are_refused(tiny: Experiment) -> None:
    several = with_overrides(tiny, {"training.workers": 2})
    with pytest.raises(UserError, match=r"resources.gpus is 0.5 and training.workers 2: .* NCCL refuses it"):
        demand(several, Resources(gpus=0.5))
    assert demand(tiny, Resources(gpus=0.5)).gpus == 0.5
    assert demand(several, Resources(gpus=1)).workers == 2
