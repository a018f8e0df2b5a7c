"""Moves of distillation: who teaches what trains next, and which examples it sees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from lth.data.seen import examples_of
from lth.errors import LthError
from lth.moves.teacher import find, level_of, named_teacher
from lth.moves.trained import Move, Trained, spec_in
from lth.networks.ticket import Ticket
from lth.pruning.needs import bill
from lth.pruning.turn import Turn


def distil(loss: Mapping[str, Any] | None = None, teacher: Any = None) -> Move:
    """Learn from a teacher, a stored member (Hinton et al. 2015, arXiv 1503.02531).

    Sets the teacher and the loss of what trains next, ``{kind: its factory}``; None: distillation.
    ``teacher`` is ``dense`` (or None), the chain's trained dense network; ``trained``, the network
    that the moves go on from: a ticket as teacher, where they hang off the winners; a place in this
    study, ``{level: 3}``, ``{trial: next}``, ``{arm: random_reinit, level: 3}``, as here where it
    says nothing, the dense network without a level; one of another study, ``{study: its folder,
    trial, level, arm}``, its trial as here where it has that one; or a member's key. What it was
    trained on is recorded with its student. A network of one's own is trained as a study first.
    """
    spec = spec_in("loss", loss) or {"_target_": "lth.recipe.loss.distillation"}
    named = named_teacher(teacher)

    def move(trained: Trained, context: Turn) -> Ticket:
        found = find(named, trained, context)
        context.note(found.needs, ())
        ticket = trained.now()
        about = {"key": found.entry.key, **found.about, "needs": bill(found.needs)["runs"]}
        return replace(
            ticket, teacher=found.entry.key, changes={**ticket.changes, "loss": spec},
            origin={**ticket.origin, "teacher": about},
        )  # fmt: skip

    vars(move)["waits"] = level_of(named)
    return move


def show(
    labels: int | None = None, without: int | Sequence[int] | None = None, all: bool = False
) -> Move:
    """Let what trains next see some of the training examples only, and some of the labels.

    No example of the classes ``without``; the classes of ``labels`` examples, as many of every
    class as there can be, drawn anew in every trial: who has a teacher sees the others too, without
    a label, and who has none sees the labelled ones alone. It stays so for the phases that follow,
    until they are shown ``all``. Validation and test keep all of their examples and labels.
    """
    examples = examples_of(labels, without, "moves.show")
    if all is not True and not examples:
        raise LthError("moves.show: say labels, without, or all: true")
    if all is True and examples:
        raise LthError("moves.show: all: true leaves nothing to say of labels or without")

    def move(trained: Trained, context: Turn) -> Ticket:
        return replace(trained.now(), examples=examples)

    vars(move)["examples"] = examples
    return move
