"""Which weights a view sees, and with how many bits: by name, pattern, or kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lth.errors import LthError
from lth.spec.patterns import fits, module_of, names_in_text

KINDS = ("linear", "conv")
"""Kinds of weights: matrices, and those of convolutions, which have more dimensions."""

PerLayer = int | Mapping[str, int]
"""One number for all layers, or one by name or shell-style pattern of the weight."""


def chosen(name: str, weight: Tensor, layers: Sequence[str] | None, kinds: Sequence[str]) -> bool:
    """Whether a weight is one of those that are named, None: all, and of those kinds."""
    named = layers is None or any(fits(pattern, name) for pattern in layers)
    return named and ("conv" if weight.ndim > 2 else "linear") in kinds


@torch.compiler.assume_constant_result  # names and patterns stay what they are
def number_for(name: str, given: PerLayer) -> int | None:
    """Return a layer's number: that of its name, or module, else of the longest pattern that fits.

    >>> number_for("fc1.weight", {"fc*": 2, "fc1.weight": 3}), number_for("x", {"fc*": 2})
    (3, None)
    """
    if not isinstance(given, Mapping):
        return given
    fitting = [p for p in given if fits(p, name)]
    own = (name, module_of(name))
    best = max(fitting, key=lambda p: (p in own, len(p), p), default=None)
    return None if best is None else given[best]


def check_chosen(what: str, layers: Any, kinds: Any) -> tuple[Sequence[str] | None, Sequence[str]]:
    """Refuse a choice of layers that is none."""
    layers = names_in_text(layers)
    layers = [layers] if isinstance(layers, str) else layers
    kinds = [kinds] if isinstance(kinds, str) else kinds
    fine = layers is None or (
        isinstance(layers, list | tuple) and all(isinstance(p, str) for p in layers)
    )
    if not fine or layers in ([], ()):
        raise LthError(
            f"{what}: layers={layers!r}: a list of names or patterns of weights, or null"
        )
    if not isinstance(kinds, list | tuple) or not kinds or not {*kinds} <= {*KINDS}:
        raise LthError(f"{what}: kinds={kinds!r}: a list of {', '.join(KINDS)}")
    return (None if layers is None else tuple(layers)), tuple(kinds)


def check_numbers(what: str, given: Any, fits: Any, says: str) -> None:
    """Refuse a number, or one of a mapping's, that does not fit."""
    if isinstance(given, Mapping):
        if not given or not all(isinstance(n, str) for n in given):
            raise LthError(f"{what}={dict(given)}: numbers by names or patterns of weights")
        for name, number in given.items():
            if not fits(number):
                raise LthError(f"{what}.{name}={number!r}: {says}")
    elif not fits(given):
        raise LthError(f"{what}={given!r}: {says}")
