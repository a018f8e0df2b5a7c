"""Zeros do not shrink a network: what tickets execute and store, with zeros and without."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lth.records.budget import Weighed, weighed
from lth.records.budget_table import short
from lth.records.intervals import grouped, spread
from lth.records.record import Record
from lth.results.figures.axes import amounts_axis, density_axis, label_y, plain_amount
from lth.results.figures.sheet import PLAIN, Sheet
from lth.results.figures.style import grey, palette
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
        figure, axes = sheet.panels(len(pairs), len(pairs), (5.0, 3.8), 2.2, extra=sheet.lines(2))
        for ax, pair in zip(axes, pairs, strict=True):
            _draw(ax, pair, found, sheet)
        trials = max(len(w.trials["bytes"]) for w in found)
        over = f"mean of {trials} trials; bars: least and greatest" if trials > 1 else "one trial"
        sheet.caption(figure, f"zeros do not shrink a network: the winning tickets, {over}")
    return figure


def _names(pair: Pair) -> tuple[str, str]:
    return pair.whole[0], pair.without[0]


def _draw(ax: Axes, pair: Pair, found: Sequence[Weighed], sheet: Sheet) -> None:
    densities = [w.density for w in found]
    for (name, label), colour, marker in zip(pair[1:], palette(), "os", strict=False):
        text = f"{label}: {short(found[-1].mean(name))}"
        _line(ax, found, name, {"color": colour, "marker": marker, "label": text})
    whole, without = ([w.mean(name) for w in found] for name in _names(pair))
    ax.fill_between([100 * d for d in densities], whole, without, color=grey(0.93), lw=0, zorder=0)
    ax.set_yscale("log")
    low, high = ax.get_ylim()
    amounts_axis(ax.yaxis, high / low, 6, lambda value: plain_amount(short(value)))
    density_axis(ax, densities)
    ax.set_xlabel("weights remaining (%)")
    label_y(ax, pair.title, sheet.lines(2))
    ax.legend(frameon=False, loc="lower left", bbox_to_anchor=(0.0, 1.0), borderaxespad=0.2)


def _line(ax: Axes, found: Sequence[Weighed], name: str, look: dict[str, Any]) -> None:
    spreads = [spread(list(w.trials[name].values())) for w in found]
    means = [s.mean for s in spreads]
    bars = [[s.mean - s.low for s in spreads], [s.high - s.mean for s in spreads]]
    several = max(s.n for s in spreads) > 1
    ax.errorbar(
        [100 * w.density for w in found], means, yerr=bars if several else None, elinewidth=0.9,
        **look,
    )  # fmt: skip
