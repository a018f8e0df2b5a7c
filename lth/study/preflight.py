"""Before any work: a search, a score and the methods are tried on an untrained network."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor

from lth.errors import LthError, told
from lth.imp import dense
from lth.moves.phases import begins_at, levels_of, next_ticket, once
from lth.networks import masks
from lth.networks.ticket import State, Ticket, draw_model, drawing
from lth.pruning.experiment import Experiment, Method
from lth.pruning.needs import Reading
from lth.pruning.rules import counts_at
from lth.pruning.search import Preflight
from lth.pruning.turn import Known, Turn
from lth.recipe.adapt import as_loss
from lth.recipe.evaluation import as_floats
from lth.recipe.recipe import Recipe
from lth.spec.build import build
from lth.store.entry import StoredMember
from lth.streams import stream
from lth.types import WINNER, Batch, Mask, MemberId, Params, PruningChain


def tried(experiment: Experiment) -> Experiment:
    """Try the search, the score and the methods of an experiment on an untrained network."""
    check_search(experiment)
    check_score(experiment)
    return with_tried_methods(experiment)


def check_search(experiment: Experiment) -> None:
    """Let the search say before any work whether it can be done (see ``Preflight``)."""
    check = getattr(experiment.search, "check", None)
    if check is None or not experiment.levels:
        return
    first = experiment.lines[0]
    ticket = dense(experiment, first)
    places = [(c.trial, c.lr, level) for c in experiment.lines for level in experiment.levels]
    counts = masks.kept(ticket.mask)
    kept = {
        n: sum(counts_at(experiment.prune, counts, experiment.layers, n).values())
        for n in experiment.levels
    }
    check(Preflight(
        places=tuple(places), layers=experiment.layers, mask=ticket.mask,
        scores=lambda: _scores(experiment, first, ticket), kept=kept,
        initial=lambda trial: dense(experiment, PruningChain(trial, first.lr)).start,
        untrained=_starts_untrained(experiment, ticket.start),
    ))  # fmt: skip


def check_score(experiment: Experiment) -> None:
    """Score the untrained network once: a score that this model does not suit says so now."""
    if experiment.levels and getattr(experiment.search, "check", None) is None:
        first = experiment.lines[0]
        _scores(experiment, first, dense(experiment, first))


def _scores(experiment: Experiment, chain: PruningChain, ticket: Ticket) -> Params:
    return experiment.score(
        ticket.start.params, initial=ticket.params, mask=ticket.mask, buffers=ticket.buffers,
        generator=stream("score", experiment.seed, chain.trial, 1),
        probe=experiment.probe(chain.trial),
    )  # fmt: skip


def _starts_untrained(experiment: Experiment, state: State) -> bool:
    """Whether the rule rewinds to weights that no step has trained."""
    read = Reading(experiment.steps)

    def at(step: int) -> State:
        read.add({0: step})
        return state

    experiment.rewind(at, read.state(state, {0: 1}))
    return not read.needs


def with_tried_methods(experiment: Experiment) -> Experiment:
    """Go through every method on an untrained network: what it cannot do, it says before work."""
    tried = {name: _tried(name, method, experiment) for name, method in experiment.methods.items()}
    return replace(experiment, methods=tried)


@dataclass
class _Untrained:
    """A ticket that stands for what training it would give."""

    ticket: Ticket
    steps: int
    diverged: None = None
    key: str = "0" * 64  # as a key of the store is written

    @property
    def about(self) -> dict[str, Any]:
        return {"step": self.ticket.step, "steps": self.steps}

    @property
    def mask(self) -> Mask:
        return self.ticket.mask

    final_mask = mask

    @property
    def start(self) -> State:
        return self.ticket.start

    final = start

    def at(self, step: int) -> State:
        return self.ticket.start


def _tried(name: str, method: Method, experiment: Experiment) -> Method:
    for _, move in method.moves:
        with _of(name):
            getattr(move, "needs", lambda _: ())(experiment.steps)
    begin, levels = begins_at(method), levels_of(method, experiment)
    if begin not in (None, 0, *experiment.route):
        known = ", ".join(map(str, [0, *experiment.route]))
        raise LthError(f"method.{name}.at={begin}: no level that is trained: there are {known}")
    ticket = dense(experiment, experiment.lines[0])
    whole = member = _Untrained(ticket, experiment.steps)
    lengths = list[int]()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an untrained network's layers may well collapse
        if begin != 0 and experiment.levels:
            level = begin or next((n for n in sorted(experiment.levels) if n), 0)
            member = _Untrained(_pruned(experiment, ticket, level), experiment.steps)
        for _ in range(min(2, len(levels) if begin is not None else 1)):
            lengths.clear()
            moves = once(method)
            while moves:
                member, moves = _tried_phase(name, experiment, member, moves, whole)
                lengths.append(member.steps)
    return replace(method, lengths=tuple(lengths))


def _pruned(experiment: Experiment, ticket: Ticket, level: int) -> Ticket:
    """Return a ticket of a level's density: what hangs off a winner meets a mask."""
    rule, layers = experiment.prune, experiment.layers
    counts = counts_at(rule, masks.kept(ticket.mask), layers, level)
    sizes = {n: ticket.params[n].abs() for n in ticket.mask}
    return replace(ticket, mask=rule.to(sizes, ticket.mask, layers, counts))


def _tried_phase(
    name: str, experiment: Experiment, member: _Untrained, moves: Any, whole: _Untrained
) -> tuple[_Untrained, Any]:
    stored, first = cast(StoredMember, member), cast(StoredMember, whole)
    turn = Turn(
        experiment, experiment.lines[0], 1, stored, first, run=0, took={},
        look_up=lambda place: _known(place, experiment),
        winners=dict.fromkeys([0, *experiment.route], first),
    )  # fmt: skip
    with _of(name):
        ticket, rest = next_ticket(turn, member.ticket, moves)
        recipe = experiment.recipe.for_ticket(ticket.stretch, ticket.changes, ticket.step)
        new = ticket.model != member.ticket.model  # or of several outputs, and its loss is over
        trains = ticket.model != experiment.model and recipe.steps > ticket.step
        if (new or trains) and experiment.validation is not None:
            _try_model(ticket, recipe, *experiment.validation(experiment.lines[0].trial, 2))
        if experiment.validation is None:
            from lth.lightning.task import check_ticket  # Lightning is there: it is a task

            check_ticket("", ticket, whole.ticket)
    return _Untrained(ticket, recipe.steps - ticket.step), rest


def _known(place: MemberId, experiment: Experiment) -> Known:
    """Return what will stand at a place of the study; a place that it has not is refused."""
    arms = (WINNER, *experiment.arms)
    levels = [0, *experiment.route] if place.arm == WINNER else [*experiment.levels]
    copies = experiment.arms[place.arm][1] if place.arm in experiment.arms else 1
    trials = sorted({line.trial for line in experiment.lines})
    for name, there in (
        ("trial", trials), ("lr", sorted({line.lr for line in experiment.lines})), ("arm", arms),
        ("level", levels), ("copy", range(copies)), ("phase", [0]),
    ):  # fmt: skip
        if getattr(place, name) not in there:
            known = ", ".join(map(str, there))
            raise LthError(
                f"moves.distil.teacher.{name}={getattr(place, name)}: there is {known}; what a "
                "method makes teaches from another study: {study: its folder, arm, level}"
            )
    chain = PruningChain(place.trial, place.lr)
    member: Any = _Untrained(dense(experiment, chain), experiment.steps)
    return Known(member, {place.level: experiment.steps})


def _try_model(ticket: Ticket, recipe: Recipe, inputs: Tensor, targets: Tensor) -> None:
    """Run a network that moves have made on two examples, as it trains and as it is measured.

    One that is only measured gives its loss no outputs as in training, which may be of every exit.
    """
    network, batch = draw_model(ticket.model, 0), Batch(inputs.cpu(), targets.cpu())
    network.train(recipe.steps > ticket.step)
    with drawing(0), torch.no_grad():
        outputs = as_floats(network(batch.inputs))
        if ticket.teacher is None:
            _try_loss(recipe, outputs, batch)
        network.eval()(batch.inputs)


def _try_loss(recipe: Recipe, outputs: Any, batch: Batch) -> None:
    try:
        as_loss(build(recipe.loss))(outputs, batch)
    except Exception as error:
        if isinstance(outputs, Tensor) or isinstance(error, LthError):
            raise
        raise LthError(
            f"in training the network gives {len(outputs)} outputs, which this phase's loss does "
            "not take: put lth.moves.with_loss before what trains it"
        ) from error


@contextmanager
def _of(name: str) -> Iterator[None]:
    """Say of which method an error is."""
    try:
        yield
    except LthError as error:
        raise LthError(f"method.{name}: {error}") from error
    except Exception as error:
        raise LthError(f"method.{name}: {told(error)}") from error
