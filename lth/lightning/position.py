"""Where a fit stands: its counters, its schedulers and the settings of its optimizers.

Lightning starts at step k from a checkpoint, whose loops then "restart": they may validate again,
or skip it. Here the counters are set as an uninterrupted fit would have them, and no loop restarts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor


@dataclass(frozen=True)
class Position:
    """Before which batch a fit stands: so many epochs done, batches of this one, and updates.

    ``total`` counts the batches of all epochs. ``schedulers`` and ``groups`` are as they say.
    """

    epoch: int
    batch: int
    total: int
    step: int
    stepped: int
    schedulers: list[dict[str, Any]]
    groups: list[list[dict[str, Any]]]

    @classmethod
    def of(cls, trainer: pl.Trainer) -> Position:
        """Return where a fit stands, asked before a batch or an epoch begins."""
        loop, epochs = trainer.fit_loop.epoch_loop, vars(trainer.fit_loop.epoch_progress.current)
        return cls(
            epochs["processed"],
            loop.batch_progress.current.completed, loop.batch_progress.total.completed,
            trainer.global_step, loop._batches_that_stepped,
            [c.scheduler.state_dict() for c in trainer.lr_scheduler_configs],
            [[{k: v for k, v in g.items() if k != "params"} for g in o.param_groups]
             for o in trainer.optimizers],
        )  # fmt: skip

    def text(self) -> str:
        """Return it as JSON; what of a scheduler's state JSON cannot hold is left out."""
        plain = vars(self) | {"schedulers": [_plain(s) for s in self.schedulers],
                              "groups": [[_plain(g) for g in o] for o in self.groups]}  # fmt: skip
        return json.dumps(plain, sort_keys=True)

    @classmethod
    def read(cls, text: str) -> Position:
        """Read what ``text`` gave."""
        return cls(**json.loads(text))

    def enter(self, trainer: pl.Trainer) -> None:
        """Let a fit that is about to begin stand here: counters only, by ``on_fit_start``."""
        fit, loop = trainer.fit_loop, trainer.fit_loop.epoch_loop
        for progress in (fit.epoch_progress.total, fit.epoch_progress.current):
            _set(progress, self.epoch)
        _set(loop.batch_progress.total, self.total)
        _set(loop.automatic_optimization.optim_progress.optimizer.step.total, self.step)
        _set(loop.manual_optimization.optim_step_progress.total, self.step)
        loop._batches_that_stepped = self.stepped
        if self.batch == 0:
            return
        reset, batch = loop.reset, self.batch

        def begin() -> None:  # of the epoch that is half done, once
            reset()
            _set(loop.batch_progress.current, batch)
            del vars(loop)["reset"]

        vars(loop)["reset"] = begin

    def load_schedules(self, trainer: pl.Trainer) -> None:
        """Set schedulers and optimizers' settings as they were here; optimizers' states are not."""
        for config, state in zip(trainer.lr_scheduler_configs, self.schedulers, strict=True):
            config.scheduler.load_state_dict(_merged(config.scheduler.state_dict(), state))
        for optimizer, groups in zip(trainer.optimizers, self.groups, strict=True):
            for group, settings in zip(optimizer.param_groups, groups, strict=True):
                group |= _merged({k: group.get(k) for k in settings}, settings)


def _set(progress: Any, count: int) -> None:
    for name in vars(progress):
        setattr(progress, name, count)


def _plain(value: Any) -> Any:
    """Return what JSON makes of a value; of a mapping, what it cannot hold is left out."""
    if not isinstance(value, Mapping):
        return json.loads(json.dumps(value, default=_number))
    found = {}
    for name, item in value.items():
        with suppress(TypeError, ValueError):
            found[str(name)] = _plain(item)
    return found


def _merged(fresh: Any, saved: Any) -> Any:
    """Return what was saved, in the types that the fresh state has: keys of numbers, tuples."""
    if isinstance(fresh, Mapping) and isinstance(saved, Mapping):
        changed = {k: _merged(fresh[k], saved[str(k)]) for k in fresh if str(k) in saved}
        return fresh if changed == dict(fresh) else {**fresh, **changed}
    if isinstance(fresh, list | tuple) and isinstance(saved, list) and len(fresh) == len(saved):
        return type(fresh)([_merged(f, s) for f, s in zip(fresh, saved, strict=True)])
    if isinstance(fresh, Tensor):
        return torch.as_tensor(saved, dtype=fresh.dtype, device=fresh.device)
    return saved


def _number(value: Any) -> Any:
    if hasattr(value, "item") and getattr(value, "numel", lambda: 2)() == 1:
        return value.item()
    raise TypeError(value)
