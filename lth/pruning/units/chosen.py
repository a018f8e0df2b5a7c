"""Which groups of units go: by layer, over all layers together, or down to counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from lth.errors import LthError
from lth.networks.rewrites.units import Units
from lth.streams import stream


def by_layer(
    units: Units, scores: Mapping[int, float], gone: Sequence[int], rate: float
) -> list[int]:  # fmt: skip
    """Return the lowest ``rate`` of the units of every family of layers, one always left."""
    found = list[int]()
    for names, numbers in units.families():
        left = [n for n in numbers if n not in {*gone}]
        quota = round(rate * _count(units, names[0], gone))
        found += _lowest(units, scores, [*gone, *found], left, quota)
    return found


def globally(
    units: Units, scores: Mapping[int, float], gone: Sequence[int], rate: float
) -> list[int]:  # fmt: skip
    """Return the lowest ``rate`` of the units of all layers together; no layer loses all."""
    left = [n for _, numbers in units.families() for n in numbers if n not in {*gone}]
    total = sum(_count(units, names[0], gone) for names, _ in units.families())
    return _lowest(units, scores, gone, left, round(rate * total))


def down_to(
    units: Units, scores: Mapping[int, float], gone: Sequence[int], to: Mapping[str, int]
) -> list[int]:  # fmt: skip
    """Return the lowest units of some layers, so that ``to`` of each are left."""
    found = list[int]()
    for names, numbers in families_of(units, to):
        wanted = {n: to[n] for n in names if n in to}
        name = next(iter(wanted))
        there = _count(units, name, gone)
        if len(set(wanted.values())) > 1:
            raise LthError(f"prune_neurons.to: {', '.join(wanted)} share their units: one number")
        if wanted[name] > there:
            raise LthError(f"prune_neurons.to.{name}={wanted[name]}: it has {there} units")
        left = [n for n in numbers if n not in {*gone}]
        found += _lowest(units, scores, [*gone, *found], left, there - wanted[name], name)
        if _count(units, name, [*gone, *found]) != wanted[name]:
            least = _count(units, name, [*gone, *left])
            why = units.stuck.get(name, "its units go several at a time")
            raise LthError(f"prune_neurons.to.{name}={wanted[name]}: {least} units stay: {why}")
    return found


def families_of(
    units: Units, names: Iterable[str]
) -> list[tuple[tuple[str, ...], list[int]]]:  # fmt: skip
    """Return the families of named layers; a layer without units that can go is refused."""
    families = units.families()
    for name in names:
        if not any(name in family for family, _ in families):
            known = ", ".join(n for family, _ in families for n in family)
            why = units.stuck.get(name)
            what = f"its units stay: {why}" if why else f"no such layer; there are {known}"
            raise LthError(f"prune_neurons.to.{name}: {what}")
    return [f for f in families if {*f[0]} & {*names}]


def scored(
    units: Units, left: Sequence[int], scores: Tensor, ties: int
) -> dict[int, float]:  # fmt: skip
    """Return scores by group, equals told apart by a permutation drawn from ``ties``."""
    if scores.shape != (len(left),):
        raise LthError(f"importance: {tuple(scores.shape)} scores for {len(left)} groups of units")
    if bool(scores.isnan().any()):
        raise LthError(
            "importance: it gives NaN, by a 0/0 or an overflow; nothing diverged is seen"
        )
    generator = stream("ties", ties, "units")
    turn = torch.randperm(len(units.groups), generator=generator)[list(left)]
    ranked = sorted(range(len(left)), key=lambda i: (float(scores[i]), int(turn[i])))
    return {left[i]: float(place) for place, i in enumerate(ranked)}


def _lowest(
    units: Units, scores: Mapping[int, float], gone: Sequence[int], left: Sequence[int],
    quota: int, name: str | None = None,
) -> list[int]:  # fmt: skip
    """Return the lowest groups, until ``quota`` units (of a layer) have gone; none is emptied."""
    counts = {n: len(kept) for n, kept in _all_left(units, gone).items()}
    found = list[int]()
    for number in sorted(left, key=lambda n: scores[n]):
        group = units.groups[number]
        first = name or next(n for n in group.outputs if n in units.layers)
        size = len(group.outputs.get(first, ()))
        if size > quota or any(counts[n] <= len(p) for n, p in group.outputs.items()):
            continue
        for n, places in group.outputs.items():
            counts[n] -= len(places)
        found.append(number)
        quota -= size
    return found


def _all_left(units: Units, gone: Sequence[int]) -> dict[str, Sequence[int]]:
    outputs, _ = units.without(gone)
    return {n: outputs.get(n, range(size)) for n, size in units.outputs.items()}


def _count(units: Units, name: str, gone: Sequence[int]) -> int:
    return len(_all_left(units, gone)[name])


def without_idle(
    units: Units, dead: Iterable[int], gone: Sequence[int]
) -> list[int]:  # fmt: skip
    """Return the groups among the ``dead`` that can go with no layer left empty."""
    numbers = sorted({*dead} - {*gone})
    return _lowest(units, {n: float(n) for n in numbers}, gone, numbers, len(units.groups) + 1)
