"""How density spreads over the layers, per arm."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lth.records.intervals import Spread, grouped
from lth.results.analysis.table import Row
from lth.results.figures.analysis import level_spreads, members_note
from lth.results.figures.axes import density_axis, label_y
from lth.results.figures.sheet import PLAIN, Sheet
from lth.results.figures.style import cut, grey, rc, shades, words, wrapped

Lines = dict[str, list[tuple[float, Spread]]]
"""By layer: (density of the network, density of the layer)."""

SIZE = 5.0, 4.0

LETTERS = 110
"""Letters of the arms that a panel's title names, at most."""


def layers_figure(rows: Sequence[Row], sheet: Sheet = PLAIN) -> Figure | None:
    """Draw the density of every layer against that of the network, a panel per arm.

    Means over members, shaded from the least to the greatest. Arms whose layers have the same
    densities share a panel; dense networks are left out, and where nothing was pruned there is no
    figure.
    """
    shown = _shared({arm: lines for arm, lines in _by_arm(rows).items() if _pruned(lines)})
    if not shown:
        return None
    with sheet.used():
        most = min(3, len(shown))
        width = (sheet.options.width or SIZE[0] * most) / sheet.columns(most)
        names = (cut(", ".join(map(words, arms)), LETTERS) for arms, _ in shown)
        titles = [wrapped(name, 0.8 * width, 0.833 * sheet.font) for name in names]
        extra = sheet.lines(max(title.count("\n") for title in titles))
        figure, axes = sheet.panels(len(shown), most, SIZE, extra=extra)
        layers = list(dict.fromkeys(name for _, lines in shown for name in lines))
        colours = dict(zip(layers, shades(len(layers)), strict=True))
        for ax, title, (_, lines) in zip(axes, titles, shown, strict=True):
            _panel(ax, lines, colours, extra)
            ax.set_title(title, fontsize="small")
        handles, labels = max((ax.get_legend_handles_labels() for ax in axes), key=_length)
        sheet.caption(figure, members_note(rows), handles, labels)
    return figure


def _length(found: tuple[list, list]) -> int:
    return len(found[0])


def _panel(ax: Axes, lines: Lines, colours: dict[str, tuple[float, ...]], extra: float) -> None:
    """Draw a line per layer; where there are few, the first show behind others like them."""
    densities = sorted({d for points in lines.values() for d, _ in points})
    ax.plot(*[[100 * d for d in densities]] * 2, color=grey(0.6), ls="--", label="all layers")
    scale = float(rc("lines.linewidth")) / 1.7
    for number, (name, points) in enumerate(lines.items()):
        width = 1.4 + (max(0.0, 3.0 - 1.5 * number) if len(lines) <= 6 else 0.0)
        xs = [100 * density for density, _ in points]
        mean, low, high = ([100 * s[i] for _, s in points] for i in range(3))
        label = name.removesuffix(".weight")
        ax.plot(xs, mean, color=colours[name], lw=width * scale, label=label)
        ax.fill_between(xs, low, high, color=colours[name], alpha=0.16, lw=0)
    _layer_axis(ax, [s.mean for points in lines.values() for _, s in points], extra)
    density_axis(ax, densities)
    ax.set_xlabel("weights remaining (%)")


def _layer_axis(ax: Axes, densities: Sequence[float], extra: float) -> None:
    low = 80 * min((d for d in densities if d > 0), default=1.0)
    steps = (1, 0.5, 0.2) if low < 15 else (1, 0.8, 0.6, 0.4, 0.2)
    ax.set_yscale("log")
    ax.set_ylim(low, 115)
    ax.set_yticks([m * 10.0**p for p in range(2, -4, -1) for m in steps if m * 10.0**p >= low])
    ax.minorticks_off()
    ax.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    label_y(ax, "layer's weights remaining (%)", extra)


def _by_arm(rows: Sequence[Row]) -> dict[str, Lines]:
    shown = (r for r in rows if r.measure == "density" and r.layer)
    lines: dict[str, Lines] = {}
    for (arm, layer), own in grouped(shown, lambda r: (r.arm, r.layer)).items():
        if points := level_spreads(own):
            lines.setdefault(arm, {})[layer] = points
    return lines


def _pruned(lines: Lines) -> bool:
    return any(s.mean < 1 for points in lines.values() for _, s in points)


def _shared(every: dict[str, Lines]) -> list[tuple[list[str], Lines]]:
    """Gather the arms whose every point is another's too."""
    shown: list[tuple[list[str], Lines, set[tuple[str, float, float]]]] = []
    for arm, lines in every.items():
        mine = {
            (n, round(x, 6), round(s.mean, 6)) for n, points in lines.items() for x, s in points
        }
        home = next((arms for arms, _, theirs in shown if mine <= theirs), None)
        if home is None:
            shown.append(([arm], lines, mine))
        else:
            home.append(arm)
    return [(arms, lines) for arms, lines, _ in shown]
