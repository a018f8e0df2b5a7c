"""Few values for many numbers: k-means in one dimension, which needs no random start.

Sorted, every cluster is an interval: a pass of Lloyd's costs ``k`` look-ups in the sorted numbers,
and differences of their running sums.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

PASSES = 300
"""At most; Lloyd's algorithm ends by itself, usually after some dozens."""


def shared(numbers: Tensor, k: int, coding: float = 0.0) -> tuple[Tensor, Tensor]:
    """Share ``k`` values among ``numbers [n]``: return them ``[k]``, ascending, and ids ``[n]``.

    Minimises ``sum (x - v[id])^2`` by Lloyd's algorithm from values spread linearly between the
    least and the greatest number (Han et al. 2016, arXiv 1510.00149, Section 3.2); a value that is
    left without numbers goes to the worst served one. ``coding`` is what a bit is worth, in units
    of the numbers' variance: with it ``coding * var * -log2 p[id]`` is added for every number
    (entropy-constrained quantization, Chou, Lookabaugh & Gray 1989). Where there are no more than
    ``k`` distinct numbers, and ``coding`` is 0, they are the values: nothing is lost. Values in
    excess are 0.
    """
    exact = numbers.detach().cpu().double()
    distinct, inverse, counts = exact.unique(return_inverse=True, return_counts=True)
    if len(distinct) < 2 or (len(distinct) <= k and coding == 0):
        values, ids = distinct, torch.arange(len(distinct))
    else:
        values, ids = _lloyd(_Sorted(distinct, counts), min(k, len(distinct)), coding)
    padded = exact.new_zeros(k)
    padded[: len(values)] = values
    return padded.to(numbers), ids[inverse].to(numbers.device)


class _Sorted:
    """Distinct numbers in order, how often each is there, and sums up to each."""

    def __init__(self, numbers: Tensor, counts: Tensor) -> None:
        self.numbers, self.counts = numbers, counts.double()
        self.mean = float((numbers * self.counts).sum() / self.counts.sum())
        centred, zero = numbers - self.mean, numbers.new_zeros(1)  # else the sums lose digits
        self.upto = torch.cat([zero, self.counts.cumsum(0)])
        self.sums = torch.cat([zero, (centred * self.counts).cumsum(0)])
        self.variance = float((centred**2 * self.counts).sum() / self.counts.sum())

    def means(self, edges: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean and the count of the numbers between every two edges."""
        number = self.upto[edges].diff()
        return self.sums[edges].diff() / number.clamp(min=1) + self.mean, number


def _lloyd(data: _Sorted, k: int, coding: float) -> tuple[Tensor, Tensor]:
    """Return the values and the ids of the distinct numbers."""
    values = torch.linspace(float(data.numbers[0]), float(data.numbers[-1]), k, dtype=torch.float64)
    price, before = torch.zeros_like(values), torch.tensor([])
    for _ in range(PASSES):
        edges = _edges(data, values, price)
        means, number = data.means(edges)
        used = number > 0
        if not torch.equal(edges, before):
            before, values = edges, torch.where(used, means, values)
        elif coding or bool(used.all()):
            break
        else:
            values = _relocated(data, values, edges, used)
        if coding:
            values, number = values[used], number[used]  # what nothing is coded by is gone
            price = coding * data.variance * -(number / data.upto[-1]).log2()
    edges = _edges(data, values, price)
    means, number = data.means(edges)
    ids = torch.repeat_interleave(torch.arange(len(values)), edges.diff())
    return torch.where(number > 0, means, values), ids


def _edges(data: _Sorted, values: Tensor, price: Tensor) -> Tensor:
    """Return where in the sorted numbers each value's begin, and where the last ones end.

    ``x`` costs ``(x - v)^2 + price``: a line in x for each value, whose lower envelope is taken.
    """
    if not bool(price.any()):
        inner = torch.searchsorted(data.numbers, (values[1:] + values[:-1]) / 2, right=True)
    else:
        inner = torch.searchsorted(data.numbers, _envelope(values, price), right=True)
    ends = torch.tensor([0]), torch.tensor([len(data.numbers)])
    return torch.cat([ends[0], inner, ends[1]])


def _envelope(values: Tensor, price: Tensor) -> Tensor:
    """Return the places ``[k - 1]`` at which each value is followed by the next.

    One that is nowhere the cheapest has its two places at one point.
    """
    v, p = values.tolist(), price.tolist()
    best, since = [0], [-math.inf]  # the values on the envelope, and from where on
    for j in range(1, len(v)):
        place = _crossing(v, p, best[-1], j)
        while place <= since[-1] and len(best) > 1:
            best.pop()
            since.pop()
            place = _crossing(v, p, best[-1], j)
        best.append(j)
        since.append(place)
    starts, places = dict(zip(best, since, strict=True)), list[float]()
    after = math.inf
    for j in reversed(range(1, len(v))):
        after = starts.get(j, after)
        places.append(after)
    return torch.tensor(places[::-1], dtype=torch.float64)


def _crossing(v: list[float], p: list[float], i: int, j: int) -> float:
    """Return from where on value j is cheaper than i, which is less."""
    if v[i] == v[j]:
        return -math.inf if p[j] < p[i] else math.inf
    return (v[j] ** 2 + p[j] - v[i] ** 2 - p[i]) / (2 * (v[j] - v[i]))


def _relocated(data: _Sorted, values: Tensor, edges: Tensor, used: Tensor) -> Tensor:
    """Return values of which those without numbers have gone to the worst served ones.

    That is to the number farthest from its value in each of the clusters of the greatest error.
    """
    near = torch.repeat_interleave(values, edges.diff())
    each = torch.cat([data.upto.new_zeros(1), (data.counts * (data.numbers - near) ** 2).cumsum(0)])
    errors = each[edges].diff()
    free = (~used).nonzero().flatten()
    worst = errors.sort(descending=True, stable=True).indices[: len(free)]
    worst = worst[errors[worst] > 0]
    first, last = data.numbers[edges[worst]], data.numbers[edges[worst + 1] - 1]
    centre, moved = values[worst], values.clone()
    moved[free[: len(worst)]] = torch.where(centre - first > last - centre, first, last)
    return moved.sort().values
