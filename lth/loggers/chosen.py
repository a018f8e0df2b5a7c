"""The loggers that a configuration names: one, or several by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lth.errors import LthError
from lth.loggers.lightning import LightningLogger, from_lightning, is_lightnings
from lth.loggers.none import NoLogger
from lth.loggers.protocol import Logger
from lth.presets import choices
from lth.spec.build import build, locate, parameters_of, target_of
from lth.spec.plain import Spec, short


def loggers_of(config: Any) -> dict[str, Logger]:
    """Build the loggers of a setting, by name; the one of a spec that stands alone is nameless."""
    return {name: built(spec) for name, spec in specs_of(config).items()}


def specs_of(config: Any) -> dict[str, Spec]:
    """Return the specs of a setting by name: ``{wandb: spec, csv: spec}``, or one spec, as ``""``.

    Beside one that stands alone there may be those that a list of choices brought.
    """
    if not isinstance(config, Mapping):
        raise LthError(f"logger={short(config)}: name some: logger=wandb, or logger=[wandb,csv]")
    if "_target_" not in config:
        for name, spec in config.items():
            if not isinstance(spec, Mapping) or "_target_" not in spec:
                raise LthError(
                    f"logger.{name}={short(spec)}: it is no logger and no setting of one; there "
                    f"are {', '.join(choices('logger'))}, or {{_target_: one of your own}}"
                )
        return {str(name): dict(spec) for name, spec in config.items()}
    beside = {n: v for n, v in config.items() if n in choices("logger") and _is_spec(v)}
    if beside:
        taken = parameters_of(target_of(config), locate(target_of(config)))
        beside = {n: dict(v) for n, v in beside.items() if n not in taken}
    return beside | {"": {n: v for n, v in config.items() if n not in beside}}


def built(spec: Spec) -> Logger:
    """Build one logger; one of Lightning's is made when the study begins, in its folder."""
    target = target_of(spec)
    factory = locate(target)
    if isinstance(factory, type) and is_lightnings(factory):
        return from_lightning(spec)
    made = build(spec)
    return LightningLogger(lambda _: made) if is_lightnings(made) else made


def named(loggers: Mapping[str, Logger], config: Any) -> dict[str, tuple[Logger, Spec]]:
    """Return the loggers that log, by what they are called, with their specs."""
    specs = specs_of(config)
    return {
        name or target_of(specs[name]).rpartition(".")[2]: (logger, specs[name])
        for name, logger in loggers.items() if not isinstance(logger, NoLogger)
    }  # fmt: skip


def wants_tickets(config: Any) -> bool:
    """Whether some logger uploads the files of the tickets."""
    return any(spec.get("tickets") for spec in specs_of(config).values())


def _is_spec(value: Any) -> bool:
    return isinstance(value, Mapping) and "_target_" in value
