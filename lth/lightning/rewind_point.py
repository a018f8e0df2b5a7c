"""RewindPoint: a callback that keeps the network of one step, to rewind to."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import nn

from lth.errors import LthError
from lth.files import reading
from lth.lightning.named import copied
from lth.lightning.updates import Updates, per_epoch
from lth.networks.drawn import State, load_state
from lth.spec.argument_types import is_whole


class RewindPoint(pl.Callback):
    """Keep the weights and buffers at step ``step`` of a run, or at the start of an ``epoch``.

    A step is an update: a batch on which an optimizer steps. Step 0 is the network before any
    training; with gradient accumulation k is k updates, not batches; under manual optimization a
    batch counts once, however many optimizers step on it. An epoch may be a fraction, the nearest
    step is taken. ``optimizers=True`` keeps the state of optimizers and schedules beside them.

    ``state`` gives (params, buffers) by name, on the CPU, and ``restore(module)`` puts them back. A
    point travels in checkpoints: a resumed run keeps it, and ``RewindPoint.load(path)`` reads it
    (under ``ddp_spawn`` the only way: the run's processes are gone when ``fit`` returns).
    """

    def __init__(
        self, step: int | None = None, epoch: float | None = None, optimizers: bool = False
    ) -> None:
        if (step is None) == (epoch is None):
            raise LthError("RewindPoint: say step= or epoch=, one of them")
        if step is not None and not is_whole(step, 0):
            raise LthError(f"RewindPoint: step={step!r}: a step is a whole number from 0")
        if epoch is not None and not _is_epoch(epoch):
            raise LthError(f"RewindPoint: epoch={epoch!r}: an epoch is a number from 0")
        self.step, self.epoch, self.optimizers = step, epoch, optimizers
        self.trained: dict[str, Any] = {}
        self._kept: State | None = None
        self._updates, self._saved = Updates(), None

    @property
    def state_key(self) -> str:
        """Several points may stand in one run, each with its own place in its checkpoints."""
        return f"RewindPoint(step={self.step}, epoch={self.epoch})"

    @property
    def reached(self) -> bool:
        """Whether the run has come to the point."""
        return self._kept is not None

    @property
    def state(self) -> State:
        """The params and buffers at the point."""
        if self._kept is None:
            done = self._updates.done
            raise LthError(
                f"{self.state_key}: the run has not come to it: it has made {done} updates"
            )
        return self._kept

    def restore(self, module: nn.Module) -> None:
        """Put the params and buffers back into the module, or into another of its names."""
        load_state(module, self.state)

    @classmethod
    def load(cls, checkpoint: str | Path, trusted: bool = False) -> RewindPoint:
        """Read the point that a checkpoint holds; of several, the earliest.

        A checkpoint that holds more than tensors and plain data is read only if it is ``trusted``.
        """
        mend = "if you trust it: RewindPoint.load(path, trusted=True)"
        with reading(checkpoint, "checkpoint", mend):
            content = torch.load(checkpoint, map_location="cpu", weights_only=not trusted)
        saved = content.get("callbacks", {})
        points = [v for k, v in saved.items() if k.startswith("RewindPoint(") and "params" in v]
        if not points:
            raise LthError(f"{checkpoint}: it holds no RewindPoint: train with one in callbacks=")
        first = min(points, key=lambda p: p["step"])
        point = cls(step=first["step"])
        point.load_state_dict(first)
        return point

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Find out which step is meant, and whether it is this one."""
        self._updates.start(trainer, self._saved)
        if self.step is None:
            assert self.epoch is not None
            length = per_epoch(trainer)
            if length is None:
                raise LthError(
                    f"RewindPoint: epoch={self.epoch}: the loader has no length; say step="
                )
            self._step = round(self.epoch * length)
        else:
            self._step = self.step
        total = trainer.estimated_stepping_batches
        if not trainer.fast_dev_run and 0 <= total < self._step:  # type: ignore[attr-defined]
            raise LthError(
                f"{self.state_key} lies after the run's end: it makes {int(total)} updates"
            )
        self._look(trainer, pl_module)

    def on_train_batch_start(self, trainer: pl.Trainer, *args: Any, **kwargs: Any) -> None:
        """A batch begins."""
        self._updates.before_batch(trainer)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any, **kwargs: Any
    ) -> None:
        """Look whether the update just made leads to the point."""
        if self._updates.after_batch(trainer):
            self._look(trainer, pl_module)

    def on_exception(self, *args: Any, **kwargs: Any) -> None:
        """Stop counting."""
        self._updates.stop()

    def teardown(self, *args: Any, **kwargs: Any) -> None:
        """Stop counting."""
        self._updates.stop()

    def state_dict(self) -> dict[str, Any]:
        """Return the point for a checkpoint."""
        found: dict[str, Any] = {"updates": self._updates.done}
        if self._kept is not None:
            found |= {"step": self._step, "params": self._kept.params}
            found |= {"buffers": self._kept.buffers, "trained": self.trained}
        return found

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the point of a checkpoint."""
        self._saved = state_dict["updates"]
        self._updates.done = state_dict["updates"]
        if "params" in state_dict:
            self._step = state_dict["step"]
            self._kept = State(state_dict["params"], state_dict["buffers"])
            self.trained = state_dict["trained"]

    def _look(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if self.reached or self._updates.done != self._step:
            return
        self._kept = state_at(module)
        if self.optimizers:
            self.trained = {
                "optimizers": [cpu(o.state_dict()) for o in trainer.optimizers],
                "schedules": [c.scheduler.state_dict() for c in trainer.lr_scheduler_configs],
            }


def _is_epoch(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf


def state_at(module: nn.Module) -> State:
    """Copy a module's params and buffers to the CPU, buffers not persistent too."""
    return State(copied(module.named_parameters()), copied(module.named_buffers()))


def cpu(value: Any) -> Any:
    """Copy the tensors in nested dicts and lists to the CPU."""
    if isinstance(value, torch.Tensor):
        return value.detach().cpu().clone()
    if isinstance(value, dict):
        return {k: cpu(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return type(value)([cpu(v) for v in value])
    return value
