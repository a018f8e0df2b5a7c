"""Two layers in the place of one: what low-rank and separable forms have in common.

A layer becomes its pair in place, so whoever holds it (a custom forward, a list, a second name)
calls the pair; ``weight`` and ``bias`` stay, the one made of the pair's two weights.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from lth.errors import LthError, nearest
from lth.spec.patterns import fits

CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
KINDS = (nn.Linear, *CONVS)
"""Classes whose layers can become pairs; classes made of them may do something else."""


Why = Callable[[nn.Module], str]
"""Says why a layer cannot become a pair; nothing where it can."""


class Pair(nn.Sequential):
    """Two layers, one after the other, that stand for one."""

    @property
    def weight(self) -> Tensor:
        """The weight of the layer that the pair stands for, made of its two."""
        raise NotImplementedError

    @property
    def bias(self) -> Tensor | None:
        """The layer's bias, which the second one has."""
        second: Any = self[1]
        return second.bias


@dataclass(frozen=True)
class Place:
    """A weight that layers have: the layers with their first name, several where it is tied."""

    name: str
    layers: tuple[Any, ...]

    @property
    def parameters(self) -> tuple[nn.Parameter, ...]:
        """What the weight is stored in: itself, or the weights of a pair."""
        return parameters_of(self.layers[0])

    @property
    def weight(self) -> Tensor:
        """The weight itself."""
        return self.layers[0].weight

    @property
    def matrix(self) -> Tensor:
        """The weight as a matrix, ``[O, I k k]``."""
        return self.weight.detach().flatten(1)

    @property
    def size(self) -> int:
        """How many numbers the weight is stored in."""
        return sum(p.numel() for p in self.parameters)

    @property
    def full(self) -> int:
        """The rank of the matrix, at most."""
        return min(*self.matrix.shape, self.parameters[0].shape[0])


def parameters_of(layer: Any) -> tuple[nn.Parameter, ...]:
    """Return the weight of a layer, or the weights of a pair."""
    if isinstance(layer, Pair):
        return tuple(cast(Any, part).weight for part in layer)
    return (layer._parameters["weight"],)


def places(model: nn.Module, why: Why, pairs: type[Pair] | tuple[()] = ()) -> dict[str, Place]:
    """Return the layers that can become pairs, by their first name, in order.

    ``why`` says of a layer why it cannot; what is a part of ``pairs`` is none by itself. No other
    module may have a weight of theirs.
    """
    inside = {id(part) for m in model.modules() if isinstance(m, pairs) for part in m.children()}
    holders = Counter(id(p) for m in model.modules() for p in m._parameters.values())
    sharing: dict[int, list[tuple[str, nn.Module]]] = {}
    for name, module in model.named_modules():
        if id(module) not in inside and not why(module):
            sharing.setdefault(id(parameters_of(module)[0]), []).append((name, module))
    found = {
        s[0][0]: tuple(m for _, m in s) for key, s in sharing.items() if holders[key] == len(s)
    }
    return {name: Place(name, layers) for name, layers in found.items()}


def why_not(module: nn.Module) -> str:
    """Say why a layer cannot become a pair; nothing if it can."""
    if parametrize.is_parametrized(module):
        return (
            "its weight is parametrized: take that off "
            "(torch.nn.utils.parametrize.remove_parametrizations)"
        )
    if type(module) not in KINDS:
        return f"it is a {type(module).__name__}, and only Linear and Conv layers have that form"
    if module._parameters.get("weight") is None:
        return "its weight is made of others before each forward pass: take that off"
    if getattr(module, "groups", 1) != 1:
        return f"its channels are in {module.groups} groups, and only one group has that form"
    return ""


def place_of(model: nn.Module, known: Mapping[str, Place], asked: str, why: Why) -> Place:
    """Return the place of a layer by one of its names, or by its weight's; else one line."""
    layers = dict(model.named_modules(remove_duplicate=False))
    name = asked if asked in layers else _without_weight(asked)
    if name not in layers:
        raise LthError(f"no layer is named {asked!r}{nearest(asked, known)}")
    for place in known.values():
        if any(layers[name] is layer for layer in place.layers):
            return place
    owner = name.rpartition(".")[0]
    part = f"it is a part of {owner}: name that" if owner in known else ""
    because = why(layers[name]) or part or "another kind of layer has its weight too"
    raise LthError(f"{asked} cannot be taken apart: {because}")


def matching(
    model: nn.Module, known: Mapping[str, Place], patterns: Iterable[str], why: Why
) -> list[Place]:
    """Return the places that shell-style patterns match, in the model's order."""
    found: set[str] = set()
    for pattern in patterns:
        names = {n for n in known if fits(pattern, f"{n}.weight")}
        found |= names or {place_of(model, known, pattern, why).name}
    return [place for name, place in known.items() if name in found]


def names_in(given: Any) -> list[str]:
    """Return a list of names or patterns; what is none is refused."""
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise LthError(f"{given!r}: a list of layers, by name or pattern")
    return [str(name) for name in given]


@contextmanager
def of(what: str) -> Iterator[None]:
    """Say of which setting an error is."""
    try:
        yield
    except LthError as error:
        raise LthError(f"{what}: {error}") from error


def become(place: Place, kind: type[Pair], values: tuple[Tensor, Tensor], names: tuple[str, str],
           groups: int = 1) -> None:  # fmt: skip
    """Let the layers of a place be pairs from now on, of weights of these values.

    All else about a layer stays: its bias, its hooks, its geometry, whether it trains.
    """
    dtype, trains = place.weight.dtype, place.parameters[0].requires_grad
    first, second = (nn.Parameter(v.to(dtype).contiguous(), trains) for v in values)
    for layer in place.layers:
        bias = layer.bias
        for name in ("weight", "bias"):
            layer._parameters.pop(name, None)
        layer._modules.clear()
        layer.__class__ = kind
        made = _layer(first, layer, groups), _layer(second)
        made[1].register_parameter("bias", bias)
        for name, part in zip(names, made, strict=True):
            layer.add_module(name, part.train(layer.training))


def _layer(weight: nn.Parameter, like: Any = None, groups: int = 1) -> nn.Module:
    """Return a layer of this weight without a bias: linear ``[O, I]``, else a convolution.

    It steps, pads and dilates ``like`` another one.
    """
    outputs, inputs, *kernel = weight.shape
    geometry = () if like is None else ("stride", "padding", "dilation", "padding_mode")
    with torch.device("meta"):  # what it would draw is not used
        if not kernel:
            made: Any = nn.Linear(inputs, outputs, bias=False)
        else:
            own = {name: getattr(like, name) for name in geometry}
            conv: Any = CONVS[len(kernel) - 1]
            made = conv(inputs * groups, outputs, kernel, groups=groups, bias=False, **own)
    made.weight = weight
    return made


def factors(matrix: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Return ``left [..., m, r]`` and ``right [..., r, n]``, the best of rank r: the SVD's.

    ``left = U sqrt(S)``, ``right = sqrt(S) V'``, the r largest singular values; the largest entry
    of each column of ``left`` is positive. ``|matrix - left right|^2`` is the sum of the other
    singular values' squares (Eckart & Young 1936). In doubles, by the eigenvectors of the smaller
    Gram matrix: at full rank they are a rotation, whatever is lost of small singular values.
    """
    *batch, m, n = matrix.shape
    if matrix.is_meta:
        return matrix.new_empty(*batch, m, rank), matrix.new_empty(*batch, rank, n)
    with _one_thread():
        wide = matrix.detach().double()
        tall = m > n
        wide = wide.mT if tall else wide
        basis = torch.linalg.eigh(wide @ wide.mT).eigenvectors.flip(-1)[..., :rank]
        scaled = basis.mT @ wide  # S V': row i has the length s_i
        root = scaled.norm(dim=-1, keepdim=True).sqrt()
        thin = scaled / torch.where(root == 0, 1.0, root)
        left, right = basis * root.mT, thin
        if tall:
            left, right = right.mT, left.mT
        sign = _signs(left)
    return (left * sign).to(matrix.dtype), (right * sign.mT).to(matrix.dtype)


def energies(matrix: Tensor) -> Tensor:
    """Return the squared singular values of a matrix, the largest first, in doubles."""
    with _one_thread():
        wide = matrix.detach().double()
        wide = wide.mT if wide.shape[-2] > wide.shape[-1] else wide
        return torch.linalg.eigvalsh(wide @ wide.mT).flip(-1).clamp(min=0)


def _signs(columns: Tensor) -> Tensor:
    """Return the sign of each column's first entry that is as large as any: ``[..., 1, r]``."""
    size = columns.abs()
    large = size >= size.amax(-2, keepdim=True) * (1 - 1e-9)  # rounding must not choose
    first = large.to(torch.uint8).argmax(-2, keepdim=True)
    return torch.where(columns.gather(-2, first) < 0, -1.0, 1.0)


def _without_weight(name: str) -> str:
    return name.removesuffix("weight").removesuffix(".") if name.endswith("weight") else name


@contextmanager
def _one_thread() -> Iterator[None]:
    """Run with one intra-op thread: another number of them gives other bits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
