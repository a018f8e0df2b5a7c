"""What a task's configuration asks for, checked by name: the module, its data, what trains them."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.strategies import StrategyRegistry

from lth.errors import LthError, nearest, told
from lth.lightning.fitting import silence
from lth.measured import Measured, measured_of
from lth.spec.build import Spec, build, locate, parameters_of, target_of
from lth.spec.plain import at, short

KEYS = ("module", "data", "monitor", "mode", "lr")

RATES = ("lr", "learning_rate")
"""Names that a module's rate argument usually has."""

OURS = ("device", "workers", "compile", "chunk")
"""Settings of ``trainer`` that are not of ``pl.Trainer``."""

HANDY = ("logger", "profiler", "default_root_dir", "log_every_n_steps", "enable_progress_bar",
         "enable_model_summary", "enable_checkpointing", "enable_autolog_hparams",
         "detect_anomaly", "accelerator")  # fmt: skip
"""Arguments of ``pl.Trainer`` on which no number depends."""

REFUSED = {
    "fast_dev_run": "a rehearsal of one batch is made anyway",
    "barebones": "what the module logs is what is measured",
    "max_time": "a result must not depend on the clock; set trainer.max_epochs or max_steps",
    "num_nodes": "a member is trained on one machine; run trials as jobs of their own (-m)",
}

PRECISIONS = {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed", "64": "64-true"}

SPAWNED = {
    "ddp_spawn": "ddp_spawn", "ddp_fork": "ddp_fork", "ddp_notebook": "ddp_fork",
    "ddp_spawn_find_unused_parameters_true": "ddp_spawn_find_unused_parameters_true",
    "ddp_fork_find_unused_parameters_true": "ddp_fork_find_unused_parameters_true",
}  # fmt: skip
"""Strategies of several processes that this one starts and hears of."""

STARTED = {
    "auto": "{}", "ddp": "{}",
    "ddp_find_unused_parameters_true": "{}_find_unused_parameters_true",
}  # fmt: skip
"""Strategies that say nothing of how processes are started: by this one, then."""


@dataclass(frozen=True)
class Settings:
    """A task as asked for; ``rates`` are None where the module's own optimizer has the rate.

    ``trainer`` are arguments of ``pl.Trainer``, specs among them; ``rate`` names the module's
    argument, a path with dots where it lies deeper.
    """

    module: Spec
    data: Spec | None
    measured: Measured
    monitor: str
    rate: str | None
    rates: tuple[float, ...] | None
    trainer: dict[str, Any]
    gpu: bool

    @property
    def devices(self) -> int:
        """How many processes train a member."""
        return self.trainer["devices"]

    @property
    def counted(self) -> dict[str, Any]:
        """The trainer's arguments that its numbers depend on; one device is no strategy."""
        aside = (*HANDY, *(("strategy", "devices") if self.devices == 1 else ()))
        return {n: v for n, v in sorted(self.trainer.items()) if n not in aside}

    def at(self, lr: float) -> Spec:
        """Return the module's spec at a learning rate."""
        return self.module if self.rate is None else _put(self.module, self.rate, lr)

    def make(self, **changes: Any) -> pl.Trainer:
        """Make a trainer, with a fresh copy of everything that a spec names."""
        made = {n: _made(v) for n, v in (self.trainer | changes).items()}
        try:
            with silence():
                return pl.Trainer(**made)
        except LthError:
            raise
        except Exception as error:
            raise LthError(f"trainer: {told(error)}") from error


def settings_of(given: Mapping[str, Any], complete: Mapping[str, Any], gpu: bool) -> Settings:
    """Check a configuration and say what it asks for; ``complete`` has the factories' defaults."""
    task, full = given["task"], complete["task"]
    if "module" not in task:
        raise LthError(f"task.{next(iter(task))}: it is of task=lightning: add that")
    _check_groups(given)
    for name in task:
        if name not in KEYS:
            raise LthError(f"task.{name}: no such setting{nearest(name, KEYS)}")
    if not isinstance(task.get("monitor"), str) or task.get("mode") not in (None, "min", "max"):
        raise LthError(
            f"task.monitor={task.get('monitor')!r} task.mode={task.get('mode')!r}: a name that the "
            "module logs, and min or max (null: guessed from the name)"
        )
    for name in ("module", "data"):
        if name == "module" or task.get(name) is not None:
            _check_target(name, task.get(name))
    rate = _rate_name(task["module"], task.get("lr"))
    rates = _rates(given["recipe"].get("lr"), task["module"], full["module"], rate)
    module = full["module"]
    if rate is not None and rates:
        module = _put(module, rate, rates[0])
    return Settings(
        module=module, data=full.get("data"), measured=measured_of(given),
        monitor=task["monitor"], rate=rate if rates else None, rates=rates,
        trainer=trainer_arguments(given["trainer"], gpu), gpu=gpu,
    )  # fmt: skip


def _check_groups(given: Mapping[str, Any]) -> None:
    for group in ("data", "model"):
        if given.get(group):
            raise LthError(
                f"{group}: it does not apply to task=lightning: set task.module and task.data"
            )
    for name in given.get("recipe") or {}:
        if name != "lr":
            raise LthError(
                f"recipe.{name}: it does not apply to task=lightning: the module says how it "
                "trains, trainer.max_epochs or max_steps how long; recipe.lr sweeps its rate"
            )


def _check_target(name: str, spec: Any) -> None:
    kind = pl.LightningModule if name == "module" else pl.LightningDataModule
    if not isinstance(spec, Mapping) or not spec.get("_target_"):
        raise LthError(
            f"task.{name}={short(spec)}: name your {kind.__name__}: task.{name}._target_=mine."
            f"{'Lit' if name == 'module' else 'Data'}"
        )
    found = locate(target_of(spec))
    if isinstance(found, type) and not issubclass(found, kind):
        raise LthError(f"task.{name}={target_of(spec)}: it is no {kind.__name__}")
    if not callable(found):
        raise LthError(f"task.{name}={target_of(spec)}: it cannot be called")


def _rate_name(module: Mapping[str, Any], named: Any) -> str | None:
    accepted = parameters_of(target_of(module), locate(target_of(module)))
    if named is None:
        return next((n for n in RATES if n in accepted or n in module), None)
    anything = any(p.kind is p.VAR_KEYWORD for p in accepted.values())
    first = str(named).partition(".")[0]
    if not isinstance(named, str) or not (anything or first in accepted):
        raise LthError(f"task.lr={named!r}: {target_of(module)} takes no such argument")
    return named


def _rates(
    asked: Any, given: Mapping[str, Any], full: Mapping[str, Any], rate: str | None
) -> tuple[float, ...] | None:
    """Return the rates asked for, else the module's argument's, None where the optimizer has it."""
    own = at(full, rate) if rate is not None else None
    if asked is None:
        if own is None or isinstance(own, bool) or not isinstance(own, int | float):
            return None
        return (_checked(own),)
    if rate is None:
        raise LthError(
            f"recipe.lr={asked}: {target_of(given)} takes no lr and no learning_rate: name its "
            "rate argument with task.lr=NAME, or leave recipe.lr out"
        )
    if at(given, rate) is not None:
        raise LthError(f"task.module.{rate}={at(given, rate)}: recipe.lr={asked} is set too")
    found = [_checked(v) for v in (asked if isinstance(asked, list | tuple) else [asked])]
    if not found or len(set(found)) < len(found):
        raise LthError(f"recipe.lr={asked}: name at least one learning rate, each once")
    return tuple(found)


def _checked(rate: Any) -> float:
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate < 1e30:
        raise LthError(f"recipe.lr={rate!r}: a learning rate is a number above 0")
    return float(rate)


def trainer_arguments(given: Mapping[str, Any], gpu: bool) -> dict[str, Any]:
    """Return the arguments for ``pl.Trainer``: what is asked for, and what it must be else."""
    known = inspect.signature(pl.Trainer).parameters
    asked = {n: v for n, v in given.items() if n not in OURS}
    for name, value in asked.items():
        if name not in known:
            raise LthError(f"trainer.{name}: no such setting{nearest(name, [*known, *OURS])}")
        if name in REFUSED and value and not (name == "num_nodes" and value == 1):
            raise LthError(f"trainer.{name}={value}: {REFUSED[name]}")
    if given.get("compile") is not None:
        raise LthError("trainer.compile: with task=lightning compile inside the module")
    if asked.get("max_epochs") is None and asked.get("max_steps", -1) in (-1, None):
        raise LthError("trainer.max_epochs: say how long to train, or trainer.max_steps")
    for name in ("max_epochs", "max_steps"):
        value = asked.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
            raise LthError(f"trainer.{name}={value!r}: a whole number")
    asked["precision"] = PRECISIONS.get(str(asked.get("precision", "32")), asked.get("precision"))
    asked["accelerator"] = asked.get("accelerator") or ("gpu" if gpu else "cpu")
    asked |= _processes(asked)
    callbacks = asked.get("callbacks") or []
    asked["callbacks"] = callbacks if isinstance(callbacks, list | tuple) else [callbacks]
    quiet = {"logger": False, "num_sanity_val_steps": 0, "enable_progress_bar": False,
             "enable_model_summary": False}  # fmt: skip
    # our own callback counts as a Checkpoint, so that it hears last; no other is added
    return {n: v for n, v in (quiet | asked | {"enable_checkpointing": True}).items()
            if v is not None}  # fmt: skip


def _processes(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return how many processes train, and how they are started: by this one, which hears of it."""
    devices, strategy = asked.get("devices", 1), asked.get("strategy") or "auto"
    if isinstance(devices, list):
        devices = len(devices)
    if isinstance(devices, bool) or not isinstance(devices, int) or devices < 1:
        raise LthError(f"trainer.devices={devices!r}: a whole number from 1")
    known = StrategyRegistry.available_strategies()
    if isinstance(strategy, str) and strategy not in ("auto", *known):
        raise LthError(f"trainer.strategy={strategy}: no such strategy{nearest(strategy, known)}")
    if devices == 1:
        return {"devices": 1, "strategy": "auto"}
    forks = asked["accelerator"] == "cpu" and sys.platform == "linux"
    default = "ddp_fork" if forks else "ddp_spawn"
    name = STARTED[strategy].format(default) if strategy in STARTED else strategy
    if name not in SPAWNED:
        raise LthError(
            f"trainer.strategy={name}: it starts the command anew in every rank, or parts the "
            "weights that a mask needs whole: take ddp_spawn or ddp_fork"
        )
    return {"devices": devices, "strategy": SPAWNED[name]}


def _made(value: Any) -> Any:
    if isinstance(value, Mapping) and "_target_" in value:
        return build(value)
    return [_made(v) for v in value] if isinstance(value, list | tuple) else value


def _put(spec: Mapping[str, Any], path: str, value: Any) -> Spec:
    first, _, rest = path.partition(".")
    return {**spec, first: _put(spec.get(first) or {}, rest, value) if rest else value}
