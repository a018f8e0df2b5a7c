"""Tickets as others read them: torch's own pruning, OpenLTH's files."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lth.errors import LthError
from lth.files import write_atomic
from lth.networks import kept, openlth
from lth.networks.drawn import State, load_state
from lth.networks.net import Net, network_for

NAMED = ("lth.models.lenet", "lth.models.resnet", "lth.models.vgg")
"""Networks that OpenLTH has too, under names of its own."""


def into_torch_prune(net: Net, module: nn.Module) -> nn.Module:
    """Fill a module with a net's weights, and put the masks of ``torch.nn.utils.prune`` in it."""
    kept.check_prunable(net.frozen, bool(net.views or net.gate))
    if any(n.endswith("_orig") for n, _ in module.named_parameters()):
        raise LthError("this module is pruned already: make it plain by prune.remove first")
    load_state(module, State(net.params, net.buffers))
    return kept.prune_in_place(module, net.mask)


def save_openlth(ticket: Any, folder: Path, model: Any = None) -> None:
    """Write mask, weights and sparsity report of a ticket as a level of OpenLTH's."""
    kept.check_prunable(ticket.frozen, bool(ticket.views or ticket.gate))
    network = network_for(ticket.model, State(ticket.params, ticket.buffers), model)
    state = network.state_dict()
    own = str(ticket.model.get("_target_")) in NAMED
    names = openlth.theirs(state) if own else {}
    mask = {n: ticket.mask.get(n, torch.ones(w.shape)).int() for n, w in _prunable(network)}
    if unknown := [n for n in ticket.mask if n not in mask]:
        raise LthError(f"{unknown[0]}: OpenLTH prunes Linear and Conv2d alone; save() keeps it")
    kept_of = [(float(m.sum()), float(m.numel())) for m in mask.values()]
    report = {"total": sum(n for _, n in kept_of), "unpruned": sum(n for n, _ in kept_of)}
    weights = {names.get(n, n): t for n, t in state.items()}
    _write(folder / openlth.MASK, {names.get(n, n): m for n, m in mask.items()})
    _write(folder / f"model_ep0_it{ticket.step}.pth", weights)
    write_atomic(folder / "sparsity_report.json", json.dumps(report, indent=4).encode())


def _prunable(network: nn.Module) -> list[tuple[str, Tensor]]:
    """Return the weights that OpenLTH prunes, as ``Model.prunable_layer_names`` lists them."""
    kinds = nn.Conv2d, nn.Linear
    modules = [(n, m) for n, m in network.named_modules() if isinstance(m, kinds)]
    return [(f"{n}.weight".lstrip("."), m.weight) for n, m in modules]


def _write(path: Path, tensors: dict[str, Tensor]) -> None:
    content = io.BytesIO()
    torch.save(tensors, content)
    write_atomic(path, content.getvalue())
