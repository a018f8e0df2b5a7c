"""Networks that stay tickets: plain modules whose pruned weights no training moves.

``keep_masked`` leaves every name as it is and masks gradients; ``prune_in_place`` puts the masks of
``torch.nn.utils.prune`` in. Both survive copies and pickles.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from lth.errors import LthError
from lth.types import Mask, Params


class MaskedGradient:
    """A hook on a weight: its gradient is 0 where it is pruned, whichever optimizer asks."""

    def __init__(self, mask: Tensor) -> None:
        self.mask = mask

    def __call__(self, gradient: Tensor) -> Tensor:
        """Return ``mask * gradient``, 0 also where the gradient is not finite."""
        return torch.where(self.mask.to(gradient.device), gradient, gradient.new_zeros(()))


class StaysTicket:
    """A hook on a module, before its forward pass: its pruned weights are 0, or at ``frozen``.

    A copy of a module keeps the hooks on modules, not those on weights: they are put on again here.
    """

    def __init__(self, mask: Mask, frozen: Params) -> None:
        self.mask, self.frozen = mask, frozen

    def __call__(self, module: nn.Module, *_: object) -> None:
        """Hold the module's weights to the mask; what is no parameter just now is left alone."""
        if torch.compiler.is_compiling():
            return  # the hooks are on already, and what is compiled must not set any
        for name, mask in self.mask.items():
            owner, attribute = _split(name)
            holder = module.get_submodule(owner)
            weight = holder._parameters.get(attribute)
            if getattr(holder, "_is_replica", False):
                self._see_through(holder, name, attribute)
            if not isinstance(weight, nn.Parameter):
                continue  # another tensor stands in its place, as under functional_call
            hooks = (weight._backward_hooks or {}).values()
            if weight.requires_grad and not any(isinstance(h, MaskedGradient) for h in hooks):
                weight.register_hook(MaskedGradient(mask))
            rest = self.frozen.get(name)
            here = mask.to(weight.device)
            value = 0.0 if rest is None else rest.to(weight)
            with torch.no_grad():  # by .data: a graph that holds the weight stays valid
                weight.data.copy_(torch.where(here, weight.data, value))

    def _see_through(self, replica: nn.Module, name: str, attribute: str) -> None:
        """Mask what a replica of ``DataParallel``'s has in the place of a weight, by autograd."""
        seen = vars(replica).get(attribute)
        if isinstance(seen, Tensor):
            rest = self.frozen.get(name)
            value = seen.new_zeros(()) if rest is None else rest.to(seen)
            setattr(replica, attribute, torch.where(self.mask[name].to(seen.device), seen, value))


def keep_masked(network: nn.Module, mask: Mask, frozen: Params | None = None) -> nn.Module:
    """Make a plain network stay a ticket in any training: pruned weights are exactly 0 throughout.

    Names, state dicts and copies are those of the plain network; what is not pruned trains freely.
    """
    whole = StaysTicket(mask, frozen or {})
    network.register_forward_pre_hook(whole)
    for name, part in mask.items():  # a part of the network may be called by itself
        owner, attribute = _split(name)
        if owner:
            rest = {attribute: whole.frozen[name]} if name in whole.frozen else {}
            own = StaysTicket({attribute: part}, rest)
            network.get_submodule(owner).register_forward_pre_hook(own)
    whole(network)
    return network


def prune_in_place(network: nn.Module, mask: Mask) -> nn.Module:
    """Put masks in place as ``torch.nn.utils.prune`` does: ``weight_orig``, ``weight_mask``.

    Every module that shares a weight gets its mask.
    """
    weights = dict(network.named_parameters())
    for name, part in mask.items():
        for module in list(network.modules()):
            for attribute, held in list(module._parameters.items()):
                if held is weights[name]:
                    prune.custom_from_mask(module, attribute, part)
                    # without its graph the seen weight can be copied; each forward pass makes it
                    setattr(module, attribute, getattr(module, attribute).detach())
    return network


def _split(name: str) -> tuple[str, str]:
    owner, _, attribute = name.rpartition(".")
    return owner, attribute


def check_prunable(frozen: Params, viewed: bool = False) -> None:
    """Refuse what ``torch.nn.utils.prune`` cannot say."""
    if viewed:
        raise LthError(
            "this ticket's weights are seen through views, and torch.nn.utils.prune knows masks "
            "alone: use Ticket.module()"
        )
    if any(bool((f != 0).any()) for f in frozen.values()):
        raise LthError(
            "this ticket's pruned weights are frozen at values, and torch.nn.utils.prune can only "
            "make them 0: use Ticket.module()"
        )
