"""How density spreads over the layers, per arm."""

from __future__ import annotations

import textwrap
from collections import defaultdict
from collections.abc import Sequence

from lth.results.analysis.table import Row
from lth.results.figures.analysis import Axes, Figure, density_axis, level_means, panels, shades
from lth.results.figures.style import words

Lines = dict[str, list[tuple[float, float]]]
"""By layer: (density of the network, density of the layer)."""


def layers_figure(rows: Sequence[Row]) -> Figure | None:
    """Draw the density of every layer against that of the network, a panel per arm.

    Means over members. Arms whose layers have the same densities share a panel; dense networks are
    left out, and where nothing was pruned there is no figure.
    """
    shown = _shared({arm: lines for arm, lines in _by_arm(rows).items() if _pruned(lines)})
    if not shown:
        return None
    figure, axes = panels(len(shown), min(3, len(shown)), (5.0, 4.0))
    layers = list(dict.fromkeys(name for _, lines in shown for name in lines))
    colours = dict(zip(layers, shades(len(layers)), strict=True))
    for ax, (arms, lines) in zip(axes, shown, strict=True):
        densities = sorted({d for points in lines.values() for d, _ in points})
        ax.plot(*[[100 * d for d in densities]] * 2, color="0.6", ls="--", lw=1, label="all layers")
        for number, (name, points) in enumerate(lines.items()):
            # where there are few, the first show behind others like them
            width = 1.4 + (max(0.0, 3.0 - 1.5 * number) if len(lines) <= 6 else 0.0)
            xs, ys = ([100 * p[i] for p in points] for i in (0, 1))
            label = name.removesuffix(".weight")
            ax.plot(xs, ys, color=colours[name], lw=width, label=label)
        ax.set_title(textwrap.fill(", ".join(map(words, arms)), 45), fontsize=10)
        _layer_axis(ax, [d for points in lines.values() for _, d in points])
        density_axis(ax, densities)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", frameon=False, fontsize=8)
    return figure


def _layer_axis(ax: Axes, densities: Sequence[float]) -> None:
    low = 80 * min((d for d in densities if d > 0), default=1.0)
    steps = (1, 0.5, 0.2) if low < 15 else (1, 0.8, 0.6, 0.4, 0.2)
    ax.set_yscale("log")
    ax.set_ylim(low, 115)
    ax.set_yticks([m * 10.0**p for p in range(2, -4, -1) for m in steps if m * 10.0**p >= low])
    ax.minorticks_off()
    ax.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    ax.set_ylabel("layer's weights remaining (%)")


def _by_arm(rows: Sequence[Row]) -> dict[str, Lines]:
    found: dict[str, dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for r in rows:
        if r.measure == "density" and r.layer:
            found[r.arm][r.layer].append(r)
    means = {arm: {n: level_means(m) for n, m in own.items()} for arm, own in found.items()}
    return {arm: {n: m for n, m in own.items() if m} for arm, own in means.items()}


def _pruned(lines: Lines) -> bool:
    return any(value < 1 for points in lines.values() for _, value in points)


def _shared(found: dict[str, Lines]) -> list[tuple[list[str], Lines]]:
    """Gather the arms whose every point is another's too."""
    shown: list[tuple[list[str], Lines, set[tuple[str, float, float]]]] = []
    for arm, lines in found.items():
        mine = {(n, round(x, 6), round(y, 6)) for n, points in lines.items() for x, y in points}
        for arms, _, theirs in shown:
            if mine <= theirs:
                arms.append(arm)
                break
        else:
            shown.append(([arm], lines, mine))
    return [(arms, lines) for arms, lines, _ in shown]
