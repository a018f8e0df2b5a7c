"""A model drawn: its network, the state of it, its layers; what is asked of a spec again and again.

All memories inside the process are keyed by ``memory_key``.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from lth.errors import LthError
from lth.identity import code_key
from lth.networks.layers import Layers, describe
from lth.networks.parametrized import tame
from lth.networks.passes import Passes, passes
from lth.networks.trace import Trace, trace
from lth.spec.build import Spec, build
from lth.types import Params


class State(NamedTuple):
    """Params and buffers of one network at one moment."""

    params: Params
    buffers: Params


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
    lazy = any(nn.parameter.is_lazy(p) for p in _tensors(draw_model(model, 0)))
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
        where = "only in the model" if odd[0] in here else "only in the state"
        raise LthError(
            f"the state names other {kind} than the model has: {odd[0]} is {where}"
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
    """Trace one forward pass of the model that a spec names, or return what was told of it."""
    whole = (memory_key(model), tuple(input_shape))
    if (told := _traces.get((*whole, TOLD))) is not None:
        return told
    key = (*whole, tuple(include))
    if key not in _traces:
        parts = layers_of(model, None, include).parts
        _traces[key] = trace(draw_model(model, 0), input_shape, parts)
    return _traces[key]


def passes_of(model: Spec, input_shape: Sequence[int], include: Sequence[str] = ()) -> Passes:
    """Say what a training step runs of the model that a spec names, or was told to run of it."""
    uses = traced(model, input_shape, include).uses
    whole = (memory_key(model), tuple(input_shape))
    if (*whole, TOLD) in _traces:
        return Passes.usual(uses)
    key = (*whole, tuple(include))
    if key not in _passes:
        parts = layers_of(model, None, include).parts
        _passes[key] = passes(draw_model(model, 0), input_shape, parts, uses)
    return _passes[key]


def tell(model: Spec, input_shape: Sequence[int], found: Trace) -> None:
    """Remember the trace of a model that only its user can run: a LightningModule's step."""
    _traces[memory_key(model), tuple(input_shape), TOLD] = found


TOLD = "told"
"""In the place of what a trace includes: it is of all that there is."""

_layers: dict[Any, Layers] = {}  # pure functions' memories, nothing else
_traces: dict[Any, Trace] = {}
_passes: dict[Any, Passes] = {}


def memory_key(model: Spec) -> str:
    """Name a model for memories inside the process: its arguments, and the code as it is now."""
    return code_key(model)
