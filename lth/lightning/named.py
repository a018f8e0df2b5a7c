"""A mask of 0 and 1 by parameter name, fitted to a module whose weights it speaks of."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from lth.errors import LthError
from lth.types import Mask, Params

COMPILED = "_orig_mod."
"""What ``torch.compile`` puts into the names of a module that it wraps."""


def booleans(mask: Any, who: str = "KeepMask") -> Mask:
    """Return a mask as booleans by name: of tensors, arrays or lists, flat or nested, or a ticket.

    ``{"encoder": {"weight": m}}`` names ``encoder.weight``. Values that are not booleans are
    refused, as are masks that name nothing.
    """
    mask = getattr(mask, "mask", mask)
    if not isinstance(mask, Mapping):
        raise LthError(
            f"{who}: mask is a {type(mask).__name__}: give a dict of booleans by parameter name"
        )
    found = {}
    for name, value in _flat(mask, ""):
        try:
            found[name] = torch.as_tensor(value).detach().to_dense().cpu().clone()
        except (TypeError, ValueError, RuntimeError):
            raise LthError(f"{who}: {name} is a {type(value).__name__}, no tensor") from None
        if found[name].dtype != torch.bool:
            raise LthError(
                f"{who}: {name} holds {found[name].dtype}, not booleans; say {name} != 0"
            )
    if not found:
        raise LthError(f"{who}: the mask names no weight")
    return found


def _flat(mask: Mapping[Any, Any], path: str) -> Iterator[tuple[str, Any]]:
    for name, value in mask.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{path}{name}.")
        else:
            yield f"{path}{name}", value


def names_of(module: nn.Module) -> dict[str, str]:
    """Map every name of a parameter, and that name without ``_orig_mod.``, to its first name."""
    first: dict[int, str] = {}
    found: dict[str, str] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        own = first.setdefault(id(parameter), name)
        found |= {name.replace(COMPILED, ""): own, name: own}
    return found


def fitted(mask: Mask, module: nn.Module) -> Mask:
    """Return the mask under the module's own names; a tied weight goes by its first.

    What the module lacks, or has in another shape, is refused in one line.
    """
    names, parameters = names_of(module), dict(module.named_parameters())
    found: Mask = {}
    for name, part in mask.items():
        own = names.get(name, names.get(name.replace(COMPILED, "")))
        if own is None:
            raise LthError(f"KeepMask: the module has no parameter {name}{_near(name, [*names])}")
        shape = _shape(own, parameters[own])
        if part.shape != shape:
            raise LthError(
                f"KeepMask: the mask of {name} has shape {tuple(part.shape)}, the weights have "
                f"{tuple(shape)}"
            )
        if own in found and not torch.equal(found[own], part):
            raise LthError(f"KeepMask: {name} and {own} are one weight, and their masks differ")
        found[own] = part
    return found


def refuse_lazy(module: nn.Module, who: str) -> None:
    """Refuse a module whose shapes are not known yet."""
    lazy = [n for n, p in module.named_parameters() if nn.parameter.is_lazy(p)]
    if lazy:
        raise LthError(
            f"{who}: {lazy[0]} is lazy, its shape is known after an example: call the module on "
            "one first"
        )


def _shape(name: str, parameter: nn.Parameter) -> torch.Size:
    if nn.parameter.is_lazy(parameter):
        raise LthError(
            f"KeepMask: {name} is lazy, its shape is known after an example: call the module on "
            "one before Trainer.fit"
        )
    return parameter.shape


def _near(name: str, names: list[str]) -> str:
    """Return `` (did you mean ...?)``: a name with a prefix, or one spelt almost so."""
    longer = [n for n in names if n.endswith("." + name)]
    shorter = [n for n in names if name.endswith("." + n)]
    close = [*longer, *shorter, *difflib.get_close_matches(name, names, 1, 0.5)]
    if close:
        return f"; did you mean {close[0]}?"
    return f"; it has {', '.join(names[:8])}" if names else "; it has none"


def copied(tensors: Any) -> Params:
    """Copy named tensors out of a module, to the CPU."""
    return {n: t.detach().cpu().clone() for n, t in tensors}
