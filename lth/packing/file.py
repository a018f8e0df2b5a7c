"""The file that a network travels in: four bytes, a checksum, plain bytes, and decisions.

    "LTH" version | crc32 | length of the plain bytes | plain bytes | decisions, arithmetic coded

The decisions say what the model is, then tensor by tensor how it is coded and what is in it. The
checksum is of all that follows it.
"""

from __future__ import annotations

from typing import Any, NamedTuple
from zlib import crc32

import torch

from lth.files import Damaged, demand
from lth.networks.net import Net
from lth.packing.cheapest import check_coding
from lth.packing.coder import HALF, Reader, Recorder
from lth.packing.kinds import Kind, Patterns, kind_of, patterns_of, tensor_of
from lth.packing.layout import Layout, code_layout, code_model
from lth.packing.seen import symbols_of
from lth.packing.tensors import tensor
from lth.types import Mask, Params

MAGIC, VERSION = b"LTH", 1

FREE, PER_BYTE = 1 << 24, 256
"""Numbers that a file may hold: so many, and so many for each of its bytes."""


class Content(NamedTuple):
    """What a file holds."""

    model: dict[str, Any]
    params: Params
    buffers: Params
    mask: Mask
    spent: dict[tuple[str, str], float]


def write(net: Net, coding: str = "cheapest") -> bytes:
    """Return the file of a network, its views baked into its weights."""
    state = net.baked()
    tensors = (*state.params.items(), *state.buffers.items())
    kinds = [kind_of(n, t) for n, t in tensors]
    layout = Layout(tuple(kinds[: len(state.params)]), tuple(kinds[len(state.params) :]))
    coder, symbols = Recorder(check_coding(coding)), symbols_of(net)
    code_layout(coder, code_model(coder, net.model), layout)
    for kind in layout.params:
        coder.bit(HALF, int(kind.name in net.mask))
    earlier: list[tuple[Kind, Patterns]] = []
    for kind, (name, value) in zip(kinds, tensors, strict=True):
        patterns = patterns_of(value)
        tensor(coder, kind, earlier, patterns, symbols.get(name))
        earlier.append((kind, patterns))
    coder.plain += bytes(max(0, (layout.size - FREE) // PER_BYTE - len(coder.plain)))
    body = _whole(len(coder.plain)) + bytes(coder.plain) + coder.coded()
    return MAGIC + bytes([VERSION]) + crc32(body).to_bytes(4, "little") + body


def read(content: bytes) -> Content:
    """Return what a file holds; anything that does not fit together is refused."""
    demand(content[:3] == MAGIC, "it is no packed network")
    demand(content[3:4] == bytes([VERSION]), "it comes from a newer version of lth")
    body = content[8:]
    demand(crc32(body).to_bytes(4, "little") == content[4:8], "its checksum does not fit")
    length, start = _number(body)
    demand(start + length <= len(body), "it is cut short")
    coder = Reader(body[start + length :], body[start : start + length])
    model = code_model(coder)
    layout = code_layout(coder, model)
    demand(layout.size <= FREE + PER_BYTE * (len(content) + 1), "it holds too many numbers")
    masked = [k.name for k in layout.params if coder.bit(HALF)]
    earlier: list[tuple[Kind, Patterns]] = []
    for kind in (*layout.params, *layout.buffers):
        earlier.append((kind, tensor(coder, kind, earlier)))
    demand(not any(coder.rest), "it holds more than it says")
    coder.raw(None, len(coder.rest))
    coder.check_end()
    found = [(k.name, tensor_of(k, p)) for k, p in earlier]
    params = dict(found[: len(layout.params)])
    kept = {k.name: p for k, p in earlier[: len(params)]}
    mask = {n: torch.from_numpy(kept[n] != 0).reshape(params[n].shape) for n in masked}
    return Content(model, params, dict(found[len(params) :]), mask, coder.spent)


def _whole(number: int) -> bytes:
    """Return a whole number in bytes of 7 bits, the last below 128."""
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number])


def _number(content: bytes) -> tuple[int, int]:
    """Return the whole number that bytes begin with, and how many of them it takes."""
    found = 0
    for place, octet in enumerate(content[:7]):
        found |= (octet & 127) << 7 * place
        if octet < 128:
            return found, place + 1
    raise Damaged("it is cut short")
