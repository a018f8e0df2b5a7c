"""Zeros do not shrink a network: what tickets execute and store, with zeros and without."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from lth.records.budget import Weighed, weighed
from lth.records.budget_table import short
from lth.records.intervals import grouped
from lth.records.record import Record
from lth.results.figures.style import COLOURS, DPI, density_axis, tidy
from lth.types import WINNER


class Pair(NamedTuple):
    """Two quantities of the same networks: what zeros leave as it was, and what they do not."""

    title: str
    whole: tuple[str, str]
    without: tuple[str, str]


PAIRS = (
    Pair("multiply-adds per image", ("macs", "executed by dense kernels"),
         ("macs_nonzero", "of nonzero weights")),
    Pair("bytes", ("raw", "4 per number, in memory"), ("bytes", "of the packed file")),
)  # fmt: skip


def zeros_figure(records: Iterable[Record]) -> Figure | None:
    """Draw what winning tickets execute and store against density, means over trials.

    Left multiply-adds, executed and of nonzero weights; right bytes, raw and packed. None where no
    ticket has been weighed.
    """
    rates = grouped((w for w in weighed(records) if w.spot.arm == WINNER), lambda w: w.spot.lr)
    found = next((own for own in rates.values() if len(own) > 1), [])
    pairs = [p for p in PAIRS if all(name in w.values for w in found for name in _names(p))]
    if not found or not pairs:
        return None
    figure = Figure(figsize=(5 * len(pairs), 3.8), dpi=DPI, layout="constrained")
    for ax, pair in zip(figure.subplots(1, len(pairs), squeeze=False)[0], pairs, strict=True):
        _draw(ax, pair, found)
    trials = max(len(w.trials["bytes"]) for w in found)
    over = f"mean of {trials} trials" if trials > 1 else "one trial"
    figure.suptitle(f"zeros do not shrink a network: the winning tickets, {over}", fontsize=9)
    return figure


def _names(pair: Pair) -> tuple[str, str]:
    return pair.whole[0], pair.without[0]


def _draw(ax: Axes, pair: Pair, found: Sequence[Weighed]) -> None:
    densities = [w.density for w in found]
    x = [100 * d for d in densities]
    for (name, label), colour, marker, above in zip(
        pair[1:], COLOURS, "os", (True, False), strict=False
    ):
        y = [w.mean(name) for w in found]
        ax.plot(x, y, color=colour, marker=marker, ms=4.5, lw=1.7)
        at, side, up = (x[-1], "right", 8) if above else (x[0], "left", 0)
        ax.annotate(f"{label}: {short(y[-1])}", (at, y[-1]), (0, up), color=colour, fontsize=8,
                    textcoords="offset points", ha=side)  # fmt: skip
    whole, without = ([w.mean(name) for w in found] for name in _names(pair))
    ax.fill_between(x, whole, without, color="0.93", lw=0)
    ax.set_yscale("log")
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    ax.yaxis.set_minor_formatter(NullFormatter())
    low, high = ax.get_ylim()
    ax.set_ylim(top=high * (high / low) ** 0.12)
    ax.yaxis.set_major_locator(LogLocator(subs=(1,) if high / low > 100 else (1, 2, 5)))
    density_axis(ax, densities)
    ax.set_xlabel("weights remaining (%)")
    ax.set_ylabel(pair.title)
    tidy(ax)
