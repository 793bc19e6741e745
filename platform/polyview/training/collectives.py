"""What makes W workers equal one: gathering with gradient, and batch norm over the global batch.

Both do nothing outside a `torch.distributed` process group.
"""

from __future__ import annotations

import functools

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce
from torch.nn import functional


def world_size() -> int:
    """How many workers train together; 1 outside a process group."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Which of the workers this is; 0 outside a process group."""
    return dist.get_rank() if dist.is_initialized() else 0


def gather(local: Tensor) -> Tensor:
    """The workers' tensors (n, ...) joined along the first dimension in rank order, with gradient.

    All workers must hold equal shapes. The gradient of the local part is summed over the workers' losses, so
    with each worker computing the same global loss and DDP averaging, the step is that of one worker.
    """
    if world_size() == 1:
        return local
    parts = torch.zeros(world_size(), *local.shape, dtype=local.dtype, device=local.device)
    # A sum where each has its own place: unlike all_gather it has a gradient on every backend.
    parts[dist.get_rank()] = local
    gathered: Tensor = all_reduce(parts)
    return gathered.flatten(0, 1)


def pool(local: Tensor) -> Tensor:
    """The sum of the workers' tensors, without gradient."""
    if world_size() > 1:
        dist.all_reduce(local)
    return local


def agree(local: Tensor) -> Tensor:
    """The first worker's tensor, on all of them."""
    if world_size() > 1:
        dist.broadcast(local, 0)
    return local


def first_says(yes: bool) -> bool:
    """The first worker's answer, for all of them; no GPU is waited for."""
    if world_size() == 1:
        return yes
    answer = torch.tensor(yes)
    dist.broadcast(answer, 0, group=_of_hosts(dist.group.WORLD))
    return bool(answer)


@functools.cache
def _of_hosts(_world: dist.ProcessGroup) -> dist.ProcessGroup:
    """The same workers, who exchange what lies in main memory, as NCCL does not."""
    group: dist.ProcessGroup = dist.new_group(backend="gloo")
    return group


class GlobalBatchNorm(nn.Module):
    """Batch norm whose moments are those of the global batch, on any device.

    torch's SyncBatchNorm needs a GPU. State-dict keys are those of the batch norm that it takes over.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, norm: nn.modules.batchnorm._BatchNorm) -> None:
        super().__init__()
        self.eps, self.momentum = norm.eps, norm.momentum if norm.momentum is not None else 0.1
        self.weight, self.bias = norm.weight, norm.bias
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            self.register_buffer(name, getattr(norm, name))
        # timm's batch norms carry the activation that follows them.
        self.after = nn.Sequential(*(getattr(norm, name) for name in ("drop", "act") if hasattr(norm, name)))

    def forward(self, values: Tensor) -> Tensor:
        """Normalise (N, C, ...) over all but the channels, and over all workers when training."""
        if not self.training:
            normalised = functional.batch_norm(
                values, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps
            )
            return self.after(normalised)
        dims = [0, *range(2, values.dim())]
        shape = (1, -1, *([1] * (values.dim() - 2)))
        wide = values.to(torch.promote_types(values.dtype, torch.float32))
        count = wide.numel() // wide.shape[1] * world_size()
        mean = all_reduce(wide.sum(dims)) / count
        centred = wide - mean.view(shape)
        # A second sum, not the difference of moments: float32 would lose the agreement with one worker.
        variance = all_reduce(centred.square().sum(dims)) / count
        self._track(mean.detach(), variance.detach() * (count / max(count - 1, 1)))
        scale = self.weight * (variance + self.eps).rsqrt()
        normalised = centred * scale.view(shape) + self.bias.view(shape)
        return self.after(normalised.to(values.dtype))

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor) -> None:
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance, self.momentum)
        self.num_batches_tracked += 1


def synchronize_batch_norm(module: nn.Module) -> None:
    """Replace every batch norm below `module` that is in training by one over the global batch.

    With one worker, nothing changes.
    """
    if world_size() == 1:
        return
    for name, child in module.named_children():
        if isinstance(child, nn.modules.batchnorm._BatchNorm):
            if child.training:
                setattr(module, name, GlobalBatchNorm(child))
        else:
            synchronize_batch_norm(child)
