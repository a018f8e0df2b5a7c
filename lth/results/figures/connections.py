"""How connections spread over units and pixels: Frankle & Carbin 2019, Appendix F.6."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from lth.results.analysis.structure import connections, connections_per_pixel
from lth.results.analysis.tickets import Drawn, Tickets
from lth.results.figures.analysis import Axes, Figure, panels
from lth.results.figures.style import percent

INTO, OUT = "#0072B2", "#D55E00"
BINS = 20
LAYERS = 10
"""As many layers are drawn, at most; the first and the last are among them."""


def connections_figure(found: Tickets) -> Figure:
    """Draw a column per ticket: connections per pixel, then histograms over units, layer by layer.

    Filled: the share kept of the connections into each unit; outlined: out of each input.
    """
    names = spread_layers(list(found.drawn[0].mask))
    columns, pictures = len(found.drawn), found.pixels is not None
    figure, axes = panels(columns * (len(names) + pictures), columns, (2.5, 2.1))
    rows = [axes[i : i + columns] for i in range(0, len(axes), columns)]
    if found.pixels is not None:
        _pictures(figure, rows[0], found)
    for row, name in zip(rows[pictures:], names, strict=True):
        for ax, drawn in zip(row, found.drawn, strict=True):
            _histograms(ax, drawn, name, found)
        row[0].set_ylabel(f"{name.removesuffix('.weight')}\nunits (% per point)", fontsize=9)
    for ax, drawn in zip(rows[0], found.drawn, strict=True):
        ax.set_title(f"{percent(100 * drawn.density)} % of the weights", fontsize=10)
    for ax in rows[-1]:
        ax.set_xlabel("connections kept (%)")
    _legend(figure, rows[-1][0], title(found, len(names)))
    return figure


def title(found: Tickets, layers: int) -> str:
    """Say which tickets a figure shows, and how much of them."""
    total = len(found.drawn[0].mask)
    some = f"; {layers} of {total} layers" if layers < total else ""
    return f"winning tickets of trial {found.trial}, lr {found.lr:g}{some}"


def spread_layers(names: Sequence[str], count: int = LAYERS) -> list[str]:
    """Choose layers that lie evenly, the ends included.

    >>> spread_layers("abcdefg", 3)
    ['a', 'd', 'g']
    """
    if len(names) <= count:
        return list(names)
    return [names[round(i * (len(names) - 1) / (count - 1))] for i in range(count)]


def _pictures(figure: Figure, row: Sequence[Axes], found: Tickets) -> None:
    """Draw the input: how many weights are kept from each pixel, every ticket on its own scale."""
    assert found.pixels is not None
    for ax, drawn in zip(row, found.drawn, strict=True):
        picture = connections_per_pixel(drawn.mask, found.pixels, found.input_shape)
        image = ax.imshow(picture.numpy(), cmap="viridis", vmin=0)
        ax.grid(visible=False)
        ax.spines[:].set_visible(False)
        ax.set_xticks([])
        ax.set_yticks([])
        bar = figure.colorbar(image, ax=ax, shrink=0.85)
        bar.ax.tick_params(labelsize=7)
    row[0].set_ylabel("input\nconnections per pixel", fontsize=9)


def _histograms(ax: Axes, drawn: Drawn, name: str, found: Tickets) -> None:
    size = drawn.mask[name].numel()
    into, out = connections(drawn.mask, found.wirings)[name]
    ax.stairs(*_histogram(into, size), fill=True, color=INTO, alpha=0.55, label="into a unit")
    ax.stairs(*_histogram(out, size), color=OUT, lw=1.5, label="out of an input")
    ax.tick_params(labelsize=8)


def _histogram(counts: Tensor, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the density of units (its area is 100 %) and edges in percent of a unit's connections.

    Bins are whole numbers of connections wide, or some would hold more of them than others.
    """
    width = 1 + int(counts.max()) // BINS
    bins = torch.bincount(counts // width)
    edges = 100 * (width * torch.arange(len(bins) + 1) - 0.5) * len(counts) / size
    return (100 * bins / len(counts) / edges.diff()).numpy(), edges.numpy()


def _legend(figure: Figure, ax: Axes, title: str) -> None:
    handles, labels = ax.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside upper center", ncols=2, frameon=False, title=title,
        title_fontsize=9,
    )  # fmt: skip
