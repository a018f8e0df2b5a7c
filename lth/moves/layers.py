"""Which layers of a network a move means, and what it says of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from lth.errors import LthError
from lth.networks.layers import Layers
from lth.spec.patterns import module_of

T = TypeVar("T")


def names_in(
    what: str, layers: Layers, patterns: Sequence[str] | None, kinds: Iterable[str]
) -> list[str]:
    """Return the weights of some kinds that patterns match, None: all; one at least.

    A pattern is of weights or of their modules; ``output`` is the output layer. What is made of
    other parameters (weight norm) is no weight to be seen otherwise: it is refused by name.
    """
    names = [n for n in layers.shapes if ("conv" if n in layers.convs else "linear") in kinds]
    if patterns is None:
        names = [n for n in names if n not in layers.fixed]
    else:
        meant = {n for p in patterns for n in _matched(what, layers, p)}
        if fixed := [n for n in layers.fixed if n in meant and n in names]:
            raise LthError(f"{what}: {fixed[0]} is made of others: {layers.fixed[fixed[0]]}")
        names = [n for n in names if n in meant]
    if not names:
        raise LthError(f"{what}: no layer is both named and of the kinds {', '.join(kinds)}")
    return names


def by_layer(
    what: str, layers: Layers, names: Sequence[str], given: Mapping[str, T]
) -> dict[str, T]:
    """Return what a mapping from patterns says of each layer; what none fits is left out.

    The name of a layer goes before ``output``, that before patterns, the longest pattern first.
    """
    found: dict[str, tuple[tuple[int, int, str], T]] = {}
    for pattern, value in given.items():
        for name in _matched(what, layers, pattern):
            exact = 2 if pattern in (name, module_of(name)) else int(pattern == "output")
            rank = exact, len(pattern), pattern
            if name not in found or rank > found[name][0]:
                found[name] = rank, value
    chosen = {n: found[n][1] for n in names if n in found}
    if not chosen:
        raise LthError(f"{what}: {', '.join(given)}: none of these is among the layers chosen")
    return chosen


def _matched(what: str, layers: Layers, pattern: str) -> list[str]:
    try:
        return layers.named(pattern)
    except LthError as error:
        raise LthError(f"{what}: {error}") from error
