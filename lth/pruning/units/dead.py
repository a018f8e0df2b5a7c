"""Units that a mask has cut off: nothing comes in, or nothing goes out."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from lth.networks.drawn import network_of
from lth.networks.net import Net
from lth.networks.rewrites.fold import constant_groups, foldable
from lth.networks.rewrites.units import Units
from lth.pruning.units.chosen import without_idle
from lth.types import Params


def dead_groups(
    net: Net, units: Units, gone: Sequence[int], shape: Sequence[int]
) -> list[int]:  # fmt: skip
    """Return the groups that can go without any change of the outputs, beyond those ``gone``.

    A unit that goes takes its weights along, which may leave others without any: until none is.
    """
    kept = _kept(net)
    network = network_of(net.model, net.plain_start)
    found = list[int]()
    while True:
        alive = [n for n in range(len(units.groups)) if n not in {*gone, *found}]
        still = constant_groups(kept, units, alive)
        more = foldable(network, units, still, shape)[0] if still else set[int]()
        more |= {n for n in alive if _unused(units, n, kept)}
        going = without_idle(units, more, [*gone, *found])
        if not going:
            return found
        found += going
        _clear(kept, units, going)


def _kept(net: Net) -> Params:
    """Return which weights there are, as numbers."""
    return {
        n: net.mask[n].clone() if n in net.mask else torch.ones_like(p, dtype=torch.bool)
        for n, p in net.params.items()
    }


def _unused(units: Units, number: int, kept: Params) -> bool:
    inputs = units.groups[number].inputs
    return not any(bool(kept[_weight(n)][:, list(p)].any()) for n, p in inputs.items())


def _clear(kept: Params, units: Units, going: Sequence[int]) -> None:
    for group in (units.groups[n] for n in going):
        for name in (n for n in group.outputs if n in units.layers):
            kept[_weight(name)][list(group.outputs[name])] = False
        for name, places in group.inputs.items():
            kept[_weight(name)][:, list(places)] = False


def _weight(name: str) -> str:
    return f"{name}.weight" if name else "weight"
