"""How many trials fit at once, with all that they nest: counted before anything starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from polyview.errors import UserError
from polyview.recipe import Experiment, Resources


@dataclass(frozen=True)
class Node:
    """What one machine of the cluster offers."""

    cpus: float
    gpus: float


@dataclass(frozen=True)
class Demand:
    """What one trial occupies: some workers, each whole on one node."""

    workers: int
    cpus: float
    gpus: float


def demand(experiment: Experiment, resources: Resources) -> Demand:
    """What a trial of this recipe occupies."""
    return Demand(experiment.training.workers, resources.cpus, resources.gpus)


def concurrent_trials(nodes: Sequence[Node], demands: Sequence[Demand]) -> int:
    """How many trials can run at once, whichever they are: at least one.

    Raises `UserError` if one of them cannot fit even alone, saying what is missing.
    """
    return min(_fitting(nodes, demand) for demand in set(demands))


def _fitting(nodes: Sequence[Node], demand: Demand) -> int:
    workers = sum(_workers_on(node, demand) for node in nodes)
    if workers < demand.workers:
        offer = ", ".join(f"{node.cpus:g} CPUs and {node.gpus:g} GPUs" for node in nodes) or "none"
        raise UserError(
            f"a trial needs {demand.workers} worker(s) of {demand.cpus:g} CPUs and {demand.gpus:g} GPUs each, "
            f"and the machines ({offer}) hold {workers}; lower resources or training.workers, or add machines"
        )
    return workers // demand.workers


def _workers_on(node: Node, demand: Demand) -> int:
    by_cpu = node.cpus // demand.cpus
    return int(min(by_cpu, node.gpus // demand.gpus) if demand.gpus else by_cpu)
