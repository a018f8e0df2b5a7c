"""A ticket: a model, a mask, and the weights it starts from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from lth import masks
from lth.drawn import (
    State,
    draw_model,
    draw_state,
    drawable,
    drawing,
    layers_of,
    load_state,
    memory_key,
    network_of,
    seed_all,
    state_of,
    traced,
)
from lth.errors import LthError
from lth.records import write_atomic
from lth.spec import Spec
from lth.types import Mask, Params

__all__ = [
    "State", "Ticket", "draw_model", "draw_state", "drawable", "drawing", "layers_of", "load_state",
    "memory_key", "network_of", "seed_all", "state_of", "tensors_digest", "traced",
]  # fmt: skip


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


def tensors_digest(tensors: dict[str, Tensor]) -> str:
    """Hash tensors by name, dtype, shape and bytes: SHA-256."""
    found = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        found.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        found.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()
