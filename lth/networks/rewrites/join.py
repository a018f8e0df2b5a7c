"""Units joined to the inputs that take them, and to each other where an addition joins them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lth.networks.rewrites.follow import NONE, SEVERAL, Follower, Spot, relu_of

Places = Mapping[str, tuple[int, ...]]
"""By module name: numbers of its outputs, or of its inputs."""

MIXED = "they are mixed before another layer takes them"
FIXED = "they reach the network's outputs, or meet what is no unit"


class Group(NamedTuple):
    """Units that can only go together: outputs of modules, and the inputs that take them."""

    outputs: Places
    inputs: Places


class Joined:
    """Outputs and inputs, joined where a unit of the one is seen at the other.

    ``outputs``, ``through`` and ``inputs`` count those of layers, of what units go through one by
    one, and of what takes them; ``groups`` are those that can go, ``stuck`` says why others stay.
    """

    def __init__(self, followed: Follower) -> None:
        self.followed, self.parent = followed, dict[tuple[str, str, int], tuple[str, str, int]]()
        self.mixed, self.fixed = set[str](), set[tuple[str, str, int]]()
        self.relus: dict[str, tuple[Spot, Tensor]] = {}
        self.groups, self.stuck = list[Group](), dict[str, str]()
        fixed = self._followed()
        self.inputs = {s.name: len(d) for s, d in fixed.items() if s.kind == "in"}
        self.through = {s.name: len(d) for s, d in fixed.items() if s.kind == "through"}
        self._list()

    def _followed(self) -> dict[Spot, Tensor]:
        """Follow every layer, join what belongs together, note what stays where it is."""
        followed, layers = self.followed, self.followed.layers
        taken = {
            s: d.clone()
            for mode in followed.modes
            for s, d in followed.differing(mode, "", torch.ones(1, dtype=torch.bool)).items()
            if s.kind in ("in", "through", "out")
        }
        fixed = {s: d | (s.kind == "out") for s, d in taken.items()}
        untouched = {s: ~d for s, d in taken.items()}
        self.outputs = {n: _count(m) for n, m in layers.items() if n in followed.called}
        for name, count in self.outputs.items():
            seen = followed.sources(name, count)
            if (relu := relu_of(seen, layers[name])) is not None:
                self.relus[name] = relu
            for spot in fixed:
                self._join(name, spot, seen[spot])
                fixed[spot] |= seen[spot] == SEVERAL
                untouched[spot] &= seen[spot] == NONE
        for spot, here in fixed.items():  # what shows no unit is no unit's place
            for feature in (here | untouched[spot]).nonzero().flatten().tolist():
                self.fixed.add(self._root(_node(spot, feature)))
        return fixed

    def _join(self, layer: str, spot: Spot, seen: Tensor) -> None:
        if bool((seen == SEVERAL).any()):
            self.mixed.add(layer)
        for feature in (seen >= 0).nonzero().flatten().tolist():
            a, b = self._root(("out", layer, int(seen[feature]))), self._root(_node(spot, feature))
            self.parent[b] = a

    def _root(self, node: tuple[str, str, int]) -> tuple[str, str, int]:
        while (above := self.parent.get(node, node)) != node:
            self.parent[node] = self.parent.get(above, above)
            node = above
        return node

    def _list(self) -> None:
        members: dict[tuple[str, str, int], dict[str, dict[str, list[int]]]] = {}
        sizes = {"out": {**self.outputs, **self.through}, "in": self.inputs}
        nodes = [
            (k, n, i) for k, of in sizes.items() for n, size in of.items() for i in range(size)
        ]
        for kind, name, number in nodes:
            group = members.setdefault(self._root((kind, name, number)), {"out": {}, "in": {}})
            group[kind].setdefault(name, []).append(number)
        fixed = {self._root(n) for n in self.fixed}
        for root, group in members.items():
            names = [n for n in group["out"] if n in self.outputs]
            if root in fixed or any(n in self.mixed for n in names):
                for name in names:
                    why = MIXED if name in self.mixed else self.stuck.get(name, FIXED)
                    self.stuck[name] = why
            elif names:
                self.groups.append(Group(_tuples(group["out"]), _tuples(group["in"])))


def _node(spot: Spot, feature: int) -> tuple[str, str, int]:
    kind = {"in": "in", "through": "out", "out": "logits"}[spot.kind]
    return kind, spot.name, feature


def _tuples(places: Mapping[str, Sequence[int]]) -> Places:
    return {n: tuple(numbers) for n, numbers in places.items()}


def _count(module: nn.Module) -> int:
    return int(getattr(module, "out_features", 0) or getattr(module, "out_channels", 0))
