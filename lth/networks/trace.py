"""One traced forward pass: how often each weight is used, and which layer gives the logits.

Every operation is looked at below autograd, so a weight is found whoever calls it: a module, a
functional, a product with a raw parameter, a weight made of others (a parametrization, a slice).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from lth.errors import LthError

aten = torch.ops.aten

OPERANDS = {
    aten.mm: (0, 1), aten.addmm: (1, 2), aten.bmm: (0, 1), aten.baddbmm: (1, 2),
    aten.convolution: (0, 1), aten.mv: (0, 1), aten.addmv: (1, 2), aten.dot: (0, 1),
    aten._trilinear: (0, 1, 2),
}  # fmt: skip
"""Operations that multiply and add, and which of their arguments are multiplied."""

APPLIED = (
    nn.Linear, nn.Bilinear, nn.modules.conv._ConvNd, nn.RNNBase, nn.RNNCellBase,
    nn.MultiheadAttention,
)  # fmt: skip
"""Modules whose inputs are activations, whatever they were made of: learned queries, say."""


class Trace(NamedTuple):
    """``uses``: multiply-adds per example and weight, by parameter; ``last``: who gives the logits.

    ``last`` names, of the layers asked about, those with none of them between them and the output.
    """

    uses: dict[str, float]
    last: tuple[str, ...]


@dataclass(frozen=True)
class _Origin:
    """What a tensor was made of: of parameters alone (``static``) or of the inputs too."""

    static: bool
    weights: frozenset[str] = frozenset()
    last: frozenset[str] = frozenset()


def trace(network: nn.Module, input_shape: Sequence[int], layers: Mapping[str, str]) -> Trace:
    """Run one example through ``network``; ``layers`` maps parameters to the layers they make.

    The example is of zeros; a network that refuses numbers with a point gets whole ones (tokens).
    """
    answering(network)
    try:
        return _run(network, torch.zeros(1, *input_shape), layers)
    except Exception as error:
        try:
            return _run(network, torch.zeros(1, *input_shape, dtype=torch.long), layers)
        except Exception:
            first = str(error).partition("\n")[0] or type(error).__name__
            raise LthError(
                f"{type(network).__name__}: its FLOPs and output layer are found by one example "
                f"of zeros, shape {[1, *input_shape]}, which it does not take: {first}"
            ) from error


def answering(network: nn.Module) -> nn.Module:
    """Return a network as it is measured; one of several exits as it is, and with all of them.

    Such a one (``stages``) answers once where it is measured, and from every exit in training: its
    layers are as they are measured, and what holds them is in training.
    """
    network.eval()
    for module in network.modules() if hasattr(network, "stages") else ():
        module.training = next(module.children(), None) is not None
    return network


def _run(network: nn.Module, inputs: Tensor, layers: Mapping[str, str]) -> Trace:
    follow = Follow(network, inputs, layers)
    with plainly(), torch.random.fork_rng(devices=[]), torch.no_grad(), follow:
        outputs = network(inputs)
    follow.unhook()
    return _seen(follow, outputs, layers)


class Following:
    """A trace of what a caller runs by itself, such as a training step: a context around it.

    >>> layer = nn.Linear(3, 2)
    >>> with Following(layer, {"weight": "weight"}) as following:
    ...     loss = layer(torch.ones(4, 3)).sum()
    >>> following.ending(loss, 4).uses["weight"]
    1
    """

    def __init__(self, network: nn.Module, layers: Mapping[str, str]) -> None:
        self._follow, self._layers = Follow(network, torch.zeros(()), layers), layers

    def __enter__(self) -> Following:
        self._follow.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._follow.__exit__(None, None, None)
        self._follow.unhook()

    def ending(self, outputs: Any, examples: int) -> Trace:
        """Return what was seen up to these outputs, over so many examples."""
        return _seen(self._follow, outputs, self._layers, examples)


def _seen(follow: Follow, outputs: Any, layers: Mapping[str, str], examples: int = 1) -> Trace:
    last = frozenset[str]().union(
        *(follow.origin(t).last for t in tree_leaves(outputs) if isinstance(t, Tensor))
    )
    each = {n: u / examples for n, u in follow.uses.items()}
    uses = {n: int(u) if u.denominator == 1 else float(u) for n, u in each.items()}
    return Trace(uses, tuple(n for n in dict.fromkeys(layers.values()) if n in last))


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Have every part of a module as it is measured, and afterwards as it was."""
    modes = [(m, m.training) for m in model.modules()]
    try:
        model.eval()
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@contextmanager
def plainly() -> Iterator[None]:
    """Switch off the fused ways through recurrent and attention layers: they hide products."""
    mha = torch.backends.mha.get_fastpath_enabled()
    mkldnn = torch._C._get_mkldnn_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    torch._C._set_mkldnn_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(mha)
        torch._C._set_mkldnn_enabled(mkldnn)


@contextmanager
def twice_differentiable() -> Iterator[None]:
    """Take the plain ways through attention and recurrent layers: fused ones derive only once."""
    with plainly(), sdpa_kernel([SDPBackend.MATH]), torch.backends.cudnn.flags(enabled=False):
        yield


class Follow(TorchDispatchMode):
    """Follows weights and activations through the operations of a forward pass."""

    def __init__(self, network: nn.Module, inputs: Tensor, layers: Mapping[str, str]) -> None:
        super().__init__()
        self.layers = layers
        self.uses: dict[str, Fraction] = {}
        self._origins: dict[int, _Origin] = {}
        self._kept: list[Any] = []  # a freed tensor's place in memory must not be taken by another
        self.sizes = {n: p.numel() for n, p in network.named_parameters()}
        for buffer in network.buffers():
            self._set(buffer, _Origin(True))
        for name, parameter in network.named_parameters():
            self._set(parameter, _Origin(True, frozenset([name])))
        self._set(inputs, _Origin(False))
        modules = [m for m in network.modules() if isinstance(m, APPLIED)]
        self._hooks = [m.register_forward_pre_hook(self._apply, with_kwargs=True) for m in modules]

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Do the operation and note where its results come from."""
        kwargs = kwargs or {}
        found = func(*args, **kwargs)
        given = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        origins = [self._origins[k] for t in given if (k := storage_key(t)) in self._origins]
        origin = _merged(origins)
        packet = func.overloadpacket
        if packet in OPERANDS:
            origin = self._multiply(packet, args, kwargs, found, origin)
        elif packet in (aten.mul, aten.mul_):
            self._scale(args, found)
        for tensor in tree_leaves(found):
            if isinstance(tensor, Tensor) and origin is not None:
                self._set(tensor, origin)
        return found

    def origin(self, tensor: Tensor) -> _Origin:
        """Return what a tensor was made of."""
        return self._origins.get(storage_key(tensor), _Origin(False))

    def unhook(self) -> None:
        """Take the hooks off again."""
        for hook in self._hooks:
            hook.remove()

    def _apply(self, module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
        for tensor in (*inputs, *named.values()):
            if isinstance(tensor, Tensor):
                self._origins[storage_key(tensor)] = _Origin(False, last=self.origin(tensor).last)
                self._kept.append(tensor)

    def _set(self, tensor: Tensor, origin: _Origin) -> None:
        old = self._origins.get(storage_key(tensor))
        self._origins[storage_key(tensor)] = (
            origin if old is None else _merged([old, origin]) or origin
        )
        self._kept.append(tensor)

    def _multiply(
        self, packet: Any, args: tuple[Any, ...], kwargs: Any, found: Any, origin: _Origin | None
    ) -> _Origin | None:
        """Count the weights among the operands; a layer asked about is the last one so far."""
        operands = [args[i] for i in OPERANDS[packet]]
        made = [self._origins.get(storage_key(t)) for t in operands]
        weights = [(t, o) for t, o in zip(operands, made, strict=True) if o and o.static]
        if not any(o.weights for _, o in weights) or len(weights) == len(operands):
            return origin  # of activations alone, or of weights alone
        flops = flops_of(packet, args, kwargs, found)
        for tensor, made_of in weights:
            for name in made_of.weights:
                size = max(_distinct(tensor), self.sizes[name])
                self.uses[name] = self.uses.get(name, Fraction(0)) + Fraction(flops, 2 * size)
        layers = {self.layers[n] for _, o in weights for n in o.weights if n in self.layers}
        last = frozenset(layers) if layers else (origin.last if origin else frozenset())
        return _Origin(False, last=last)

    def _scale(self, args: tuple[Any, ...], found: Tensor) -> None:
        """Count an elementwise product with a parameter, where it is asked about."""
        made = [self._origins.get(storage_key(t)) for t in args if isinstance(t, Tensor)]
        if any(o is not None and not o.static for o in made):
            for name in {n for o in made if o and o.static for n in o.weights if n in self.layers}:
                times = Fraction(found.numel(), self.sizes[name])
                self.uses[name] = self.uses.get(name, Fraction(0)) + times


def _merged(origins: Sequence[_Origin]) -> _Origin | None:
    """Return the origin of what is made of several; tensors made on the way do not count."""
    if not origins:
        return None
    static = all(o.static for o in origins)
    weights = frozenset[str]().union(*(o.weights for o in origins)) if static else frozenset[str]()
    return _Origin(static, weights, frozenset[str]().union(*(o.last for o in origins)))


def storage_key(tensor: Tensor) -> int:
    """Return where a tensor's numbers lie: the same for all its views."""
    try:
        return tensor.untyped_storage()._cdata
    except (NotImplementedError, RuntimeError):  # a sparse tensor has no storage
        return id(tensor)


def _distinct(tensor: Tensor) -> int:
    """Count a tensor's numbers, those that are only repeated once."""
    return prod(n for n, step in zip(tensor.shape, tensor.stride(), strict=True) if step)


def flops_of(packet: Any, args: tuple[Any, ...], kwargs: Any, found: Any) -> int:
    """Return the FLOPs of one operation that multiplies and adds: two a multiply-add."""
    count: Callable[..., int] | None = flop_registry.get(packet)
    if count is not None:
        return int(count(*args, **kwargs, out_val=found))
    if packet is aten._trilinear:
        first, weight, _ = args[:3]
        return 2 * first.shape[0] * weight.numel()
    matrix = args[1] if packet is aten.addmv else args[0]
    return 2 * matrix.numel()
