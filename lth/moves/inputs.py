"""Rounding what goes into layers, over ranges that are seen on training examples."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from lth.errors import LthError
from lth.moves.layers import names_in
from lth.moves.rewriting import rewriting
from lth.moves.trained import Move, Trained
from lth.networks.cost import uses
from lth.networks.parametrized import weights_of
from lth.networks.rewrites.quantized_inputs import WHOLE, check_bits, input_of
from lth.networks.ticket import drawing, network_of
from lth.networks.trace import answering
from lth.networks.views.chosen import KINDS, check_chosen
from lth.pruning.turn import Turn
from lth.recipe.evaluation import EVALUATION_BATCH
from lth.spec.argument_types import is_whole
from lth.spec.build import Spec
from lth.spec.patterns import module_of

TARGET = "lth.networks.rewrites.quantized_inputs"

UNCALLED = "the forward pass holds its weight by another way than the layer"
NO_LAYER = "only what goes into Linear and Conv layers is rounded"


def quantize_inputs(
    bits: int = 8,
    layers: Sequence[str] | None = None,
    kinds: Sequence[str] = KINDS,
    examples: int = 1000,
) -> Move:
    """Round the inputs of layers to ``bits`` bits; leaves nothing to train by itself.

    Every layer's range is that of its inputs on so many training ``examples``, the norms as they
    are outside training (Jacob et al. 2018, arXiv 1712.05877). It comes before what lets weights be
    seen otherwise. ``bits=32`` changes nothing. What goes into a weight that the forward pass takes
    by itself (``F.linear(x, self.fc.weight)``), or into a recurrent layer, stays as it is, which is
    said, and refused where ``layers`` names it.
    """
    check_bits("moves.quantize_inputs", bits)
    if not is_whole(examples, 1):
        raise LthError(f"moves.quantize_inputs: examples={examples!r}: a whole number from 1")
    patterns, kinds = check_chosen("moves.quantize_inputs", layers, kinds)

    def structure(trained: Trained, context: Turn) -> Spec:
        names = names_in("moves.quantize_inputs", trained.layers, patterns, kinds)
        network = network_of(trained.net.model, trained.net.baked()).eval()
        layers = _layers_of(network, names)
        found = _ranges(network, layers, context, examples)
        if bits != WHOLE:
            left = _left(trained, context, network, names, {layers[path] for path in found})
            _say(left, patterns is not None, bool(found))
        return {"_target_": TARGET, "model": trained.net.model, "ranges": found, "bits": bits}

    return rewriting(structure)


def _layers_of(network: nn.Module, weights: Collection[str]) -> dict[str, str]:
    """Return the Linear and Conv layers that have these weights, ``{layer: weight}``.

    Several have one that is tied, and a weight made of others has the name of a parameter inside.
    """
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    found: dict[str, str] = {}
    for path, module in network.named_modules():
        for weight in weights_of(module) if isinstance(module, nn.Linear | _ConvNd) else ():
            if weight.through is not None:
                name = names[id(module.get_parameter(weight.through))]
                found |= {path: name} if name in weights else {}
    return found


def _ranges(
    network: nn.Module, layers: Collection[str], context: Turn, examples: int
) -> dict[str, list[float]]:
    """Return the least and the greatest input of every layer that is called."""
    generator = torch.Generator().manual_seed(context.probe.seed)
    inputs, _ = context.probe.tensors(examples, generator)
    context.probe.seen += len(inputs)
    found = _seen(network, layers, inputs)
    missed = [path for path in layers if path not in found]
    if missed and hasattr(network, "stages"):  # classifiers of exits answer only where all do
        found |= _seen(answering(network), missed, inputs)
    return found


def _seen(
    network: nn.Module, layers: Collection[str], inputs: Tensor
) -> dict[str, list[float]]:  # fmt: skip
    found: dict[str, list[float]] = {}

    def seeing(path: str) -> Any:
        def see(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            given, (low, high) = input_of(args, kwargs)[1], found.get(path, [0.0, 0.0])
            if given.numel():
                found[path] = [min(low, float(given.min())), max(high, float(given.max()))]

        return see

    handles = [
        network.get_submodule(path).register_forward_pre_hook(seeing(path), with_kwargs=True)
        for path in layers
    ]
    with torch.no_grad(), drawing(0):
        for part in inputs.split(EVALUATION_BATCH):
            network(part)
    for handle in handles:
        handle.remove()
    return found


def _left(
    trained: Trained, context: Turn, network: nn.Module, weights: Sequence[str],
    rounded: Collection[str],
) -> dict[str, str]:  # fmt: skip
    """Return of which modules the forward pass takes a weight whose inputs stay as they are: why.

    A weight that no forward pass takes changes nothing.
    """
    used = uses(trained.net.model, context.experiment.input_shape, trained.included)
    left: dict[str, str] = {}
    for name in weights:
        if name not in rounded and used.get(name):
            holder = module_of(name)
            kind = network.get_submodule(holder.partition(".parametrizations.")[0])
            layer = isinstance(kind, nn.Linear | _ConvNd)
            left[holder or name] = UNCALLED if layer else NO_LAYER
    return left


def _say(left: Mapping[str, str], named: bool, some: bool) -> None:
    """Refuse what was named and cannot be rounded, and where nothing can be; else say it."""
    for name, why in left.items():
        if named:
            mend = f"{'call the layer, or ' * (why == UNCALLED)}leave it out of layers"
            raise LthError(f"moves.quantize_inputs: {name}: {why}: {mend}")
        if some:
            warnings.warn(f"quantize_inputs: {name} is left as it is: {why}", stacklevel=3)
    if not some:
        why = "; ".join(f"{n}: {w}" for n, w in left.items()) or "the forward pass calls none"
        raise LthError(f"moves.quantize_inputs: it has no layer whose inputs can be rounded: {why}")
