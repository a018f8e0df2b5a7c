"""Masks as pictures: as matrices, kernels, pixels, and layer by layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import ceil, isqrt, prod
from typing import Any, NamedTuple

import torch
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure
from torch import Tensor

from lth.errors import LthError, nearest
from lth.networks import masks
from lth.results.analysis.tickets import Tickets
from lth.results.figures.connections import spread_layers, title
from lth.results.figures.sheet import PLAIN, Sheet
from lth.results.figures.style import cut, grey, is_dark, palette, percent, share
from lth.types import Mask, Params

CELLS = 320
"""Cells along a side of a picture, at most: of a greater matrix each is the mean of a block."""

PIXELS = 600
"""Pixels along a side, at least, that cells are drawn as: edges stay sharp at any size."""

TILES = 12
"""Kernels along a side of a picture, at most."""

UNITS = 24
"""Units whose pixels are shown, at most."""

COLUMNS, LEAST = 4, 1.5
"""Pictures in a row on a screen, and inches that one takes in print, in a font of 8 points."""

LAYERS = 6
"""Layers that the tickets' figure shows, at most; the first and the last are among them."""


class Picture(NamedTuple):
    """A picture of a weight: what is kept (1, or its value), NaN between kernels; and its name."""

    cells: Tensor
    name: str
    square: bool


def mask_figure(
    mask: Mask,
    values: Params | None = None,
    *,
    show: str = "auto",
    layers: Sequence[str] | None = None,
    input_shape: Sequence[int] | None = None,
    note: str = "",
    sheet: Sheet = PLAIN,
) -> Figure:
    """Draw what a mask keeps: ``mask_figure(ticket.mask)``, of a picture per layer.

    ``show`` says how: ``matrices`` ``[out, in ...]``, ``kernels`` of convolutions ``[out, in, H,
    W]``, ``auto`` (kernels where there are some, else matrices), ``pixels``: those of the input
    (``[C, H, W]``, ``input_shape``) that units of the first layer see, or ``layers``: every layer's
    density as a bar. What is kept is dark; with ``values`` (weights by name) it has the colour of
    its sign, the stronger the farther from 0. ``layers`` names those to show, ``note`` is written
    above. Raises ``LthError`` for what is not there to show.
    """
    _check(mask, show, layers)
    named = {name: mask[name].detach().bool().cpu() for name in layers or mask}
    shown = _LAYERS.get(show, dict)(named)
    with sheet.used():
        figure = _SHOW[show](shown, values, input_shape, sheet)
        total = sum(m.numel() for m in shown.values())
        kept = sum(masks.kept(shown).values())
        density = f"{kept:,} of {total:,} weights kept ({share(kept / total)})"
        sheet.caption(figure, "; ".join(filter(None, (note, density, _colours_note(values)))))
    return figure


def masks_figure(tickets: Tickets, sheet: Sheet = PLAIN) -> Figure:
    """Draw the masks of tickets, from dense to sparse: a row for each, a column per layer."""
    every = list(tickets.drawn[0].mask)
    names = spread_layers(every, sheet.columns(min(LAYERS, len(every)), LEAST))
    with sheet.used():
        count = len(names) * len(tickets.drawn)
        size = (13.0 / max(3, len(names)), 2.4)
        figure, axes = sheet.panels(count, len(names), size, LEAST)
        rows = [axes[i : i + len(names)] for i in range(0, count, len(names))]
        for number, (row, drawn) in enumerate(zip(rows, tickets.drawn, strict=True)):
            for ax, name in zip(row, names, strict=True):
                m = drawn.mask[name].bool().cpu()
                picture = _picture(name, m, None, auto=True)
                _show(ax, picture, signed=False)
                kept = f"{share(float(m.double().mean()))} kept"
                ax.set_title(f"{picture.name}\n{kept}" if number == 0 else kept, fontsize="small")
            row[0].set_ylabel(f"{share(drawn.density)}\nof all weights")
        kept = "bright: kept" if is_dark() else "dark: kept"
        note = f"{title(tickets, len(names))}; {kept}; of large layers a cell is a block's mean"
        sheet.caption(figure, note)
    return figure


def _check(mask: Mask, show: str, layers: Sequence[str] | None) -> None:
    if not mask or not any(m.numel() for m in mask.values()):
        raise LthError("mask_figure: the mask names no weights")
    if show not in _SHOW:
        raise LthError(f"show={show}: it is one of {', '.join(_SHOW)}{nearest(show, _SHOW)}")
    for name in layers or ():
        if name not in mask:
            raise LthError(f"layers={name}: the mask has {', '.join(mask)}{nearest(name, mask)}")


def _colours_note(values: Params | None) -> str:
    return "" if values is None else "blue below 0, orange above, the stronger the farther"


def _all(auto: bool) -> Callable[..., Figure]:
    """Return what draws every layer as a picture, with ``auto`` kernels as such."""

    def draw(mask: Mask, values: Params | None, _: Sequence[int] | None, sheet: Sheet) -> Figure:
        pictures = [_picture(n, m, _of(values, n, m), auto) for n, m in mask.items()]
        return _pictures(pictures, values is not None, sheet)

    return draw


def _kernels(mask: Mask) -> Mask:
    """Return what of a mask are kernels of convolutions."""
    found = {n: m for n, m in mask.items() if _is_kernel(m)}
    if not found:
        raise LthError(f"show=kernels: none of {', '.join(mask)} is of a convolution")
    return found


def _first(mask: Mask) -> Mask:
    """Return a mask's first layer: what looks at pixels."""
    return dict([next(iter(mask.items()))])


def _pixels(mask: Mask, values: Params | None, shape: Sequence[int] | None, sheet: Sheet) -> Figure:
    """Draw how many weights each pixel keeps, and which pixels some units see."""
    name, m = next(iter(mask.items()))
    shape = tuple(shape or _square(m))
    if m.ndim != 2 or len(shape) != 3 or m.shape[1] != prod(shape):
        raise LthError(
            f"show=pixels: {name} {list(m.shape)} does not read pictures of shape {list(shape)}: "
            "say input_shape=(C, H, W)"
        )
    own = _of(values, name, m)
    cells = m.double() if own is None else own
    seen = cells.reshape(-1, *shape).mean(1)
    whole = m.double().reshape(-1, *shape).sum((0, 1))
    some = _spread(len(seen), UNITS)
    tiles = _tiled(seen[some], ceil(len(some) ** 0.5))
    units = f"pixels that {len(some)} of {len(seen)} units see"
    return _pictures(
        [Picture(whole, f"{_name(name)}: weights per pixel", True), Picture(tiles, units, True)],
        values is not None, sheet, scales=True,
    )  # fmt: skip


def _bars(mask: Mask, _: Params | None, __: Sequence[int] | None, sheet: Sheet) -> Figure:
    """Draw every layer's density as a bar, its counts beside it."""
    kept = masks.kept(mask)
    scale = sheet.font / 10
    size = (7.0, max(1.6, 0.6 + 0.27 * len(mask)))
    figure, (ax,) = sheet.panels(1, 1, size)
    width = float(figure.get_size_inches()[0])
    figure.set_size_inches(width, (0.7 + 0.27 * len(mask)) * scale)
    shares = [100 * kept[n] / max(1, m.numel()) for n, m in mask.items()]
    ax.barh(range(len(mask)), shares, color=palette()[0], height=0.7)
    for y, (name, m) in enumerate(mask.items()):
        text = f" {percent(shares[y])} %: {kept[name]:,} of {m.numel():,}"
        inside = shares[y] > 60
        ax.annotate(
            text + " " * inside, (shares[y], y), va="center", ha="right" if inside else "left",
            fontsize="small", color=grey(1.0) if inside else grey(0.0),
        )  # fmt: skip
    ax.set_yticks(range(len(mask)), [cut(_name(n), int(5 * width)) for n in mask])
    ax.set_xlim(0, 100)
    ax.set_ylim(len(mask) - 0.4, -0.6)
    ax.grid(visible=False, axis="y")
    ax.set_xlabel("weights kept (%)")
    return figure


_SHOW: Mapping[str, Callable[..., Figure]] = {
    "auto": _all(auto=True), "matrices": _all(auto=False), "kernels": _all(auto=True),
    "pixels": _pixels, "layers": _bars,
}  # fmt: skip

_LAYERS: Mapping[str, Callable[[Mask], Mask]] = {"kernels": _kernels, "pixels": _first}
"""What of a mask is drawn, and counted above, where it is not all of it."""


def _pictures(
    pictures: Sequence[Picture], signed: bool, sheet: Sheet, scales: bool = False
) -> Figure:
    figure, axes = sheet.panels(len(pictures), min(COLUMNS, len(pictures)), (3.2, 3.0), LEAST)
    for number, (ax, picture) in enumerate(zip(axes, pictures, strict=True)):
        counts = scales and number == 0
        image = _show(ax, picture, signed and not counts)
        ax.set_title(picture.name, fontsize="small")
        if counts:
            bar = figure.colorbar(image, ax=ax, shrink=0.8)
            bar.ax.tick_params(labelsize="x-small")
    return figure


def _show(ax: Axes, picture: Picture, signed: bool) -> Any:
    """Draw a picture without axes; its darkest cell is the one that keeps most."""
    height, width = picture.cells.shape
    times = ceil(PIXELS / height), ceil(PIXELS / width)
    cells = picture.cells.repeat_interleave(times[0], 0).repeat_interleave(times[1], 1).numpy()
    top = float(picture.cells.nan_to_num().abs().max()) or 1.0
    ground = to_rgb(grey(0.92))
    first, second = palette()[:2]
    stops: list[Any] = [first, ground, second] if signed else [ground, grey(0.0)]
    colours = LinearSegmentedColormap.from_list("kept", stops).with_extremes(bad=grey(1.0))
    image = ax.imshow(
        cells, cmap=colours, vmin=-top if signed else 0.0, vmax=top,
        aspect="equal" if picture.square else "auto", interpolation="auto",
        extent=(-0.5, width - 0.5, height - 0.5, -0.5),
    )  # fmt: skip
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)
    ax.set_xticks([])
    ax.set_yticks([])
    return image


def _picture(name: str, mask: Tensor, values: Tensor | None, auto: bool) -> Picture:
    cells = mask.double() if values is None else values
    size = "x".join(map(str, mask.shape))
    if auto and _is_kernel(mask):
        units, inputs = mask.shape[:2]
        columns = _spread(inputs, TILES)
        beside = max(1, min(TILES // len(columns), round((units / len(columns)) ** 0.5)))
        rows = _spread(units, TILES * beside)
        tiles = cells[rows][:, columns].flatten(0, 1)
        whole = len(rows) * len(columns) == units * inputs
        some = "" if whole else f", {len(rows)} x {len(columns)} of them"
        picture = _tiled(tiles, len(columns) * beside)
        return Picture(picture, f"{_name(name)} {size}{some}", True)
    flat = cells.reshape(mask.shape[0], -1) if mask.ndim > 1 else cells.reshape(1, -1)
    return Picture(_shrunk(flat), f"{_name(name)} {size}", False)


def _is_kernel(mask: Tensor) -> bool:
    return mask.ndim == 4 and prod(mask.shape[2:]) > 1


def _of(values: Params | None, name: str, mask: Tensor) -> Tensor | None:
    """Return a weight's values where it is kept, 0 elsewhere."""
    if values is None:
        return None
    if name not in values or values[name].shape != mask.shape:
        raise LthError(f"values: they have no {name} of shape {list(mask.shape)}")
    return values[name].detach().cpu().double() * mask


def _tiled(tiles: Tensor, columns: int) -> Tensor:
    """Lay pictures ``[n, H, W]`` out in rows, NaN between them."""
    n, height, width = tiles.shape
    rows = ceil(n / columns)
    whole = tiles.new_full((rows * columns, height + 1, width + 1), float("nan"))
    whole[:n, :height, :width] = tiles
    grid = whole.reshape(rows, columns, height + 1, width + 1).transpose(1, 2)
    return grid.reshape(rows * (height + 1), -1)[:-1, :-1]


def _shrunk(matrix: Tensor) -> Tensor:
    """Average blocks where a matrix has more cells than a picture."""
    size = min(matrix.shape[0], CELLS), min(matrix.shape[1], CELLS)
    if size == tuple(matrix.shape):
        return matrix
    return torch.nn.functional.adaptive_avg_pool2d(matrix[None, None], size)[0, 0]


def _spread(count: int, most: int) -> list[int]:
    """Choose so many numbers below ``count`` that lie evenly."""
    return list(range(count)) if count <= most else [i * count // most for i in range(most)]


def _square(mask: Tensor) -> tuple[int, ...]:
    """Guess the pictures that a layer reads: square and grey, or in three colours."""
    inputs = mask.shape[1] if mask.ndim > 1 else 0
    for channels in (1, 3):
        side = isqrt(inputs // channels)
        if inputs and channels * side * side == inputs:
            return channels, side, side
    return (inputs,)


def _name(name: str) -> str:
    return cut(name.removesuffix(".weight"), 24)
