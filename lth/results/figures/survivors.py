"""The initial weights of the survivors: Frankle & Carbin 2019 (arXiv 1803.03635), F.1 and F.2."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lth.networks import masks
from lth.results.analysis.structure import survivors
from lth.results.analysis.tickets import Drawn, Tickets
from lth.results.figures.axes import label_y
from lth.results.figures.connections import spread_layers, title
from lth.results.figures.sheet import PLAIN, Sheet
from lth.results.figures.style import cut, grey, shades, share

COLUMNS = 4


def survivors_figure(tickets: Tickets, sheet: Sheet = PLAIN) -> Figure:
    """Draw, layer by layer, which initial weights are kept: a line per ticket, dense in ink.

    Each is the share of the layer's kept weights that began in a bin, so that sparse tickets stand
    as high as dense ones.
    """
    names = [n for n in spread_layers(list(tickets.drawn[0].mask)) if _differ(tickets, n)]
    whole = Drawn(
        1.0, {n: tickets.drawn[0].mask[n].new_ones(tickets.initial[n].shape) for n in names}
    )
    count = max(1, len(names))
    with sheet.used():
        colours = [grey(0.0), *shades(len(tickets.drawn))]
        lines = list(zip([whole, *tickets.drawn], colours, strict=True))
        figure, axes = sheet.panels(count, min(COLUMNS, count), (3.4, 3.0))
        for ax, name in zip(axes, names, strict=False):
            for drawn, colour in lines:
                _stairs(ax, tickets, drawn, name, colour)
            ax.set_title(cut(name.removesuffix(".weight"), 24))
            ax.set_xlabel("initial weight")
        for ax in axes[:: sheet.columns(min(COLUMNS, count))]:
            label_y(ax, "share of kept weights (%)")
        handles, _ = axes[0].get_legend_handles_labels()
        note = f"colours: weights remaining; {title(tickets, len(names))}"
        sheet.caption(figure, note, handles)
    return figure


def _stairs(ax: Axes, tickets: Tickets, drawn: Drawn, name: str, colour: tuple[float, ...]) -> None:
    counts, edges = survivors(tickets.initial, {name: drawn.mask[name]}, bins=30)[name]
    kept = max(1, masks.kept(drawn.mask)[name])
    label = share(drawn.density)
    ax.stairs((100 * counts / kept).numpy(), edges.numpy(), color=colour, label=label)


def _differ(tickets: Tickets, name: str) -> bool:
    """Whether a layer's initial weights are not all one value."""
    values = tickets.initial[name]
    return bool(values.min() < values.max())
