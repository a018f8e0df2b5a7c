"""Carrying a net into the form of another model: the values, and the mask where it has one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lth.errors import LthError
from lth.networks import masks
from lth.networks.net import Net
from lth.networks.ticket import layers_of
from lth.spec.build import Spec, locate, target_of
from lth.types import Mask


def carried(net: Net, model: Spec) -> Net:
    """Return a net in the form that ``model`` names: its factory's ``carry``, form after form.

    Exact where the form can hold what the net computes. A net with views, or with a mask where the
    form would lose it, is refused: these come after the rewrite.
    """
    if model == net.model:
        return net
    inner, name = model.get("model"), target_of(model)
    factory = locate(name)
    carry = getattr(factory, "carry", None)
    if carry is None or not isinstance(inner, Mapping):
        raise LthError(
            f"{name} is no form of {target_of(net.model)}: a rewrite names the model that it is of"
        )
    again = getattr(factory, "again", False) and target_of(net.model) == name
    if not (again and net.model.get("model") == inner):  # else its own carry goes further by itself
        net = carried(net, dict(inner))
    short = name.rpartition(".")[2]
    if net.views or net.gate is not None or net.frozen:
        others = {"gate": net.gate is not None, "frozen values": bool(net.frozen)}
        what = ", ".join([*net.views, *(n for n, has in others.items() if has)])
        raise LthError(f"{short}: it would break the network's views ({what}): rewrite before them")
    if is_masked(net.mask) and not getattr(factory, "masked", False):
        raise LthError(f"{short}: it would break the network's mask: rewrite first, then prune")
    return carry(net, model)


def is_masked(mask: Mask) -> bool:
    """Whether a mask prunes anything."""
    return not all(bool(m.all()) for m in mask.values())


def full_mask(model: Spec) -> Mask:
    """Return the mask that keeps every weight of a model that can be pruned."""
    layers = layers_of(model)
    return masks.full(layers, [n for n in layers.shapes if n not in layers.fixed])


def parts_of(net: Net) -> dict[str, Any]:
    """Return what of a net a ticket takes over."""
    return {n: getattr(net, n) for n in ("model", "mask", "params", "buffers", "views", "owned")}
