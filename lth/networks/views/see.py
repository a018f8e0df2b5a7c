"""Views of a network's weights, in order: what they own, and what the forward pass sees.

``w' = view_k(... view_1(m * w))``, 0 where the weight is pruned, or the value it is frozen at.
Tensors that a view owns of a weight are named ``<weight>/<tensor>``, as in ``fc1.weight/scale``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, cast

import torch
from torch import Tensor, nn

from lth.errors import LthError
from lth.types import Mask, Params, View

FROZEN = "frozen"
"""What the values are called that pruned weights are frozen at."""


@dataclass(frozen=True)
class Frozen:
    """The view that sets pruned weights to values, ``w' = w + (1 - m) f``; these never train."""

    values: Params

    def own(self, name: str, weight: Tensor, mask: Tensor) -> Params | None:
        """Return the values, 0 where the weight is kept."""
        if name not in self.values:
            return None
        return {FROZEN: torch.where(mask.bool(), 0.0, self.values[name].to(weight))}

    def __call__(
        self, name: str, weight: Tensor, mask: Tensor, own: Params, training: bool
    ) -> Tensor:
        """Add what is 0 where the weight is kept to what is 0 where it is pruned."""
        return weight + own[FROZEN]


@dataclass(frozen=True)
class Views:
    """The views of one network, in order, the mask before and the frozen values after them.

    ``tensors`` are what they own, by view, weight and name, as training starts.
    """

    views: Sequence[View] = ()
    frozen: Frozen | None = None
    tensors: Sequence[Mapping[str, Params]] = field(default=(), repr=False)

    def __bool__(self) -> bool:
        return bool(self.views) or self.frozen is not None

    @property
    def holds(self) -> bool:
        """Whether no weight trains."""
        return any(getattr(v, "holds", False) for v in self.views)

    @property
    def replaced(self) -> frozenset[str]:
        """The weights that nothing is seen of: others stand for them, and they do not train."""
        seen = zip(self.views, self.tensors, strict=False)
        return frozenset(w for v, t in seen if getattr(v, "replaces", False) for w in t)

    @property
    def draws(self) -> bool:
        """Whether a view draws random numbers."""
        return any(getattr(v, "draws", False) for v in self.views)

    @property
    def samples(self) -> int:
        """How many drawn networks an evaluation averages, 0 for none."""
        return max((getattr(v, "samples", 0) for v in self.views), default=0)

    @cached_property
    def own(self) -> Params:
        """All that the views own, under names of the whole network."""
        return {
            f"{weight}/{name}": tensor
            for by_weight in self.tensors
            for weight, owned in by_weight.items()
            for name, tensor in owned.items()
        }

    @cached_property
    def lasting(self) -> frozenset[str]:
        """What of it a state of the network holds: not the scores of a gate, nor frozen values."""
        lasting = [t for v, t in zip(self._all, self.tensors, strict=True) if _lasts(v)]
        return frozenset(f"{w}/{n}" for t in lasting for w, owned in t.items() for n in owned)

    def names(self, weight: str) -> list[str]:
        """Name what is owned of one weight."""
        return [name for by_weight in self.tensors for name in by_weight.get(weight, ())]

    def see(self, name: str, weight: Tensor, mask: Tensor, own: Params, training: bool) -> Tensor:
        """Return what the forward pass sees of a weight; ``own`` is that of this weight alone.

        What a gate leaves out is pruned for the views behind it too, but its scores have gradients.
        """
        seen, kept = weight * mask, mask
        for view, tensors in zip(self.views, self.tensors, strict=False):
            if name not in tensors:
                continue
            given, before = {n: own[n] for n in tensors[name]}, seen
            seen = view(name, before, kept, given, training)
            if hasattr(view, "mask") and view is not self.views[-1]:
                kept = mask * _open(view, name, before, seen, given, training)
            elif kept is not mask:
                seen = torch.where(kept.bool(), seen, seen - seen.detach())
        if self.views:
            seen = torch.where(mask.bool(), seen, seen.new_zeros(()))
        if self.views and not training:
            seen = seen + 0.0  # there is one zero: what rounds gives a -0.0 too
        if self.frozen is not None and FROZEN in own:
            seen = self.frozen(name, seen, mask, own, training)
        return seen

    @property
    def gates(self) -> Views:
        """Those that stand for a mask; they come first."""
        return Views([v for v in self.views if hasattr(v, "mask")], None, self.tensors)

    @property
    def others(self) -> Views:
        """Those that stand for none."""
        gates = len(self.gates.views)
        return Views(self.views[gates:], self.frozen, self.tensors[gates:])

    def final_mask(self, mask: Mask, own: Params) -> Mask:
        """Return the mask that is left where gates stand for one, else the mask itself."""
        for view, tensors in zip(self.gates.views, self.tensors, strict=False):
            found = {w: cast(Any, view).mask(w, _of(own, w)) for w in tensors}
            mask = {n: m & found[n] if n in found else m for n, m in mask.items()}
        return mask

    def baked(self, params: Params, mask: Mask, own: Params) -> Params:
        """Return the params as they are seen outside training; what ``own`` lacks, as at first."""
        own = {n: t.detach() for n, t in (self.own | own).items()}
        with torch.no_grad():
            return {
                n: self.see(n, p, mask[n].to(p), _of(own, n), False) if n in mask else p
                for n, p in params.items()
            }

    @property
    def _all(self) -> list[View]:
        return [*self.views, *([self.frozen] if self.frozen is not None else ())]


def views_of(
    views: Sequence[View], params: Params, mask: Mask, frozen: Params, given: Params
) -> Views:
    """Return the views of a network with these params, and what they own.

    ``given`` says what some of it is, where it is not what the views start from.
    """
    last = Frozen(frozen) if frozen else None
    gates = [hasattr(view, "mask") for view in views]
    if sorted(gates, reverse=True) != gates:
        raise LthError("views: a gate, whose mask is trained, comes before all other views")
    found: list[dict[str, Params]] = []
    for view in (*views, *([last] if last is not None else ())):
        found.append(dict[str, Params]())
        for name, kept in mask.items():
            weight = torch.where(kept, params[name], params[name].new_zeros(()))
            owned = view.own(name, weight, kept.to(weight))
            if owned is not None:
                found[-1][name] = {n: _checked(view, name, n, t) for n, t in owned.items()}
                _refuse_twice(found, name)
    return Views(tuple(views), last, _given(found, given))


def _given(found: Sequence[dict[str, Params]], given: Params) -> Sequence[Mapping[str, Params]]:
    left = dict(given)
    for by_weight in found:
        for weight, owned in by_weight.items():
            for name, start in owned.items():
                value = left.pop(f"{weight}/{name}", None)
                if value is None:
                    continue
                if value.shape != start.shape:
                    raise LthError(
                        f"{weight}/{name} has shape {tuple(value.shape)}; its view owns one of "
                        f"{tuple(start.shape)}"
                    )
                owned[name] = nn.Parameter(value) if isinstance(start, nn.Parameter) else value
    if left:
        raise LthError(f"no view owns a {next(iter(left))}: name the view that it belongs to")
    return found


def _open(
    gate: Any, name: str, before: Tensor, after: Tensor, own: Params, training: bool
) -> Tensor:
    """Return where a gate lets weights through: 0 or 1; what it has drawn shows in what it gave."""
    found = (after != 0) | (before == 0) if training else gate.mask(name, own)
    return found.detach().to(before.dtype)


def _checked(view: View, weight: str, name: str, tensor: Tensor) -> Tensor:
    kind = type(view).__name__
    plain = name.isidentifier() and name[0] != "_" and not hasattr(nn.Module(), name)
    if not isinstance(tensor, Tensor) or not plain:
        raise LthError(f"view {kind}: it owns {name!r} of {weight}: give tensors by plain names")
    return tensor


def _refuse_twice(found: Sequence[Mapping[str, Params]], weight: str) -> None:
    *before, last = found
    for name in last[weight]:
        if any(name in by_weight.get(weight, ()) for by_weight in before) or name == "mask":
            raise LthError(f"two views own a tensor {name!r} of {weight}: give one another name")


def _lasts(view: View) -> bool:
    return not hasattr(view, "mask") and not isinstance(view, Frozen)


def _of(own: Params, weight: str) -> Params:
    start = f"{weight}/"
    return {n.removeprefix(start): t for n, t in own.items() if n.startswith(start)}
