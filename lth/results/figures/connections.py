"""How connections spread over units and pixels: Frankle & Carbin 2019, Appendix F.6."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from lth.results.analysis.structure import connections, connections_per_pixel
from lth.results.analysis.tickets import Drawn, Tickets, spread_out
from lth.results.figures.axes import label_y
from lth.results.figures.sheet import PLAIN, Sheet
from lth.results.figures.style import cut, palette, share

BINS = 20
LEAST = 1.3
"""Inches that a panel takes in print at least, in a font of 8 points."""

LAYERS = 10
"""As many layers are drawn, at most; the first and the last are among them."""


def connections_figure(tickets: Tickets, sheet: Sheet = PLAIN) -> Figure:
    """Draw a column per ticket: connections per pixel, then histograms over units, layer by layer.

    Filled: the share kept of the connections into each unit; outlined: out of each input.
    """
    names = spread_layers(list(tickets.drawn[0].mask))
    drawn, pictures = fitting(tickets, sheet), tickets.pixels is not None
    columns = len(drawn)
    with sheet.used():
        figure, axes = sheet.panels(columns * (len(names) + pictures), columns, (2.5, 2.1), LEAST)
        rows = [axes[i : i + columns] for i in range(0, len(axes), columns)]
        if tickets.pixels is not None:
            _pictures(figure, rows[0], tickets, drawn)
        for row, name in zip(rows[pictures:], names, strict=True):
            for ax, each in zip(row, drawn, strict=True):
                _histograms(ax, each, name, tickets)
            label_y(row[0], f"{cut(name.removesuffix('.weight'), 18)}\nunits (% per point)")
        for ax, each in zip(rows[0], drawn, strict=True):
            ax.set_title(share(each.density) + " of the weights" * (columns < 3))
        for ax in rows[-1]:
            ax.set_xlabel("connections kept (%)")
        handles = rows[-1][0].get_legend_handles_labels()[0]
        sheet.caption(figure, title(tickets, len(names)), handles)
    return figure


def fitting(tickets: Tickets, sheet: Sheet) -> list[Drawn]:
    """Return as many tickets as stand side by side, the densest and the sparsest among them."""
    densities = {number: drawn.density for number, drawn in enumerate(tickets.drawn)}
    most = max(2, sheet.columns(len(densities), LEAST))
    return [tickets.drawn[number] for number in spread_out(densities, most)]


def title(tickets: Tickets, layers: int) -> str:
    """Say which tickets a figure shows, and how much of them."""
    total = len(tickets.drawn[0].mask)
    some = f"; {layers} of {total} layers" if layers < total else ""
    return f"winning tickets of trial {tickets.trial}, lr {tickets.lr:g}{some}"


def spread_layers(names: Sequence[str], count: int = LAYERS) -> list[str]:
    """Choose layers that lie evenly, the ends included.

    >>> spread_layers("abcdefg", 3)
    ['a', 'd', 'g']
    """
    if len(names) <= count:
        return list(names)
    return [names[round(i * (len(names) - 1) / (count - 1))] for i in range(count)]


def _pictures(
    figure: Figure, row: Sequence[Axes], tickets: Tickets, drawn: Sequence[Drawn]
) -> None:
    """Draw the input: how many weights are kept from each pixel, every ticket on its own scale."""
    assert tickets.pixels is not None
    for ax, each in zip(row, drawn, strict=True):
        picture = connections_per_pixel(each.mask, tickets.pixels, tickets.input_shape)
        image = ax.imshow(picture.numpy(), cmap="viridis", vmin=0)
        ax.grid(visible=False)
        ax.spines[:].set_visible(False)
        ax.set_xticks([])
        ax.set_yticks([])
        bar = figure.colorbar(image, ax=ax, shrink=0.85)
        bar.ax.tick_params(labelsize="x-small")
    label_y(row[0], "input\nconnections per pixel")


def _histograms(ax: Axes, drawn: Drawn, name: str, tickets: Tickets) -> None:
    size = drawn.mask[name].numel()
    into, out = connections(drawn.mask, tickets.wirings)[name]
    first, second = palette()[:2]
    ax.stairs(*_histogram(into, size), fill=True, color=first, alpha=0.55, label="into a unit")
    ax.stairs(*_histogram(out, size), color=second, label="out of an input")


def _histogram(counts: Tensor, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the density of units (its area is 100 %) and edges in percent of a unit's connections.

    Bins are whole numbers of connections wide, or some would hold more of them than others.
    """
    width = 1 + int(counts.max()) // BINS
    bins = torch.bincount(counts // width)
    edges = 100 * (width * torch.arange(len(bins) + 1) - 0.5) * len(counts) / size
    return (100 * bins / len(counts) / edges.diff()).numpy(), edges.numpy()
