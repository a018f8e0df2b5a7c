"""Rounding what goes into layers, over ranges that are seen on training examples."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from lth.errors import LthError
from lth.moves.layers import names_in
from lth.moves.rewriting import rewriting
from lth.moves.trained import Move, Trained
from lth.networks.rewrites.quantized_inputs import check_bits
from lth.networks.ticket import network_of
from lth.networks.views.chosen import KINDS, check_chosen
from lth.pruning.turn import Turn
from lth.recipe.evaluation import EVALUATION_BATCH
from lth.spec.argument_types import is_whole
from lth.spec.build import Spec

TARGET = "lth.networks.rewrites.quantized_inputs"


def quantize_inputs(
    bits: int = 8,
    layers: Sequence[str] | None = None,
    kinds: Sequence[str] = KINDS,
    examples: int = 1000,
) -> Move:
    """Round the inputs of layers to ``bits`` bits; leaves nothing to train by itself.

    Every layer's range is that of its inputs on so many training ``examples``, the norms as they
    are outside training (Jacob et al. 2018, arXiv 1712.05877). It comes before what lets weights be
    seen otherwise. ``bits=32`` changes nothing.
    """
    check_bits("moves.quantize_inputs", bits)
    if not is_whole(examples, 1):
        raise LthError(f"moves.quantize_inputs: examples={examples!r}: a whole number from 1")
    patterns, kinds = check_chosen("moves.quantize_inputs", layers, kinds)

    def structure(trained: Trained, context: Turn) -> Spec:
        names = names_in("moves.quantize_inputs", trained.layers, patterns, kinds)
        found = _ranges(trained, context, names, examples)
        return {"_target_": TARGET, "model": trained.net.model, "ranges": found, "bits": bits}

    return rewriting(structure)


def _ranges(
    trained: Trained, context: Turn, weights: Sequence[str], examples: int
) -> dict[str, list[float]]:
    """Return the least and the greatest input of every layer of these weights."""
    generator = torch.Generator().manual_seed(context.probe.seed)
    inputs, _ = context.probe.tensors(examples, generator)
    context.probe.seen += len(inputs)
    network = network_of(trained.net.model, trained.net.baked()).eval()
    found, paths = dict[str, list[float]](), {n.rpartition(".")[0] for n in weights}
    for path, module in network.named_modules():
        if path in paths and isinstance(module, nn.Linear | _ConvNd):
            module.register_forward_pre_hook(_seeing(path, found))
    with torch.no_grad():
        for part in inputs.split(EVALUATION_BATCH):
            network(part)
    return found


def _seeing(path: str, found: dict[str, list[float]]):
    def see(module: nn.Module, args: tuple[Tensor, ...]) -> None:
        low, high = found.get(path, [0.0, 0.0])
        found[path] = [min(low, float(args[0].min())), max(high, float(args[0].max()))]

    return see
