"""The initial weights of the survivors: Frankle & Carbin 2019 (arXiv 1803.03635), F.1 and F.2."""

from __future__ import annotations

from lth.networks import masks
from lth.results.analysis.structure import survivors
from lth.results.analysis.tickets import Drawn, Tickets
from lth.results.figures.analysis import Figure, panels, shades
from lth.results.figures.connections import spread_layers, title
from lth.results.figures.style import percent

COLUMNS = 4


def survivors_figure(found: Tickets) -> Figure:
    """Draw, layer by layer, which initial weights are kept: a line per ticket, the dense one black.

    Each is the share of the layer's kept weights that began in a bin, so that sparse tickets stand
    as high as dense ones.
    """
    names = [n for n in spread_layers(list(found.drawn[0].mask)) if _differ(found, n)]
    whole = Drawn(1.0, {n: found.drawn[0].mask[n].new_ones(found.initial[n].shape) for n in names})
    lines = [(whole, (0.0, 0.0, 0.0)), *zip(found.drawn, shades(len(found.drawn)), strict=True)]
    figure, axes = panels(max(1, len(names)), max(1, min(COLUMNS, len(names))), (3.4, 3.0))
    for ax, name in zip(axes, names, strict=False):
        for drawn, colour in lines:
            counts, edges = survivors(found.initial, {name: drawn.mask[name]}, bins=30)[name]
            kept = max(1, masks.kept(drawn.mask)[name])
            label = f"{percent(100 * drawn.density)} %"
            ax.stairs((100 * counts / kept).numpy(), edges.numpy(), color=colour, label=label)
        ax.set_title(name.removesuffix(".weight"), fontsize=10)
        ax.set_xlabel("initial weight")
    for ax in axes[::COLUMNS]:
        ax.set_ylabel("share of the weights kept (%)")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside upper center", ncols=len(lines), frameon=False,
        title=f"weights remaining; {title(found, len(names))}", title_fontsize=9,
    )  # fmt: skip
    return figure


def _differ(found: Tickets, name: str) -> bool:
    """Whether a layer's initial weights are not all one value."""
    values = found.initial[name]
    return bool(values.min() < values.max())
