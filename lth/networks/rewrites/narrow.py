"""Neurons and channels taken out: the same network, narrower, and dense."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from lth.errors import LthError
from lth.networks import masks
from lth.networks.drawn import draw_model, network_of
from lth.networks.net import Net
from lth.networks.rewrites.cut import Kept, cut, cut_tensors
from lth.networks.rewrites.fold import constant_groups, foldable, folded
from lth.networks.rewrites.units import (
    MOST_TRIED,
    Units,
    check_numbers,
    find_units,
    in_numbers,
    units_of,
)
from lth.spec.build import Spec
from lth.types import Params

NAME = "lth.networks.rewrites.narrowed"


def narrowed(
    model: nn.Module,
    keep: Mapping[str, Sequence[int]],
    inputs: Mapping[str, Sequence[int]] | None = None,
    input_shape: Sequence[int] | None = None,
) -> nn.Module:
    """Keep some units of layers, ``{layer: their numbers}``: a smaller network, as dense as before.

    Which inputs of which layers go with them is found by following the units through the network,
    on examples of ``input_shape`` (guessed where it is left out), or is given as ``inputs``; then
    ``keep`` names all that keeps only some outputs. Weights keep the scale that they were drawn
    with: a narrower layer's are larger as its factory would have drawn them.
    """
    if inputs is None:
        shape = guessed_shape(model) if input_shape is None else input_shape
        units = find_units(model, shape)
        keep, inputs = units.without(units.beyond(keep))
    _check(model, keep, inputs)
    drawn = {n: (tuple(p.shape), _square(p)) for n, p in model.named_parameters()}
    cut(model, keep, inputs)
    _scale(model, drawn)
    return model


def narrow(
    model: Spec, units: Units, gone: Sequence[int], input_shape: Sequence[int]
) -> Spec:  # fmt: skip
    """Return the spec of a model without some groups of its units."""
    keep, inputs = units.without(gone)
    return {
        "_target_": NAME, "model": model, "keep": keep, "inputs": inputs,
        "input_shape": list(input_shape),
    }  # fmt: skip


def unfolded(model: Spec) -> tuple[Spec, Spec | None]:
    """Return the model that a narrowed one is of, and the narrowed one itself; else it alone."""
    return (dict(model["model"]), model) if model["_target_"] == NAME else (model, None)


def carry(net: Net, model: Spec) -> Net:
    """Bring a net into a narrower form; the values of what is kept are its own, to the bit.

    A unit that goes gives nothing any more, as if its outgoing weights were 0. One without
    incoming weights is a constant, which goes into the biases of the layers that take it, where
    these can hold it (fold.py). The net is the inner model's, or a wider form of that.
    """
    whole = widened(net)
    units = units_of(whole.model, _shape_of(model))
    gone = units.beyond(model["keep"])
    keep, inputs = units.without(gone)
    params = _folded(whole, units, gone, _shape_of(model))
    return replace(
        net, model=model, mask=cut_tensors(whole.mask, keep, inputs),
        params=cut_tensors(params, keep, inputs),
        buffers=cut_tensors(whole.buffers, keep, inputs),
    )  # fmt: skip


def widened(net: Net) -> Net:
    """Return a narrowed net in its inner model's form: what is not there is 0, and pruned."""
    inner, form = unfolded(net.model)
    if form is None:
        return net
    network = draw_model(inner, 0)
    keep, inputs = _placed(form)
    params = {n: torch.zeros_like(p.detach()) for n, p in network.named_parameters()}
    buffers = {
        n: torch.ones_like(b) if n.endswith("running_var") else torch.zeros_like(b)
        for n, b in network.named_buffers()
    }
    mask = {n: torch.zeros(params[n].shape, dtype=torch.bool) for n in net.mask}
    for wide, tensors in ((params, net.params), (buffers, net.buffers), (mask, net.mask)):
        for name, tensor in tensors.items():
            wide[name] = _set(wide[name], tensor, name, keep, inputs)
    return replace(net, model=inner, params=params, buffers=buffers, mask=mask)


def _placed(form: Spec) -> tuple[Kept, Kept]:
    if form.get("inputs") is not None:
        return form["keep"], form["inputs"]
    units = units_of(dict(form["model"]), _shape_of(form))
    return units.without(units.beyond(form["keep"]))


def _set(wide: Any, tensor: Any, name: str, keep: Kept, inputs: Kept) -> Any:
    if wide.shape == tensor.shape:
        return tensor
    owner = name.rpartition(".")[0]
    places = [torch.arange(n) for n in wide.shape]
    for axis, kept in ((0, keep.get(owner)), (1, inputs.get(owner))):
        if kept is not None and axis < len(places):
            places[axis] = torch.tensor(kept)
    wide[torch.meshgrid(*places, indexing="ij")] = tensor
    return wide


def _folded(net: Net, units: Units, gone: Sequence[int], shape: Sequence[int]) -> Params:
    """Return a net's params, the constants of groups that go in biases, where that is exact."""
    seen = masks.apply(net.params, net.mask)
    still = constant_groups(seen, units, range(len(units.groups))) & {*gone}
    if not still:
        return net.params
    network = network_of(net.model, net.plain_start)
    held, values = foldable(network, units, still, shape)
    found = folded(seen, units, held, values)
    return {n: p if found[n] is seen[n] else found[n] for n, p in net.params.items()}


def _shape_of(model: Spec) -> tuple[int, ...]:
    shape = model.get("input_shape")
    if shape is None:
        return guessed_shape(draw_model(dict(model["model"]), 0))
    return tuple(shape["_tuple_"] if isinstance(shape, Mapping) else shape)


def guessed_shape(network: nn.Module) -> tuple[int, ...]:
    """Return a shape of examples that a network takes: of its first layer, a square if pictures."""
    network = in_numbers(network)
    first: Any = next((m for m in network.modules() if hasattr(m, "weight")), None)
    tried: list[tuple[int, ...]] = []
    if isinstance(first, nn.Linear):
        tried = [(first.in_features,)]
    elif isinstance(first, nn.Conv2d):
        tried = [(first.in_channels, n, n) for n in (28, 32, 8, 16, 64, *range(4, 97), 224)]
    elif isinstance(first, nn.Conv1d):
        tried = [(first.in_channels, n) for n in (32, 16, 64, *range(4, 257))]
    for shape in tried:
        if prod(shape) > MOST_TRIED:
            continue
        try:
            with torch.no_grad(), torch.random.fork_rng(devices=[]):
                network.eval()(torch.zeros(2, *shape, device="cpu"))
        except Exception:
            continue
        return shape
    raise LthError(
        f"narrowed: the shape of an example of {type(network).__name__} is not known: "
        "give input_shape"
    )


def _check(model: nn.Module, keep: Kept, inputs: Kept) -> None:
    """Refuse numbers that a model's modules do not have."""
    modules = dict(model.named_modules())
    for what, places in (("keep", keep), ("inputs", inputs)):
        for name, numbers in places.items():
            size = _size(modules.get(name), int(what == "inputs"))
            if size is None:
                raise LthError(f"narrowed.{what}.{name}: the model has no such layer")
            check_numbers(f"narrowed.{what}.{name}", numbers, size)


def _size(module: nn.Module | None, axis: int) -> int | None:
    """Return how many outputs (axis 0) or inputs a module has, None: it has none to cut."""
    weight = getattr(module, "weight", None)
    if weight is None:  # a norm without any still has statistics, or its number of features
        return module.num_features if isinstance(module, _NormBase) and axis == 0 else None
    return weight.shape[axis] if weight.ndim > axis else None


def _scale(model: nn.Module, drawn: Mapping[str, tuple[tuple[int, ...], float]]) -> None:
    """Scale weights that have become smaller to what their factory draws for such a layer."""
    for name, weight in model.named_parameters():
        shape, square = drawn[name]
        if tuple(weight.shape) != shape and weight.ndim > 1 and not weight.is_meta:
            with torch.no_grad():
                weight.mul_(_ratio(shape, tuple(weight.shape), square))


def _square(weight: torch.Tensor) -> float:
    return 0.0 if weight.is_meta else float(weight.detach().double().square().mean())


def _ratio(wide: tuple[int, ...], slim: tuple[int, ...], square: float) -> float:
    """Return how much larger the weights of a smaller layer are drawn.

    Their variance goes by the inputs (He et al. 2015), or by inputs and outputs (Glorot & Bengio
    2010: ``2 / (inputs + outputs)``), where that is what was drawn.
    """
    (out, into), (less_out, less_into), area = wide[:2], slim[:2], prod(wide[2:])
    if abs(square * area * (into + out) / 2 - 1) < 0.1:
        return ((into + out) / (less_into + less_out)) ** 0.5
    return (into / less_into) ** 0.5


vars(narrowed).update(carry=carry, masked=True, again=True)
