"""Options of Lightning's own Trainer in ``trainer.*``: which act here, and the Trainer they make.

Every member (on a GPU: every stack of members) has a fit of its own, so what is given here is a
factory that is called once a fit, in the process that trains.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lth.errors import LthError, told
from lth.spec.build import build
from lth.spec.plain import short

LENGTH = "recipe.steps=N says how long members train"
SPREAD = "members train side by side (trainer.workers), one is not spread over devices"
WHOLE = "every split is measured whole"
CADENCE = "recipe.eval_every=N says when members are measured"
CLIPPING = "no recipe clips; do it in a callback's on_before_optimizer_step"
OWN_SHOW = "lth shows the progress itself"

REFUSED = {
    "max_epochs": LENGTH, "min_epochs": LENGTH, "max_steps": LENGTH, "min_steps": LENGTH,
    "limit_train_batches": LENGTH, "overfit_batches": LENGTH, "fast_dev_run": LENGTH,
    "limit_val_batches": WHOLE, "limit_test_batches": WHOLE, "limit_predict_batches": WHOLE,
    "val_check_interval": CADENCE, "check_val_every_n_epoch": CADENCE,
    "num_sanity_val_steps": "an untrained network is always measured before its first update",
    "accumulate_grad_batches": "recipe.batch=N is the batch of an update, however large",
    "gradient_clip_val": CLIPPING, "gradient_clip_algorithm": CLIPPING,
    "accelerator": "trainer.device=auto|cpu|cuda says where members train",
    "strategy": SPREAD, "num_nodes": SPREAD, "sync_batchnorm": SPREAD,
    "use_distributed_sampler": SPREAD,
    "reload_dataloaders_every_n_epochs": "the data lies in memory",
    "inference_mode": "evaluations take no gradients",
    "enable_progress_bar": OWN_SHOW,
    "barebones": "leave all of Lightning's options out, and nothing costs time",
}  # fmt: skip
"""Options that the recipe or ``trainer.*`` decides, and what to set instead."""

ACCEPTED = (
    "callbacks", "logger", "profiler", "plugins", "max_time", "log_every_n_steps",
    "enable_checkpointing", "enable_model_summary", "deterministic", "benchmark",
    "detect_anomaly", "default_root_dir", "enable_autolog_hparams", "model_registry",
)  # fmt: skip

ACTING = ("callbacks", "plugins", "max_time")
"""Options that may act on what a member becomes, so they are part of what it is."""

ONLOOKERS = (
    "DeviceStatsMonitor", "LearningRateMonitor", "ModelCheckpoint", "ModelSummary",
    "OnExceptionCheckpoint", "RichModelSummary", "ThroughputMonitor",
)  # fmt: skip
"""Callbacks of Lightning's own that only look."""

PROFILERS = {"simple": "SimpleProfiler", "advanced": "AdvancedProfiler",
             "pytorch": "PyTorchProfiler"}  # fmt: skip


@dataclass(frozen=True)
class TrainerOptions:
    """What a user hands to Lightning's Trainer, and the folder its files go to."""

    values: Mapping[str, Any] = field(default_factory=dict)
    folder: Path = Path("lightning")


def check_names(values: Mapping[str, Any], own: tuple[str, ...]) -> None:
    """Refuse what neither ``trainer.*`` nor Lightning's Trainer knows; it is imported for these."""
    for name in (n for n in values if n not in REFUSED and n not in ACCEPTED):
        known = [*own, *_parameters()]
        if name not in known:
            close = difflib.get_close_matches(name, known, 1)
            near = f"did you mean trainer.{close[0]}?" if close else f"there are {', '.join(own)}"
            more = "" if close else ", and the options of Lightning's Trainer"
            raise LthError(f"trainer.{name}: no such setting; {near}{more}")


def check_acts(values: Mapping[str, Any]) -> None:
    """Refuse an option that would not act on cohorts, or that no worker process could build."""
    for name, value in values.items():
        if name in REFUSED:
            raise LthError(
                f"trainer.{name}={short(value)}: {REFUSED[name]} (task=lightning passes it on)"
            )
        if name in ("callbacks", "plugins", "logger", "profiler"):
            for each in _several(value):
                _check_spec(name, each)


def _check_spec(name: str, value: Any) -> None:
    said = name == "profiler" and value in PROFILERS
    if said or (name == "logger" and isinstance(value, bool)):
        return
    if not isinstance(value, Mapping) or "_target_" not in value:
        named = f" or one of {', '.join(PROFILERS)}" if name == "profiler" else ""
        raise LthError(
            f"trainer.{name}: {short(value)}: every fit makes its own, so give what makes it: "
            f"{{_target_: a class, **arguments}}{named}; in Python a class or functools.partial"
        )


def acting(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of the options that may act on what a member becomes."""
    found: dict[str, Any] = {}
    for name in (n for n in ACTING if n in values):
        parts = [v for v in _several(values[name]) if not _only_looks(v)]
        found |= {name: parts} if parts else {}
    return found


def _only_looks(value: Any) -> bool:
    target = str(value.get("_target_", "")) if isinstance(value, Mapping) else ""
    return target.startswith("pytorch_lightning.") and target.rpartition(".")[2] in ONLOOKERS


def _several(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _parameters() -> list[str]:
    import pytorch_lightning as pl

    return list(inspect.signature(pl.Trainer.__init__).parameters)[1:]


def lightning_precision(name: str) -> Any:
    """Translate the ``trainer.precision`` option to Lightning's."""
    names = {"32": "32-true", "bf16": "bf16-mixed"}
    if str(name) not in names:
        raise LthError(f"trainer.precision={name}: it is one of {', '.join(names)}")
    return names[str(name)]


def make_trainer(given: TrainerOptions | None, name: str, **settled: Any) -> Any:
    """Return a Trainer for one fit: the user's options over lean ones, under what is settled.

    ``name`` is that of the fit: loggers take it for their version, files go to a folder of it. It
    also stands where a text says ``{member}``.
    """
    import pytorch_lightning as pl
    from pytorch_lightning.callbacks import Checkpoint

    made = {} if given is None else _made(given, name)
    lean: dict[str, Any] = {
        "logger": False, "enable_model_summary": False, "log_every_n_steps": 1,
        "enable_checkpointing": any(isinstance(c, Checkpoint) for c in made.get("callbacks", [])),
    }  # fmt: skip
    if settled.get("precision") == "32-true" and made.get("plugins"):
        del settled["precision"]  # one of them may say it
    try:
        return pl.Trainer(
            **(lean | made), **settled, devices=1, max_epochs=1, check_val_every_n_epoch=None,
            val_check_interval=1, enable_progress_bar=False,
        )  # fmt: skip
    except LthError:
        raise
    except Exception as error:
        raise LthError(f"trainer: Lightning's Trainer does not take it: {told(error)}") from error


def _made(given: TrainerOptions, name: str) -> dict[str, Any]:
    """Build the specs among the options; what names no place for its files gets one."""
    values = {n: _named(v, name) for n, v in given.values.items()}
    folder = str(values.get("default_root_dir") or given.folder / name)
    places = {"dirpath": folder, "filename": "profile"}
    found: dict[str, Any] = {"default_root_dir": folder} if values else {}
    for option, value in values.items():
        if option in ("callbacks", "plugins"):
            found[option] = [_build(option, spec) for spec in _several(value)]
        elif option == "logger" and not isinstance(value, bool):
            found[option] = [_build(option, v, version=name) for v in _several(value)]
        elif option == "profiler":
            target = f"pytorch_lightning.profilers.{PROFILERS.get(str(value))}"
            spec = value if isinstance(value, Mapping) else {"_target_": target}
            found[option] = _build(option, spec, **places)
        else:
            found[option] = value
    return found


def _named(value: Any, name: str) -> Any:
    if isinstance(value, str):
        return value.replace("{member}", name)
    if isinstance(value, Mapping):
        return {k: _named(v, name) for k, v in value.items()}
    return [_named(v, name) for v in value] if isinstance(value, list | tuple) else value


def _build(option: str, spec: Mapping[str, Any], **places: Any) -> Any:
    """Build what a spec says, and refuse what Lightning would not take for it."""
    import pytorch_lightning as pl
    from pytorch_lightning.callbacks import ProgressBar
    from pytorch_lightning.loggers import Logger
    from pytorch_lightning.profilers import Profiler

    unset = [n for n in places if spec.get(n, "") is None]  # the default, written out
    made = build({n: v for n, v in spec.items() if n not in unset}, **places)
    kinds = {"callbacks": pl.Callback, "logger": Logger, "profiler": Profiler}
    kind = kinds.get(option)
    if kind is not None and not isinstance(made, kind):
        raise LthError(
            f"trainer.{option}: {spec['_target_']} makes a {type(made).__name__}, which is no "
            f"{kind.__module__.partition('.')[0]} {kind.__name__}"
        )
    if isinstance(made, ProgressBar):
        raise LthError(f"trainer.callbacks: {spec['_target_']}: {OWN_SHOW}; leave it out")
    return made
