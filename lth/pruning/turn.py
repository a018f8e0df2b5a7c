"""A turn of an experiment: from a trained network to the ticket of the level below.

A turn holds the parts of the experiment with the names of a chain and a level in place: its streams
of random numbers, the networks that are trained already. It notes which of them are looked at, so
that what a ticket cost is seen and not declared (``lth.pruning.needs``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lth.errors import LthError
from lth.networks import masks
from lth.networks.layers import Layers
from lth.networks.ticket import State, Ticket
from lth.pruning.experiment import Experiment, SearchResult
from lth.pruning.needs import Needs, Reading, Run, bill, of_mask, plain_runs, union
from lth.pruning.rewind import Rewind, Start
from lth.pruning.rules import Prune, counts_at
from lth.recipe.recipe import Recipe
from lth.store.entry import StoredMember
from lth.streams import stream, stream_seed
from lth.types import Mask, MemberId, Params, PruningChain, Score


class Known(NamedTuple):
    """A trained member of a study, and the runs of its chain that it took."""

    member: StoredMember
    needs: Needs


LookUp = Callable[[MemberId], Known]


class Turn:
    """What a level's ticket is made with: ``trained`` is scored, ``dense`` is the chain's first.

    ``score`` is the study's (``score(network, mask)``), ``rule`` its pruning rule, ``ties`` the
    seed by which equal scores are told apart, ``start`` the state that tickets are rewound to.
    ``run`` is the run that gave ``trained``, and ``took`` what that took; ``winners`` are the
    chain's trained winning tickets so far, by level.
    """

    def __init__(
        self,
        experiment: Experiment,
        chain: PruningChain,
        level: int,
        trained: StoredMember,
        dense: StoredMember,
        *,
        run: Run | None = None,
        took: Needs | None = None,
        streams: tuple[str | int, ...] | None = None,
        look_up: LookUp | None = None,
        winners: Mapping[int, StoredMember] | None = None,
    ) -> None:
        self.experiment, self.chain, self.level = experiment, chain, level
        self._trained, self._dense = trained, dense
        self.winners = winners or {}
        self._last = experiment.steps
        if run is not None:
            self._last = trained.about["step"] + trained.about["steps"]
        else:
            levels = experiment.search.trained_levels(level)
            *above, run = [*levels] if experiment.search.iterates else [0]
            took = dict.fromkeys(above, experiment.steps)
        self.run, self._took = run, took or {}
        self._read, self.scored = Reading(experiment.steps), set[Run]()
        self._look_up = look_up
        self.trained = self._read.entry(trained, run, self._took, self._last)
        self.dense = self._read.entry(dense, 0)
        names = (chain.trial, level) if streams is None else (chain.trial, *streams)
        self.generator = stream("score", experiment.seed, *names)
        seed = stream_seed("score", experiment.seed, *names)
        self.probe = replace(experiment.probe(chain.trial), seed=seed)
        self.ties = stream_seed("ties", experiment.seed, chain.trial)

    @property
    def rule(self) -> Prune:
        """The study's pruning rule."""
        return self.experiment.prune

    @property
    def layers(self) -> Layers:
        """The layers of the study's dense network."""
        return self.experiment.layers

    @property
    def recipe(self) -> Recipe:
        """How the study trains."""
        return self.experiment.recipe

    @property
    def steps(self) -> int:
        """Updates of a dense run."""
        return self.experiment.steps

    @cached_property
    def initial(self) -> Params:
        """The dense network's initial weights."""
        return self._dense.start.params

    @cached_property
    def final(self) -> State:
        """The trained network; whoever looks at its values is noted."""
        return self._read.state(self._trained.final, {**self._took, self.run: self._last})

    @cached_property
    def kept_beneath(self) -> Params:
        """The dense network's trained weights: they lie beneath the mask where weights are kept."""
        return self._dense.final.params

    def score(
        self, network: State, mask: Mask, score: Score | None = None, began: Ticket | None = None
    ) -> Params:
        """Score the weights of a network under a mask; one stream for all calls of a turn.

        ``began`` is what a network of another model than the study's trained from.
        """
        model = self.experiment.model if began is None else began.model
        self.probe.model = model
        initial = self.initial if began is None or model == self.experiment.model else began.params
        return (score or self.experiment.score)(
            network.params, initial=initial, mask=mask, generator=self.generator,
            buffers=network.buffers, probe=self.probe,
        )  # fmt: skip

    def validation(self, number: int | None = None) -> tuple[Tensor, Tensor]:
        """Return the trial's validation split, prepared, or its first ``number`` examples.

        What is chosen in a study, a threshold or a number of bits, is chosen on these.
        """
        if self.experiment.validation is None:
            raise LthError("a task's validation data are its module's own: no move can look there")
        return self.experiment.validation(self.chain.trial, number)

    def prune(self, scores: Params, mask: Mask, counts: Mapping[str, int] | None = None) -> Mask:
        """Apply the rule for one level, or down to ``counts``."""
        if counts is None:
            return self.rule(scores, mask, self.layers, ties=self.ties)
        return self.rule.to(scores, mask, self.layers, counts, ties=self.ties)

    @property
    def start(self) -> State:
        """The state that tickets are rewound to."""
        start, needs = self._rewound
        return self._read.state(start.state, needs)

    def rewind(self) -> Start:
        """Return where the study's rule lets the level start."""
        return self._rewound[0]

    def rewound(self, state: State, rule: Rewind | None = None) -> tuple[Start, Params]:
        """Return where a rule lets a network start, and the dense network's weights there."""
        rule = rule or self.experiment.rewind
        start = rule(self.dense.at, state)
        beneath = rule(self._dense.at, self._dense.final).state
        return replace(start, state=State(*start.state)), beneath.params

    def winning_mask(self, level: int) -> Mask:
        """Return the mask of the chain's winning ticket at a level; what it took is noted."""
        if level not in self.winners:
            known = ", ".join(map(str, self.winners))
            raise LthError(f"level {level}: no winning ticket of it so far; there are {known}")
        above = self.experiment.search.trained_levels(level)
        runs = [*above] if self.experiment.search.iterates else [0]
        self.note(dict.fromkeys(runs, self.steps) if level else {}, [level] if level else [])
        return self.winners[level].mask

    def note(self, needs: Needs, scored: Iterable[Run]) -> None:
        """Note runs that a ticket took, and those whose masks it took: their scoring counts."""
        self._read.add(needs)
        self.scored |= {*scored}

    def look_up(self, place: MemberId) -> Known:
        """Return a member of this study that has been trained by now, and what that took."""
        if self._look_up is None:
            raise LthError("other members can be looked up by moves only")
        return self._look_up(place)

    @property
    def own_needs(self) -> Needs:
        """What training the network that is looked at took."""
        return {**self._took, self.run: self._last}

    def forget(self) -> None:
        """Forget what has been looked at: what is made next is made of none of it."""
        self._read.needs, self.scored, self.probe.seen = {}, set(), 0

    def billed(self, ticket: Ticket, source: Ticket, **origin: Any) -> Ticket:
        """Return a ticket of this turn with what it took: all that has been looked at.

        A mask that it has from ``source``, which ``trained`` trained from, took what it took there.
        """
        cost = bill(self._read.needs, self.probe.seen)
        told: dict[str, Any] = {
            "needs": {"mask": cost, "start": cost},
            "scored": plain_runs(sorted(self.scored, key=str)),
        }
        if _same(ticket.mask, source.mask):
            needs, found_by = of_mask(source, self.run)
            told["needs"]["mask"], told["mask_of"] = bill(needs), plain_runs(found_by)
        return replace(ticket, origin={**ticket.origin, **told, **origin})

    def ticket(self, result: SearchResult | Mask, start: Start | None = None) -> Ticket:
        """Return the ticket of a mask; beneath it lies the dense network at the point rewound to.

        ``start`` is what ``rewind`` gave; a search may have brought another.
        """
        result = result if isinstance(result, SearchResult) else SearchResult(result)
        start, (needs, whole_needs) = start or self.rewind(), (self._rewound[1], self._whole[1])
        if result.start is not None:
            start, needs, whole_needs = Start(result.start, 0), {}, {}
        params = overlaid(result.mask, start.state.params, self.beneath.params)
        changes = {} if start.schedule is None else {"schedule": start.schedule}
        bills = self._bills(result) | {"start": bill(needs), "dense": bill(whole_needs)}
        return Ticket(
            model=self.experiment.model, mask=result.mask, params=params,
            buffers=start.state.buffers, step=start.step, changes=changes, origin={"needs": bills},
        ).counted(self.layers, self.experiment.model)  # fmt: skip

    @cached_property
    def beneath(self) -> State:
        """The dense network at the point rewound to; that of another study, if a search says."""
        own = self._whole[0].state
        elsewhere = getattr(self.experiment.search, "dense_start", None)
        return own if elsewhere is None else elsewhere(*self.chain, self.level, own)

    @property
    def given(self) -> dict[str, Callable[[], Any]]:
        """What an arm may ask for by name, read from the store only then (``lth.arms.Arm``)."""
        return {
            "initial": lambda: self._dense.start, "trained": lambda: self._dense.final.params,
            "dense": lambda: self.beneath, "input_shape": lambda: self.experiment.input_shape,
            "steps": lambda: self.steps,
        }  # fmt: skip

    def stream(self, arm: str, copy: int) -> torch.Generator:
        """Return the stream of an arm's copy."""
        names = self.chain.trial, arm, self.level, copy
        return stream("arm", self.experiment.seed, *names)

    def member(self, arm: str, copy: int = 0) -> MemberId:
        """Name a member of this turn."""
        return MemberId(*self.chain, arm, self.level, copy)

    @cached_property
    def _rewound(self) -> tuple[Start, Needs]:
        return self._rewind(self._trained, self.run, self._took)

    @cached_property
    def _whole(self) -> tuple[Start, Needs]:
        """Where the rule would let the dense network start."""
        if self._trained is self._dense:
            return self._rewound
        return self._rewind(self._dense, 0, {})

    def _rewind(self, member: StoredMember, run: Run, took: Needs) -> tuple[Start, Needs]:
        """Return where the rule lets a level start, and which runs it has looked at for that."""
        read = Reading(self.steps)
        trained = read.state(member.final, {**took, run: self.steps})
        start = self.experiment.rewind(read.entry(self._dense, 0).at, trained)
        return replace(start, state=State(*start.state)), read.needs

    def _bills(self, result: SearchResult) -> dict[str, Any]:
        """Return what a mask cost, and what its counts did: nothing where the rule tells them."""
        dense, kept = masks.kept(self._dense.mask), masks.kept(result.mask)
        foretold = counts_at(self.rule, dense, self.layers, self.level)
        runs = self._read.needs
        if result.dense_steps is not None:
            runs = union(runs, {0: result.dense_steps})
        search, free = bill(runs, self.probe.seen), bill({})
        total = sum(foretold.values()) == sum(kept.values())
        layers = foretold == kept or (total and len(kept) == 1)
        return {
            "mask": search, "layers": free if layers else search,
            "total": free if total else search, "trained": bill({0: self.steps}),
        }  # fmt: skip


def _same(a: Mask, b: Mask) -> bool:
    return a.keys() == b.keys() and all(torch.equal(m, b[n]) for n, m in a.items())


def overlaid(mask: Mask, above: Params, beneath: Params) -> Params:
    """Return ``above`` where the mask keeps weights, ``beneath`` where it does not."""
    return {
        n: torch.where(mask[n], p, beneath[n]) if n in mask else p for n, p in above.items()
    }  # fmt: skip
