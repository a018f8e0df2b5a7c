"""The file that a ticket travels in: its fields as plain data and tensors, masks packed to bits.

Written and read field by field, whatever fields there are, so none can be forgotten.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from lth.files import demand, parse, read_tensors, tensors_digest
from lth.networks import masks
from lth.types import Params

Kinds = Mapping[str, str]
"""What every field is: ``mask``, ``tensors`` (by name), or ``plain``."""


def write(fields: Mapping[str, Any], kinds: Kinds) -> bytes:
    """Return the bytes of a file with all fields, and a checksum over all of it."""
    tensors: Params = {}
    names: dict[str, list[str]] = {}
    for field, kind in kinds.items():
        if kind != "plain":
            _check_values(field, fields[field])
            names[field] = list(fields[field])
            held = masks.pack if kind == "mask" else _own
            tensors |= {f"{field}/{n}": held(t) for n, t in fields[field].items()}
    shapes = {
        field: {n: list(m.shape) for n, m in fields[field].items()}
        for field in names
        if kinds[field] == "mask"
    }
    about = {"fields": plain_fields(fields, kinds), "names": names, "shapes": shapes}
    text = json.dumps(about, allow_nan=False)  # unsorted: views have an order
    meta = {"ticket": text, "digest": _digest(tensors, text), "format": "2"}
    return save(tensors, metadata=meta)


def read(content: bytes, kinds: Kinds) -> dict[str, Any]:
    """Return the fields that a file holds; anything that does not fit together is refused."""
    tensors, meta = read_tensors(content)
    demand("ticket" in meta, "it is not a ticket")
    about = parse(meta["ticket"])
    if "format" not in meta:
        return _read_first(tensors, meta, about)
    demand(meta["format"] == "2", "it comes from a newer version of lth")
    demand(_digest(tensors, meta["ticket"]) == meta["digest"], "its checksum does not fit")
    found = dict(about["fields"])
    listed = {f"{field}/{n}" for field, names in about["names"].items() for n in names}
    demand(listed == tensors.keys(), "it lists other tensors than it holds")
    for field, names in about["names"].items():
        demand(kinds.get(field) in ("mask", "tensors"), f"it has no tensors of a {field}")
        found[field] = {n: tensors[f"{field}/{n}"] for n in names}
        if kinds[field] == "mask":
            shapes = about["shapes"][field]
            found[field] = {n: masks.unpack(b, shapes[n]) for n, b in found[field].items()}
        _check_values(field, found[field])
    demand(found.keys() <= kinds.keys(), "it has fields that this version of lth does not know")
    return found


def plain_fields(fields: Mapping[str, Any], kinds: Kinds) -> dict[str, Any]:
    """Return the fields that are no tensors, in JSON's types."""
    found = {n: fields[n] for n, kind in kinds.items() if kind == "plain"}
    return json.loads(json.dumps(found, default=str), parse_constant=str)


def _read_first(tensors: Params, meta: Mapping[str, str], about: Any) -> dict[str, Any]:
    """Read what version 0.1.0 wrote: seven fields, weights beneath the mask left out."""
    demand(tensors_digest(tensors) == meta["digest"], "its checksum does not fit")
    parts = {
        kind: {n: tensors[f"{kind}/{n}"] for n in about["names"][kind]}
        for kind in ("params", "buffers", "mask")
    }
    shapes = {n: parts["params"][n].shape for n in parts["mask"]}
    parts["mask"] = {n: masks.unpack(b, shapes[n]) for n, b in parts["mask"].items()}
    start = "frozen/"
    frozen = {n.removeprefix(start): t for n, t in tensors.items() if n.startswith(start)}
    for field, values in (parts | {"frozen": frozen}).items():
        _check_values(field, values)
    plain = {n: about[n] for n in ("model", "step", "origin")}
    return plain | parts | {"frozen": frozen}


def _check_values(field: str, values: Params) -> None:
    """Refuse NaN anywhere, and infinities but in buffers, where attention masks have them."""
    for name, value in values.items():
        if value.is_floating_point() or value.is_complex():
            bad = value.isnan() if field == "buffers" else ~value.isfinite()
            demand(not bool(bad.any()), f"{field} {name} holds values that are no finite numbers")


def _own(value: Tensor) -> Tensor:
    """Copy to memory of its own: safetensors refuses tensors that share theirs."""
    return value.detach().cpu().clone(memory_format=torch.contiguous_format)


def _digest(tensors: Params, text: str) -> str:
    whole = torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8)
    return tensors_digest({**tensors, "": whole})
