"""Layers whose inputs are rounded too: fake quantization of activations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from lth.errors import LthError, nearest
from lth.networks.net import Net
from lth.networks.ticket import draw_state
from lth.spec.argument_types import is_whole
from lth.spec.build import Spec

WHOLE = 32
"""Bits of a float32 input, which is left as it is."""

LOW, HIGH = "input_low", "input_high"
"""The buffers of a layer that say over which range its inputs are rounded."""


@dataclass(frozen=True)
class RoundedInput:
    """A hook before a layer: ``x' = d (clamp(round(x / d) + z, 0, Q) - z)``, ``Q = 2^bits - 1``.

    ``d = (high - low) / Q`` and ``z = round(-low / d)``, so that 0 stays 0. The gradient passes
    straight through within the range, and is 0 outside it.
    """

    bits: int

    def __call__(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Round the layer's input, given by place or by name."""
        name, inputs = input_of(args, kwargs)
        low, high = (module.get_buffer(n).to(inputs.dtype) for n in (LOW, HIGH))
        most = 2**self.bits - 1
        step = ((high - low) / most).clamp(min=torch.finfo(inputs.dtype).tiny)
        zero = (-low / step).round()
        scaled = (inputs / step + zero).clamp(0, most)
        seen = step * (scaled.round().detach() - zero + (scaled - scaled.detach()))
        rounded = torch.where(high > low, seen, inputs)  # of no range nothing is known
        return ((rounded, *args[1:]), kwargs) if name is None else (args, {**kwargs, name: rounded})


def input_of(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[str | None, Tensor]:
    """Return what a layer is called with, and by which name, None: by its place."""
    if args:
        return None, args[0]
    name = "input" if "input" in kwargs else next(iter(kwargs))
    return name, kwargs[name]


def quantized_inputs(
    model: nn.Module, ranges: Mapping[str, Sequence[float]], bits: int = 8
) -> nn.Module:
    """Round the inputs of layers to ``bits`` bits, over ``ranges`` ``{layer: [low, high]}``.

    Asymmetric, one range a layer (Jacob et al. 2018, arXiv 1712.05877, Section 3.1); the ranges are
    buffers, ``<layer>.input_low`` and ``input_high``. ``bits=32`` leaves the model as it is.
    """
    check_bits("quantized_inputs", bits)
    for name, (low, high) in ranges.items() if bits != WHOLE else ():
        layer = dict(model.named_modules()).get(name)
        if layer is None:
            known = [n for n, m in model.named_modules() if isinstance(m, nn.Linear | nn.Conv2d)]
            raise LthError(f"quantized_inputs: no layer is named {name!r}{nearest(name, known)}")
        if LOW in dict(layer.named_buffers(recurse=False)):
            raise LthError(f"quantized_inputs: the inputs of {name} are rounded already")
        layer.register_buffer(LOW, torch.tensor(min(0.0, float(low))))
        layer.register_buffer(HIGH, torch.tensor(max(0.0, float(high))))
        layer.register_forward_pre_hook(RoundedInput(bits), with_kwargs=True)
    return model


def check_bits(what: str, bits: Any) -> None:
    """Refuse bits that inputs cannot have."""
    if not is_whole(bits, 2) or (bits > 16 and bits != WHOLE):
        raise LthError(f"{what}: bits={bits!r}: a whole number in 2..16, or 32 for none")


def _carry(net: Net, model: Spec) -> Net:
    """Keep every value; the ranges come with the model."""
    buffers = {n: net.buffers.get(n, b) for n, b in draw_state(model, 0).buffers.items()}
    return replace(net, model=model, buffers=buffers)


vars(quantized_inputs).update(carry=_carry, masked=True)
