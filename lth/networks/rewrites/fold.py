"""What a unit that never changes gives to the layers that take it: a constant, for their biases.

A unit without incoming weights is constant: its bias, and what follows makes of it. A layer that
takes it gets the same from a bias; but not a convolution that pads with zeros, since at the border
it sees them and not the constant.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from lth.networks.drawn import drawing
from lth.networks.rewrites.follow import example_of, unit_axis
from lth.networks.rewrites.units import Units
from lth.types import Params


def constant_groups(weights: Params, units: Units, among: Collection[int]) -> set[int]:
    """Return the groups whose units have no incoming weight, or only from such units."""
    constant: set[int] = set()
    while True:
        held: dict[str, set[int]] = {}
        for number in constant:
            for name, places in units.groups[number].inputs.items():
                held.setdefault(name, set()).update(places)
        more = {n for n in among if n not in constant and _fixed(weights, units, n, held)}
        if not more:
            return constant
        constant |= more


def _fixed(weights: Params, units: Units, number: int, held: Mapping[str, set[int]]) -> bool:
    outputs = units.groups[number].outputs
    for name in (n for n in outputs if n in units.layers):
        rows = weights[_weight(name)][list(outputs[name])] != 0
        rows = rows.flatten(2).any(2) if rows.ndim > 2 else rows
        if gone := held.get(name):
            rows = rows.clone()
            rows[:, sorted(gone)] = False
        if bool(rows.any()):
            return False
    return True


def constants(network: nn.Module, units: Units, shape: Sequence[int]) -> dict[str, Tensor]:
    """Return what each layer sees of its inputs where that never changes, else no number.

    In evaluation mode, by module name, ``[inputs]``.
    """
    seen: dict[str, list[Tensor]] = {}

    def looks(name: str) -> Any:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            given = args[0] if args else kwargs["input"]
            flat = given.detach().movedim(unit_axis(module), 0).flatten(1)
            same = (flat == flat[:, :1]).all(1)
            seen.setdefault(name, []).append(torch.where(same, flat[:, 0], torch.nan))

        return hook

    handles = [
        network.get_submodule(n).register_forward_pre_hook(looks(n), with_kwargs=True)
        for n in units.inputs
    ]
    example = example_of(network, shape)
    seen.clear()
    with torch.no_grad(), drawing(0):
        network.eval()(example)
    for handle in handles:
        handle.remove()
    return {n: _alike(found) for n, found in seen.items()}


def _alike(calls: Sequence[Tensor]) -> Tensor:
    same = torch.stack([c == calls[0] for c in calls]).all(0)
    return torch.where(same, calls[0], torch.nan)


def can_take(module: nn.Module, values: Tensor) -> Tensor:
    """Return which constants a layer can have in its bias instead; 0 needs none."""
    held = isinstance(module._parameters.get("bias"), nn.Parameter) and not _pads(module)
    return (values == 0) | (held & ~values.isnan())


def _pads(module: nn.Module) -> bool:
    """Whether a convolution sees zeros around its inputs."""
    if not isinstance(module, _ConvNd) or module.padding_mode != "zeros":
        return False
    padding = module.padding
    return padding != "valid" if isinstance(padding, str) else any(padding)


def foldable(
    network: nn.Module, units: Units, still: Collection[int], shape: Sequence[int]
) -> tuple[set[int], dict[str, Tensor]]:  # fmt: skip
    """Return the constant groups whose constants all that take them can hold, and what is seen."""
    values = constants(network, units, shape)
    fits = {n: can_take(network.get_submodule(n), v) for n, v in values.items()}
    return {g for g in still if taken_by_all(units.groups[g].inputs, fits)}, values


def taken_by_all(inputs: Mapping[str, Sequence[int]], fits: Mapping[str, Tensor]) -> bool:
    """Whether all layers that take a group's units can hold their constants."""
    return all(bool(fits[n][list(places)].all()) for n, places in inputs.items() if n in fits)


def folded(params: Params, units: Units, gone: Collection[int], values: Params) -> Params:
    """Return params with the constants of groups in the biases of what takes them.

    ``bias + sum over inputs that go of weight * constant``; ``params`` are seen through the mask.
    """
    found = dict(params)
    places: dict[str, list[int]] = {}
    for number in sorted(gone):
        for name, numbers in units.groups[number].inputs.items():
            places.setdefault(name, []).extend(numbers)
    for name, numbers in places.items():
        weight, bias = params[_weight(name)], params.get(_weight(name, "bias"))
        constant = values[name][numbers].double()
        if bias is not None and bool((constant != 0).any()):
            columns = weight[:, numbers].double().flatten(2) if weight.ndim > 2 else weight[
                :, numbers
            ].double()[..., None]  # fmt: skip
            found[_weight(name, "bias")] = bias + (columns.sum(2) @ constant).to(bias.dtype)
    return found


def _weight(name: str, kind: str = "weight") -> str:
    return f"{name}.{kind}" if name else kind
