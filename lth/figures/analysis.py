"""The figure of an analysis: what of the tickets changes with density."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from matplotlib.figure import Figure

from lth.analysis.table import Row
from lth.figures.style import percent, tidy, words

PANELS = (
    ("error barrier, test (points)", 100.0,
     {"test_instability": "to another run of itself", "test_level_barrier": "to the level above"}),
    ("overlap with trial 0", 1.0,
     {"overlap_with_trial_0": "masks", "chance_overlap": "random masks"}),
    ("signs kept in training (%)", 100.0, {"sign_agreement": ""}),
    ("test accuracy untrained (%)", 100.0, {"untrained_test_accuracy": ""}),
)  # fmt: skip


def analysis_figure(rows: Sequence[Row]) -> Figure:
    """Draw each measure's mean over trials against density, one panel per kind of measure."""
    measured = {r.measure for r in rows}
    panels = [p for p in PANELS if measured & p[2].keys()]
    figure = Figure(figsize=(4.2 * len(panels), 3.6), dpi=200, layout="constrained")
    for number, (title, scale, kinds) in enumerate(panels):
        ax = figure.add_subplot(1, len(panels), number + 1)
        for label, points in _lines(rows, kinds).items():
            xs = sorted(points, reverse=True)
            ys = [scale * sum(points[x]) / len(points[x]) for x in xs]
            ax.plot([100 * x for x in xs], ys, marker="o", markersize=3.5, label=label)
        ax.set_xscale("log")
        ax.invert_xaxis()
        ax.set_xlabel("weights remaining (%)")
        ax.set_ylabel(title)
        ax.xaxis.set_major_formatter(lambda value, _: percent(value))
        ax.xaxis.set_minor_formatter("")
        ax.legend(frameon=False, fontsize=8)
        tidy(ax)
    return figure


def _lines(rows: Sequence[Row], kinds: dict[str, str]) -> dict[str, dict[float, list[float]]]:
    found: dict[str, dict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
    several = len({r.lr for r in rows}) > 1
    for row in rows:
        if row.measure in kinds and row.layer == "":
            rate = f", lr {row.lr:g}" if several else ""
            label = ", ".join(filter(None, (words(row.arm), kinds[row.measure]))) + rate
            found[label][round(row.density, 4)].append(row.value)
    return found
