"""Which weights a model has: those of its Linear and Conv modules, in order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from torch import nn
from torch.nn.modules.conv import _ConvNd

from lth.errors import LthError


@dataclass(frozen=True)
class Layers:
    """The weights of one architecture: shapes by name, which are convolutional, which is last."""

    shapes: dict[str, tuple[int, ...]]
    convs: frozenset[str]
    output: str

    @property
    def sizes(self) -> dict[str, int]:
        """Number of weights by name."""
        return {name: _size(shape) for name, shape in self.shapes.items()}

    @property
    def total(self) -> int:
        """All weights of the dense network, prunable or not: the denominator of density."""
        return sum(self.sizes.values())

    def match(self, patterns: Iterable[str]) -> set[str]:
        """Names that the shell-style patterns match; ``output`` stands for the output layer."""
        found: set[str] = set()
        for pattern in patterns:
            names = {self.output} if pattern == "output" else set()
            names |= {n for n in self.shapes if fnmatchcase(n, pattern)}
            if not names:
                raise LthError(
                    f"no weight is named {pattern!r}; there are {', '.join(self.shapes)}"
                )
            found |= names
        return found


def describe(model: nn.Module) -> Layers:
    """List the weights of ``model``; the output layer is the Linear or Conv registered last."""
    first_names = {id(p): n for n, p in model.named_parameters()}  # a tied weight counts once
    shapes: dict[str, tuple[int, ...]] = {}
    convs: set[str] = set()
    for module in model.modules():
        if isinstance(module, nn.Linear | _ConvNd) and id(module.weight) in first_names:
            name = first_names[id(module.weight)]
            shapes.setdefault(name, tuple(module.weight.shape))
            if isinstance(module, _ConvNd):
                convs.add(name)
    if not shapes:
        raise LthError(f"{type(model).__name__} has no Linear or Conv weights to prune")
    return Layers(shapes, frozenset(convs), list(shapes)[-1])


def _size(shape: tuple[int, ...]) -> int:
    size = 1
    for length in shape:
        size *= length
    return size
