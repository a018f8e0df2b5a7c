"""Moves that take neurons and channels out: what is left is a smaller network, and dense."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from lth.errors import LthError
from lth.moves.rewriting import rewriting
from lth.moves.trained import Move, Trained
from lth.networks.net import Net
from lth.networks.rewrites.narrow import narrow, unfolded, widened
from lth.networks.rewrites.units import Units, units_of
from lth.pruning.turn import Turn
from lth.pruning.units import apoz, magnitude, random, surviving, taylor
from lth.pruning.units.chosen import by_layer, down_to, families_of, globally, scored
from lth.pruning.units.dead import dead_groups
from lth.pruning.units.importance import Importance
from lth.spec.argument_types import number, one_of, whole
from lth.spec.build import Spec

IMPORTANCES = {
    "magnitude": magnitude, "apoz": apoz, "taylor": taylor, "random": random,
    "surviving": surviving,
}  # fmt: skip
PER = ("layer", "globally")


def prune_neurons(
    rate: float = 0.2,
    importance: str | Importance = "magnitude",
    per: str = "layer",
    weights: str = "trained",
    to: Mapping[str, int] | None = None,
) -> Move:
    """Take out the units that matter least: the network is narrower, and dense, from here on.

    The ``rate`` of the units of each layer, or of all together (``per``), or down ``to`` so many
    of named layers. ``importance`` is one of lth.pruning.units, by name or made by its factory.
    ``weights``: ``trained``, ``rewound`` (a neuron ticket) or ``drawn``. Units that an addition
    joins go together; what the network gives out stays, and so does one unit of every layer.
    """
    number("prune_neurons.rate", rate, "(0, 1)", "a share of the units")
    one_of("prune_neurons.per", per, PER)
    score = _importance(importance)
    wanted = _counts(to)

    def structure(trained: Trained, context: Turn) -> Spec:
        net, units, gone = _units(trained, context)
        families = units.families() if wanted is None else families_of(units, wanted)
        left = sorted(n for _, numbers in families for n in numbers if n not in {*gone})
        probe = replace(context.probe, model=net.model)
        scores = score(net, units, left, probe=probe, generator=context.generator)
        context.probe.seen = probe.seen
        ranked = scored(units, left, scores, context.ties)
        if wanted is not None:
            going = down_to(units, ranked, gone, wanted)
        else:
            going = (by_layer if per == "layer" else globally)(units, ranked, gone, rate)
            _check_some(going, left, rate)
        return _without(trained, context, net, units, gone, going)

    return rewriting(structure, weights)


def drop_dead() -> Move:
    """Take out the units that a mask has left without incoming, or without outgoing, weights.

    The network gives the same outputs; the rest of the mask stays. A unit without incoming weights
    is a constant, which goes into the next biases; where these cannot hold it (a convolution that
    pads with zeros), the unit stays.
    """

    def structure(trained: Trained, context: Turn) -> Spec:
        net, units, gone = _units(trained, context)
        going = dead_groups(net, units, gone, context.experiment.input_shape)
        return _without(trained, context, net, units, gone, going)

    return rewriting(structure)


def _units(trained: Trained, context: Turn) -> tuple[Net, Units, list[int]]:
    """Return the network in the form that its units are known in, and which have gone already."""
    net = trained.net
    base, form = unfolded(net.model)
    units = units_of(base, context.experiment.input_shape)
    if not units.groups:
        why = "; ".join(f"{n}: {w}" for n, w in units.stuck.items()) or "it has no layers of units"
        raise LthError(f"no unit of {base['_target_']} can be taken out: {why}")
    gone = [] if form is None else units.beyond(form["keep"])
    return widened(net), units, gone


def _without(
    trained: Trained, context: Turn, net: Net, units: Units, gone: Sequence[int],
    going: Sequence[int],
) -> Spec:  # fmt: skip
    if not going:
        return trained.net.model
    return narrow(net.model, units, sorted([*gone, *going]), context.experiment.input_shape)


def _importance(given: str | Importance) -> Importance:
    if not isinstance(given, str):
        if not callable(given):
            raise LthError(f"prune_neurons.importance={given!r}: a name, or what makes one")
        return given
    return IMPORTANCES[one_of("prune_neurons.importance", given, IMPORTANCES)]()


def _counts(to: Mapping[str, int] | None) -> dict[str, int] | None:
    if to is None:
        return None
    if not isinstance(to, Mapping) or not to:
        raise LthError(f"prune_neurons.to={to!r}: units by layer, such as {{fc1: 29, fc2: 11}}")
    return {str(n): whole(f"prune_neurons.to.{n}", count, 1) for n, count in to.items()}


def _check_some(going: Sequence[int], left: Sequence[int], rate: float) -> None:
    if not going:
        raise LthError(
            f"prune_neurons.rate={rate}: no unit goes of {len(left)} that could; raise it, or stop "
            "at a higher level"
        )
