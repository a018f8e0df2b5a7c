"""The units of a network that can be taken out: which outputs and inputs go together.

Found by following units through the network (follow.py) and proven by trial: a network without
some of them must compute what it computes where nothing uses them. Units that an addition joins
are one group. What cannot be proven stays.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from lth.errors import LthError, told
from lth.networks.drawn import draw_model, drawing, memory_key
from lth.networks.rewrites.cut import cut
from lth.networks.rewrites.follow import Follower, Spot, example_of
from lth.networks.rewrites.join import Group, Joined, Places
from lth.spec.build import Spec

TRIED = "the network does not run, or computes something else, without some of them"


@dataclass(frozen=True)
class Units:
    """The groups of a network that can go, in order; ``stuck`` says why others of a layer stay.

    ``outputs`` and ``inputs`` count those of every module that can be cut; ``layers`` names those
    whose outputs are units; ``relus`` is the first ReLU that a layer's units pass.
    """

    outputs: Mapping[str, int]
    inputs: Mapping[str, int]
    layers: tuple[str, ...]
    groups: tuple[Group, ...]
    stuck: Mapping[str, str]
    relus: Mapping[str, tuple[Spot, Tensor]] = field(default_factory=dict)

    def families(self) -> list[tuple[tuple[str, ...], list[int]]]:
        """Return layers whose units are joined, and the groups of each family, in order."""
        found: list[tuple[set[str], list[int]]] = []
        for number, group in enumerate(self.groups):
            names = {n for n in group.outputs if n in self.layers}
            same = [f for f in found if f[0] & names]
            found = [f for f in found if not f[0] & names]
            joined = set(names).union(*(f[0] for f in same))
            numbers = sorted([number, *(n for f in same for n in f[1])])
            found.append((joined, numbers))
        ordered = sorted(found, key=lambda f: f[1][0])
        return [(tuple(n for n in self.layers if n in names), g) for names, g in ordered]

    def without(self, gone: Iterable[int]) -> tuple[dict[str, list[int]], dict[str, list[int]]]:
        """Return which outputs and inputs of modules are left without some groups."""
        groups = [self.groups[n] for n in gone]
        return (
            _left(self.outputs, [g.outputs for g in groups]),
            _left(self.inputs, [g.inputs for g in groups]),
        )

    def beyond(self, keep: Mapping[str, Collection[int]]) -> list[int]:
        """Return the groups that go where only some units of layers are kept; refuse what cannot.

        Units that are joined to those that go, go too; layers may name the same ones.
        """
        for name, kept in keep.items():
            self.check(name, kept)
        going = [n for n, group in enumerate(self.groups) if _goes(group, keep)]
        outputs, _ = self.without(going)
        for name, kept in keep.items():
            left = outputs.get(name, list(range(self.outputs[name])))
            if left != list(kept):
                raise LthError(self._why_not(name, set(left) - set(kept)))
        return going

    def check(self, name: str, kept: Collection[int]) -> None:
        """Refuse units of a layer that it does not have, or none."""
        if name not in self.outputs:
            known = ", ".join(self.layers)
            raise LthError(
                f"narrowed.keep.{name}: no layer whose units are known; there are {known}"
            )
        check_numbers(f"narrowed.keep.{name}", kept, self.outputs[name])

    def _why_not(self, name: str, units: Collection[int]) -> str:
        if not units:
            return f"narrowed.keep.{name}: units that it keeps are joined to some that go"
        why = self.stuck.get(name, "units joined to them are kept")
        return f"narrowed.keep.{name}: unit {min(units)} cannot go: {why}"


def check_numbers(name: str, kept: Any, size: int) -> None:
    """Refuse what are not some of ``size`` numbers, in order."""
    listed = list(kept) if isinstance(kept, list | tuple) else []
    whole = all(isinstance(k, int) and not isinstance(k, bool) for k in listed)
    if not listed or not whole or listed != sorted({*listed}) or not 0 <= listed[0]:
        raise LthError(f"{name}={str(kept)[:60]}: units to keep, at least one, from 0 up, in order")
    if listed[-1] >= size:
        raise LthError(f"{name}: it has {size} units, and no {listed[-1]}")


def _goes(group: Group, keep: Mapping[str, Collection[int]]) -> bool:
    return any(u not in keep[n] for n, units in group.outputs.items() if n in keep for u in units)


def _left(sizes: Mapping[str, int], gone: Sequence[Places]) -> dict[str, list[int]]:
    lost: dict[str, set[int]] = {}
    for places in gone:
        for name, numbers in places.items():
            lost.setdefault(name, set()).update(numbers)
    return {n: [i for i in range(sizes[n]) if i not in lost[n]] for n in sizes if n in lost}


def units_of(model: Spec, input_shape: Sequence[int]) -> Units:
    """Return the units of the network that a spec names, for examples of a shape."""
    key = memory_key(model), tuple(input_shape)
    if key not in _found:
        _found[key] = find_units(draw_model(model, 0), input_shape)
    return _found[key]


_found: dict[Any, Units] = {}  # a pure function's memory, nothing else


def find_units(network: nn.Module, input_shape: Sequence[int]) -> Units:
    """Follow a network's units, and try which can go; the network stays as it is."""
    with torch.device("cpu") if torch.empty(0).is_meta else nullcontext():
        followed = Follower(in_numbers(network), input_shape)
        found = _found_in(followed)
        return _proven(in_numbers(network), found, input_shape)


def _found_in(followed: Follower) -> Units:
    joined = Joined(followed)
    return Units(
        {**joined.outputs, **joined.through}, joined.inputs, tuple(joined.outputs),
        tuple(joined.groups), joined.stuck, joined.relus,
    )  # fmt: skip


MOST_TRIED = 1 << 26
"""Numbers of a network, or of its examples, that are made up to see how it computes."""


def in_numbers(network: nn.Module) -> nn.Module:
    """Return a copy that can run, also of a module without numbers, if it is not too large."""
    try:
        network = copy.deepcopy(network)
    except Exception as error:
        raise LthError(f"{type(network).__name__} cannot be copied: {told(error)}") from error
    without = [t for t in (*network.parameters(), *network.buffers()) if t.is_meta]
    if sum(t.numel() for t in without) > MOST_TRIED:
        raise LthError(f"{type(network).__name__} is too large to be tried without its weights")
    if without:
        network = network.to_empty(device="cpu")
        with torch.no_grad():
            for tensor in (*network.parameters(), *network.buffers()):
                tensor.fill_(1)
    return network


def _proven(network: nn.Module, units: Units, shape: Sequence[int]) -> Units:
    """Return the units without the families that do not stand the trial."""
    example = example_of(network, shape)
    families = units.families()
    halves = [_half(units, names, numbers) for names, numbers in families]
    if _stands(network, units, [n for half in halves for n in half], example):
        return units
    held: list[int] = []
    stuck = dict(units.stuck)
    for (names, numbers), half in zip(families, halves, strict=True):
        if _stands(network, units, half, example):
            held += numbers
        else:
            stuck |= dict.fromkeys(names, TRIED)
    return replace(units, groups=tuple(units.groups[n] for n in sorted(held)), stuck=stuck)


def _half(units: Units, names: Sequence[str], numbers: Sequence[int]) -> list[int]:
    """Return every second group of a family, so that no layer loses all of its units."""
    held = [units.groups[n] for n in numbers]
    whole = any(sum(len(g.outputs.get(n, ())) for g in held) == units.outputs[n] for n in names)
    return list(numbers[1::2]) if whole else list(numbers[::2])


def _stands(network: nn.Module, units: Units, gone: Sequence[int], example: Tensor) -> bool:
    """Whether a network without some groups computes what it does where nothing uses them."""
    keep, inputs = units.without(gone)
    narrow = copy.deepcopy(network)
    cut(narrow, keep, inputs)
    unused = copy.deepcopy(network)
    for name, kept in inputs.items():
        weight: Any = unused.get_submodule(name).weight
        lost = torch.ones(weight.shape[1], dtype=torch.bool)
        lost[kept] = False
        with torch.no_grad():
            weight[:, lost] = 0.0
    try:
        return _same(narrow, unused, example)
    except Exception:
        return False


def _same(narrow: nn.Module, unused: nn.Module, example: Tensor) -> bool:
    with torch.no_grad():
        given, wanted = (_drawn(n.eval(), example) for n in (narrow, unused))
        trained = [[t.shape for t in _drawn(n.train(), example)] for n in (narrow, unused)]
    close = [
        torch.allclose(a, b, atol=1e-4 * float(b.abs().max().clamp(1.0)), equal_nan=True)
        for a, b in zip(given, wanted, strict=True)
    ]
    return all(close) and trained[0] == trained[1]


def _drawn(network: nn.Module, example: Tensor) -> list[Tensor]:
    with drawing(0):
        return [t for t in tree_leaves(network(example)) if isinstance(t, Tensor)]
