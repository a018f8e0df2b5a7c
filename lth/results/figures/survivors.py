"""The initial weights of the survivors: Frankle & Carbin 2019 (arXiv 1803.03635), F.1 and F.2."""

from __future__ import annotations

from matplotlib.figure import Figure

from lth.networks import masks
from lth.results.analysis.structure import survivors
from lth.results.analysis.tickets import Drawn, Tickets
from lth.results.figures.connections import spread_layers, title
from lth.results.figures.style import legend_above, panels, percent, shades

COLUMNS = 4


def survivors_figure(tickets: Tickets) -> Figure:
    """Draw, layer by layer, which initial weights are kept: a line per ticket, the dense one black.

    Each is the share of the layer's kept weights that began in a bin, so that sparse tickets stand
    as high as dense ones.
    """
    names = [n for n in spread_layers(list(tickets.drawn[0].mask)) if _differ(tickets, n)]
    whole = Drawn(
        1.0, {n: tickets.drawn[0].mask[n].new_ones(tickets.initial[n].shape) for n in names}
    )
    lines = [(whole, (0.0, 0.0, 0.0)), *zip(tickets.drawn, shades(len(tickets.drawn)), strict=True)]
    figure, axes = panels(max(1, len(names)), max(1, min(COLUMNS, len(names))), (3.4, 3.0))
    for ax, name in zip(axes, names, strict=False):
        for drawn, colour in lines:
            counts, edges = survivors(tickets.initial, {name: drawn.mask[name]}, bins=30)[name]
            kept = max(1, masks.kept(drawn.mask)[name])
            label = f"{percent(100 * drawn.density)} %"
            ax.stairs((100 * counts / kept).numpy(), edges.numpy(), color=colour, label=label)
        ax.set_title(name.removesuffix(".weight"), fontsize=10)
        ax.set_xlabel("initial weight")
    for ax in axes[::COLUMNS]:
        ax.set_ylabel("share of the weights kept (%)")
    handles, _ = axes[0].get_legend_handles_labels()
    legend_above(figure, handles, f"weights remaining; {title(tickets, len(names))}")
    return figure


def _differ(tickets: Tickets, name: str) -> bool:
    """Whether a layer's initial weights are not all one value."""
    values = tickets.initial[name]
    return bool(values.min() < values.max())
