"""One member of a task: an ordinary fit, watched by one callback, measured, and kept on its way."""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint
from torch.utils.data import DataLoader

from lth.errors import LthError
from lth.lightning.fitting import hush
from lth.lightning.position import Position
from lth.lightning.values import logged, points
from lth.networks.drawn import State, load_state, seed_all, state_of
from lth.store.entry import Point
from lth.train.job import Streams
from lth.train.work import Stopped

SAVE_EVERY = 120.0
"""Seconds between the checkpoints of a member, at the beginnings of epochs."""


SHORT_EPOCH = 20.0
"""Seconds of an epoch that is ended, to keep it, when training is asked to stop."""


@dataclass
class History:
    """What a fit has given so far; plain data and tensors, so that it can cross to a process."""

    curve: list[Point] = field(default_factory=list)
    best: tuple[float, int, State] | None = None
    snapshots: dict[int, State] = field(default_factory=dict)
    positions: dict[str, str] = field(default_factory=dict)
    diverged: int | None = None
    step: int = 0
    final: State | None = None
    names: set[str] = field(default_factory=set)

    def packed(self) -> dict[str, Any]:
        """Return it as what ``torch.load`` reads without running anything."""
        pairs = {k: tuple(v) for k, v in self.snapshots.items()}
        best = None if self.best is None else (*self.best[:2], tuple(self.best[2]))
        final = None if self.final is None else tuple(self.final)
        return vars(self) | {"snapshots": pairs, "best": best, "final": final,
                             "names": sorted(self.names)}  # fmt: skip

    @classmethod
    def unpacked(cls, content: Mapping[str, Any]) -> History:
        """Read what ``packed`` gave."""
        found = cls(**content)
        found.curve = [(int(s), str(a), str(b), float(v)) for s, a, b, v in found.curve]
        found.snapshots = {k: State(*v) for k, v in found.snapshots.items()}
        found.best = None if found.best is None else (*found.best[:2], State(*found.best[2]))
        found.final = None if found.final is None else State(*found.final)
        found.names = set(found.names)
        return found

    @classmethod
    def read(cls, path: Path) -> History:
        """Read what rank 0 has written."""
        if not path.is_file():
            raise LthError("task: the ranks ended without a result")
        return cls.unpacked(torch.load(path, weights_only=True))


class Follow(Checkpoint):
    """Seeds a fit, lets it begin where its ticket does, and notes what it logs.

    A ``Checkpoint`` hears last, when all is logged that a module or a callback logs.
    """

    def __init__(
        self,
        streams: Streams,
        monitor: str,
        higher: bool,
        snapshots: tuple[int, ...] = (),
        position: str | None = None,
        partial: Path | None = None,
        result: Path | None = None,
    ) -> None:
        self.streams, self.monitor, self.higher = streams, monitor, higher
        self.wanted, self.position = snapshots, position
        self.partial, self.result = partial, result
        self.report: Callable[[int], None] = _nothing
        self.stop: Callable[[], bool] = _never
        self.course = History()
        self._resumed: dict[str, Any] | None = None
        self._saved = time.monotonic()
        self._begun, self._last_epoch = 0.0, math.inf
        self._here = os.getpid()
        self._sigterm: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"report": _nothing, "stop": _never}

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Seed what the fit draws, on one thread: more change the bits on a CPU."""
        if os.getpid() != self._here:
            hush()
        self._sigterm = signal.getsignal(signal.SIGTERM)
        torch.set_num_threads(1)
        self._seed(trainer, 0)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin where the ticket begins, or where a kept member was."""
        self._resumed = self._kept()
        if self._resumed is not None:
            self._resume(trainer, pl_module, self._resumed)
        elif self.position is not None:
            Position.read(self.position).enter(trainer)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Set the schedules of the step that the ticket begins at; SIGTERM is whose it was."""
        if threading.current_thread() is threading.main_thread() and self._sigterm is not None:
            signal.signal(signal.SIGTERM, self._sigterm)  # Lightning's answer keeps nothing
        if self._resumed is None and self.position is not None:
            Position.read(self.position).load_schedules(trainer)
        self._resumed = None

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep the member if it is time, and seed the epoch: its order depends on names alone."""
        epoch = trainer.current_epoch
        first = epoch == 0 and trainer.fit_loop.epoch_loop.batch_progress.total.ready == 0
        asked = self.stop()
        if (asked or time.monotonic() - self._saved >= SAVE_EVERY) and not first:
            self._keep(trainer, pl_module)
        if asked:
            raise Stopped
        self._last_epoch = math.inf if first else time.monotonic() - self._begun
        self._begun = time.monotonic()
        self._seed(trainer, epoch)
        if self._seed_loaders(trainer, epoch) and epoch == 0:
            iter(trainer.fit_loop._data_fetcher or ())  # its first iterator has drawn already

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Take a snapshot where one is wanted: everything up to this step is done."""
        step = trainer.global_step
        if passed := [s for s in self.wanted if s < step and s not in self.course.snapshots]:
            raise LthError(
                f"rewind.step={passed[0]}: the dense network never stood there: its updates come "
                f"several at a time, and it now stands at step {step}: take that one"
            )
        if step in self.wanted and step not in self.course.snapshots:
            self.course.snapshots[step] = _on_cpu(pl_module)
            self.course.positions[str(step)] = Position.of(trainer).text()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any,
        batch_idx: int,
    ) -> None:  # fmt: skip
        """Say how far it is, and stop if that is asked for."""
        if os.getpid() == self._here:
            self.report(trainer.global_step)
        if self.stop() and self._last_epoch >= SHORT_EPOCH:
            raise Stopped

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take what a validation has logged."""
        if not trainer.sanity_checking and trainer.state.fn == "fit":
            self._note(trainer, pl_module, "validation")

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take what training has logged over the epoch."""
        self._note(trainer, pl_module, "train")

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep the end; rank 0 hands it to the process that started the ranks."""
        self.course.step, self.course.final = trainer.global_step, _on_cpu(pl_module)
        state = self.course.final
        finite = all(bool(p.isfinite().all()) for p in state.params.values())
        if not finite and self.course.diverged is None:
            self.course.diverged = self.course.step
        if self.result is not None and trainer.is_global_zero:
            torch.save(self.course.packed(), self.result)

    def _note(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        values, step, course = logged(trainer, stage), trainer.global_step, self.course
        course.names |= values.keys()
        if course.diverged is not None:
            return
        value = values.get(self.monitor)
        if value is not None and self._any(trainer, not math.isfinite(value)):
            course.diverged, trainer.should_stop = step, True
            return
        course.curve += [p for p in points(values, stage, step) if p not in course.curve[-50:]]
        if value is None:
            return
        value = -value if self.higher else value
        if course.best is None or value < course.best[0]:  # strictly: the earliest on ties
            course.best = (value, step, _on_cpu(pl_module))

    def _any(self, trainer: pl.Trainer, found: bool) -> bool:
        """Whether it is so on any rank: all must stop where one does."""
        if trainer.world_size == 1:
            return found
        return trainer.strategy.reduce_boolean_decision(found, all=False)

    def _seed(self, trainer: pl.Trainer, epoch: int) -> None:
        rank = trainer.global_rank
        seed_all(self.streams.of("order", epoch) + rank)

    def _seed_loaders(self, trainer: pl.Trainer, epoch: int) -> bool:
        """Seed generators that loaders own; say whether an iterator may have drawn already."""
        combined = trainer.fit_loop._combined_loader
        loaders = [] if combined is None else combined.flattened
        own = [o for loader in loaders for o in _owners(loader)]
        for number, owner in enumerate(own):
            owner.generator.manual_seed(self.streams.of("loader", epoch) + number)
        return any(isinstance(x, DataLoader) and (x.num_workers or _owners(x)) for x in loaders)

    def _keep(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write a checkpoint of the member, whole or not at all."""
        content = trainer._checkpoint_connector.dump_checkpoint(weights_only=False)
        for name in [n for n in content if n == "loops" or "hyper" in n or "hparams" in n]:
            del content[name]
        if self.partial is None or not trainer.is_global_zero:
            return
        content["lth"] = {
            "position": vars(Position.of(trainer)) | {"schedulers": [], "groups": [], "batch": 0},
            "state": tuple(_on_cpu(pl_module)), "course": self.course.packed(),
        }  # fmt: skip
        self.partial.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.partial.with_name(f".{self.partial.name}.{os.getpid()}.tmp")
        torch.save(content, temporary)
        os.replace(temporary, self.partial)
        self._saved = time.monotonic()

    def _kept(self) -> dict[str, Any] | None:
        """Read the checkpoint; one that cannot be read as plain data begins the member anew."""
        if self.partial is None or not self.partial.is_file():
            return None
        try:
            found = torch.load(self.partial, map_location="cpu", weights_only=True)
            Position(**found["lth"]["position"])
            return found
        except Exception:  # damaged, or a state that only pickle could hold
            self.partial.unlink(missing_ok=True)
            return None

    def _resume(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, kept: dict[str, Any]
    ) -> None:
        own = kept.pop("lth")
        connector = trainer._checkpoint_connector
        connector._loaded_checkpoint = kept
        connector.restore_datamodule()
        connector.restore_model()
        connector.restore_callbacks()
        connector.restore_precision_plugin_state()
        connector.restore_optimizers_and_schedulers()
        connector._loaded_checkpoint = {}
        load_state(pl_module, State(*own["state"]))
        self.course = History.unpacked(own["course"])
        Position(**own["position"]).enter(trainer)


def _owners(loader: Any) -> list[Any]:
    """Return the parts of a loader that draw from a generator of their own."""
    parts = [loader, getattr(loader, "sampler", None), getattr(loader, "batch_sampler", None)]
    parts.append(getattr(parts[-1], "sampler", None))
    found = {id(p): p for p in parts if isinstance(getattr(p, "generator", None), torch.Generator)}
    return list(found.values())


def _on_cpu(module: pl.LightningModule) -> State:
    params, buffers = state_of(module)
    return State({n: p.cpu() for n, p in params.items()}, {n: b.cpu() for n, b in buffers.items()})


def _nothing(step: int) -> None:
    return None


def _never() -> bool:
    return False


def check_snapshots(course: History, wanted: tuple[int, ...]) -> None:
    """Refuse a dense run that never stood at a step that is needed of it."""
    lacking = [s for s in wanted if s not in course.snapshots]
    if lacking and course.diverged is None:
        raise LthError(
            f"rewind.step={lacking[0]}: the dense network never stood there: it ended at step "
            f"{course.step}, or its updates come several at a time; take another step"
        )
