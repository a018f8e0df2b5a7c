"""What tensors a network has: as its model says itself, else written out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple
from zlib import crc32

from torch import nn

from lth.errors import LthError
from lth.files import Damaged, demand, is_shape, parse
from lth.networks.ticket_check import MOST_PARTS, TRIALS, greatest, without_memory
from lth.packing.adaptive import even, text
from lth.packing.coder import HALF, Coder
from lth.packing.kinds import Kind
from lth.spec.build import build
from lth.spec.naming import ROOMS
from lth.spec.trust import may_call, targets

GREATEST = 1 << 22
"""The greatest whole number among its arguments, at most."""

KNOWN = (
    '{"_target_":"torch.nn.Linear","in_features":,"out_features":,"bias":true}'
    '{"_target_":"lth.models.vgg","input_shape":[3,32,32],"classes":10,"depth":19,"width":64,'
    '"init":"glorot_normal","norms":"ones"}'
    '{"_target_":"lth.models.resnet","input_shape":[3,32,32],"classes":10,"depth":20,"width":16,'
    '"shortcut":"conv","init":"glorot_normal","norms":"ones"}'
    '{"_target_":"lth.models.conv","input_shape":[3,32,32],"classes":10,"blocks":[64,128,256],'
    '"hidden":256,"dropout":0.0,"init":"glorot_normal"}'
    '{"_target_":"lth.networks.rewrites.","model":'
    '{"_target_":"lth.models.lenet5","input_shape":[1,28,28],"classes":10,"widths":[20,50,500],'
    '"init":"glorot_normal"}'
    '{"_target_":"lth.models.lenet","input_shape":[1,28,28],"classes":10,"widths":[300,100],'
    '"init":"glorot_normal"}'
)
"""Text that models' specs are like; it is part of the format."""

KNOWN_NAMES = (
    '[["conv1.weight","float32",[64,3,3,3]],["bn1.running_mean","float32",[16]],'
    '["bn1.running_var","float32",[16]],["bn1.num_batches_tracked","int64",[]],'
    '["fc1.weight","float32",[300,784]],["fc1.bias","float32",[300]],'
    '["fc2.weight","float32",[100,300]],["fc2.bias","float32",[100]]],[]]'
)
"""Text that lists of tensors are like."""


class Layout(NamedTuple):
    """The tensors of a network, in order."""

    params: tuple[Kind, ...]
    buffers: tuple[Kind, ...]

    @property
    def text(self) -> str:
        """All of it as text."""
        return json.dumps([[list(k) for k in part] for part in self], separators=(",", ":"))

    @property
    def size(self) -> int:
        """How many numbers there are."""
        return sum(k.size for k in (*self.params, *self.buffers))


def code_model(coder: Coder, model: Mapping[str, Any] | None = None) -> Any:
    """Code a model's spec."""
    said = None
    if model is not None:
        try:
            said = json.dumps(model, separators=(",", ":"), allow_nan=False)
            plain = json.loads(said) == model
        except (TypeError, ValueError):
            plain = False
        if not plain:
            raise LthError(f"pack: {model.get('_target_')}: its arguments are no plain data")
    found = parse(text(coder, KNOWN, said))
    demand(isinstance(found, dict) and isinstance(found.get("_target_"), str), "it names no model")
    return found


def code_layout(coder: Coder, model: Mapping[str, Any], given: Layout | None = None) -> Layout:
    """Code what tensors there are; where the model itself says it, a checksum of that is enough."""
    own = own_layout(model) if given is not None else None
    if not coder.bit(HALF, int(own is not None and own == given)):
        return _read(text(coder, KNOWN_NAMES, None if given is None else given.text))
    found = own if given is not None else own_layout(model)
    if found is None:
        raise Damaged("its model cannot be made here, and it does not list its tensors")
    said = crc32(found.text.encode()) & 0xFFFF
    same = even(coder, 16, said) == said
    demand(
        same, "this version of lth or torch makes its model otherwise than the one that packed it"
    )
    return found


def own_layout(model: Mapping[str, Any]) -> Layout | None:
    """Return what a model of lth's or torch's own says; None of others, which nothing here calls.

    No memory is taken for its values.
    """
    if not all(may_call(t, ROOMS["model"]) for t in targets(model)) or greatest(model) > GREATEST:
        return None
    try:
        with without_memory(MOST_PARTS, TRIALS):
            network = build(model)
    except Exception:  # a factory may need values to make it
        return None
    return layout_of(network) if isinstance(network, nn.Module) else None


def layout_of(network: nn.Module) -> Layout:
    """Return what tensors a module has; they may lie on the meta device."""
    params, buffers = network.named_parameters(), network.named_buffers()
    return Layout(
        *(
            tuple(Kind(n, str(t.dtype).removeprefix("torch."), tuple(t.shape)) for n, t in part)
            for part in (params, buffers)
        )
    )


def _read(said: str) -> Layout:
    parts = parse(said)
    demand(isinstance(parts, list) and len(parts) == 2, "it does not list its tensors")
    kinds = []
    for part in parts:
        rows = [tuple(row) for row in part]
        demand(all(isinstance(n, str) and is_shape(s) is not None for n, _, s in rows), "no shape")
        kinds.append(tuple(Kind(n, str(d), tuple(s)) for n, d, s in rows))
    names = [k.name for part in kinds for k in part]
    demand(len(set(names)) == len(names), "a name comes twice")
    return Layout(*kinds)
