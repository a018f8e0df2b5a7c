"""The figures, in the style of Frankle & Carbin 2019 (arXiv 1803.03635), Figures 1, 3 and 4.

``tickets_figure`` draws early stop and accuracy against density, ``curves_figure`` accuracy on the
way. Both are computed from records alone.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from lth.records import Record, write_atomic
from lth.statistics import EARLY, Cell, Summary, curve_means, summarise
from lth.verdict import WINNER

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D1F")
"""Okabe & Ito's palette: told apart by the colour-blind."""

MARKERS = "osD^vPX*"
DASHES = ("-", "--", ":", "-.")
CURVES = 5
"""Densities of which a curve is drawn."""


def draw(records: Sequence[Record], curves: Sequence[Record], folder: Path) -> list[Path]:
    """Write ``tickets.png`` and ``curves.png``; whatever has nothing to show is left out."""
    found = []
    if any(r.metric == EARLY for r in records):
        found.append(save(tickets_figure(records), folder / "tickets.png"))
    if any(r.split != "train" and r.metric == "accuracy" for r in curves):
        found.append(save(curves_figure(curves), folder / "curves.png"))
    return found


def save(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG, atomically."""
    content = io.BytesIO()
    FigureCanvasAgg(figure).print_png(content)
    write_atomic(path, content.getvalue())
    return path


def tickets_figure(records: Sequence[Record]) -> Figure:
    """Early-stop step, test accuracy at early stop and at the end, against density (log axis).

    Points are means over trials, bars run from the least to the greatest.
    """
    summaries = summarise(records)
    panels = (
        (EARLY, "early-stop step", 1.0),
        ("test_accuracy", "test accuracy at early stop (%)", 100.0),
        ("test_accuracy_end", "test accuracy at the end (%)", 100.0),
    )
    figure = Figure(figsize=(13, 4.2), dpi=160, layout="constrained")
    axes = figure.subplots(1, len(panels))
    for ax, (name, label, factor) in zip(axes, panels, strict=True):
        _draw_panel(ax, summaries, name, factor)
        ax.set_ylabel(label)
        _density_axis(ax, [s.density for s in summaries.values()])
    _legend(figure, axes[0], _trials(summaries))
    return figure


def curves_figure(curves: Sequence[Record]) -> Figure:
    """Accuracy against the training step, for a few densities, one panel per arm.

    Test accuracy where the recipe measures it on the way, else validation accuracy.
    """
    split = "test" if any(r.split == "test" for r in curves) else "validation"
    wanted = [r for r in curves if r.split == split and r.metric == "accuracy"]
    means = curve_means(wanted)
    density = {(r.lr, r.arm, r.level): r.density for r in wanted}
    rates = list(dict.fromkeys(lr for lr, _, _ in density))
    arms = list(dict.fromkeys(arm for _, arm, _ in density))
    levels = [0, *_spaced(sorted({level for _, _, level in density if level > 0}))]
    figure = Figure(
        figsize=(0.5 + 4.8 * len(arms), 4.2 * len(rates)), dpi=160, layout="constrained"
    )
    grid = figure.subplots(len(rates), len(arms), squeeze=False, sharex=True, sharey=True)
    for row, lr in zip(grid, rates, strict=True):
        for ax, arm in zip(row, arms, strict=True):
            for number, level in enumerate(levels):
                shown = (lr, WINNER if level == 0 else arm, level)  # all set out from the dense one
                points = sorted((m.step, 100 * v) for m, v in means.items() if m[:3] == shown)
                if points:
                    label = f"{100 * density[shown]:.3g}"
                    colour = "#000000" if level == 0 else COLOURS[(number - 1) % len(COLOURS)]
                    ax.plot(*zip(*points, strict=True), color=colour, lw=1.6, label=label)
            ax.set_title(_words(arm) + (f", lr {lr:g}" if len(rates) > 1 else ""), fontsize=11)
            ax.legend(title="% of weights", frameon=False, fontsize=8, title_fontsize=8)
            _tidy(ax)
    for ax in grid[-1]:
        ax.set_xlabel("training step")
    for row in grid:
        row[0].set_ylabel(f"{split} accuracy (%)")
    _zoom(grid[0][0], [100 * v for v in means.values()])
    return figure


def _draw_panel(ax: Axes, summaries: dict[Cell, Summary], name: str, factor: float) -> None:
    arms = list(dict.fromkeys(cell.arm for cell in summaries))
    rates = list(dict.fromkeys(cell.lr for cell in summaries))
    for r, lr in enumerate(rates):
        dense = summaries.get(Cell(lr, WINNER, 0))
        for a, arm in enumerate(arms):
            chosen = [s for c, s in summaries.items() if (c.lr, c.arm) == (lr, arm)]
            if arm != WINNER and dense is not None:
                chosen = [dense, *chosen]  # every arm sets out from the dense network
            chosen = [s for s in chosen if name in s.values]
            if not chosen:
                continue
            spreads = [s.values[name] for s in chosen]
            bars = [[factor * (s.mean - s.low) for s in spreads],
                    [factor * (s.high - s.mean) for s in spreads]]  # fmt: skip
            ax.errorbar(
                [100 * s.density for s in chosen], [factor * s.mean for s in spreads], yerr=bars,
                color=COLOURS[(a + len(arms) * r) % len(COLOURS)] if len(arms) * len(rates) <= 8
                else COLOURS[a % len(COLOURS)],
                ls=DASHES[r % len(DASHES)], marker=MARKERS[a % len(MARKERS)], ms=4, lw=1.6,
                elinewidth=0.9, capsize=2,
                label=_words(arm) + (f", lr {lr:g}" if len(rates) > 1 else ""),
                zorder=3 if arm == WINNER else 2,
            )  # fmt: skip
        if dense is not None and name in dense.values:
            level = factor * dense.values[name].mean
            ax.axhline(level, color="0.5", lw=0.9, ls=DASHES[1], zorder=1,
                       label="dense network" if r == 0 else None)  # fmt: skip
    _tidy(ax)


def _density_axis(ax: Axes, densities: Sequence[float]) -> None:
    """Label the actual densities, thinned so that they can be read; dense on the left."""
    marks = sorted({100 * d for d in densities}, reverse=True)
    step = max(1, -(-len(marks) // 8))
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(FixedLocator(marks[::step]))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))
    ax.set_xlim(marks[0] * 1.1, marks[-1] / 1.1)
    ax.set_xlabel("weights remaining (%)")


def _legend(figure: Figure, ax: Axes, trials: int) -> None:
    handles, labels = ax.get_legend_handles_labels()
    bars = f"; bars: min-max of {trials} trials" if trials > 1 else "; one trial"
    labels = [label + bars if i == len(labels) - 1 else label for i, label in enumerate(labels)]
    columns = min(len(labels), 4)
    figure.legend(handles, labels, loc="outside upper center", ncols=columns, frameon=False)


def _trials(summaries: dict[Cell, Summary]) -> int:
    return max((s.values[EARLY].n for s in summaries.values() if s.values), default=0)


def _spaced(levels: Sequence[int]) -> list[int]:
    """Choose at most ``CURVES`` levels, first and last included."""
    if len(levels) <= CURVES:
        return list(levels)
    return [levels[round(i * (len(levels) - 1) / (CURVES - 1))] for i in range(CURVES)]


def _zoom(ax: Axes, values: Sequence[float]) -> None:
    """Leave the climb from chance out: what is compared is the top."""
    ordered = sorted(values)
    low = ordered[len(ordered) // 5]
    top = ordered[-1]
    ax.set_ylim(low - 0.5 * (top - low) - 0.1, top + 0.1 * (top - low) + 0.1)


def _tidy(ax: Axes) -> None:
    ax.grid(axis="y", color="0.92", lw=0.8)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)


def _words(arm: str) -> str:
    return arm.replace("_", " ")
