"""Quantization as a move: weights on a grid of a few points, while training or after it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from lth.moves.inputs import quantize_inputs
from lth.moves.layers import names_in
from lth.moves.seen import Training, seen
from lth.moves.sensitivity import Bits, bits_for, candidates_of
from lth.moves.trained import Move, Trained
from lth.networks.ticket import Ticket
from lth.networks.views import rounded
from lth.networks.views.chosen import KINDS, check_chosen
from lth.pruning.turn import Turn

TARGET = "lth.networks.views.rounded"


def quantize(
    bits: Bits = 8,
    layers: Sequence[str] | None = None,
    kinds: Sequence[str] = KINDS,
    step: str = "greatest",
    start: str = "greatest",
    per: str = "channel",
    inputs: int | None = None,
    steps: int | None = None,
    lr: float | None = None,
    schedule: Mapping[str, Any] | None = None,
    optimizer: Mapping[str, Any] | None = None,
) -> Move:
    """Round weights to ``bits`` bits per output channel, or layer, and train on what is rounded so.

    Quantization-aware training (Jacob et al. 2018, arXiv 1712.05877): the weights train in full,
    the gradient passes straight through the rounding; pruned ones stay 0. ``steps=0`` trains
    nothing, which is quantization after training: ``measure`` may follow, and ``step=fitted`` fits
    the grid best. ``bits`` is one number, numbers by name or pattern of the weight, or chosen by
    sensitivity; ``layers`` and ``kinds`` choose layers; ``step``, ``start`` and ``per`` are as in
    ``lth.networks.views.rounded``. ``inputs`` are the bits of the layers' inputs, None: they stay
    as they are (``quantize_inputs``).
    """
    training = Training("quantize", steps, lr, schedule, optimizer)
    for candidate in candidates_of(bits):
        rounded(candidate, step, layers, kinds, start, per)  # which says what cannot be
    first = None if inputs is None else quantize_inputs(inputs, layers, kinds)
    patterns, kinds = check_chosen("moves.quantize", layers, kinds)

    def move(trained: Trained, context: Turn) -> Ticket:
        if first is not None:
            trained = trained.having(first(trained, context))
        names = names_in("moves.quantize", trained.layers, patterns, kinds)
        found, told = bits_for(
            "quantize", bits, trained, context, names,
            lambda b: rounded(b, step=step, start=start, per=per),
        )  # fmt: skip
        ticket = seen(trained, "quantize", TARGET, found, step=step, start=start, per=per)
        ticket = replace(ticket, origin={**ticket.origin, **told})
        return training.on(trained, ticket, context)

    return move
