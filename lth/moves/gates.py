"""Moves to networks that run what an input needs, and to the static ones they are held against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from lth.errors import LthError
from lth.models.blocks import blocks_of
from lth.models.gated import BY, ESTIMATORS, Gated
from lth.moves.rewriting import rewriting
from lth.moves.trained import Move, Trained
from lth.networks.ticket import Ticket, network_of
from lth.pruning.turn import Turn
from lth.recipe.evaluation import EVALUATION_BATCH
from lth.spec.argument_types import is_whole, one_of
from lth.spec.build import Spec
from lth.spec.patterns import names_in_text

GATED, ALWAYS = (f"lth.networks.rewrites.{name}" for name in ("gated", "always"))


def gate(
    by: str = "blocks",
    estimator: str = "straight_through",
    temperature: float = 1.0,
    groups: int = 4,
    bias: float = 2.0,
    blocks: Sequence[str] | None = None,
    penalty: float = 0.1,
    target: float | None = None,
    weights: str = "trained",
) -> Move:
    """Gate the residual blocks, or groups of their channels, for every input (``rewrites.gated``).

    What trains next pays ``penalty`` for computation (``with_computation``: for all of it, or for
    what is beside ``target``, a share; where ``estimator`` is reinforce: ``policy_gradient``).
    ``weights`` are ``trained`` (fine_tune or train follows), ``rewound`` or ``drawn``.
    """
    one_of("by", by, BY)
    one_of("estimator", estimator, ESTIMATORS)
    own = {"temperature": temperature, "groups": groups, "bias": bias}
    plain = {
        "by": by,
        "estimator": estimator,
        **own,
        "blocks": names_in_text(blocks and list(blocks)),
    }
    loss: dict[str, Any] = {"_target_": "lth.recipe.loss.with_computation", "weight": penalty}
    loss["target"] = target
    if estimator == "reinforce":
        if target is not None:
            raise LthError("moves.gate: target: estimator=reinforce takes a penalty alone")
        loss = {"_target_": "lth.recipe.loss.policy_gradient", "weight": penalty}

    def structure(trained: Trained, context: Turn) -> Spec:
        model = trained.net.model
        if model["_target_"] == GATED:
            raise LthError("moves.gate: the network is gated already")
        return {"_target_": GATED, "model": model, **plain}

    form = rewriting(structure, weights)

    def move(trained: Trained, context: Turn) -> Ticket:
        ticket = form(trained, context)
        changes = {**ticket.changes, "loss": {**loss, "of": context.recipe.loss}}
        return replace(ticket, changes=changes)

    return move


def always(blocks: int | Sequence[str] | None = None, weights: str = "trained") -> Move:
    """Fix which residual blocks run, or groups of channels in them: a static network.

    (``rewrites.always``.) ``blocks`` names what the gates are of (``stage1.block2``, or a group of
    it, ``stage1.block2:0``), or says how many; of a gated network those most often open, of a plain
    one the first. None: so many that the static network's mean multiply-adds come closest to the
    gated one's, on validation.
    """
    counted = is_whole(blocks, 0)
    if not (blocks is None or counted or isinstance(blocks, list | tuple)):
        raise LthError(f"moves.always: blocks={blocks!r}: names, how many, or null")

    def structure(trained: Trained, context: Turn) -> Spec:
        model = trained.net.model
        if not (blocks is None or counted):
            return {"_target_": ALWAYS, "model": model, "blocks": names_in_text(list(blocks))}  # type: ignore[arg-type]
        names, often, macs = _usage(trained, context)
        order = sorted(range(len(names)), key=lambda n: -often[n])
        number = _nearest(order, often, macs) if blocks is None else min(int(blocks), len(names))  # type: ignore[arg-type]
        kept = {names[n] for n in order[:number]}
        return {"_target_": ALWAYS, "model": model, "blocks": [n for n in names if n in kept]}

    return rewriting(structure, weights)


def _usage(trained: Trained, context: Turn) -> tuple[list[str], list[float], list[float]]:
    """Return the blocks, how often each is open on validation, and its multiply-adds."""
    net = trained.net
    network = network_of(net.model, net.start).eval()
    if not isinstance(network, Gated):
        names = list(blocks_of(network, None))
        return names, [1.0] * len(names), [1.0] * len(names)
    inputs, _ = context.validation()
    context.probe.seen += len(inputs)
    with torch.no_grad():
        found = [network.decide(part) for part in inputs.split(EVALUATION_BATCH)]
    often = torch.cat([f.open for f in found]).double().mean(0)
    return network.names, often.tolist(), found[0].macs.tolist()


def _nearest(order: Sequence[int], often: Sequence[float], macs: Sequence[float]) -> int:
    """Return how many blocks, most used first, cost most nearly what the gates let run."""
    mean = sum(o * m for o, m in zip(often, macs, strict=True))
    costs = [sum(macs[n] for n in order[:k]) for k in range(len(order) + 1)]
    return min(range(len(costs)), key=lambda k: (abs(costs[k] - mean), k))
