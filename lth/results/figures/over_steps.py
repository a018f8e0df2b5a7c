"""Connections against the training step: how networks grow and shrink while they train."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lth.records.intervals import Spread, grouped, spread
from lth.results.analysis.histories import History
from lth.results.figures.axes import label_y
from lth.results.figures.sheet import PLAIN, Sheet
from lth.results.figures.style import words
from lth.types import WINNER

SIZE = (7.0, 4.2)


def over_steps_figure(histories: Sequence[History], sheet: Sheet = PLAIN) -> Figure | None:
    """Draw the share of the dense network's weights that is kept, a line for every arm.

    The mean over trials and copies where their masks change at the same steps, shaded from the
    least to the greatest; else a line for every one. Arms that train more than twice as long as
    the shortest have a panel of their own; a panel of long tails ends soon after the last change
    of how many are kept. None where no mask changes. Compare the pictures of synapses at birth, at
    six and at fourteen.
    """
    if not histories:
        return None
    with sheet.used():
        arms = grouped(histories, lambda h: h.place.arm)
        looks = sheet.looks(arms)
        panels = _panels(arms)
        figure, axes = sheet.panels(len(panels), 2, SIZE, share=True)
        handles, labels = list[Artist](), list[str]()
        for ax, names in zip(axes, panels, strict=True):
            for arm in names:
                _arm(ax, arm, arms[arm], looks[arm]._asdict() | {"marker": ""})
            ax.set_xlabel("training step")
            ax.set_xlim(0, 1.02 * _shown([h for arm in names for h in arms[arm]]))
            here = ax.get_legend_handles_labels()
            handles, labels = handles + here[0], labels + here[1]
        label_y(axes[0], "weights kept (% of the dense network's)")
        axes[0].set_ylim(0, None)
        members = max(map(len, arms.values()))
        several = f"{members} networks per arm; shaded: least and greatest" * (members > 1)
        level = f"level {histories[0].place.level}"
        note = "; ".join(filter(None, (level, several or "one network per arm")))
        sheet.caption(figure, note, handles, labels)
    return figure


def _panels(arms: Mapping[str, Sequence[History]]) -> list[list[str]]:
    """Return the arms of every panel: those about as long as the shortest, and longer ones."""
    lengths = {arm: max(h.points[-1][0] for h in own) for arm, own in arms.items()}
    short = [arm for arm, n in lengths.items() if n <= 2 * min(lengths.values())]
    return [names for names in (short, [a for a in arms if a not in short]) if names]


def _shown(histories: Sequence[History]) -> int:
    """Return the step where a panel ends: all, or of long tails a quarter beyond the changes."""
    last = max(h.points[-1][0] for h in histories)
    changes = [
        step for h in histories
        for (_, before), (step, now) in pairwise(h.points) if now != before
    ]  # fmt: skip
    enough = round(1.25 * max(changes, default=last))
    return enough if 2 * enough < last else last


def _arm(ax: Axes, arm: str, histories: Sequence[History], look: dict) -> None:
    """Draw an arm's mean and range, or its members where they change at steps of their own."""
    order = 4 if arm == WINNER else 2
    look = look | ({"ls": "--"} if arm == WINNER else {})  # others may lie beneath it
    for number, (steps, spreads) in enumerate(_lines(histories)):
        label = words(arm) if number == 0 else "_"
        means, low, high = ([s[i] for s in spreads] for i in range(3))
        ax.plot(steps, means, drawstyle="steps-post", label=label, zorder=order, **look)
        if any(s.n > 1 for s in spreads):
            ax.fill_between(
                steps, low, high, step="post", color=look["color"], alpha=0.16, lw=0, zorder=1
            )


Line = tuple[list[int], list[Spread]]


def _lines(histories: Sequence[History]) -> list[Line]:
    """Return the line of an arm's members together in percent, or one of each."""
    steps = {tuple(s for s, _ in h.points) for h in histories}
    together = [histories] if len(steps) == 1 else [[h] for h in histories]
    return [
        ([s for s, _ in own[0].points],
         [spread([100 * v for v in column])
          for column in zip(*([v for _, v in h.points] for h in own), strict=True)])
        for own in together
    ]  # fmt: skip
