"""Cutting modules: which of their outputs and inputs are left, in place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lth.networks.rewrites.follow import channelwise_in
from lth.types import Params

Kept = Mapping[str, Sequence[int]]
"""By module name: the numbers of its outputs, or inputs, that are left."""

PER_UNIT = ("weight", "bias", "running_mean", "running_var")


def cut(network: nn.Module, keep: Kept, inputs: Kept) -> None:
    """Leave some outputs and inputs of modules, in place: smaller tensors, smaller sizes."""
    through = channelwise_in(network)
    for name, axis, kept in cuts(keep, inputs):
        owner, _, attribute = name.rpartition(".")
        module = network.get_submodule(owner)
        held = {**module._parameters, **module._buffers}.get(attribute)
        if held is not None:
            _put(module, attribute, taken(held, axis, kept))
    for name, kept in keep.items():
        _resize_outputs(network.get_submodule(name), len(kept), name in through)
    for name, kept in inputs.items():
        module: Any = network.get_submodule(name)
        setattr(
            module, "in_features" if isinstance(module, nn.Linear) else "in_channels", len(kept)
        )


def cuts(keep: Kept, inputs: Kept) -> Iterator[tuple[str, int, Sequence[int]]]:
    """Yield what of which tensors is left: ``(name, axis, numbers)``."""
    for name, kept in keep.items():
        for attribute in PER_UNIT:
            yield (f"{name}.{attribute}" if name else attribute), 0, kept
    for name, kept in inputs.items():
        yield (f"{name}.weight" if name else "weight"), 1, kept


def cut_tensors(tensors: Params, keep: Kept, inputs: Kept) -> Params:
    """Return tensors by name with what is left of them: params, buffers or a mask."""
    found = dict(tensors)
    for name, axis, kept in cuts(keep, inputs):
        if name in found:
            found[name] = taken(found[name], axis, kept)
    return found


def taken(tensor: Tensor, axis: int, kept: Sequence[int]) -> Tensor:
    """Return the slices of a tensor that are kept."""
    if tensor.ndim == 0:
        return tensor
    return tensor.index_select(axis, torch.tensor(kept, device=tensor.device))


def _put(module: nn.Module, attribute: str, value: Tensor) -> None:
    if attribute in module._buffers:
        module._buffers[attribute] = value
        return
    old = module._parameters[attribute]
    assert old is not None
    module._parameters[attribute] = nn.Parameter(value.detach(), requires_grad=old.requires_grad)


def _resize_outputs(module: Any, count: int, through: bool) -> None:
    if isinstance(module, nn.Linear):
        module.out_features = count
    elif hasattr(module, "num_features"):
        module.num_features = count
    elif isinstance(module, nn.PReLU):
        module.num_parameters = count
    else:
        module.out_channels = count
        if through:  # depthwise
            module.in_channels = module.groups = count
