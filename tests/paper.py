"""Studies on paper: the loop with all its parts, its members' training made up, not done.

What training gives is a fixed function of a member's place and start, so the whole product of
choices can be walked in milliseconds; searches, rules, scores, arms, costs and records are real.
"""

from types import SimpleNamespace

import torch

from lth.imp import imp
from lth.networks import masks
from lth.networks.ticket import State
from lth.streams import stream
from lth.study.run import Journal

MOVES_UNTIL = 5
"""Training stands still after this step of a run, so an early bird settles."""


class PaperEntry:
    """A member as if trained: the start plus seeded noise, more of it at later steps."""

    diverged = None
    measured = ()
    curve = ()

    def __init__(self, place, ticket, steps):
        self.place, self.ticket, self.mask, self.start = place, ticket, ticket.mask, ticket.start
        self.frozen, self.final_mask, self.last = ticket.frozen, ticket.mask, ticket.step + steps
        self.about = {"step": ticket.step, "steps": steps, "model": ticket.model, "seconds": 1.0}

    def at(self, step):
        generator = stream("paper", *map(str, self.place))
        share = min(step, MOVES_UNTIL) / MOVES_UNTIL

        def moved(value):
            drawn = torch.randn(value.shape, generator=generator)
            return value + share * drawn if value.is_floating_point() else value

        params = {n: moved(p) for n, p in self.start.params.items()}
        buffers = {n: moved(b).abs() for n, b in self.start.buffers.items()}
        return State(masks.apply(params, self.mask), buffers)

    @property
    def final(self):
        return self.at(self.last)


class Paper:
    """What stands in for a trainer."""

    trained = reused = frozenset()

    def __init__(self, setup):
        self.setup = setup

    def jobs(self, cohort):
        return {place: SimpleNamespace(key=str(place)) for place in cohort}

    def recipe(self, ticket):
        return self.setup.recipe.of(ticket.stretch, ticket.changes, ticket.step)

    def __call__(self, cohort):
        return {
            place: PaperEntry(place, ticket, self.recipe(ticket).steps - ticket.step)
            for place, ticket in cohort.items()
        }


def walk(setup):
    """Run the loop; return ``{place: (ticket, entry)}`` and what each member's search cost."""
    setup.folder.mkdir(parents=True, exist_ok=True)
    paper, found = Paper(setup), {}
    journal = Journal(setup, paper)
    for cohort, entries in imp(setup.parts, paper):
        journal.add(cohort, entries)
        found |= {place: (ticket, entries[place]) for place, ticket in cohort.items()}
    costs = {
        (r.arm, r.level, r.copy): r.value for r in journal.records if r.metric == "search_flops"
    }
    return found, costs
