"""A tensor: one value, an earlier tensor once more, all of its values, or those that are not 0."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from lth.files import demand
from lth.packing.adaptive import count
from lth.packing.cheapest import cheapest, fits
from lth.packing.coder import HALF, Coder
from lth.packing.kinds import Kind, Patterns, Place, patterns_of
from lth.packing.positions import positions
from lth.packing.symbols import whole_numbers
from lth.packing.values import numbers, values
from lth.types import Symbols

Earlier = Sequence[tuple[Kind, Patterns]]


def tensor(
    coder: Coder,
    kind: Kind,
    earlier: Earlier,
    given: Patterns | None = None,
    symbols: Symbols | None = None,
) -> Patterns:
    """Code the patterns of a tensor by the cheapest way, ``earlier`` ones may stand for it.

    ``symbols`` are whole numbers that it is said to be steps of; they are held to that.
    """
    steps = None if symbols is None or symbols.steps is None else symbols
    varied = given is None or kind.size < 2 or bool((given != given[0]).any())

    def unless_constant(way: Callable[[Coder], Patterns]) -> Callable[[Coder], Patterns]:
        def tried(coder: Coder) -> Patterns:
            fits(varied)  # nothing is shorter, and a large tensor takes long to try
            return way(coder)

        return tried

    with coder.part("values", kind.name):
        return cheapest(
            coder,
            [
                lambda c: _constant(c, kind, given),
                lambda c: _again(c, kind, earlier, given),
                unless_constant(lambda c: values(c, kind, kind.size, given, kind.everywhere)),
                unless_constant(lambda c: _sparse(c, kind, given)),
                lambda c: _steps(c, kind, given, steps, False),
                lambda c: _steps(c, kind, given, steps, True),
            ],
        )


def _constant(coder: Coder, kind: Kind, given: Patterns | None) -> Patterns:
    """One value everywhere; a tensor without values needs none."""
    if kind.size == 0:
        return np.zeros(0, dtype=kind.word)
    fits(given is None or bool((given == given[0]).all()))
    return numbers(coder, kind, 1, None if given is None else given[:1]).repeat(kind.size)


def _again(coder: Coder, kind: Kind, earlier: Earlier, given: Patterns | None) -> Patterns:
    """The values of an earlier tensor of the same dtype and shape, counted from the last."""
    alike = [p for k, p in reversed(earlier) if k[1:] == kind[1:]]
    place = None
    if given is not None:
        place = next((n for n, p in enumerate(alike) if bool((p == given).all())), None)
        fits(place is not None)
    place = count(coder, place)
    demand(place < len(alike), "it repeats a tensor that is not there")
    return alike[place]


def _sparse(coder: Coder, kind: Kind, given: Patterns | None) -> Patterns:
    """Where it is not 0, and the values there; where all are, they are shorter by themselves."""
    fits(given is None or not bool(given.all()))
    grid = positions(coder, kind.grid, None if given is None else _not_zero(kind, given))
    kept = grid.reshape(-1)
    found = np.zeros(kind.size, dtype=kind.word)
    number = int(kept.sum())
    place = Place(np.flatnonzero(kept), kind.size, kind.grid[0])
    found[kept] = values(coder, kind, number, None if given is None else given[kept], place)
    return found


def _steps(
    coder: Coder, kind: Kind, given: Patterns | None, symbols: Symbols | None, sparse: bool
) -> Patterns:
    """Whole numbers, times steps that are the same along some dimensions."""
    steps = ids = None
    if given is not None:
        fits(symbols is not None and kind.bits is not None and kind.size > 0)
        assert symbols is not None and symbols.steps is not None
        steps = symbols.steps.detach().cpu().to(kind.torch_dtype)
        fits(steps.ndim in (0, len(kind.shape)) and symbols.ids.shape == kind.shape)
        steps = steps.reshape(steps.shape or (1,) * len(kind.shape))
        fits(all(s in (1, n) for s, n in zip(steps.shape, kind.shape, strict=True)))
        ids = symbols.ids.detach().cpu().reshape(-1).numpy().astype(np.int64)
        ids = np.where(given == 0, 0, ids)
    demand(kind.bits is not None, "its values have no steps")
    steps = _step_sizes(coder, kind, steps)
    if not sparse:
        with coder.part("ids"):
            whole = whole_numbers(coder, kind.size, ids, kind.everywhere)
    else:
        grid = positions(coder, kind.grid, None if given is None else _not_zero(kind, given))
        kept = grid.reshape(-1)
        whole = np.zeros(kind.size, dtype=np.int64)
        with coder.part("ids"):
            place = Place(np.flatnonzero(kept), kind.size, kind.grid[0])
            kept_ids = None if ids is None else ids[kept]
            whole[kept] = whole_numbers(coder, len(place.flat), kept_ids, place)
    found = patterns_of(steps * torch.from_numpy(whole).reshape(kind.shape).to(steps.dtype))
    fits(given is None or bool((found == given).all()))
    return found


def _step_sizes(coder: Coder, kind: Kind, given: Tensor | None) -> Tensor:
    with coder.part("codebook"):
        shape = []
        for place, length in enumerate(kind.shape):
            bit = None if given is None else int(given.shape[place] == length)
            shape.append(length if coder.bit(HALF, bit) else 1)
        steps = kind._replace(shape=tuple(shape))
        found = numbers(coder, steps, steps.size, None if given is None else patterns_of(given))
    octets = torch.from_numpy(found.astype(kind.word, copy=True).view(np.uint8))
    return octets.view(kind.torch_dtype).reshape(shape)


def _not_zero(kind: Kind, given: Patterns) -> np.ndarray:
    return (given != 0).reshape(kind.grid)
