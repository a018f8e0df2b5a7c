"""Zeros do not shrink a network: what tickets execute and store, with zeros and without."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

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
    return figure


def _names(pair: Pair) -> tuple[str, str]:
    return pair.whole[0], pair.without[0]


def _draw(ax: Axes, pair: Pair, found: Sequence[Weighed]) -> None:
    densities = [w.density for w in found]
    x = [100 * d for d in densities]
    for (name, label), colour, marker in zip(pair[1:], COLOURS, "os", strict=False):
        y = [w.mean(name) for w in found]
        ax.plot(x, y, color=colour, marker=marker, ms=4.5, lw=1.7)
        ax.annotate(f"{label}: {short(y[-1])}", (x[-1], y[-1]), (-2, 7), color=colour, fontsize=8,
                    textcoords="offset points", ha="right")  # fmt: skip
    whole, without = ([w.mean(name) for w in found] for name in _names(pair))
    ax.fill_between(x, whole, without, color="0.93", lw=0)
    ax.set_yscale("log")
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    ax.yaxis.set_minor_formatter(NullFormatter())
    ax.set_ylim(top=2 * ax.get_ylim()[1])
    density_axis(ax, densities)
    ax.set_xlabel("weights remaining (%)")
    ax.set_ylabel(f"{pair.title} (log scale)")
    ax.set_title(f"{pair.title} of the winning tickets", fontsize=9, loc="left")
    tidy(ax)
