"""Networks that are several in one: their layers read the weights of one network's layers."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from lth.errors import LthError
from lth.files import tensors_digest
from lth.networks import masks
from lth.networks.drawn import State, drawing, network_of, state_of
from lth.networks.net import Net
from lth.spec.build import Spec, arguments
from lth.types import Mask, Params

CONVS: dict[type, Callable[..., Tensor]] = {
    nn.Conv1d: F.conv1d, nn.Conv2d: F.conv2d, nn.Conv3d: F.conv3d,
}  # fmt: skip

Layer = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d


class Reader(nn.Module):
    """A layer without weights of its own: it reads those of another, or a part of them.

    The other is no submodule of it, so every weight is registered once.
    """

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self._of = (layer,)

    @property
    def layer(self) -> Layer:
        """The layer that has the weights."""
        return self._of[0]

    @property
    def weight(self) -> Tensor:
        """What it sees of the layer's weight."""
        return self.layer.weight

    @property
    def bias(self) -> Tensor | None:
        """What it sees of the layer's bias."""
        return self.layer.bias

    @property
    def groups(self) -> int:
        """Groups of a convolution."""
        return getattr(self.layer, "groups", 1)

    def forward(self, input: Tensor) -> Tensor:  # called as the layer names it, too
        """Do what the layer does, with the weights that are seen."""
        layer, weight, bias = self.layer, self.weight, self.bias
        if isinstance(layer, nn.Linear):
            return F.linear(input, weight, bias)
        how: Any = (layer.stride, layer.padding, layer.dilation, self.groups)
        return CONVS[type(layer)](input, weight, bias, *how)

    def alone(self) -> nn.Module:
        """Return an ordinary layer with the weights that are seen."""
        return own_layer(self.layer, self.weight, self.bias, self.groups)


def own_layer(layer: Layer, weight: Tensor, bias: Tensor | None, groups: int) -> nn.Module:
    """Return an ordinary layer like another, with copies of these as its weights."""
    made = copy.deepcopy(layer)
    outs, ins = weight.shape[0], weight.shape[1] * groups
    if isinstance(made, nn.Linear):
        made.out_features, made.in_features = outs, ins
    else:
        made.out_channels, made.in_channels, made.groups = outs, ins, groups
    made.weight = nn.Parameter(weight.detach().clone(), layer.weight.requires_grad)
    if bias is not None:
        made.bias = nn.Parameter(bias.detach().clone(), bias.requires_grad)
    made._buffers.clear()  # a plain layer has none
    return made


def narrow_norm(norm: _BatchNorm, units: int) -> _BatchNorm:
    """Return a norm of the first units of another."""
    return part_of_norm(norm, slice(units))


def part_of_norm(norm: _BatchNorm, units: slice | Tensor) -> _BatchNorm:
    """Return a norm of some units of another."""
    made = copy.deepcopy(norm)
    made.num_features = len(torch.arange(norm.num_features, device="cpu")[units])
    for name, value in norm.named_parameters():
        setattr(made, name, nn.Parameter(value.detach()[units].clone(), value.requires_grad))
    for name, value in norm.named_buffers():
        setattr(made, name, value[units].clone() if value.ndim else value.clone())
    return made


def copied(model: nn.Module, others: Mapping[nn.Module, nn.Module]) -> nn.Module:
    """Copy a network, with another module in the place of each one named, wherever it is used."""
    return copy.deepcopy(model, {id(module): other for module, other in others.items()})


def layers_and_norms(model: nn.Module, what: str) -> tuple[dict[str, Layer], dict[str, _BatchNorm]]:
    """Return the layers and the BatchNorms of a network; one that has weights elsewhere is refused.

    ``what`` is said in the refusal: the rewrite that cannot take it.
    """
    layers, norms = dict[str, Layer](), dict[str, _BatchNorm]()
    for path, module in model.named_modules():
        if isinstance(module, nn.Linear) or type(module) in CONVS:
            layers[path] = _plain_layer(path, module, what)
        elif isinstance(module, _BatchNorm):
            norms[path] = module
        elif module._parameters:
            raise LthError(
                f"{what}: {path or 'the network'} is a {type(module).__name__}: it takes networks "
                "whose weights are in Linear, Conv and BatchNorm layers"
            )
    return layers, norms


def _plain_layer(path: str, layer: Any, what: str) -> Any:
    if "weight" not in layer._parameters:
        raise LthError(f"{what}: {path}.weight is made of other parameters: rewrite it before")
    if getattr(layer, "padding_mode", "zeros") != "zeros":
        raise LthError(f"{what}: {path} pads by padding_mode={layer.padding_mode}: zeros alone")
    return layer


def by_rebuilding(factory: Callable[..., nn.Module]) -> Callable[[Net, Spec], Net]:
    """Return the ``carry`` of a rewrite whose factory keeps the values of the module it is given.

    The net's module is built, rewritten, and read; masks go through in the place of the weights.
    What the factory draws beside depends on the net's values alone. Beneath the mask is 0: of
    another model than the study's nothing lies there.
    """

    def carry(net: Net, model: Spec) -> Net:
        given = arguments({n: v for n, v in model.items() if n != "model"})
        seed = int(tensors_digest(net.params)[:8], 16)

        def made(params: Params) -> State:
            network = network_of(net.model, State(params, net.buffers))
            with drawing(seed):
                return state_of(factory(network, **given))

        state, odd = made(net.params), made(_marked(net))
        kept = made({n: net.mask[n].to(p) if n in net.mask else p for n, p in net.params.items()})
        mask: Mask = {n: kept.params[n] != 0 for n, p in odd.params.items() if p.isnan().any()}
        return Net(
            model=model, mask=mask, params=masks.apply(state.params, mask), buffers=state.buffers
        )

    return carry


def _marked(net: Net) -> Params:
    """Return the params with no number in the weights that a mask speaks of."""
    odd = float("nan")
    return {n: torch.full_like(p, odd) if n in net.mask else p for n, p in net.params.items()}
