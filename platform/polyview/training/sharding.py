"""A model that is spread over the workers, weights, gradients and moments: torch's FSDP2 (Zhao et al. 2023).

Its tensors are `DTensor`, of which each worker holds a part. torch takes a second to import them, and most trainings do
without: they are imported where a model is spread.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeGuard

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from polyview.modeling.layers import blocks
from polyview.modeling.model import MultiviewModel
from polyview.training.collectives import pool, rank, world_size

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh
    from torch.distributed.tensor import DTensor


def shard(model: MultiviewModel, device: torch.device) -> None:
    """Leave each worker its part of the model, on its device; all workers call this with the same model.

    A block's weights come together on every worker while the block computes, and those outside of blocks for the
    length of a step.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

    mesh = init_device_mesh(device.type, (world_size(),))
    scalars = {parameter for parameter in model.parameters() if not parameter.dim()}
    for block in blocks(model.towers):
        fully_shard(block, mesh=mesh, ignored_params=scalars)
    fully_shard(model, mesh=mesh, ignored_params=scalars)
    for module in model.modules():
        for name, parameter in [*module.named_parameters(recurse=False)]:
            if parameter in scalars:
                setattr(module, name, _replicated(parameter, mesh))
    for method in ("mean_views", "encode_anchors"):
        register_fsdp_forward_method(model, method)


def whole(tensor: Tensor) -> Tensor:
    """A tensor put together from the workers' parts, for which all have to ask, with gradient; any other as it is."""
    return tensor.full_tensor() if _is_spread(tensor) else tensor


def held(tensor: Tensor) -> Tensor:
    """What this worker has of a tensor, in the same memory."""
    return tensor.to_local() if _is_spread(tensor) else tensor


def spread(tensor: Tensor, like: Tensor) -> Tensor:
    """A copy of a whole tensor that lies as `like` does: spread over the workers or not, in the same order in memory.

    Workers exchange nothing: each takes its part of the tensor that it has been given.
    """
    part = tensor.to(like.device)
    if _is_spread(like):
        from torch.distributed.tensor import distribute_tensor

        part = distribute_tensor(part, like.device_mesh, like.placements, src_data_rank=None)
    return torch.empty_like(like).copy_(part)


def copied(tree: Any) -> Any:
    """A tree with copies of all its tensors, which are whole and in main memory.

    If they are spread over the workers, all have to ask; all but the first get shapes without values.
    """
    place = "meta" if rank() else "cpu"
    return tree_map_only(Tensor, lambda tensor: whole(tensor.detach()).to(place, copy=True), tree)


def load_moments(optimizer: torch.optim.Optimizer, saved: Mapping[str, Any]) -> None:
    """Take on an optimiser's saved state, which is whole.

    Moments come to lie in memory as their weights do: the fused optimiser walks through both alike, whatever their
    strides say.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state = {
        number: {name: part if name == "step" else spread(part, parameters[number]) for name, part in moments.items()}
        for number, moments in saved["state"].items()
    }
    optimizer.load_state_dict({**saved, "state": state})


def _is_spread(tensor: Tensor) -> TypeGuard[DTensor]:
    return hasattr(tensor, "full_tensor")


def _replicated(scalar: nn.Parameter, mesh: DeviceMesh) -> nn.Parameter:
    """A scalar, such as the logit scale, which cannot be cut: all workers have it, with the mean of their gradients.

    It stays a scalar in the optimiser and in checkpoints.
    """
    from torch.distributed.tensor import Replicate, distribute_tensor

    everywhere = distribute_tensor(scalar.detach().to(mesh.device_type), mesh, [Replicate()], src_data_rank=None)
    parameter = nn.Parameter(everywhere, requires_grad=scalar.requires_grad)
    if scalar.requires_grad:
        parameter.register_post_accumulate_grad_hook(_average_gradient)
    return parameter


def _average_gradient(scalar: Tensor) -> None:
    assert scalar.grad is not None
    pool(held(scalar.grad)).div_(world_size())
