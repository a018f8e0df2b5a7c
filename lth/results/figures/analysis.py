"""The figure of an analysis: what of the tickets changes with density."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator

from lth.records.intervals import mean
from lth.records.matching import WINNER
from lth.results.analysis.table import Row
from lth.results.figures.style import DPI, look, percent, tidy, words

__all__ = ["Axes", "Figure", "Line2D", "analysis_figure", "density_axis", "panels", "shades"]

CHANCE = "by chance"

PANELS = (
    ("rise of the test error (points)", 100.0,
     {"test_instability": "to another run", "test_level_barrier": "to the level above",
      "test_instability_recalibrated": "to another run, norms taken anew",
      "test_level_barrier_recalibrated": "to the level above, norms taken anew"}),
    ("overlap with the mask of trial 0", 1.0,
     {"overlap_with_trial_0": "masks of other trials", "chance_overlap": CHANCE}),
    ("overlap with the ticket's mask", 1.0,
     {"overlap_with_ticket": "", "chance_overlap_with_ticket": CHANCE}),
    ("mean movement of a weight, dense run", 1.0,
     {"distance_of_kept": "will be kept", "distance_of_pruned": "will be pruned"}),
    ("signs kept in training (%)", 100.0, {"sign_agreement": ""}),
    ("test accuracy untrained (%)", 100.0, {"untrained_test_accuracy": ""}),
)  # fmt: skip

DASHED = "norms taken anew", "will be pruned"
"""Kinds that stand beside another of the same arm."""

TICKS = 6
"""As many densities are labelled on an axis, at most."""


LINE = 0.18
"""Inches that a line of a panel's legend takes; the fifth and later ones are added to the panel."""


class Label(NamedTuple):
    """What a line shows; an empty part is not written."""

    arm: str
    kind: str
    rate: str

    @property
    def dashed(self) -> bool:
        """Whether the line stands beside another of its arm."""
        return self.kind.endswith(DASHED)


Lines = dict[Label, list[tuple[float, float]]]
"""Points (density, value) by label, from dense to sparse."""


def analysis_figure(rows: Sequence[Row]) -> Figure | None:
    """Draw each measure's mean over members against density, one panel per kind of measure."""
    rows = [r for r in rows if r.layer == ""]
    found = [(title, scale, _lines(rows, kinds)) for title, scale, kinds in PANELS]
    found = [f for f in found if f[2]]
    if not found:
        return None
    most = max(-(-len(names) // _columns(names)) for names in (_names(f[2]) for f in found))
    height = 4.0 + LINE * max(0, most - 4)
    figure, axes = panels(len(found), min(3, len(found)), (4.6, height))
    owners = list(dict.fromkeys((words(r.arm), f"lr {r.lr:g}") for r in rows))
    for ax, (title, scale, lines) in zip(axes, found, strict=True):
        for label, points in lines.items():
            _draw(ax, label, [(100 * x, scale * y) for x, y in points], owners)
        ax.set_ylabel(title)
        density_axis(ax, [x for points in lines.values() for x, _ in points])
        _legend(ax)
    return figure


def level_means(rows: Sequence[Row]) -> list[tuple[float, float]]:
    """Return (density, value), each a mean over the members of a level, from dense to sparse.

    Densities of a level differ where training decides on them. Dense networks are one level;
    networks without weights have no place on a logarithmic axis.
    """
    levels: dict[int, list[Row]] = defaultdict(list)
    for r in rows:
        if r.density <= 0:
            continue
        levels[r.level if r.density < 1 else 0].append(r)
    means = ((mean([r.density for r in m]), mean([r.value for r in m])) for m in levels.values())
    return sorted(means, reverse=True)


def _draw(
    ax: Axes, label: Label, points: Sequence[tuple[float, float]], owners: list[tuple[str, str]]
) -> None:
    """Draw a line in the colour of its arm, what is to be expected by chance in grey."""
    owner = next((n for n, (arm, rate) in enumerate(owners)
                  if label.arm in ("", arm) and label.rate in ("", rate)), 0)  # fmt: skip
    own, chance = look(owner), label.kind == CHANCE
    ax.plot(
        *zip(*points, strict=True), ms=3.5, label=_name(label),
        color="0.55" if chance else own.color, marker="" if chance else own.marker,
        ls="--" if chance or label.dashed else "-", zorder=3 if label.arm == words(WINNER) else 2,
    )  # fmt: skip


def _legend(ax: Axes) -> None:
    """Name every line above the panel, the lines for chance once."""
    handles, labels = ax.get_legend_handles_labels()
    once = dict(zip(labels, handles, strict=True))
    ax.legend(
        list(once.values()), list(once), frameon=False, fontsize=8, loc="lower center",
        bbox_to_anchor=(0.5, 1.0), ncols=_columns(once), columnspacing=1.2, handlelength=2.2,
    )  # fmt: skip


def _name(label: Label) -> str:
    return CHANCE if label.kind == CHANCE else ", ".join(filter(None, label))


def _names(labels: Iterable[Label]) -> set[str]:
    return {_name(label) for label in labels}


def _columns(names: Iterable[str]) -> int:
    return 1 if max(map(len, names)) > 34 else 2


def panels(count: int, columns: int, size: tuple[float, float]) -> tuple[Figure, list[Axes]]:
    """Return a figure of so many panels of a size in inches, row by row; as wide as its title."""
    rows = -(-count // columns)
    width = max(4.6, size[0] * columns)
    figure = Figure((width, size[1] * rows), dpi=DPI, layout="constrained")
    axes = [figure.add_subplot(rows, columns, number + 1) for number in range(count)]
    for ax in axes:
        tidy(ax)
    return figure, axes


def shades(count: int) -> list[tuple[float, ...]]:
    """Return so many colours, dark to light."""
    return [colormaps["viridis"](0.05 + 0.85 * i / max(1, count - 1)) for i in range(count)]


def density_axis(ax: Axes, densities: Sequence[float]) -> None:
    """Let densities run down from left to right, on a log scale, and name some that there are."""
    marks = sorted({100 * d for d in densities}, reverse=True)
    ratio = (marks[0] / marks[-1]) ** (1 / TICKS)
    named = marks[:1]
    for mark in marks[1:-1]:
        far = min(named[-1] / mark, mark / marks[-1]) >= max(ratio, 1.05)
        named += [mark] if far else []
    named += [marks[-1]] if marks[0] / marks[-1] >= 1.05 else []
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(FixedLocator(named))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(lambda value, _: percent(value))
    ax.set_xlim(marks[0] * 1.1, marks[-1] / 1.1)
    ax.set_xlabel("weights remaining (%)")


def _lines(rows: Sequence[Row], kinds: dict[str, str]) -> Lines:
    """Gather a panel's values; an arm that has the ticket's own mask overlaps with it, no news."""
    rows = [r for r in rows if r.measure in kinds]
    if "overlap_with_ticket" in kinds:
        rows = [r for r in rows if r.density < 1]
        other = {r.arm for r in rows if r.measure == "overlap_with_ticket" and r.value < 1}
        rows = [r for r in rows if r.arm in other]
    arms, rates = {r.arm for r in rows}, {r.lr for r in rows}
    found: dict[Label, list[Row]] = defaultdict(list)
    for r in rows:
        kind = kinds[r.measure]
        arm = words(r.arm) if len(arms) > 1 or not kind else ""
        found[Label(arm, kind, f"lr {r.lr:g}" if len(rates) > 1 else "")].append(r)
    means = {label: level_means(those) for label, those in found.items()}
    return {label: points for label, points in means.items() if points}
