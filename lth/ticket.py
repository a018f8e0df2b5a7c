"""A ticket: a model, a mask, and the weights it starts from."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.nn.parameter import UninitializedTensorMixin

from lth import masks
from lth.errors import LthError
from lth.layers import Layers, describe
from lth.parametrized import tame
from lth.records import write_atomic
from lth.spec import Spec, build, locate
from lth.trace import Trace, trace
from lth.types import Mask, Params


class State(NamedTuple):
    """Params and buffers of one network at one moment."""

    params: Params
    buffers: Params


@dataclass(frozen=True)
class Ticket:
    """A subnetwork ready to train: unpacks as ``mask, params, step = ticket``.

    ``params`` may hold values under pruned weights; ``start`` gives them masked, which is what
    trains. ``buffers`` (BatchNorm statistics) are never masked. ``step`` is where training starts.
    ``frozen`` holds values for pruned weights that an arm keeps, not zeroes; ``stretch``
    is how many times as long as the recipe says it trains; ``changes`` what of the recipe is
    otherwise (``schedule``, ``optimizer``, ``lr``); ``searched`` is False where the mask came
    without a search; ``noise`` names the order and augmentation of its batches, the same for all
    members of a trial but where it is not 0. ``dynamics`` (lth/dynamic.py) changes the mask on the
    way; under a ``gate`` (lth/gates.py) a mask within ``mask`` is trained, and no weight.
    """

    model: Spec
    mask: Mask
    params: Params
    buffers: Params
    step: int = 0
    origin: dict[str, Any] = field(default_factory=dict)
    frozen: Params = field(default_factory=dict)
    stretch: float = 1.0
    changes: dict[str, Any] = field(default_factory=dict)
    searched: bool = True
    noise: int = 0
    dynamics: Spec | None = None
    gate: Spec | None = None

    def __iter__(self) -> Iterator[Any]:
        yield from (self.mask, self.start.params, self.step)

    @property
    def start(self) -> State:
        """The state that training starts from: ``mask * params (+ frozen)``, and the buffers."""
        return State(masks.apply(self.params, self.mask, self.frozen), self.buffers)

    @property
    def weights(self) -> int:
        """Weights kept, those of unprunable layers included."""
        return masks.weights(self.mask, layers_of(self.model))

    @property
    def density(self) -> float:
        """Weights kept / weights of the dense network, in [0, 1]."""
        return masks.density(self.mask, layers_of(self.model))

    def module(self) -> nn.Module:
        """Return the model as a plain ``nn.Module`` holding the masked starting weights."""
        return network_of(self.model, self.start)

    def save(self, path: str | Path) -> None:
        """Export to one safetensors file, masks packed to bits."""
        tensors = {f"params/{n}": p for n, p in self.start.params.items()}
        tensors |= {f"buffers/{n}": b for n, b in self.buffers.items()}
        # safetensors refuses tensors that share memory
        tensors = {n: t.clone(memory_format=torch.contiguous_format) for n, t in tensors.items()}
        tensors |= {f"mask/{n}": masks.pack(m) for n, m in self.mask.items()}
        names = {
            "params": list(self.params),
            "buffers": list(self.buffers),
            "mask": list(self.mask),
        }
        about = {"model": self.model, "step": self.step, "origin": self.origin, "names": names}
        tensors |= {f"frozen/{n}": f.clone() for n, f in self.frozen.items()}
        meta = {"ticket": json.dumps(about, sort_keys=True), "digest": tensors_digest(tensors)}
        write_atomic(Path(path), save(tensors, metadata=meta))

    @classmethod
    def load(cls, path: str | Path) -> Ticket:
        """Read a ticket that ``save`` wrote; a damaged file is refused in one line."""
        try:
            content = Path(path).read_bytes()
            tensors, meta = load(content), masks.metadata(content)
            if tensors_digest(tensors) != meta["digest"]:
                raise LthError("its checksum does not fit")
            about = json.loads(meta["ticket"])
        except FileNotFoundError:
            raise LthError(f"{path}: no such ticket file") from None
        except (SafetensorError, KeyError, ValueError) as error:
            raise LthError(f"{path}: damaged ticket ({error}); export it again") from None
        parts = {  # in the model's own order, which safetensors does not keep
            kind: {n: tensors[f"{kind}/{n}"] for n in names}
            for kind, names in about["names"].items()
        }
        shapes = {n: parts["params"][n].shape for n in parts["mask"]}
        mask = {n: masks.unpack(b, shapes[n]) for n, b in parts["mask"].items()}
        prefix = "frozen/"
        frozen = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
        return cls(
            about["model"], mask, parts["params"], parts["buffers"], about["step"], about["origin"],
            frozen,
        )  # fmt: skip


def draw_model(model: Spec, seed: int) -> nn.Module:
    """Build the model, its weights drawn from ``seed``; the global generators stay untouched."""
    with drawing(seed):
        network = build(model)
    if not isinstance(network, nn.Module):
        raise LthError(f"{model['_target_']} gave a {type(network).__name__}, not an nn.Module")
    return tame(network)


@contextmanager
def drawing(seed: int | None = None) -> Iterator[None]:
    """Draw from ``seed`` inside, whether by torch, numpy or ``random``; then all are as before."""
    before = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]):
            if seed is not None:
                seed_all(seed)
            yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])


def seed_all(seed: int) -> None:
    """Seed the generators that a module may draw from: torch's, numpy's and ``random``'s."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)


def network_of(model: Spec, state: State) -> nn.Module:
    """Return the model as a plain ``nn.Module`` in this state."""
    network = draw_model(model, 0)
    load_state(network, state)
    return network


def drawable(model: Spec, input_shape: Sequence[int]) -> Spec:
    """Return the spec, or one that runs an example where modules are lazy: sizes are known then."""
    lazy = any(isinstance(p, UninitializedTensorMixin) for p in _tensors(draw_model(model, 0)))
    if not lazy:
        return model
    return {"_target_": "lth.models.materialised", "of": model, "input_shape": list(input_shape)}


def _tensors(network: nn.Module) -> list[Any]:
    return [*network.parameters(), *network.buffers()]


def load_state(network: nn.Module, state: State) -> None:
    """Copy a state into a module, every name and shape matched; buffers not persistent too."""
    for kind, here, there in (
        ("params", dict(network.named_parameters()), state.params),
        ("buffers", dict(network.named_buffers()), state.buffers),
    ):
        _check_alike(kind, here, there)
        with torch.no_grad():
            for name, value in there.items():
                here[name].copy_(value)


def _check_alike(kind: str, here: Mapping[str, Tensor], there: Mapping[str, Tensor]) -> None:
    if odd := sorted(here.keys() ^ there.keys()):
        where = "only the model" if odd[0] in here else "only the state"
        raise LthError(
            f"the state names other {kind} than the model has: {odd[0]} is in {where}"
            + (f", and {len(odd) - 1} more" if len(odd) > 1 else "")
        )
    for name, value in there.items():
        if here[name].shape != value.shape:
            shapes = f"{tuple(here[name].shape)} in the model, {tuple(value.shape)} in the state"
            raise LthError(f"the state does not fit the model: {name} is {shapes}")


def draw_state(model: Spec, seed: int) -> State:
    """Return the initial params and buffers of ``model`` for ``seed``."""
    return state_of(draw_model(model, seed))


def state_of(network: nn.Module) -> State:
    """Copy a module's params and buffers out of it."""
    params = {n: p.detach().clone() for n, p in network.named_parameters()}
    return State(params, {n: b.detach().clone() for n, b in network.named_buffers()})


def layers_of(
    model: Spec, input_shape: Sequence[int] | None = None, include: Sequence[str] = ()
) -> Layers:
    """Describe the weights of the model that a spec names, parameters to ``include`` among them.

    With the shape of an example its output layer is the one that gives the logits, else the one
    registered last.
    """
    shape = None if input_shape is None else tuple(input_shape)
    key = (memory_key(model), shape, tuple(include))
    if key not in _layers:
        found = describe(draw_model(model, 0)).including(include)
        if shape is not None:
            found = found.ending(traced(model, shape, include).last)
        _layers[key] = found
    return _layers[key]


def traced(model: Spec, input_shape: Sequence[int], include: Sequence[str] = ()) -> Trace:
    """Trace one forward pass of the model that a spec names."""
    key = (memory_key(model), tuple(input_shape), tuple(include))
    if key not in _traces:
        parts = layers_of(model, None, include).parts
        _traces[key] = trace(draw_model(model, 0), input_shape, parts)
    return _traces[key]


_layers: dict[Any, Layers] = {}  # pure functions' memories, nothing else
_traces: dict[Any, Trace] = {}


def memory_key(model: Spec) -> str:
    """Name a model for memories inside the process: the spec, and the factories as they are now."""
    factories = [locate(t) for t in _targets(model)]
    _known.update((id(f), f) for f in factories)  # kept, so that no other gets its id
    return json.dumps(model, sort_keys=True) + "".join(f"|{id(f)}" for f in factories)


_known: dict[int, Any] = {}


def _targets(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        if "_target_" in value:
            yield str(value["_target_"])
        value = list(value.values())
    if isinstance(value, list | tuple):
        for inner in value:
            yield from _targets(inner)


def tensors_digest(tensors: dict[str, Tensor]) -> str:
    """Hash tensors by name, dtype, shape and bytes: SHA-256."""
    found = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        found.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        found.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()
