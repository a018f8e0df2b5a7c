"""Weight clustering as a move: every layer's weights share a few values, which are trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from lth.moves.layers import names_in
from lth.moves.seen import Training, seen
from lth.moves.sensitivity import Bits, bits_for, candidates_of
from lth.moves.trained import Move, Trained
from lth.networks.ticket import Ticket
from lth.networks.views import clustered
from lth.networks.views.chosen import KINDS, check_chosen
from lth.pruning.turn import Turn

TARGET = "lth.networks.views.clustered"


def cluster(
    bits: Bits | None = None,
    k: int | Mapping[str, int] | None = None,
    layers: Sequence[str] | None = None,
    kinds: Sequence[str] = KINDS,
    coding: float = 0.0,
    steps: int | None = None,
    lr: float | None = None,
    schedule: Mapping[str, Any] | None = None,
    optimizer: Mapping[str, Any] | None = None,
) -> Move:
    """Let the kept weights of a layer share ``k = 2^bits`` values, and train these on.

    Han et al. 2016 (arXiv 1510.00149, Section 3). Biases and norms train too, the weights beneath
    and which value each has do not. A pruned weight's 0 is not among the values. ``bits`` or ``k``
    are one number, numbers by name or pattern of the weight, or ``bits`` chosen by sensitivity;
    ``layers`` and ``kinds`` choose layers. ``coding`` makes the choice of values cheaper to code
    (``lth.networks.views.sharing.shared``). ``steps=0`` trains nothing: ``measure`` may follow.
    """
    training = Training("cluster", steps, lr, schedule, optimizer)
    for candidate in candidates_of(bits):
        clustered(candidate, k, layers, kinds, coding)  # which says what cannot be
    patterns, kinds = check_chosen("moves.cluster", layers, kinds)

    def move(trained: Trained, context: Turn) -> Ticket:
        names = names_in("moves.cluster", trained.layers, patterns, kinds)
        given = cast(Bits, k if bits is None else bits)
        found, told = bits_for(
            "cluster", given, trained, context, names, lambda b: clustered(b, coding=coding)
        )
        counts = found if bits is None else {n: 2**b for n, b in found.items()}
        ticket = seen(trained, "cluster", TARGET, counts, coding=float(coding))
        ticket = replace(ticket, origin={**ticket.origin, **told})
        return training.on(trained, ticket, context)

    return move
