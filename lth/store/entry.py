"""An entry of the store: what training one member gave, on disk.

A folder with ``entry.json`` (what was measured) and ``tensors.safetensors`` (start and final state,
pruned weights left out, mask packed to bits); states of the run at other steps lie beside them.
Nothing is unpickled.
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from lth.errors import LthError
from lth.files import demand, header, read_tensors, write_atomic
from lth.networks import masks
from lth.networks.ticket import State, tensors_digest
from lth.spec.build import digest
from lth.types import Mask, Params

Point = tuple[int, str, str, float]
"""(step, split, metric, value)."""


@dataclass(kw_only=True)
class TrainResult:
    """What training one member gave."""

    start: State
    final: State | None  # None where the member diverged
    mask: Mask
    measured: list[Point] = field(default_factory=list)
    curve: list[Point] = field(default_factory=list)
    diverged: int | None = None
    snapshots: dict[int, State] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)
    frozen: Params = field(default_factory=dict)
    final_mask: Mask | None = None  # where it is not the mask that training started from


class MissingSnapshot(LookupError):
    """The entry exists, but the state at that step was not kept."""


@dataclass(frozen=True)
class StoredMember:
    """A trained member, read back; its tensors are loaded when asked for.

    ``names`` are the weights that whoever asks may prune; None: whoever trained it. A layer that is
    kept whole has the same numbers whether its mask is named or not.
    """

    folder: Path
    about: dict[str, Any]
    names: tuple[str, ...] | None = None

    @property
    def key(self) -> str:
        """The name under which the store keeps the member."""
        return self.folder.name

    @property
    def snapshots(self) -> tuple[int, ...]:
        """The steps whose states lie beside the entry, unchecked."""
        names = (p.stem.removeprefix("step-") for p in self.folder.glob("step-*.safetensors"))
        return tuple(sorted(int(name) for name in names if name.isdigit()))

    @property
    def diverged(self) -> int | None:
        """The step at which the member diverged, None if it did not."""
        return self.about["diverged"]

    @property
    def measured(self) -> list[Point]:
        """Values at early stop and at the end."""
        return [tuple(point) for point in self.about["measured"]]

    @property
    def curve(self) -> list[Point]:
        """Values at the evaluations on the way."""
        return [tuple(point) for point in self.about["curve"]]

    @property
    def mask(self) -> Mask:
        """The mask the member trained under, at its start."""
        tensors = self._tensors()
        return self._named(_unpack_mask(tensors, self.about["shapes"]), tensors)

    @property
    def final_mask(self) -> Mask:
        """The mask at the last step: another one where it changed or was itself trained."""
        tensors = self._tensors()
        return self._named(self._mask(tensors, "final"), tensors)

    @property
    def frozen(self) -> Params:
        """The values at which pruned weights were frozen, if they were."""
        tensors = self._tensors()
        return _frozen(tensors, _unpack_mask(tensors, self.about["shapes"]))

    @property
    def start(self) -> State:
        """The masked state that training started from."""
        return self._state("start")

    @property
    def final(self) -> State:
        """The masked state at the last step."""
        if self.diverged is not None:
            raise LthError(f"{self.folder}: the member diverged at step {self.diverged}")
        return self._state("final")

    def at(self, step: int) -> State:
        """The state at ``step``: the start, the end, or a snapshot; MissingSnapshot if not kept."""
        if step == self.about["step"]:
            return self.start
        path = self.folder / f"step-{int(step)}.safetensors"
        try:
            tensors, meta = read_tensors(read_patiently(path))
            demand(tensors_digest(tensors) == meta["digest"], "its checksum does not fit")
            state = self._in_order(_part(tensors, "params"), _part(tensors, "buffers"))
            self._check_shapes(state)
        except Exception:  # whatever a damaged file makes of it
            raise MissingSnapshot(f"{self.folder.name} has no state at step {step}") from None
        return state

    def keep(self, step: int, state: State) -> None:
        """Add the state at ``step`` to the entry."""
        path = self.folder / f"step-{step}.safetensors"
        write_atomic(path, _snapshot_bytes(state), into=True)

    def has(self, step: int) -> bool:
        """Whether the state at ``step`` is kept and whole."""
        try:
            self.at(step)
        except MissingSnapshot:
            return False
        return True

    def _check_shapes(self, state: State) -> None:
        """Refuse a state of other shapes than the start has."""
        described, _ = header(read_patiently(self.folder / "tensors.safetensors"))
        for kind, values in zip(("params", "buffers"), state, strict=True):
            for name, value in values.items():
                own = self.about["shapes"].get(name) if kind == "params" else None
                shape = described[f"start/{kind}/{name}"].shape if own is None else tuple(own)
                demand(tuple(value.shape) == shape, f"{name} has another shape")

    def _tensors(self) -> Params:
        return load(read_patiently(self.folder / "tensors.safetensors"))

    def _state(self, which: str) -> State:
        tensors = self._tensors()
        mask = self._mask(tensors, which)
        packed = _part(tensors, f"{which}/params")
        params = {n: _spread(v, mask[n]) if n in mask else v for n, v in packed.items()}
        for name, values in _frozen(tensors, mask).items():
            params[name] = torch.where(mask[name], params[name], values)
        return self._in_order(params, _part(tensors, f"{which}/buffers"))

    def _mask(self, tensors: Params, which: str) -> Mask:
        kind = f"{which}_mask"
        changed = any(n.startswith(kind + "/") for n in tensors)
        return _unpack_mask(tensors, self.about["shapes"], kind if changed else "mask")

    def _named(self, mask: Mask, tensors: Params) -> Mask:
        """Return the mask under the names asked for: what is not in it is whole."""
        if self.names is None:
            return mask
        start = _part(tensors, "start/params")
        return {
            n: mask[n] if n in mask else torch.ones(start[n].shape, dtype=torch.bool)
            for n in self.names
        }

    def _in_order(self, params: Params, buffers: Params) -> State:
        """Return a state in the model's own order, which safetensors does not keep."""
        names = self.about["names"]
        return State(
            *({n: t[n] for n in order} for t, order in zip((params, buffers), names, strict=True))
        )


def write_entry(folder: Path, outcome: TrainResult) -> None:
    """Write an entry's files into an empty folder."""
    tensors = {f"mask/{n}": masks.pack(m) for n, m in outcome.mask.items()}
    tensors |= {f"frozen/{n}": _gather(f, ~outcome.mask[n]) for n, f in outcome.frozen.items()}
    final_mask = outcome.final_mask or {}
    tensors |= {f"final_mask/{n}": masks.pack(m) for n, m in final_mask.items()}
    states = (outcome.start, outcome.mask), (outcome.final, final_mask or outcome.mask)
    for which, (state, mask) in zip(("start", "final"), states, strict=True):
        if state is not None:
            tensors |= {
                f"{which}/params/{n}": _gather(p, mask.get(n)) for n, p in state.params.items()
            }
            tensors |= {f"{which}/buffers/{n}": own(b) for n, b in state.buffers.items()}
    content = save(tensors)
    about = {
        **outcome.about,
        "measured": outcome.measured,
        "curve": outcome.curve,
        "diverged": outcome.diverged,
        "shapes": {n: list(m.shape) for n, m in outcome.mask.items()},
        "names": [list(outcome.start.params), list(outcome.start.buffers)],
        "tensors": hashlib.sha256(content).hexdigest(),
    }
    about = json.loads(json.dumps(about))
    write_atomic(folder / "tensors.safetensors", content)
    for step, state in outcome.snapshots.items():
        write_atomic(folder / f"step-{step}.safetensors", _snapshot_bytes(state))
    write_atomic(folder / "entry.json", json.dumps(about | {"checksum": digest(about)}).encode())


EXCHANGE = 2.0
"""Seconds to wait for a folder that another job is exchanging for a newer one."""


def read_patiently(path: Path) -> bytes:
    """Read a file of an entry; one whose whole folder is away is waited for (`Store.publish`)."""
    end = time.monotonic() + EXCHANGE
    while True:
        try:
            return path.read_bytes()
        except FileNotFoundError:
            if path.parent.exists() or time.monotonic() > end:
                return path.read_bytes()  # it may have come back between the two looks
            time.sleep(0.01)


def _snapshot_bytes(state: State) -> bytes:
    tensors = {f"params/{n}": own(p) for n, p in state.params.items()}
    tensors |= {f"buffers/{n}": own(b) for n, b in state.buffers.items()}
    return save(tensors, metadata={"digest": tensors_digest(tensors)})


def _gather(value: Tensor, mask: Tensor | None) -> Tensor:
    return own(value) if mask is None else value.detach().cpu()[mask]


def own(value: Tensor) -> Tensor:
    """Copy to memory of its own: safetensors refuses tensors that share theirs."""
    return value.detach().cpu().clone(memory_format=torch.contiguous_format)


def _spread(values: Tensor, mask: Tensor) -> Tensor:
    found = values.new_zeros(mask.shape)
    found[mask] = values
    return found


def _frozen(tensors: Params, mask: Mask) -> Params:
    return {n: _spread(values, ~mask[n]) for n, values in _part(tensors, "frozen").items()}


def _unpack_mask(tensors: Params, shapes: dict[str, list[int]], kind: str = "mask") -> Mask:
    bits = _part(tensors, kind)
    return {n: masks.unpack(bits[n], shape) for n, shape in shapes.items()}


def _part(tensors: Params, prefix: str) -> Params:
    return {
        n.removeprefix(prefix + "/"): t for n, t in tensors.items() if n.startswith(prefix + "/")
    }
