"""Connections against the training step: how networks grow and shrink while they train."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from lth.records.intervals import grouped, mean
from lth.results.analysis.histories import History
from lth.results.figures.style import legend_columns, look, panels, words
from lth.types import WINNER

SIZE = (7.0, 4.2)


def over_steps_figure(histories: Sequence[History]) -> Figure | None:
    """Draw the share of the dense network's weights that is kept, a line for every arm.

    The mean over trials and copies where their masks change at the same steps, else every one.
    None where no mask changes. Compare the pictures of synapses at birth, at six and at fourteen.
    """
    if not histories:
        return None
    figure, (ax,) = panels(1, 1, SIZE)
    arms = grouped(histories, lambda h: h.place.arm)
    for number, (arm, own) in enumerate(arms.items()):
        style = look(number)
        for label, (steps, values) in _lines(arm, own):
            ax.plot(
                steps, [100 * v for v in values], drawstyle="steps-post", label=label,
                color="black" if arm == WINNER else style.color, zorder=4 if arm == WINNER else 2,
                ls="--" if arm == WINNER else style.ls, lw=1.7,  # others may lie beneath it
            )  # fmt: skip
    ax.set_xlabel("training step")
    ax.set_ylabel("weights kept (% of the dense network's)")
    ax.set_ylim(0, None)
    labels = ax.get_legend_handles_labels()[1]
    ax.legend(
        frameon=False, fontsize=9, loc="lower center", bbox_to_anchor=(0.5, 1.0),
        ncols=min(3, legend_columns(labels, SIZE[0])),
    )  # fmt: skip
    return figure


Line = tuple[list[int], list[float]]


def _lines(arm: str, histories: Sequence[History]) -> list[tuple[str, Line]]:
    """Return an arm's label and mean line, or the lines of its members, the first one labelled."""
    steps = {tuple(s for s, _ in h.points) for h in histories}
    if len(steps) == 1:
        columns = zip(*([v for _, v in h.points] for h in histories), strict=True)
        return [(words(arm), ([*steps.pop()], [mean([*column]) for column in columns]))]
    lines = [([s for s, _ in h.points], [v for _, v in h.points]) for h in histories]
    return [(words(arm) if n == 0 else "_", line) for n, line in enumerate(lines)]
