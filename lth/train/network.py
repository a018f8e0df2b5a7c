"""A network whose weights are seen through views: ``w' = view(w, m)``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from lth.networks.gates import Gate
from lth.types import Mask, Params, View


def masked(weight: Tensor, mask: Tensor) -> Tensor:
    """The first view: ``w' = m * w``, so every gradient and moment of a pruned weight is 0."""
    return weight * mask


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


def call(model: nn.Module, places: Mapping[str, str], tensors: Params, inputs: Tensor) -> Tensor:
    """Run a model on other tensors.

    Every place is named: left to itself ``functional_call`` restores the wrong tensor where a tied
    weight's module is registered twice, and every later call computes something else.
    """
    given = {place: tensors[name] for place, name in places.items()}
    return functional_call(model, given, (inputs,), tie_weights=False)


class Network:
    """One model, its leaf tensors, and the view through which the forward pass sees them.

    In general the viewed tensors are put where the module looks its weights up, which saves the
    per-call cost of ``functional_call`` (6 to 14 % of a LeNet step) and computes the same bits.
    Under the first view the leaves are masked already and an update with a masked gradient keeps
    them so: ``m * w = w`` and ``dL/dw = m * dL/dw'``. So the mask goes on the gradient alone, in
    place, for a quarter of the cost and the same bits.

    Under a gate the leaves of the masked weights are scores, and the weights are constants.
    """

    def __init__(
        self,
        model: nn.Module,
        mask: Mask,
        view: View = masked,
        compiler: str | None = None,
        frozen: Params | None = None,
        gate: Gate | None = None,
        changes: bool = False,
    ) -> None:
        self.model, self.view, self.gate = model, view, gate
        self.draws = False  # whether the gate draws outside training too
        self.frozen = frozen or {}
        self.leaves: dict[str, nn.Parameter] = dict(model.named_parameters())
        every = changes or gate is not None or view is not masked
        # 1 * w is w: the dense network pays nothing
        self.masks = {n: m.to(self.leaves[n]) for n, m in mask.items() if every or not m.all()}
        self._compiled: Any = None
        self._places: dict[str, list[tuple[nn.Module, str]]] = {}
        self._on_gradients = view is masked and compiler is None and not self.frozen and not gate
        self._everywhere = places_of(model)
        self._names = {id(p): n for n, p in self.leaves.items()}
        self._fixed = self._put_scores(gate) if gate is not None else {}
        if compiler is not None:
            self._compiled = torch.compile(self._functional, backend=compiler)
        elif not self._on_gradients:
            self._take_out()

    def __call__(self, inputs: Tensor) -> Tensor:
        """Run the model on prepared inputs."""
        if self._compiled is not None:
            return self._compiled(self.leaves, self.masks, self.buffers, inputs)
        for name, places in self._places.items():
            seen = self._see(name, self.leaves[name], self.masks[name])
            for module, attribute in places:
                module.__dict__[attribute] = seen
        return self.model(inputs)

    def drawn(self, seed: int) -> Callable[[Tensor], Tensor]:
        """Return one network that the gate draws outside training, the same for every batch."""

        def forward(inputs: Tensor) -> Tensor:
            torch.manual_seed(seed)
            self.draws = True
            try:
                return self(inputs)
            finally:
                self.draws = False

        return forward

    @property
    def buffers(self) -> Params:
        """The model's buffers as they are now: a forward pass may have replaced some."""
        return dict(self.model.named_buffers())

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

    def gated(self) -> Params:
        """Return the weights as the gate leaves them outside training."""
        gate = self.gate
        assert gate is not None
        with torch.no_grad():
            return {n: w * gate(n, self.leaves[n], False) for n, w in self._fixed.items()}

    def _put_scores(self, gate: Gate) -> Params:
        """Make every weight a constant and, where there is a mask, scores the leaf."""
        for leaf in self.leaves.values():
            leaf.requires_grad_(False)
        fixed = {n: self.leaves[n].detach() for n in self.masks}
        self.leaves |= {n: nn.Parameter(gate.start(n, w)) for n, w in fixed.items()}
        return fixed

    def _functional(self, leaves: Params, masks: Params, buffers: Params, inputs: Tensor) -> Tensor:
        seen = {n: self._see(n, w, masks[n]) if n in masks else w for n, w in leaves.items()}
        return call(self.model, self._everywhere, seen | buffers, inputs)

    def _see(self, name: str, weight: Tensor, mask: Tensor) -> Tensor:
        if self.gate is not None:
            drawn = self.model.training or self.draws
            weight = self._fixed[name] * self.gate(name, weight, drawn)
        seen = self.view(weight, mask)
        return seen + self.frozen[name] if name in self.frozen else seen

    def _take_out(self) -> None:
        for module in self.model.modules():
            for attribute, parameter in list(module._parameters.items()):
                name = self._names.get(id(parameter))
                if name in self.masks:
                    del module._parameters[attribute]
                    self._places.setdefault(name, []).append((module, attribute))
