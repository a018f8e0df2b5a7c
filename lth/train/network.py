"""A network in training: its leaf tensors, and the views through which the forward pass sees them.

On one device, one network: ``Network``. In a stack, or compiled: ``see_all`` and ``call``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from lth.networks.views.parametrized import Seen, see_through
from lth.networks.views.see import Views
from lth.types import Mask, Params


def places_of(model: nn.Module) -> dict[str, str]:
    """Name every place of a parameter or buffer, and the tensor that lies there."""
    named = (*model.named_parameters(), *model.named_buffers())
    names = {id(t): n for n, t in named}
    return {
        f"{path}.{attribute}" if path else attribute: names[id(tensor)]
        for path, module in model.named_modules()
        for attribute, tensor in (*module._parameters.items(), *module._buffers.items())
        if tensor is not None
    }


def holder(params: Mapping[str, Tensor], buffers: Params) -> nn.Module:
    """Return a module that holds these very tensors under their dotted names, and does nothing."""
    root = nn.Module()
    for name, tensor in {**params, **buffers}.items():
        *path, attribute = name.split(".")
        module = root
        for part in path:
            if part not in module._modules:
                module.add_module(part, nn.Module())
            module = module.get_submodule(part)
        if name in buffers:
            module.register_buffer(attribute, tensor)
        else:
            kept = tensor if isinstance(tensor, nn.Parameter) else nn.Parameter(tensor, False)
            module.register_parameter(attribute, kept)
    return root


def call(model: nn.Module, places: Mapping[str, str], tensors: Params, inputs: Tensor) -> Any:
    """Run a model on other tensors.

    Every place is named: left to itself ``functional_call`` restores the wrong tensor where a tied
    weight's module is registered twice, and every later call computes something else.
    """
    given = {place: tensors[name] for place, name in places.items()}
    return functional_call(model, given, (inputs,), tie_weights=False)


def see_all(views: Views, weights: Params, masks: Params, own: Params, training: bool) -> Params:
    """Return all of a network's params as the forward pass sees them; ``own`` as ``fc/scale``."""
    given: dict[str, Params] = {n: {} for n in masks}
    for key, tensor in own.items():
        weight, slash, name = key.rpartition("/")
        if slash and weight in given:
            given[weight][name] = tensor
    return {
        n: views.see(n, w, masks[n], given[n], training) if n in masks else w
        for n, w in weights.items()
    }


class Network:
    """One model, its leaf tensors, and the views through which the forward pass sees them.

    In general the module is parametrized (networks/views/parametrized.py), the very one that
    ``Ticket.module()`` gives. Under the mask alone the leaves are masked already and an update with
    a masked gradient keeps them so: ``m * w = w`` and ``dL/dw = m * dL/dw'``. So the mask goes on
    the gradient, in place, for a quarter of the cost and the same bits.

    ``leaves`` are the model's parameters, and what the views train as ``<weight>/<tensor>``;
    ``constants`` are the views' other tensors. Under a gate the weights are constants too.
    """

    def __init__(
        self,
        model: nn.Module,
        mask: Mask,
        views: Views | None = None,
        compiler: str | None = None,
        changes: bool = False,
    ) -> None:
        self.model, self.views = model, views or Views()
        self.draws = False  # whether the views draw outside training too
        weights: dict[str, nn.Parameter] = dict(model.named_parameters())
        self._weights, self._buffers = list(weights), [n for n, _ in model.named_buffers()]
        every = changes or bool(self.views)
        # 1 * w is w: the dense network pays nothing
        self.masks = {n: m.to(weights[n]) for n, m in mask.items() if every or not m.all()}
        self._everywhere = places_of(model)
        self._compiled: Any = None
        self._seen: dict[str, Seen] = {}
        self._on_gradients = not self.views and compiler is None
        own = self.views.own
        if compiler is not None:
            own = {n: _copied(t, next(iter(weights.values()))) for n, t in own.items()}
            for weight in weights.values() if self.views.holds else ():
                weight.requires_grad_(False)
            self._compiled = torch.compile(self._functional, backend=compiler)
        elif self.views:
            self._seen = see_through(model, mask, self.views)
            own = {n: getattr(self._seen[n.rpartition("/")[0]], n.rpartition("/")[2]) for n in own}
        trained = {n: t for n, t in own.items() if isinstance(t, nn.Parameter)}
        self.leaves: dict[str, nn.Parameter] = weights | trained
        self.constants = {n: t for n, t in own.items() if n not in trained}

    def __call__(self, inputs: Tensor) -> Any:
        """Run the model on prepared inputs."""
        if self._compiled is None:
            return self.model(inputs)
        return self._compiled(self.leaves, self.masks, self.constants, self.buffers, inputs)

    def drawn(self, seed: int) -> Callable[[Tensor], Any]:
        """Return one network that the views draw outside training, the same for every batch."""

        def forward(inputs: Tensor) -> Any:
            torch.manual_seed(seed)
            self._draw(True)
            try:
                return self(inputs)
            finally:
                self._draw(False)

        return forward

    @property
    def buffers(self) -> Params:
        """The model's buffers as they are now: a forward pass may have replaced some."""
        now = dict(self.model.named_buffers())
        return {n: now[n] for n in self._buffers}

    def mask_gradients(self) -> None:
        """Finish the backward pass: gradients of pruned weights are 0 before any update."""
        if not self._on_gradients:
            return  # the graph has masked them
        for name, mask in self.masks.items():
            gradient = self.leaves[name].grad
            if gradient is not None:
                gradient.mul_(mask)

    def set_mask(self, mask: Mask) -> None:
        """Use another mask from now on; it names the same weights."""
        self.masks = {n: m.to(self.leaves[n]) for n, m in mask.items()}
        for name, seen in self._seen.items():
            seen.mask.copy_(mask[name])

    def _draw(self, draws: bool) -> None:
        self.draws = draws
        for seen in self._seen.values():
            seen.draw(draws)

    def _functional(
        self, leaves: Params, masks: Params, constants: Params, buffers: Params, inputs: Tensor
    ) -> Any:
        weights = {n: leaves[n] for n in self._weights}
        training = self.model.training or self.draws
        seen = see_all(self.views, weights, masks, leaves | constants, training)
        return call(self.model, self._everywhere, seen | buffers, inputs)


def _copied(tensor: Tensor, like: Tensor) -> Tensor:
    copy = tensor.detach().to(like.device, copy=True)
    return nn.Parameter(copy) if isinstance(tensor, nn.Parameter) else copy
