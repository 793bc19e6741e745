"""How many trials fit at once, with all that they nest: counted before anything starts."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from polyview.errors import UserError
from polyview.recipe import Experiment, Resources

ROUNDING = 1e-9  # of a GPU: three thirds are one
GIB = 2**30
SPARE = 0.1  # GiB of each machine that are not planned with, for all that wait


@dataclass(frozen=True)
class Node:
    """What one machine of the cluster offers; memory in GiB."""

    cpus: float
    gpus: float
    memory: float = math.inf

    @classmethod
    def of(cls, resources: Mapping[str, float]) -> Node:
        """A machine as Ray describes it, its memory in bytes; where Ray is told of none, memory is not counted."""
        return cls(resources.get("CPU", 0), resources.get("GPU", 0), resources.get("memory", math.inf) / GIB - SPARE)


def launchable(cluster: Mapping[str, Any]) -> list[Node]:
    """All machines that a cluster of Ray's launcher may come to have, by its file.

    A cluster may have none that can run a trial until trials wait for it.
    """
    kinds = cluster["available_node_types"]
    counts = {name: kind.get("max_workers", cluster["max_workers"]) for name, kind in kinds.items()}
    counts[cluster["head_node_type"]] = 1
    return [Node.of(kinds[name]["resources"]) for name, count in counts.items() for _ in range(count)]


@dataclass(frozen=True)
class Demand:
    """What one trial occupies: some workers, each whole on one node; memory in GiB."""

    workers: int
    cpus: float
    gpus: float
    memory: float = 0.0


def demand(experiment: Experiment, resources: Resources) -> Demand:
    """What a trial of this recipe occupies; raises `UserError` where its workers would share a GPU."""
    workers = experiment.training.workers
    if workers > 1 and 0 < resources.gpus < 1:
        raise UserError(
            f"resources.gpus is {resources.gpus:g} and training.workers {workers}: workers of one trial cannot share a "
            "GPU, as NCCL refuses it; set resources.gpus: 1, or training.workers: 1"
        )
    return Demand(experiment.training.workers, resources.cpus, resources.gpus, resources.memory or 0.0)


def concurrent_trials(nodes: Sequence[Node], demands: Sequence[Demand]) -> int:
    """How many trials can run at once, whichever they are: at least one.

    Raises `UserError` if one of them cannot fit even alone, saying what is missing.
    """
    return min(_fitting(nodes, demand) for demand in set(demands))


def fitting_workers(nodes: Sequence[Node], demand: Demand) -> int:
    """How many of a trial's workers the machines hold if they have nothing else to do."""
    return sum(_workers_on(node, demand) for node in nodes)


def describe_worker(demand: Demand) -> str:
    """What one worker needs, in words."""
    needs = f"{demand.cpus:g} CPUs and {demand.gpus:g} GPUs"
    return f"{needs} and {demand.memory:g} GiB" if demand.memory else needs


def describe_machines(nodes: Sequence[Node], demand: Demand) -> str:
    """The machines in words, by what the demand is about."""
    offers = Counter(_offer(node, demand) for node in nodes)
    return ", ".join(f"{count} x {each}" if count > 1 else each for each, count in offers.items()) or "none"


def _fitting(nodes: Sequence[Node], demand: Demand) -> int:
    workers = fitting_workers(nodes, demand)
    if workers < demand.workers:
        raise UserError(
            f"a trial needs {demand.workers} worker(s) of {describe_worker(demand)} each, and the machines "
            f"({describe_machines(nodes, demand)}) hold {workers}; lower resources or training.workers, or add machines"
        )
    return workers // demand.workers


def _offer(node: Node, demand: Demand) -> str:
    offer = f"{node.cpus:g} CPUs and {node.gpus:g} GPUs"
    return f"{offer} and {node.memory:.1f} GiB" if demand.memory else offer


def _workers_on(node: Node, demand: Demand) -> int:
    fit = [node.cpus // demand.cpus]
    if 0 < demand.gpus < 1:
        # A share lies on one GPU: of two GPUs, shares of 0.4 fill four fifths each.
        fit.append(node.gpus // 1 * math.floor(1 / demand.gpus + ROUNDING))
    elif demand.gpus:
        fit.append(node.gpus // demand.gpus)
    if demand.memory and math.isfinite(node.memory):
        fit.append(node.memory // demand.memory)
    return int(min(fit))
