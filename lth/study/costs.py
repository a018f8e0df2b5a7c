"""What every member of a study cost: training it, and all that its mask and its start took."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from lth.networks.cost import scoring_flops, training_flops
from lth.networks.ticket import Ticket
from lth.pruning.needs import Run, needed, runs_in, scored
from lth.store.cost import COSTS
from lth.store.entry import StoredMember
from lth.study.holdings import Holdings
from lth.study.setup import Setup
from lth.types import WINNER, MemberId, PruningChain

Lessons = Mapping[str, int]
"""What teachers cost that are no runs of the chain, by their keys: each is counted once."""


class Spent(NamedTuple):
    """What a run cost, from which step on and over how many; the examples scored for its ticket."""

    cost: int
    first: int
    steps: int
    examples: int
    lessons: Lessons

    def up_to(self, step: int) -> int:
        """Return what it cost to train up to ``step``."""
        return self.cost * max(0, min(step - self.first, self.steps)) // max(1, self.steps)


class Costs:
    """Adds up FLOPs as members come; ``held`` has the rows of those before."""

    def __init__(self, setup: Setup, held: Holdings) -> None:
        self.setup, self.held = setup, held
        self._spent: dict[tuple[PruningChain, Run], Spent] = {}

    def of(
        self, member: MemberId, winner: Ticket, ticket: Ticket, entry: StoredMember
    ) -> tuple[int, int]:
        """Return what training a member cost, and what finding its mask and its start did.

        ``winner`` is the ticket of the winner of its level, of a method's phase its own.
        """
        if not self.setup.costed:
            return 0, 0
        cost = self._training(ticket, entry)
        if member.phase or member.arm == WINNER:
            run = (member.arm, member.level, member.phase) if member.phase else member.level
            examples, lessons = needed(ticket, ticket)[1], self._lessons(member, ticket)
            spent = Spent(cost, ticket.step, entry.about["steps"], examples, lessons)
            self._spent[PruningChain(member.trial, member.lr), run] = spent
        return cost, self._search(member, winner, ticket)

    def _training(self, ticket: Ticket, entry: StoredMember) -> int:
        setup, batch = self.setup, self.setup.recipe.batch
        taught = ticket.origin.get("teacher", {}).get("forward_flops", 0) * entry.about["steps"]
        own = training_flops(ticket, setup.dataset.input_shape, batch, entry.about)
        return own + taught * batch  # a teacher looks at every example too

    def _search(self, member: MemberId, winner: Ticket, ticket: Ticket) -> int:
        """Return what the member's mask and start cost: runs, scoring for them, and teachers.

        A run of a level below the dense network took the scoring for its own ticket too.
        """
        chain = PruningChain(member.trial, member.lr)
        needs, examples = needed(winner, ticket)
        examples += sum(self._spent[chain, run].examples for run in scored(ticket) | needs.keys())
        scoring = scoring_flops(self.setup.parts.model, self.setup.dataset.input_shape, examples)
        lessons = dict(self._lessons(member, ticket))
        for run in needs:
            lessons |= self._spent[chain, run].lessons
        runs = sum(self._spent[chain, run].up_to(step) for run, step in needs.items())
        return scoring + runs + sum(lessons.values())

    def _lessons(self, member: MemberId, ticket: Ticket) -> Lessons:
        """Return what a ticket's teacher cost, where it is no run of the member's chain."""
        teacher: dict[str, Any] = ticket.origin.get("teacher", {})
        if "place" not in teacher:
            return {teacher["key"]: teacher["cost"]} if teacher.get("cost") else {}
        place, chain = MemberId(*teacher["place"]), PruningChain(member.trial, member.lr)
        rows = self.held.rows[place].records
        cost = sum(round(r.value) for r in rows if r.metric in COSTS)
        if chain == (place.trial, place.lr):  # its runs are counted as this member's own
            runs = runs_in(teacher["needs"]).items()
            cost -= sum(self._spent[chain, run].up_to(step) for run, step in runs)
        return {teacher["key"]: cost}
