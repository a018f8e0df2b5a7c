"""Moves of early exits: attach classifiers, train them, let images leave by thresholds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from lth.arms.protocol import draw_seed
from lth.errors import LthError
from lth.moves.rewriting import rewriting
from lth.moves.trained import Move, Trained
from lth.networks import masks
from lth.networks.rewrites.allot import losing, seen_on, under, within
from lth.networks.rewrites.early import CONFIDENCES
from lth.networks.rewrites.exits import is_new
from lth.networks.ticket import Ticket, draw_state
from lth.pruning.turn import Turn
from lth.spec.argument_types import number, one_of, whole
from lth.spec.build import Spec, target_of
from lth.spec.patterns import names_in_text

EXITS = "lth.networks.rewrites.with_exits"
EACH = "lth.recipe.loss.per_output"


def attach_exits(
    after: Sequence[str] | Mapping[str, Mapping[str, Any] | None] | None = None,
    weights: str = "trained",
    pool: int | None = 4,
    hidden: int | None = None,
    frozen: bool = False,
    loss_weights: Sequence[float] | None = None,
) -> Move:
    """Attach a classifier behind layers of the network, and train on the loss of every exit.

    Those named in ``after``, None: every one; ``pool``, ``hidden``, ``frozen`` as in ``with_exits``
    (lth/networks/rewrites/exits.py). ``weights`` are the network's: ``trained``, ``rewound`` or
    ``drawn``; the classifiers are freshly drawn. ``loss_weights`` weigh the exits' losses.
    """
    if frozen and weights != "trained":
        raise LthError(f"moves.attach_exits: frozen, so weights={weights} would never be trained")
    for name, value in (("pool", pool), ("hidden", hidden)):
        if value is not None:
            whole(f"moves.attach_exits: {name}", value, 1)
    learn = with_loss(weights=loss_weights)
    after = names_in_text(after)

    def form(trained: Trained, context: Turn) -> Spec:
        model = trained.net.model
        if target_of(model) == EXITS:
            raise LthError("moves.attach_exits: the network has exits already: name all in one")
        said = dict(after) if isinstance(after, Mapping) else after and list(after)
        return {
            "_target_": EXITS, "model": model, "input_shape": list(context.experiment.input_shape),
            "after": said, "pool": pool, "hidden": hidden, "frozen": frozen,
        }  # fmt: skip

    attach = rewriting(form, weights)

    def move(trained: Trained, context: Turn) -> Ticket:
        made = learn(trained.having(attach(trained, context)), context)
        drawn = draw_state(made.model, draw_seed(context.generator)).params
        own = {n: t for n, t in drawn.items() if is_new(n)}
        return replace(made, params=masks.apply(made.params, made.mask) | own)

    return move


def with_loss(
    loss: Mapping[str, Any] | None = None, weights: Sequence[float] | None = None
) -> Move:
    """Train what comes next on another loss, ``{kind: its factory, ...}``.

    None: the study's, summed over the network's outputs, times ``weights`` (all 1 where None).
    """
    if weights is not None:
        if isinstance(weights, str | int | float) or not weights:
            raise LthError(f"moves.with_loss: weights={weights!r}: a number for each output")
        for weight in weights:
            number("moves.with_loss: weights", weight, "[0, inf)", "a number from 0")
    given = None if loss is None else _spec_of(loss)

    def move(trained: Trained, context: Turn) -> Ticket:
        spec = given or per_output_of(context.recipe.loss, weights)
        ticket = trained.now()
        return replace(ticket, changes={**ticket.changes, "loss": spec})

    return move


def per_output_of(loss: Spec, weights: Sequence[float] | None) -> Spec:
    """Return the spec of a loss summed over outputs; one that is already only gets weights."""
    if target_of(loss) == EACH:
        return loss if weights is None else {**loss, "weights": list(weights)}
    return {"_target_": EACH, "of": loss, "weights": None if weights is None else list(weights)}


def _spec_of(given: Mapping[str, Any]) -> Spec:
    """Return the spec of ``{kind: factory, ...}``, and of those inside it."""
    if "kind" not in given and "_target_" not in given:
        raise LthError(f"moves.with_loss: loss={dict(given)}: name its kind")
    inner = {k: _spec_of(v) if isinstance(v, Mapping) else v for k, v in given.items()}
    kind = inner.pop("kind", None)
    return inner if kind is None else {"_target_": kind, **inner}


def exit_early(
    threshold: float | Sequence[float] | None = None,
    exit: int | str | None = None,
    macs: float | None = None,
    accuracy_drop: float | None = None,
    confidence: str = "probability",
) -> Move:
    """Let images leave at the first exit that is sure of them; leaves nothing to train by itself.

    By a ``threshold`` for all exits, or a list, one for each but the last; all at one ``exit``; or
    chosen on the trial's validation split: most right answers within ``macs`` (multiply-adds per
    image; up to 1, a share of the network's), or fewest multiply-adds at ``accuracy_drop`` from the
    last exit's accuracy (None of them: 0.002). How: lth/networks/rewrites/allot.py.
    """
    one_of("moves.exit_early: confidence", confidence, CONFIDENCES)
    named = {"threshold": threshold, "exit": exit, "macs": macs, "accuracy_drop": accuracy_drop}
    asked = [name for name, value in named.items() if value is not None]
    if len(asked) > 1:
        raise LthError(f"moves.exit_early: give one of them, not {' and '.join(asked)}")
    if macs is not None:
        number("moves.exit_early: macs", macs, "(0, inf)", "multiply-adds, or a share")
    drop = 0.002 if accuracy_drop is None else accuracy_drop
    number("moves.exit_early: accuracy_drop", drop, "[0, 1)", "a share of the images")
    for one in threshold if isinstance(threshold, list | tuple) else [threshold or 0.0]:
        number("moves.exit_early: threshold", one, "[0, 2]", "above 1 nothing leaves")

    def form(trained: Trained, context: Turn) -> Spec:
        model = trained.net.model
        if exit is not None:
            return {**under(model, [], confidence), "thresholds": None, "exit": exit}
        if threshold is not None:
            return {**under(model, [], confidence), "thresholds": threshold}
        inputs, targets = context.validation()
        context.probe.seen += len(inputs)
        exits = seen_on(trained.net.module(), inputs, targets, confidence)
        found = losing(exits, drop) if macs is None else within(exits, macs)
        return under(model, found, confidence)

    return rewriting(form, "trained")
