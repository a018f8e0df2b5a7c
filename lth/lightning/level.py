"""One level: a fresh trainer fits the module from a start, and what the loop needs is kept."""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from pytorch_lightning.trainer.states import TrainerStatus

from lth.errors import LthError
from lth.lightning.keep_mask import KeepMask, callbacks_of
from lth.lightning.rewind_point import state_at
from lth.lightning.updates import Updates, per_epoch, trained_by
from lth.networks.drawn import State, load_state
from lth.types import Mask


class LevelMask(KeepMask):
    """The mask of a level; a class of its own, so that a module's own KeepMask stays beside it."""


class Origin(NamedTuple):
    """Where a level starts: its masked state, its mask, and a checkpoint to go on from."""

    state: State
    mask: Mask
    checkpoint: dict[str, Any] | None


class StartFrom(pl.Callback):
    """Put a level's start in once the module, its strategy and its optimizers are there."""

    def __init__(self, state: State) -> None:
        self.state, self.checked = state, False

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Load the state."""
        load_state(pl_module, self.state)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any, **kwargs: Any
    ) -> None:
        """Check before the first batch that nothing else has put other weights in."""
        if self.checked:
            return
        self.checked = True
        trainer.fit_loop.restarting = False  # else the first epoch's end steps no plateau schedule
        for name, value in pl_module.named_parameters():
            there = self.state.params[name].to(value)
            if not torch.equal(value.detach(), there):
                raise LthError(
                    f"find_tickets: {name} does not start at its ticket: a hook of the module or a "
                    "callback draws weights when training starts; draw them in __init__"
                )


class Snapshots(pl.Callback):
    """Keep the dense run's states at some steps in a folder, and checkpoints to go on from."""

    def __init__(self, steps: Iterable[int], folder: Path, epoch: float | None = None) -> None:
        self.steps, self.folder, self.epoch = frozenset(steps), str(folder), epoch
        self.facts: dict[str, Any] = {}
        self.updates = Updates()
        self.states: dict[int, State] = {}
        self.rates: dict[int, dict[str, Any]] = {}
        self._kept: set[int] = set()
        self.checkpoints: dict[int, dict[str, Any]] = {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Find out the step that an epoch begins with; refuse one that leaves nothing to train."""
        self.updates.start(trainer, 0)
        self._learn({"per_epoch": per_epoch(trainer)})
        total, last = trainer.estimated_stepping_batches, max(self.steps)
        if 0 <= total <= last and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            raise LthError(
                f"find_tickets: rewind to step {last} leaves nothing to train: the run makes "
                f"{int(total)} updates"
            )

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any, **kwargs: Any
    ) -> None:
        """Keep the state before any update, and the rates with which one begins."""
        self.updates.before_batch(trainer)
        step = self.updates.done
        if step == 0 and not self._kept:
            self._keep(trainer, pl_module, 0)
        elif step in self.steps and step not in self.rates:
            # an epoch may have ended since the update before, and schedules have made a step
            self.rates[step] = rates_of(trainer)
            if trainer.is_global_zero:
                torch.save(self.rates[step], self._path(step).with_suffix(".rates"))

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any, **kwargs: Any
    ) -> None:
        """Keep the state after an update, if it is asked for."""
        if self.updates.after_batch(trainer) and self.updates.done in self.steps:
            self._keep(trainer, pl_module, self.updates.done)
            trainer.save_checkpoint(self._path(self.updates.done).with_suffix(".ckpt"))

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Give every rank rank 0's states, also on machines that do not see its folder."""
        self.facts["trained"] = trained_by(trainer, pl_module)
        if trainer.is_global_zero:
            torch.save(self.facts, self._path(0).with_suffix(".facts"))
            self.read()
        if trainer.world_size > 1:
            mine = self.states, self.checkpoints
            self.states, self.checkpoints = trainer.strategy.broadcast(mine)
        self.updates.stop()

    def read(self) -> None:
        """Read the states and checkpoints of this run's folder."""
        facts = self._path(0).with_suffix(".facts")
        if not self.facts and facts.exists():  # the run was in other processes
            self._learn(torch.load(facts, weights_only=True))
        for step in sorted(self.steps):
            path = self._path(step)
            if step in self.states or not path.exists():
                continue
            kept = torch.load(path, weights_only=True)
            self.states[step] = State(kept["params"], kept["buffers"])
            if step and path.with_suffix(".rates").exists():
                whole, rates = (
                    torch.load(path.with_suffix(end), weights_only=False)
                    for end in (".ckpt", ".rates")
                )
                self.checkpoints[step] = {**whole, **rates, "callbacks": {}}

    def _learn(self, facts: dict[str, Any]) -> None:
        self.facts = facts
        if self.epoch is not None:
            if facts["per_epoch"] is None:
                raise LthError(
                    "find_tickets: rewind=to_epoch: the loader has no length; take to_step(k)"
                )
            self.steps |= {round(self.epoch * facts["per_epoch"])}

    def _path(self, step: int) -> Path:
        return Path(self.folder) / f"{step}.pt"

    def _keep(self, trainer: pl.Trainer, module: pl.LightningModule, step: int) -> None:
        self._kept.add(step)
        if trainer.is_global_zero:
            params, buffers = state_at(module)
            torch.save({"params": params, "buffers": buffers}, self._path(step))


def rates_of(trainer: pl.Trainer) -> dict[str, Any]:
    """Return a checkpoint's part on optimizers and schedules, without moments."""
    optimizers = [{**o.state_dict(), "state": {}} for o in trainer.optimizers]
    schedules = [c.scheduler.state_dict() for c in trainer.lr_scheduler_configs]
    return {"optimizer_states": optimizers, "lr_schedulers": schedules}


class Levels:
    """Trains levels: the module in fresh trainers, one after the other."""

    def __init__(
        self, make_trainer: Callable[..., pl.Trainer], module: Any, data: Any, folder: Path
    ) -> None:
        self.make_trainer, self.given, self.folder = make_trainer, module, folder
        self.module: pl.LightningModule = getattr(module, "_orig_mod", module)
        if not isinstance(self.module, pl.LightningModule):
            kind = type(module).__name__
            raise LthError(
                f"find_tickets: module is a {kind}, not a pytorch_lightning.LightningModule"
            )
        self.data = data_of(data)
        self._seen: list[weakref.ref[Any]] = []  # weak: a trainer holds moments and averages

    def train(self, level: int, origin: Origin | None, snapshots: Snapshots | None = None) -> State:
        """Train a level and return its last state; without an origin, the dense network's."""
        trainer = self._trainer(level)
        path = None
        if snapshots is not None:
            callbacks_of(trainer).append(snapshots)
        if origin is not None:
            mine = [StartFrom(origin.state), LevelMask(origin.mask)]
            callbacks_of(trainer)[:0] = mine
            load_state(self.module, origin.state)
            path = self._checkpoint(origin.checkpoint)
        trusted = None if path is None else False  # weights_only: the file is our own
        trainer.fit(self.given, **self.data, ckpt_path=path, weights_only=trusted)
        if trainer.state.status != TrainerStatus.FINISHED:
            raise LthError(f"find_tickets: level {level} was interrupted: no ticket comes of it")
        if snapshots is not None:
            snapshots.read()
        return state_at(self.module)

    def _checkpoint(self, content: dict[str, Any] | None) -> Path | None:
        if content is None:
            return None
        path = self.folder / "start.ckpt"
        torch.save(content, path)
        return path

    def _trainer(self, level: int) -> pl.Trainer:
        if not callable(self.make_trainer):
            raise LthError(
                f"find_tickets: make_trainer is a {type(self.make_trainer).__name__}: give a "
                "function that returns a new pl.Trainer, such as lambda: pl.Trainer(max_epochs=9)"
            )
        takes = inspect.signature(self.make_trainer).parameters
        trainer = self.make_trainer(level=level) if "level" in takes else self.make_trainer()
        if not isinstance(trainer, pl.Trainer):
            raise LthError(
                f"find_tickets: make_trainer gave a {type(trainer).__name__}, not a "
                "pytorch_lightning.Trainer"
            )
        again = "make_trainer gave the same {} again: make it inside, anew for every level"
        if trainer.state.status != TrainerStatus.INITIALIZING or self._is_known(trainer):
            raise LthError(f"find_tickets: {again.format('trainer')}")
        for callback in callbacks_of(trainer):
            kind = type(callback)
            if type(callback) is KeepMask:
                raise LthError("find_tickets: it keeps the masks itself: leave KeepMask out")
            stateful = kind.state_dict is not pl.Callback.state_dict
            if stateful and self._is_known(callback):
                raise LthError(f"find_tickets: {again.format(kind.__name__)}")
            self._seen.append(weakref.ref(callback))
        self._seen.append(weakref.ref(trainer))
        return trainer

    def _is_known(self, thing: Any) -> bool:
        return any(seen() is thing for seen in self._seen)


def data_of(data: Any) -> dict[str, Any]:
    """Return what ``Trainer.fit`` takes of the data."""
    if data is None:
        return {}
    if isinstance(data, pl.LightningDataModule):
        return {"datamodule": data}
    train, *rest = data if isinstance(data, tuple | list) and len(data) in (1, 2) else (data,)
    if not _is_loader(train) or not all(v is None or _is_loader(v, many=True) for v in rest):
        kind = type(data).__name__
        if isinstance(data, tuple | list):
            kind += " of " + (", ".join(type(d).__name__ for d in data[:4]) or "nothing")
        raise LthError(
            f"find_tickets: data is a {kind}: give a LightningDataModule, a loader, or "
            "(train loader, validation loader)"
        )
    return {"train_dataloaders": train, "val_dataloaders": rest[0] if rest else None}


def _is_loader(value: Any, many: bool = False) -> bool:
    """Whether Lightning takes batches from this; ``many``: also from a list of such."""
    if isinstance(value, tuple | list):
        return many and all(map(_is_loader, value))
    return hasattr(value, "__iter__") and not isinstance(value, torch.Tensor | str)
