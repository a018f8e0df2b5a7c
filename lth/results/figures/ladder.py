"""Values against density, arm by arm: what the figures of a study's tickets are made of."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple

from matplotlib.axes import Axes

from lth.measured import Measured
from lth.records.intervals import grouped
from lth.records.judged import ACCURACY, Judged, judged
from lth.records.record import Record
from lth.records.statistics import EARLY, Cell, Summary, summarise
from lth.results.figures.axes import density_axis
from lth.results.figures.style import Look, grey, rc, words
from lth.types import WINNER

DODGE, REACH = 0.012, 0.03
"""By which share of its density an arm's points stand beside the next arm's; any one, at most."""

NEAR = 0.2
"""And at most by so much of the way to the next level, on the log axis."""


class Panel(NamedTuple):
    """A value to draw against density."""

    name: str
    label: str
    factor: float


@dataclass(frozen=True)
class Ladder:
    """The summaries of a study by cell, those that a log axis has a place for."""

    summaries: Mapping[Cell, Summary]
    what: Judged

    @classmethod
    def of(cls, records: Iterable[Record], measured: Measured = ACCURACY) -> Ladder | None:
        """Gather records; None where every network diverged."""
        records = list(records)
        summaries = {c: s for c, s in summarise(records).items() if s.density > 0}
        if not any(s.values for s in summaries.values()):
            return None
        return cls(summaries, judged(records, measured))

    @property
    def panels(self) -> tuple[Panel, Panel, Panel]:
        """Early stop, and what is judged there and at the end."""
        what = self.what
        return (
            Panel(EARLY, "early-stop step", 1.0),
            Panel(what.name, f"{what.words} at early stop{what.percent}", what.factor),
            Panel(what.end, f"{what.words} at the end{what.percent}", what.factor),
        )

    @cached_property
    def arms(self) -> list[str]:
        """The arms, as they come in the records."""
        return list(dict.fromkeys(cell.arm for cell in self.summaries))

    @cached_property
    def rates(self) -> list[float]:
        """The learning rates."""
        return list(dict.fromkeys(cell.lr for cell in self.summaries))

    @cached_property
    def reach(self) -> float:
        """By which share of its density a point may be drawn beside it, nearest its own level."""
        own = {s.density for c, s in self.summaries.items() if c.arm == WINNER}
        gaps = [math.log(a / b) for a, b in pairwise(sorted(own, reverse=True))]
        return min([REACH, *(NEAR * gap for gap in gaps)])

    def dense(self, lr: float) -> Summary | None:
        """Return the dense network's summary."""
        return self.summaries.get(Cell(lr, WINNER, 0))

    def line(self, lr: float, arm: str, name: str) -> list[Summary]:
        """Return an arm's summaries that have a value, from the dense network to the sparsest."""
        levels = [s for c, s in self.summaries.items() if (c.lr, c.arm) == (lr, arm)]
        dense = self.dense(lr)
        start = [dense] if arm != WINNER and dense is not None and levels else []
        levels.sort(key=lambda s: -s.density)  # one that has its own need not fall by level
        return [s for s in [*start, *levels] if name in s.values]

    def beside(self, summary: Summary, number: int, arms: int) -> float:
        """Return where a point is drawn, in percent: its density, or a little beside it.

        Beside it stands what has the winning ticket's density there; what has one of its own is
        drawn at that.
        """
        cell = summary.cell
        winner = self.summaries.get(cell._replace(arm=WINNER))
        apart = math.inf if winner is None else abs(math.log(summary.density / winner.density))
        alone = cell.level == 0 or apart > self.reach
        move = 0.0 if alone else dodge(number, arms, self.reach)
        return 100 * summary.density * (1 + move)

    def note(self) -> str:
        """Say over how many trials means are, what bars are, and who is left out."""
        counts = sorted({s.values[EARLY].n for s in self.summaries.values() if s.values})
        some = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else f"{counts[-1]}"
        note = f"mean of {some} trials; bars: least and greatest" if counts[-1] > 1 else "one trial"
        lost = {c: s.diverged for c, s in self.summaries.items() if s.diverged}
        if not lost:
            return note
        arms = list(dict.fromkeys(words(cell.arm) for cell in lost))
        named = ", ".join(arms) if len(arms) <= 3 else f"{len(arms)} arms"
        networks = sum(lost.values())
        are = "1 network that diverged is" if networks == 1 else f"{networks} that diverged are"
        return f"{note}; {are} left out ({named})"


def dodge(number: int, arms: int, reach: float = REACH) -> float:
    """Return by which share of its density an arm's points are drawn beside it, ``reach`` at most.

    >>> [dodge(n, 3) for n in range(3)], max(abs(dodge(n, 40)) for n in range(40))
    ([-0.012, 0.0, 0.012], 0.03)
    """
    middle = (arms - 1) / 2
    return min(DODGE, reach / middle) * (number - middle) if middle else 0.0


def draw_bars(
    ax: Axes, xs: Sequence[float], shown: Sequence[Summary], panel: Panel, look: Look, **how: Any
) -> None:
    """Draw means, joined, with bars from the least to the greatest over trials."""
    f, spreads = panel.factor, [s.values[panel.name] for s in shown]
    ranges = [[f * (s.mean - s.low) for s in spreads], [f * (s.high - s.mean) for s in spreads]]
    ax.errorbar(
        xs, [f * s.mean for s in spreads], yerr=ranges if max(s.n for s in spreads) > 1 else None,
        **look._asdict(), elinewidth=0.55 * _linewidth(), **how,
    )  # fmt: skip


def draw_dense(ax: Axes, ladder: Ladder, lr: float, panel: Panel) -> None:
    """Draw the dense network's mean as a dashed line across."""
    dense = ladder.dense(lr)
    if dense is not None and panel.name in dense.values:
        mean = panel.factor * dense.values[panel.name].mean
        ax.axhline(
            mean, color=grey(0.35), lw=0.7 * _linewidth(), ls=(0, (5, 3)), zorder=1,
            label="dense network",
        )  # fmt: skip


def name_densities(ax: Axes, ladder: Ladder) -> None:
    """Give a panel its axis of densities, those of the winning tickets named."""
    named = [s.density for c, s in ladder.summaries.items() if c.arm == WINNER]
    density_axis(ax, [s.density for s in ladder.summaries.values()], named)


def cut(axes: Sequence[Axes], ladder: Ladder, panel: Panel) -> None:
    """Let values far worse than the tickets' leave the panels, as in the paper."""
    what = ladder.what
    spreads = {
        c: s.values[panel.name] for c, s in ladder.summaries.items() if panel.name in s.values
    }
    merits = {c: what.merit(panel.factor * spread.mean) for c, spread in spreads.items()}
    dense = min((merit for c, merit in merits.items() if c.level == 0), default=None)
    if dense is None or panel.name == EARLY:
        return
    lowest = min(merit for c, merit in merits.items() if c.arm == WINNER)
    part = 0.25 if what.higher else 1.0  # a loss may double, as 3 points of errors do to few
    least, most = (3.0, 25.0) if what.share else (part * abs(dense), math.inf)
    reach = min(max(least, 3 * (dense - lowest)), most)
    for ax in axes:
        if min(map(what.merit, ax.get_ylim())) < dense - reach:
            best = max(what.merit(panel.factor * end) for s in spreads.values() for end in s[1:3])
            ends = dense - reach, best + 0.05 * (best - dense + reach)
            ax.set_ylim(*sorted(map(what.merit, ends)))


def by_arm(summaries: Iterable[Summary]) -> dict[str, list[Summary]]:
    """Gather summaries by their arm."""
    return grouped(summaries, lambda s: s.cell.arm)


def _linewidth() -> float:

    return float(rc("lines.linewidth"))
