"""Moves that give a network another form: smaller layers, factors, exits, widths."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from lth.arms.protocol import draw_seed
from lth.errors import LthError
from lth.moves.trained import Move, Trained, to_the_end
from lth.networks import masks
from lth.networks.net import Net
from lth.networks.rewrites.carry import carried, full_mask, is_masked, parts_of
from lth.networks.ticket import Ticket, draw_state, layers_of
from lth.pruning.rewind import Rewind
from lth.pruning.turn import Turn
from lth.spec.argument_types import one_of
from lth.spec.build import Spec
from lth.types import Mask

WEIGHTS = ("trained", "rewound", "drawn")

Structure = Callable[[Trained, Turn], Spec]
"""Decides the new model from the trained network: ``(trained, context) -> its spec``."""


def rewriting(structure: Structure, weights: str = "trained") -> Move:
    """Give the network the form that ``structure`` decides on, with one of three kinds of weights.

    ``trained``: those it has, and nothing to train yet; ``rewound``: those of the dense network
    where the study rewinds to, in the same form, trained from there to the end of the recipe;
    ``drawn``: freshly drawn, trained for the whole recipe.
    """
    one_of("weights", weights, WEIGHTS)

    def move(trained: Trained, context: Turn) -> Ticket:
        net = carried(trained.net, structure(trained, context))
        net = replace(net, mask=_prunable(net, context))
        if weights == "trained":
            return replace(trained.now(), **parts_of(net))
        return (rewound if weights == "rewound" else _drawn)(trained, context, net)

    return move


def rewound(trained: Trained, context: Turn, net: Net, rule: Rewind | None = None) -> Ticket:
    """Return the form and mask of a net with the dense network's weights where a rule rewinds to.

    None: the study's rule; one that keeps trained weights keeps the dense network's.
    """
    experiment = context.experiment
    start, _ = context.rewound(context.dense.final, rule)
    whole = full_mask(experiment.model)
    dense = Net(
        model=experiment.model, mask=whole, params=start.state.params, buffers=start.state.buffers
    )
    form = carried(dense, net.model)
    parts = parts_of(form) | {"mask": net.mask, "params": masks.apply(form.params, net.mask)}
    ticket = to_the_end(trained.now(), start.schedule)
    return replace(ticket, **parts, step=start.step, sizes={})


def _drawn(trained: Trained, context: Turn, net: Net) -> Ticket:
    """Return the form with weights of its own, freshly drawn."""
    state = draw_state(net.model, draw_seed(context.generator))
    parts = parts_of(net) | state._asdict() | {"owned": {}}
    parts["params"] = masks.apply(state.params, net.mask)  # nothing lies beneath
    return replace(to_the_end(trained.now()), **parts, step=0, sizes={})


def _prunable(net: Net, context: Turn) -> Mask:
    """Return the net's mask; a full one names what the study's rule may prune of the new model."""
    if is_masked(net.mask):
        return net.mask
    layers = layers_of(net.model)
    try:
        names = context.rule.prunable(layers)
    except LthError:  # the rule names layers of the study's model
        names = list(net.mask)
    return masks.full(layers, [n for n in names if n not in layers.fixed])
