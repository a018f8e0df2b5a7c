"""Modules whose weights are seen through views, by ``torch.nn.utils.parametrize``.

The weight becomes ``module.parametrizations.<name>.original``; its mask and what its views own are
buffers and parameters of the one parametrization behind it. So state dicts, copies, devices, DDP
and any training loop work, and ``parametrize.remove_parametrizations`` bakes what is seen in.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn
from torch.nn.utils import parametrize

from lth.networks.views.see import Views
from lth.types import Mask, Params


class Seen(nn.Module):
    """The parametrization of one weight, shared by all places where it is tied."""

    mask: Tensor

    def __init__(self, name: str, mask: Tensor, views: Views, own: Params) -> None:
        super().__init__()
        self._name, self._views, self._names = name, views, list(own)
        self._inside, self._draws = False, False
        self._seen: Tensor | None = None
        self.register_buffer("mask", mask)
        for key, value in own.items():
            if isinstance(value, nn.Parameter):
                self.register_parameter(key, nn.Parameter(value.detach().clone()))
            else:
                self.register_buffer(key, value.detach().clone())

    def forward(self, weight: Tensor) -> Tensor:
        """Return what is seen of the weight: once per pass of the network where it is tied."""
        if self._seen is not None:
            return self._seen
        own = {n: getattr(self, n) for n in self._names}
        drawn = self.training or self._draws
        seen = self._views.see(self._name, weight, self.mask.to(weight.dtype), own, drawn)
        if self._inside:
            self._seen = seen
        return seen

    def once(self, inside: bool) -> None:
        """Begin a pass of the network, in which the weight is seen once, or end it."""
        self._inside, self._seen = inside, None

    def draw(self, draws: bool) -> None:
        """Draw outside training too, or no longer."""
        self._draws = draws


class OncePerPass:
    """Hooks on a network: weights that are looked up several times are seen once in every pass.

    Tied ones are, and those of recurrent modules.
    """

    def __init__(self, several: list[Seen]) -> None:
        self.several = several

    def before(self, *_: Any) -> None:
        """Begin a pass."""
        for seen in self.several:
            seen.once(True)

    def after(self, *_: Any) -> None:
        """End it, also by an error."""
        for seen in self.several:
            seen.once(False)


def drop_graph(module: Any, *_: Any) -> None:
    """Let a recurrent module, which lists the weights it saw, be copied: no graph can be."""
    module._flat_weights = [w.detach() for w in module._flat_weights]


def see_through(network: nn.Module, mask: Mask, views: Views) -> dict[str, Seen]:
    """Let every weight that a mask names be seen through its views; return them by weight.

    The weights keep their values: they must be masked already, as ``Net.start`` has them. Under a
    view that holds the weights no other parameter trains, nor a weight that is replaced.
    """
    weights, own = dict(network.named_parameters()), views.own
    for name, parameter in weights.items():
        if views.holds or name in views.replaced:
            parameter.requires_grad_(False)
    found, several = dict[str, Seen](), list[Seen]()
    for name, part in mask.items():
        owned = {n: own[f"{name}/{n}"] for n in views.names(name)}
        found[name] = Seen(name, part.clone(), views, owned).to(weights[name].device)
        places = list(_places(network.modules(), weights[name]))
        for module, attribute in places:
            parametrize.register_parametrization(module, attribute, found[name], unsafe=True)
        recurrent = any(isinstance(module, nn.RNNBase) for module, _ in places)
        several += [found[name]] if len(places) > 1 or recurrent else []
    for module in {m for m in network.modules() if isinstance(m, nn.RNNBase)}:
        module.register_forward_hook(drop_graph, always_call=True)
    if several:
        once = OncePerPass(several)
        network.register_forward_pre_hook(once.before)
        network.register_forward_hook(once.after, always_call=True)
    return found


def _places(modules: Iterable[nn.Module], weight: Tensor) -> list[tuple[nn.Module, str]]:
    return [(m, n) for m in modules for n, held in m._parameters.items() if held is weight]


def bake(network: nn.Module) -> nn.Module:
    """Put what is seen in the place of every weight, once where it is tied: a plain module again.

    ``parametrize.remove_parametrizations`` does so for one place, and for a tied weight too often.
    """
    weights, values = dict[int, Tensor](), dict[int, Tensor]()
    network.eval()
    for module in list(network.modules()):
        made: Any = getattr(module, "parametrizations", {})
        for attribute in [n for n in made if isinstance(made[n][0], Seen)]:
            weight = made[attribute].original
            if id(weight) not in values:
                weights[id(weight)], values[id(weight)] = weight, made[attribute]().detach()
            parametrize.remove_parametrizations(module, attribute, leave_parametrized=False)
    for key, weight in weights.items():
        weight.requires_grad_().data.copy_(values[key])
    return network
