"""Which units of a network reach which inputs, followed through forward passes.

A layer's units are changed in a pass and what then differs is noted: at the inputs of the other
layers (which get the unchanged values, so that nothing is followed further than to where it is
used), at normalizations, at ReLUs, at the network's outputs. Each pass changes half of a layer's
units, by one digit of their numbers in base 2, so a few passes tell which unit is seen where.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lth.errors import LthError, told
from lth.networks.drawn import drawing

RELUS = frozenset({
    "relu", "relu_", "threshold", "threshold_", "clamp_min", "clamp_min_", "hardtanh", "hardtanh_",
})  # fmt: skip
"""What is 0 where a unit is off."""

ROWS = 3
"""Examples in a pass: in one a changed unit is no number, in one it is higher, in one lower."""

NONE, SEVERAL = -1, -2
"""In the place of a unit: none of the layer is seen there, or more than one."""


class Spot(NamedTuple):
    """Where features of a tensor are looked at: the call of a module, or of a ReLU."""

    kind: str  # "in", "through", "relu" or "out"
    name: str
    call: int
    training: bool


Seen = dict[Spot, Tensor]
"""By spot: which unit each feature shows, int64 ``[features]``."""


def is_relu(operation: Any) -> bool:
    """Whether an operation of torch's is a ReLU."""
    packet = getattr(operation, "overloadpacket", None)
    return getattr(packet, "__name__", "") in RELUS


def unit_axis(module: nn.Module) -> int:
    """Return the axis of a layer's outputs, and inputs, along which its units lie."""
    return -1 if isinstance(module, nn.Linear) else 1


def layers_in(network: nn.Module) -> dict[str, nn.Module]:
    """Return the layers whose outputs are units, each using all of its inputs."""
    found = _of_own_weights(network)
    return {n: m for n, m in found.items() if isinstance(m, nn.Linear) or _mixes(m)}


def channelwise_in(network: nn.Module) -> dict[str, nn.Module]:
    """Return the modules with numbers for every unit that goes through: norms, depthwise, PReLU."""
    found = {n: m for n, m in network.named_modules() if isinstance(m, _NormBase)}
    own = _of_own_weights(network)
    return found | {n: m for n, m in own.items() if _depthwise(m) or _per_channel(m)}


def _mixes(module: nn.Module) -> bool:
    return _convolves(module) and getattr(module, "groups", 0) == 1


def _depthwise(module: nn.Module) -> bool:
    sizes = {getattr(module, n, 0) for n in ("groups", "in_channels", "out_channels")}
    return _convolves(module) and len(sizes) == 1 and 1 not in sizes


def _convolves(module: nn.Module) -> bool:
    return isinstance(module, _ConvNd) and not isinstance(module, _ConvTransposeNd)


def _per_channel(module: nn.Module) -> bool:
    return isinstance(module, nn.PReLU) and module.num_parameters > 1


def _of_own_weights(network: nn.Module) -> dict[str, nn.Module]:
    """Return the modules whose weight is a parameter, theirs alone."""
    users: dict[int, int] = {}
    for module in network.modules():
        for parameter in module._parameters.values():
            users[id(parameter)] = users.get(id(parameter), 0) + 1
    return {
        n: m
        for n, m in network.named_modules()
        if (w := m._parameters.get("weight")) is not None and users[id(w)] == 1
        and ("bias" in m._parameters or isinstance(m, nn.PReLU))
    }  # fmt: skip


class Follower(TorchDispatchMode):
    """Passes of one network over one example; the first of a mode is what others differ from.

    Units are followed in evaluation mode, and in training mode too where that runs other modules.
    """

    def __init__(self, network: nn.Module, shape: Sequence[int]) -> None:
        super().__init__()
        self.network = network
        self.layers, self.through = layers_in(network), channelwise_in(network)
        self.example = example_of(network, shape)
        self.reference: dict[Spot, Tensor] = {}
        self.called: set[str] = set()
        self._changed: tuple[str, Tensor] | None = None
        self._differs: dict[Spot, Tensor] = {}
        self._calls: dict[tuple[str, str], int] = {}
        self._first, self._mode = True, False
        self._buffers = {n: b.clone() for n, b in network.named_buffers()}
        runs = [{s[:3] for s in self._pass(t, None) if s.kind != "relu"} for t in (False, True)]
        self.modes = (False,) if runs[0] == runs[1] else (False, True)
        self._first = False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Do the operation; look at what a ReLU gives, along either axis."""
        found = func(*args, **(kwargs or {}))
        if is_relu(func) and found.ndim > 1:
            for axis in (1, -1):
                self._note("relu", str(axis), found, axis)
        return found

    def sources(self, layer: str, units: int) -> Seen:
        """Return which unit of a layer is seen where."""
        found: Seen = {}
        numbers, digits = torch.arange(units), max(1, (units - 1).bit_length())
        for training in self.modes:
            ones = [self.differing(training, layer, (numbers >> k) % 2 == 1) for k in range(digits)]
            zeros = [
                self.differing(training, layer, (numbers >> k) % 2 == 0) for k in range(digits)
            ]
            for spot in ones[0]:
                found[spot] = _decoded([o[spot] for o in ones], [z[spot] for z in zeros], units)
        return found

    def differing(self, training: bool, layer: str, units: Tensor) -> dict[Spot, Tensor]:
        """Return which features differ where some units of a layer (of the input: "") do."""
        return self._pass(training, (layer, units))

    def _pass(self, training: bool, changed: tuple[str, Tensor] | None) -> dict[Spot, Tensor]:
        self._changed, self._differs, self._calls, self._mode = changed, {}, {}, training
        self.network.train(training)
        for name, buffer in self.network.named_buffers():
            buffer.copy_(self._buffers[name])  # what a norm has seen in the last pass is forgotten
        example = self.example
        if changed is not None and changed[0] == "":
            example = _changed_input(example)
        # a dropout drops the same in every pass
        with torch.no_grad(), drawing(0), self._hooked(), nullcontext() if training else self:
            outputs = _run(self.network, example)
        for number, tensor in enumerate(tree_leaves(outputs)):
            if isinstance(tensor, Tensor):
                self._note("out", str(number), tensor.reshape(1, -1), 1)
        if self._differs.keys() != {s for s in self.reference if s.training == training}:
            if changed is not None:
                raise _unsteady(self.network)
        return self._differs

    @contextmanager
    def _hooked(self) -> Iterator[None]:
        handles = [
            m.register_forward_pre_hook(self._arrives(n, "in"), with_kwargs=True)
            for n, m in self.layers.items()
        ]
        handles += [
            m.register_forward_pre_hook(self._arrives(n, "through"), with_kwargs=True)
            for n, m in self.through.items()
        ]
        handles += [m.register_forward_hook(self._leaves(n)) for n, m in self.layers.items()]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _arrives(self, name: str, kind: str) -> Any:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            given = args[0] if args else kwargs["input"]
            spot = self._note(kind, name, given, unit_axis(module))
            if kind == "through" or self._first:
                return None
            as_first = self.reference[spot].clone()
            return (as_first, *args[1:]), {k: v for k, v in kwargs.items() if k != "input"}

        return hook

    def _leaves(self, name: str) -> Any:
        def hook(module: nn.Module, args: Any, output: Tensor) -> Tensor | None:
            self.called.add(name)
            if self._changed is None or self._changed[0] != name:
                return None
            return _with_changed(output, self._changed[1], unit_axis(module))

        return hook

    def _note(self, kind: str, name: str, tensor: Tensor, axis: int) -> Spot:
        call = self._calls.get((kind, name), 0)
        self._calls[kind, name] = call + 1
        spot = Spot(kind, name, call, self._mode)
        if self._first:
            self.reference[spot] = tensor.detach().clone()
        reference = self.reference.get(spot)
        if reference is None or reference.shape != tensor.shape:
            raise _unsteady(self.network)
        differs = (tensor != reference) | tensor.isnan()
        self._differs[spot] = differs.movedim(axis, 0).flatten(1).any(1)
        return spot


def example_of(network: nn.Module, shape: Sequence[int]) -> Tensor:
    """Return a few examples that the network takes: numbers, or tokens."""
    generator = torch.Generator("cpu").manual_seed(0)
    drawn = torch.randn(ROWS, *shape, generator=generator, device="cpu")
    with torch.no_grad(), drawing(0):
        try:
            network.eval()(drawn)
        except Exception as error:
            try:
                network((drawn > 0).long())
            except Exception:
                name = type(network).__name__
                raise LthError(
                    f"{name} cannot be followed on examples of shape {tuple(shape)}: {told(error)}"
                ) from error
            return (drawn > 0).long()
    return drawn


def _run(network: nn.Module, example: Tensor) -> Any:
    try:
        return network(example)
    except LthError:
        raise
    except Exception as error:
        raise LthError(f"{type(network).__name__} cannot be followed: {told(error)}") from error


def _unsteady(network: nn.Module) -> LthError:
    return LthError(
        f"{type(network).__name__} cannot be followed: what it runs depends on its values"
    )


def _with_changed(output: Tensor, units: Tensor, axis: int) -> Tensor:
    """Return a layer's output with some units changed, in every example in another way."""
    last = output.movedim(axis, -1).clone()
    if len(last) == ROWS:
        last[0, ..., units] = torch.nan
        last[1, ..., units] += 3.0 + last[1, ..., units].abs()
        last[2, ..., units] -= 3.0 + last[2, ..., units].abs()
    else:  # what lies first is no example
        last[..., units] = torch.nan
    return last.movedim(-1, axis)


def _changed_input(example: Tensor) -> Tensor:
    """Return other examples; all are numbers, since what reads tokens from them takes no others."""
    if not example.is_floating_point():
        return 1 - example
    step = 3.0 + example.abs()
    return torch.stack([-2.0 * example[0], example[1] + step[1], example[2] - step[2]])


def _decoded(ones: Sequence[Tensor], zeros: Sequence[Tensor], units: int) -> Tensor:
    """Return the unit that each feature shows, from where it was seen with each digit."""
    one, zero = torch.stack(list(ones)), torch.stack(list(zeros))
    places = 2 ** torch.arange(len(one))
    number = (one * places[:, None]).sum(0)
    clear, seen = (one ^ zero).all(0) & (number < units), (one | zero).any(0)
    none = torch.full_like(number, NONE)
    return torch.where(clear, number, torch.where(seen, torch.full_like(number, SEVERAL), none))


def relu_of(seen: Mapping[Spot, Tensor], layer: nn.Module) -> tuple[Spot, Tensor] | None:
    """Return the first ReLU that a layer's units pass one by one, and which it sees where."""
    axis = str(unit_axis(layer))
    for spot, units in seen.items():
        if (spot.kind, spot.name, spot.training) == ("relu", axis, False):
            if bool((units >= 0).any()) and not bool((units == SEVERAL).any()):
                return spot, units
    return None
