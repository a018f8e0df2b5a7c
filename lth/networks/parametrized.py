"""Weights behind other parameters: weight_norm, spectral_norm, torch.nn.utils.prune, one's own.

A weight ``w = f(v)`` is pruned through v where a 0 in v is a 0 in w, at the same place, whatever
the other entries are. That is tried, not declared, so a parametrization of one's own counts too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch import _weight_norm as weight_norm  # type: ignore[attr-defined]
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils import parametrizations, parametrize
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

LAYERS = (nn.Linear, nn.Bilinear, _ConvNd)
RECURRENT = (nn.RNNBase, nn.RNNCellBase)
PROJECTIONS = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")


class Weight(NamedTuple):
    """A layer's weight in its module: the parameter that it is pruned through, or why it cannot be.

    ``parts`` names all parameters it is made of.
    """

    name: str
    through: str | None
    parts: tuple[str, ...]
    why: str = ""


def weights_of(module: nn.Module) -> Iterator[Weight]:
    """Yield the weights of a Linear, Conv, Bilinear, recurrent or attention module."""
    for name in _names(module):
        if name in module._parameters:
            yield Weight(name, name, (name,))
        elif parametrize.is_parametrized(module, name):
            yield _parametrized(module, name)
        elif isinstance(getattr(module, name, None), Tensor):
            yield _hooked(module, name)


def _names(module: nn.Module) -> list[str]:
    if isinstance(module, LAYERS):
        return ["weight"]
    if isinstance(module, nn.MultiheadAttention):
        return [n for n in PROJECTIONS if getattr(module, n, None) is not None]
    if isinstance(module, nn.RNNBase):
        return [n for n in module._flat_weights_names if n.startswith("weight")]
    return ["weight_ih", "weight_hh"] if isinstance(module, nn.RNNCellBase) else []


def _parametrized(module: nn.Module, name: str) -> Weight:
    """Find the parameter behind ``torch.nn.utils.parametrize``."""
    made: Any = module.get_submodule(f"parametrizations.{name}")
    kinds = ", ".join(type(p).__name__.lstrip("_") for p in made)
    parts = {
        f"parametrizations.{name}.{n}": p for n, p in made._parameters.items() if p is not None
    }
    mend = f"take it off (torch.nn.utils.parametrize.remove_parametrizations(module, {name!r}))"
    return _tried(name, parts, made, f"it is made by {kinds}, which does not keep zeros", mend)


def _hooked(module: nn.Module, name: str) -> Weight:
    """Find the parameter behind a hook that makes the weight before each forward pass."""
    hooks = list(module._forward_pre_hooks.values())
    parts = {
        n: p for n, p in module._parameters.items() if n.startswith(f"{name}_") and p is not None
    }
    if any(isinstance(h, BasePruningMethod) and h._tensor_name == name for h in hooks):
        why = "torch.nn.utils.prune has pruned it already; make that permanent"
        return Weight(name, None, tuple(parts), f"{why} (its remove(module, {name!r}))")

    def make() -> Tensor:
        for hook in hooks:
            hook(module, ())
        return getattr(module, name)

    kinds = ", ".join(type(h).__name__ for h in hooks) or "the module itself"
    return _tried(
        name, parts, make, f"it is made by {kinds}, which does not keep zeros", "take it off"
    )


def _tried(
    name: str, parts: dict[str, nn.Parameter], make: Callable[[], Any], why: str, mend: str
) -> Weight:
    """Take the first part whose zeros are the weight's."""
    for part, parameter in parts.items():
        if _keeps_zeros(make, parameter):
            return Weight(name, part, tuple(parts))
    return Weight(name, None, tuple(parts), f"{why}; {mend}")


def _keeps_zeros(make: Callable[[], Any], parameter: nn.Parameter) -> bool:
    if parameter.is_meta:
        return parameter.ndim > 1  # nothing can be tried without numbers: only the size is asked
    before = parameter.detach().clone()
    drawn = torch.rand(before.shape, generator=torch.Generator().manual_seed(0))
    zero = drawn.to(before.device) < 0.5
    with torch.no_grad():
        try:
            shape = make().shape
            parameter.masked_fill_(zero, 0.0)
            found = make()
            fits = shape == before.shape == found.shape
            return fits and not bool(found[zero].any()) and bool(found[~zero].any())
        except Exception:
            return False
        finally:
            parameter.copy_(before)
            make()


def tame(network: nn.Module) -> nn.Module:
    """Let norms of weights give 0 where all that they divide is pruned; torch's give 0 / 0."""
    for module in network.modules():
        if type(module) in _TAME:
            module.__class__ = _TAME[type(module)]
        for hook in module._forward_pre_hooks.values():
            if type(hook) in _TAME:
                hook.__class__ = _TAME[type(hook)]
    return network


def _dead_rows(v: Tensor, dim: int) -> Tensor:
    return (torch.norm_except_dim(v.detach(), 2, dim) == 0).to(v.dtype)


class _WeightNorm(parametrizations._WeightNorm):
    """``g v / |v|``, and 0 where v is 0."""

    def forward(self, weight_g: Tensor, weight_v: Tensor) -> Tensor:
        dead = _dead_rows(weight_v, self.dim)
        return weight_norm(weight_v + dead, weight_g, self.dim) * (1 - dead)


class _WeightNormHook(WeightNorm):
    """The same, as the hook that it was before."""

    def compute_weight(self, module: nn.Module) -> Any:
        g, v = getattr(module, self.name + "_g"), getattr(module, self.name + "_v")
        dead = _dead_rows(v, self.dim)
        return weight_norm(v + dead, g, self.dim) * (1 - dead)


class _SpectralNorm(parametrizations._SpectralNorm):
    """``w / sigma(w)``, and 0 where w is."""

    def forward(self, weight: Tensor) -> Tensor:
        dead = (weight.detach() == 0).all().to(weight.dtype)
        return super().forward(weight + dead) * (1 - dead)


class _SpectralNormHook(SpectralNorm):
    """The same, as the hook that it was before."""

    def compute_weight(self, module: nn.Module, do_power_iteration: bool) -> Tensor:
        weight = getattr(module, self.name + "_orig")
        if bool((weight == 0).all()):
            return weight * 1
        return super().compute_weight(module, do_power_iteration)


_TAME: dict[type, type] = {
    parametrizations._WeightNorm: _WeightNorm, parametrizations._SpectralNorm: _SpectralNorm,
    WeightNorm: _WeightNormHook, SpectralNorm: _SpectralNormHook,
}  # fmt: skip
