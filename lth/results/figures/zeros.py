"""Zeros do not shrink a network: what tickets execute and store, with zeros and without."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from lth.records.budget import Weighed, weighed
from lth.records.budget_table import short
from lth.records.intervals import grouped, spread
from lth.records.record import Record
from lth.results.figures.sheet import PLAIN, Sheet
from lth.results.figures.style import density_axis, grey, label_y, palette
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


def zeros_figure(records: Iterable[Record], sheet: Sheet = PLAIN) -> Figure | None:
    """Draw what winning tickets execute and store against density, means over trials.

    Left multiply-adds, executed and of nonzero weights; right bytes, raw and packed. Bars run from
    the least to the greatest. None where no ticket has been weighed.
    """
    rates = grouped((w for w in weighed(records) if w.spot.arm == WINNER), lambda w: w.spot.lr)
    found = next((own for own in rates.values() if len(own) > 1), [])
    pairs = [p for p in PAIRS if all(name in w.values for w in found for name in _names(p))]
    if not found or not pairs:
        return None
    with sheet.used():
        figure, axes = sheet.panels(len(pairs), len(pairs), (5.0, 3.8))
        for ax, pair in zip(axes, pairs, strict=True):
            _draw(ax, pair, found)
        trials = max(len(w.trials["bytes"]) for w in found)
        over = f"mean of {trials} trials; bars: least and greatest" if trials > 1 else "one trial"
        sheet.caption(figure, f"zeros do not shrink a network: the winning tickets, {over}")
    return figure


def _names(pair: Pair) -> tuple[str, str]:
    return pair.whole[0], pair.without[0]


def _draw(ax: Axes, pair: Pair, found: Sequence[Weighed]) -> None:
    densities = [w.density for w in found]
    for (name, label), colour, marker in zip(pair[1:], palette(), "os", strict=False):
        _line(ax, found, name, {"color": colour, "marker": marker})
        _name(ax, found, name, f"{label}: {short(found[-1].mean(name))}", colour)
    whole, without = ([w.mean(name) for w in found] for name in _names(pair))
    ax.fill_between([100 * d for d in densities], whole, without, color=grey(0.93), lw=0, zorder=0)
    ax.set_yscale("log")
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    ax.yaxis.set_minor_formatter(NullFormatter())
    low, high = ax.get_ylim()
    ax.set_ylim(low / (high / low) ** 0.08, high * (high / low) ** 0.16)  # room for the words
    ax.yaxis.set_major_locator(LogLocator(subs=(1,) if high / low > 100 else (1, 2, 5)))
    density_axis(ax, densities)
    ax.set_xlabel("weights remaining (%)")
    label_y(ax, pair.title)


def _line(ax: Axes, found: Sequence[Weighed], name: str, look: dict[str, Any]) -> None:
    spreads = [spread(list(w.trials[name].values())) for w in found]
    means = [s.mean for s in spreads]
    bars = [[s.mean - s.low for s in spreads], [s.high - s.mean for s in spreads]]
    several = max(s.n for s in spreads) > 1
    ax.errorbar(
        [100 * w.density for w in found], means, yerr=bars if several else None, elinewidth=0.9,
        **look,
    )  # fmt: skip


def _name(ax: Axes, found: Sequence[Weighed], name: str, label: str, colour: str) -> None:
    """Write what a line is: what stays as it was above its end, what shrinks below its start."""
    above = name in [pair.whole[0] for pair in PAIRS]
    at = found[-1] if above else found[0]
    ax.annotate(
        label, (100 * at.density, at.mean(name)), (0, 6) if above else (0, -14), color=colour,
        textcoords="offset points", ha="right" if above else "left", fontsize="small",
    )  # fmt: skip
