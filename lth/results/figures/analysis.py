"""The figure of an analysis: what of the tickets changes with density."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lth.records.intervals import Spread, grouped, mean, spread
from lth.results.analysis.table import Row
from lth.results.figures.axes import density_axis, label_y
from lth.results.figures.labels import Label as Beside
from lth.results.figures.labels import line_height, place_labels
from lth.results.figures.sheet import PLAIN, Sheet
from lth.results.figures.style import COLOURS, Look, cut, grey, legend_columns, readable, words
from lth.types import WINNER

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

SIZE, WIDE = (4.6, 3.7), (9.0, 4.0)
"""Inches of a panel, and of one with more lines than there are colours, labelled at its side."""


class Label(NamedTuple):
    """What a line shows; an empty part is not written."""

    arm: str
    kind: str
    rate: str

    @property
    def dashed(self) -> bool:
        """Whether the line stands beside another of its arm."""
        return self.kind.endswith(DASHED)


Line = list[tuple[float, Spread]]
"""Points (density, spread of the value over members), from dense to sparse."""

Lines = dict[Label, Line]


def analysis_figure(rows: Sequence[Row], sheet: Sheet = PLAIN) -> Figure | None:
    """Draw each measure against density, one panel per kind of measure.

    Means over members, shaded from the least to the greatest.
    """
    whole = [r for r in rows if r.layer == ""]
    every = [(title, scale, _lines(whole, kinds)) for title, scale, kinds in PANELS]
    shown = [panel for panel in every if panel[2]]
    if not shown:
        return None
    with sheet.used():
        names = [_names(panel[2]) for panel in shown]
        crowd = max(map(len, names)) > len(COLOURS) + 1
        figure, axes, extra = _axes(names, crowd, sheet)
        looks = _looks(whole, sheet)
        beside = []
        for ax, (title, scale, lines) in zip(axes, shown, strict=True):
            ends = [_draw(ax, label, line, scale, looks) for label, line in lines.items()]
            label_y(ax, title, extra)
            _name_densities(ax, lines)
            ax.set_xlabel("weights remaining (%)")
            beside.append((ax, list({end.text: end for end in ends}.values())))
            if not crowd:
                _legend(ax, sheet)
        sheet.caption(figure, members_note(whole))
        for ax, labels in beside if crowd else ():
            place_labels(ax, labels)
    return figure


def level_spreads(rows: Sequence[Row]) -> Line:
    """Return (density, spread of the value over the members of a level), from dense to sparse.

    Densities of a level differ where training decides on them: theirs is the mean. Dense networks
    are one level; networks without weights have no place on a logarithmic axis.
    """
    kept = (r for r in rows if r.density > 0)
    levels = grouped(kept, lambda r: r.level if r.density < 1 else 0).values()
    points = ((mean([r.density for r in own]), spread([r.value for r in own])) for own in levels)
    return sorted(points, reverse=True)


def level_means(rows: Sequence[Row]) -> list[tuple[float, float]]:
    """Return (density, mean value) of ``level_spreads``."""
    return [(density, found.mean) for density, found in level_spreads(rows)]


def members_note(rows: Sequence[Row]) -> str:
    """Say over how many members means are, and what is shaded."""
    trials, copies = len({r.trial for r in rows}), len({r.copy for r in rows})
    many = f"{trials} trials" if trials > 1 else "one trial"
    many += f", up to {copies} copies" if copies > 1 else ""
    over = f"mean of {many}; shaded: least and greatest"
    return over if trials * copies > 1 else "one trial"


def _axes(names: Sequence[set[str]], crowd: bool, sheet: Sheet) -> tuple[Figure, list[Axes], float]:
    """Return a panel for each set of names, with inches for its legend, or for labels beside it."""
    scale = sheet.font / 10
    if crowd:
        room = max(map(len, names)) * line_height() + 0.8 * scale - WIDE[1]
        return *sheet.panels(len(names), 1, WIDE, extra=max(0.0, room)), 0.0
    most = min(3, len(names))
    width = (sheet.options.width or SIZE[0] * most) / sheet.columns(most)
    lines = max(-(-len(own) // _columns(own, width, sheet)) for own in names)
    extra = sheet.lines(lines)
    return *sheet.panels(len(names), most, SIZE, extra=extra), extra


def _columns(names: Iterable[str], width: float, sheet: Sheet) -> int:
    return min(2, legend_columns([*names], 0.95 * width, 0.833 * sheet.font))


def _name_densities(ax: Axes, lines: Lines) -> None:
    """Give a panel its axis, the winning tickets' densities named where they are drawn."""
    own = [x for label, line in lines.items() if label.arm in ("", words(WINNER)) for x, _ in line]
    density_axis(ax, [x for line in lines.values() for x, _ in line], own)


def _looks(rows: Sequence[Row], sheet: Sheet) -> dict[tuple[str, str], Look]:
    """Return the look of an arm (in words) at a rate: an arm's own, at a second rate its next."""
    arms = sheet.looks(r.arm for r in rows)
    rates = list(dict.fromkeys(r.lr for r in rows))
    turns = ("-", "-.", ":", (0, (5, 1)))
    return {
        (words(arm), f"lr {lr:g}"): look._replace(ls=turns[n % len(turns)])
        for arm, look in arms.items()
        for n, lr in enumerate(rates)
    }


def _draw(
    ax: Axes, label: Label, line: Line, scale: float, looks: dict[tuple[str, str], Look]
) -> Beside:
    """Draw a line in the look of its arm, what is to be expected by chance in grey."""
    own = next(look for (arm, rate), look in looks.items()
               if label.arm in ("", arm) and label.rate in ("", rate))  # fmt: skip
    chance, xs = label.kind == CHANCE, [100 * density for density, _ in line]
    mean, low, high = ([scale * s[i] for _, s in line] for i in range(3))
    colour = grey(0.55) if chance else own.color
    ax.plot(
        xs, mean, label=_name(label), color=colour, marker="" if chance else own.marker,
        ls="--" if chance or label.dashed else own.ls,
        zorder=3 if label.arm == words(WINNER) else 2,
    )  # fmt: skip
    if not chance:
        ax.fill_between(xs, low, high, color=colour, alpha=0.14, lw=0)
    return Beside(cut(_name(label), 30), xs[-1], mean[-1], readable(colour))


def _legend(ax: Axes, sheet: Sheet) -> None:
    """Name every line above the panel, the lines for chance once."""
    handles, labels = ax.get_legend_handles_labels()
    once = dict(zip(labels, handles, strict=True))
    at, figure = ax.get_subplotspec(), ax.get_figure(root=True)
    assert at is not None and figure is not None
    width = float(figure.get_size_inches()[0]) / at.get_gridspec().ncols
    ax.legend(
        list(once.values()), [cut(name, sheet.letters(width)) for name in once], frameon=False,
        loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=_columns(once, width, sheet),
        columnspacing=1.2, handlelength=2.2,
    )  # fmt: skip


def _name(label: Label) -> str:
    return CHANCE if label.kind == CHANCE else ", ".join(filter(None, label))


def _names(labels: Iterable[Label]) -> set[str]:
    return {_name(label) for label in labels}


def _lines(rows: Sequence[Row], kinds: dict[str, str]) -> Lines:
    """Gather a panel's values; an arm that has the ticket's own mask overlaps with it, no news."""
    rows = [r for r in rows if r.measure in kinds]
    if "overlap_with_ticket" in kinds:
        rows = [r for r in rows if r.density < 1]
        other = {r.arm for r in rows if r.measure == "overlap_with_ticket" and r.value < 1}
        rows = [r for r in rows if r.arm in other]
    arms, rates = {r.arm for r in rows}, {r.lr for r in rows}

    def label(r: Row) -> Label:
        kind = kinds[r.measure]
        arm = words(r.arm) if len(arms) > 1 or not kind else ""
        return Label(arm, kind, f"lr {r.lr:g}" if len(rates) > 1 else "")

    means = {label: level_spreads(own) for label, own in grouped(rows, label).items()}
    return {label: points for label, points in means.items() if points}
