"""Tickets made elsewhere: state dicts and masks that others wrote, brought into this one's names.

What is done is done with certainty or refused by name: nothing is guessed, nothing drawn anew.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lth.errors import LthError
from lth.files import is_torchs, read_tensors, reading
from lth.networks import openlth
from lth.types import Mask, Params

PREFIXES = ("module.", "_orig_mod.", "model.", "network.", "net.")
"""What wrappers (DataParallel, torch.compile, a LightningModule) put before every name."""

ZEROS = "zeros"
"""In the place of a mask: a weight that can be pruned is pruned where it is exactly 0."""

INSIDE = ("state_dict", "model_state_dict", "model")
"""Under which names checkpoints of Lightning's, OpenLTH's and many others' hold a state."""


class Adopted(NamedTuple):
    """A ticket's tensors, all of them under the model's names."""

    params: Params
    buffers: Params
    mask: Mask


def adopt(
    network: nn.Module,
    again: nn.Module,
    shapes: Mapping[str, tuple[int, ...]],
    state: Any,
    mask: Any,
) -> Adopted:
    """Take a state and a mask; ``network`` and ``again`` are two draws of the model.

    ``shapes`` are those of the weights that can be pruned. A ``mask`` of ``"zeros"`` is read off
    the values, where the state brings none of its own.
    """
    names = _names(network)
    given, pruned = _without_prune(_plain(_read(state, "state"), names, "state"), names)
    if isinstance(mask, str) and mask == ZEROS:
        found = pruned or {n: t != 0 for n, t in given.items() if names[n] in shapes}
    elif mask is not None:
        found = _plain(_read(mask, "mask"), names, "mask")
        found = {_base(n, names): m for n, m in found.items()}
        _check_agrees(found, pruned)
    elif not pruned:
        raise LthError(
            "mask: there is none: give a dict of 0 and 1 by weight name, or its file; or "
            'mask="zeros", where pruned weights are exactly 0'
        )
    else:
        found = pruned
    tensors = _complete(network, again, given, names)
    params = {n: tensors[n] for n, _ in network.named_parameters()}
    buffers = {n: tensors[n] for n, _ in network.named_buffers()}
    return Adopted(params, buffers, _masks(found, shapes, names))


def read_file(path: str | Path) -> dict[str, Any]:
    """Read a dict of tensors, ``torch.save``'s or of safetensors; nothing but tensors is made."""
    with reading(path, "file", "torch.save a plain dict of tensors by name"):
        if not is_torchs(_beginning(path)):
            return dict(read_tensors(Path(path).read_bytes())[0])
        try:
            found = torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError:
            raise ValueError("it holds more than tensors, which is not read") from None
        found = _inside(found)
        if not isinstance(found, Mapping):
            raise ValueError(f"it holds a {type(found).__name__}, not tensors by name")
        return dict(found)


def _inside(found: Any) -> Any:
    """Return the state that a checkpoint holds; what is no checkpoint as it is."""
    while isinstance(found, Mapping):
        states = [found[n] for n in INSIDE if isinstance(found.get(n), Mapping)]
        if not states:
            break
        found = states[0]
    return found


def _beginning(path: str | Path) -> bytes:
    with open(path, "rb") as file:
        return file.read(9)


def renamed(
    given: Mapping[str, Any], own: tuple[Params, Params], what: str
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return a state, and the masks of ``torch.nn.utils.prune`` in it, under a network's names."""
    names = {n: n for n in own[0] | own[1]}
    return _without_prune(_plain(_read(given, what), names, what), names)


def completed(given: Mapping[str, Tensor], own: tuple[Params, Params]) -> tuple[Params, Params]:
    """Return a state's params and buffers; buffers that it lacks are the network's ``own``."""
    have = own[0] | own[1]
    for name, tensor in given.items():
        if name not in have:
            raise LthError(f"state: the model has no {name}")
        _check_like(name, tensor, have[name])
    for name in own[0]:
        if name not in given:
            raise LthError(f"state: it lacks {name}, which would be drawn at random")
    return {n: given[n] for n in own[0]}, {n: given.get(n, b) for n, b in own[1].items()}


def _read(value: Any, what: str) -> dict[str, Any]:
    if isinstance(value, nn.Module):
        value = value.state_dict()
    if isinstance(value, str | PathLike):
        value = read_file(Path(value))
    if not isinstance(value, Mapping):
        raise LthError(
            f"{what}: tensors by name are needed, or a file, not a {type(value).__name__}"
        )
    found = {}
    for name, part in openlth.unwrapped({str(n): v for n, v in _inside(value).items()}).items():
        if isinstance(part, Tensor) and part.is_meta:
            raise LthError(f"{what}: {name} is on the meta device, which holds no values")
        try:
            found[name] = torch.as_tensor(part).detach().cpu()
        except (TypeError, ValueError, RuntimeError):
            raise LthError(f"{what}: {name} is a {type(part).__name__}, not a tensor") from None
    return found


def _names(network: nn.Module) -> dict[str, str]:
    """Map every name that a tensor of the model has to the first of them: tied ones have more."""
    first: dict[int, str] = {}
    found = {}
    for every in (network.named_parameters, network.named_buffers):
        for name, tensor in every(remove_duplicate=False):
            found[name] = first.setdefault(id(tensor), name)
    return found


def _plain(given: Mapping[str, Tensor], names: Mapping[str, str], what: str) -> dict[str, Tensor]:
    """Take a wrapper's prefix off, if every name has it and every name is the model's without.

    OpenLTH's names of a network that is here too become those it has here.
    """
    found = dict(given)
    while found and not any(_base(n, names) in names for n in found):
        prefix = next((p for p in PREFIXES if all(n.startswith(p) for n in found)), None)
        if prefix is None:
            break
        found = {n.removeprefix(prefix): t for n, t in found.items()}
    if found and not all(_base(n, names) in names for n in found):
        table = openlth.ours(found, names)
        found = {table.get(n, n): t for n, t in found.items()}
    for name in found:
        if _base(name, names) not in names:
            raise LthError(
                f"{what}: the model has no {name}; it has {', '.join(list(names)[:8])}, ..."
                f"{_partly(found, names)}"
            )
    return found


def _partly(given: Mapping[str, Tensor], names: Mapping[str, str]) -> str:
    """Say it where the model's names stand behind a prefix, beside others that are not its own."""
    for prefix in PREFIXES:
        own = [n for n in given if _base(n.removeprefix(prefix), names) in names]
        if own and len(own) < len(given) and all(n.startswith(prefix) for n in own):
            other = next(n for n in given if n not in own)
            return f"; its names follow {prefix} here, beside others: leave {other} out"
    return ""


def _base(name: str, names: Mapping[str, str]) -> str:
    """Return the weight that a name of ``torch.nn.utils.prune``'s belongs to, else the name."""
    for end in ("_orig", "_mask"):
        if name not in names and name.endswith(end) and name.removesuffix(end) in names:
            return name.removesuffix(end)
    return name


def _without_prune(
    given: Mapping[str, Tensor], names: Mapping[str, str]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Split a state of ``torch.nn.utils.prune`` into values and masks, under the plain names."""
    state, mask = {}, {}
    for name, tensor in given.items():
        base = _base(name, names)
        into = mask if base != name and name.endswith("_mask") else state
        if base in into:
            raise LthError(f"state: it has both {base} and {name}; leave one out")
        into[base] = tensor
    return state, mask


def _check_agrees(mask: Mapping[str, Tensor], pruned: Mapping[str, Tensor]) -> None:
    for name, part in pruned.items():
        other = mask.get(name)
        if other is None or other.shape != part.shape or not bool((other == part).all()):
            raise LthError(f"mask: {name} is not the state's own {name}_mask; leave one out")


def _complete(
    network: nn.Module, again: nn.Module, given: Mapping[str, Tensor], names: Mapping[str, str]
) -> dict[str, Tensor]:
    """Return every tensor of the model: the given ones, and buffers no state dict ever holds."""
    have = dict(network.named_parameters()) | dict(network.named_buffers())
    saved = network.state_dict().keys()
    found: dict[str, Tensor] = {}
    for name, tensor in given.items():
        first = names[name]
        _check_like(name, tensor, have[first])
        if first in found and not torch.equal(found[first], tensor):
            raise LthError(
                f"state: {name} and {first} are one weight in the model, and differ here"
            )
        found[first] = tensor.clone()
    drawn = dict(again.named_buffers())
    for name, tensor in have.items():
        if name in found:
            continue
        same = name not in saved and name in drawn and torch.equal(tensor, drawn[name])
        if not same:
            raise LthError(f"state: it lacks {name}, which would be drawn at random")
        found[name] = tensor.detach().clone()
    return found


def _check_like(name: str, tensor: Tensor, own: Tensor) -> None:
    if tensor.shape != own.shape:
        raise LthError(
            f"state: {name} has shape {tuple(tensor.shape)}, in the model {tuple(own.shape)}"
        )
    if tensor.dtype != own.dtype:
        raise LthError(f"state: {name} is {tensor.dtype}, in the model {own.dtype}: convert it")
    if tensor.is_floating_point() and isinstance(own, nn.Parameter):
        if not bool(tensor.isfinite().all()):
            raise LthError(f"state: {name} holds values that are no finite numbers")


def _masks(
    given: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]], names: Mapping[str, str]
) -> Mask:
    """Convert masks of 0 and 1; one that keeps all of what cannot be pruned says nothing."""
    found = {names[n]: as_mask(n, m, shapes.get(names[n])) for n, m in given.items()}
    for name, mask in found.items():
        if name not in shapes and not bool(mask.all()):
            raise LthError(f"mask: {name} cannot be pruned; weights that can: {', '.join(shapes)}")
    ordered = {n: found[n] for n in shapes if n in found}
    if not ordered:
        raise LthError(f"mask: it names no weight that can be pruned: {', '.join(shapes)}")
    return ordered


def as_mask(name: str, value: Tensor, shape: tuple[int, ...] | None = None) -> Tensor:
    """Return a mask as booleans; numbers other than 0 and 1 are refused."""
    if shape is not None and tuple(value.shape) != tuple(shape):
        raise LthError(f"mask: {name} has shape {tuple(value.shape)}, the weight {tuple(shape)}")
    if value.dtype == torch.bool:
        return value.clone()
    if not bool(((value == 0) | (value == 1)).all()):
        raise LthError(f"mask: {name} holds other values than 0 and 1")
    return value == 1
