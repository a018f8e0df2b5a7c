"""Views of one's own, tried before they train: what they keep to themselves would be lost."""

from __future__ import annotations

import pickle
import random
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from lth.errors import LthError, told
from lth.networks.net import Net
from lth.networks.ticket import drawing
from lth.types import Params, View


class Tried(NamedTuple):
    """A view, as its net names it, and another of the same spec."""

    name: str
    view: View
    twin: View


def check_views(net: Net) -> None:
    """Refuse views that fail, change a weight's shape, or depend on more than they are given.

    They are deterministic outside training, also after a step of it; in training one that draws
    says so (``draws = True``). Otherwise what is stored and exported is not what was measured.
    """
    if not net.views:
        return
    first, again = net.built_views(), net.built_views()
    for key, tensor in first.own.items():
        if not _same(tensor, again.own[key]):
            view = f"views: {key} is not the same when it is made twice"
            raise LthError(f"{view}: own gives the same of the same weight, and draws nothing")
    names = [*(["gate"] if net.gate is not None else []), *net.views]
    for weight, mask in net.mask.items():
        seen = torch.where(mask, net.params[weight], net.params[weight].new_zeros(()))
        for place, name in enumerate(names):
            own = first.tensors[place].get(weight)
            if own is not None:
                tried = Tried(name, first.views[place], again.views[place])
                seen = _tried(tried, weight, seen, mask.to(seen), own)


def _tried(tried: Tried, weight: str, given: Tensor, mask: Tensor, own: Params) -> Tensor:
    """Return what a view makes of a weight outside training, tried in training too."""
    where, own = f"views.{tried.name}", {n: t.detach().clone() for n, t in own.items()}

    def see(view: View, training: bool) -> tuple[Tensor, bool]:
        """Return what is seen, and whether it was drawn."""
        with drawing(0):
            before = _generators()
            try:
                found: Any = view(weight, given.clone(), mask, own, training)
            except Exception as error:
                raise LthError(f"{where}: it fails on {weight}: {told(error)}") from error
            drawn = before != _generators()
        if not isinstance(found, Tensor) or found.shape != given.shape:
            made = list(found.shape) if isinstance(found, Tensor) else f"a {type(found).__name__}"
            raise LthError(f"{where}: of {weight} {list(given.shape)} it makes {made}: one alike")
        return found.detach().clone(), drawn

    found, drawn = see(tried.view, False)
    if drawn:
        raise LthError(f"{where}: it draws random numbers outside training, where a network is one")
    kept = _same(found, see(tried.view, False)[0])
    if see(tried.view, True)[1] and not getattr(tried.view, "draws", False):
        raise LthError(f"{where}: it draws random numbers: let it say so, draws = True")
    if not kept or not _same(see(tried.view, False)[0], see(tried.twin, False)[0]):
        raise LthError(
            f"{where}: what it makes of {weight} depends on more than it is given: what it "
            "remembers belongs in a tensor that it owns, which is stored"
        )
    return found


def _generators() -> str:
    """Return the states of all that a view may draw from, torch's, numpy's and ``random``'s."""
    return repr((torch.get_rng_state().tolist(), pickle.dumps(np.random.get_state()),
                 random.getstate()))  # fmt: skip


def _same(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.equal(one.nan_to_num(), other.nan_to_num())
