"""A network packed into a file as small as it goes, and out of it again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from lth.errors import LthError
from lth.files import reading, write_atomic
from lth.networks.adopt import renamed
from lth.networks.drawn import State, draw_model, layers_of, state_of
from lth.networks.net import Net, copied
from lth.networks.ticket_check import same_names
from lth.packing import file
from lth.packing.unpacked import Unpacked
from lth.spec.naming import ROOMS, laid_over, named
from lth.spec.trust import Trust, allow, names_of, targets

MEND = (
    "name its factory, as in lth.unpack(path, model=mine.net), or what you trust: "
    "lth.unpack(path, trust=['mine'])"
)


def pack(
    network: Any, path: str | Path | None = None, *, model: Any = None, coding: str = "cheapest"
) -> bytes:
    """Return a network as few bytes, and write them to ``path``: what it computes is in them whole.

    ``network`` is a ticket, a ``Net``, or a module, whose ``model`` is then its factory. Views are
    baked in. Every tensor is coded by the cheapest of its ways; ``coding`` limits them to those of
    ``huffman`` (Han et al. 2016, arXiv 1510.00149, Section 4) or ``arithmetic`` codes. The same
    network gives the same bytes everywhere. ``lth.unpack(path).module()`` is bit for bit the same
    (of a weight of -0.0 the sign is lost). A module no longer knows that its weights lie on a grid
    of few bits, ``study.net(...)`` does: that is what budgets weigh, and what is small.
    """
    content = file.write(_net(network, model), coding)
    if path is not None:
        write_atomic(Path(path), content)
    return content


def unpack(packed: str | Path | bytes, model: Any = None, trust: Trust = ()) -> Unpacked:
    """Read what ``pack`` wrote, a file or its bytes; it runs nothing, and refuses a damaged one.

    By itself a file may name the networks of ``lth.models`` and ``torch.nn``. For one of your own
    give its factory as ``model``, or the modules that it may name as ``trust``.
    """
    source = "these bytes" if isinstance(packed, bytes) else str(packed)
    trust, asked = names_of(trust), None if model is None else named(model)
    with reading(source, "packed network file", "pack the network again"):
        content = packed if isinstance(packed, bytes) else Path(packed).read_bytes()
        found = file.read(content)
        spec = found.model
        if asked is not None:
            spec, trust = laid_over(spec, asked), (*trust, *map(str, targets(asked)))
        spec = allow(spec, ROOMS["model"], trust, f"{source}: its model", MEND)
        net = Net(model=spec, mask=found.mask, params=found.params, buffers=found.buffers)
        return Unpacked(net, len(content), found.spent)


def _net(network: Any, model: Any) -> Net:
    if isinstance(network, nn.Module):
        return _of_module(network, model)
    if model is not None:
        raise LthError("pack: model= says how a module is made; a ticket says it itself")
    found = network if isinstance(network, Net) else getattr(network, "net", None)
    if not isinstance(found, Net):
        raise LthError(
            f"pack: a {type(network).__name__} is no network: give a ticket, or a module and its "
            "factory, lth.pack(module, path, model=mine.net)"
        )
    return found


def _of_module(network: nn.Module, model: Any) -> Net:
    if model is None:
        kind = type(network).__name__
        raise LthError(
            f"pack: a {kind} itself does not say how it is made; give its factory too, such as "
            f"lth.pack(module, path, model=functools.partial({kind}, ...))"
        )
    spec = named(model)
    drawn = draw_model(spec, 0)
    have = state_of(drawn)
    given = _plain_state(network, have)
    tied = {n for n, _ in drawn.named_parameters(remove_duplicate=False)} - have.params.keys()
    given = {n: t for n, t in given.items() if n not in tied}
    same_names(have.params | have.buffers, given)
    params = {n: given[n] for n in have.params}
    mask = {n: given[n] != 0 for n in layers_of(spec).shapes if n in params}
    return Net(model=spec, mask=mask, params=params, buffers={n: given[n] for n in have.buffers})


def _plain_state(network: nn.Module, like: State) -> dict[str, Tensor]:
    """Return the tensors of a module as it computes outside training, parametrizations baked in."""
    network = copied(network).eval()
    state = {n: t for n, t in (*network.named_parameters(), *network.named_buffers())}
    found = {n: t.detach() for n, t in state.items() if "parametrizations." not in n}
    with torch.no_grad():
        for path, module in network.named_modules():
            if parametrize.is_parametrized(module):
                for name in module.parametrizations:  # type: ignore[union-attr]
                    found[f"{path}.{name}".lstrip(".")] = getattr(module, name).detach()
    values, masks = renamed(found, like, "pack")
    return {n: values[n] * masks[n] if n in masks else values[n] for n in values}
