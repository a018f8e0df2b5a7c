"""What a wandb run may be told, checked before any work: the arguments of ``wandb.init``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from lth.errors import LthError, nearest
from lth.loggers.weights_and_biases.logger import WandbLogger
from lth.loggers.weights_and_biases.opening import Asked
from lth.spec.plain import short

MODES = ("online", "offline", "disabled", "shared")

RESUMES = ("allow", "never", "must", "auto")

UNFIT = set("/\\#?%:")
"""Characters that neither a project's name nor an id may have."""

LONGEST = {"project": 128, "id": 128, "group": 128, "job_type": 64, "name": 128}

FORK = re.compile(r"[^?\s]+\?_step=\d+")


def wandb_logger(
    project: str | None = None,
    entity: str | None = None,
    name: str | None = None,
    group: str | None = None,
    job_type: str | None = None,
    tags: Sequence[str] | None = None,
    notes: str | None = None,
    id: str | None = None,
    resume: bool | str | None = None,
    mode: str | None = None,
    dir: str | None = None,
    config: Mapping[str, Any] | None = None,
    config_include_keys: Sequence[str] | None = None,
    config_exclude_keys: Sequence[str] | None = None,
    save_code: bool | None = None,
    force: bool | None = None,
    resume_from: str | None = None,
    fork_from: str | None = None,
    settings: Mapping[str, Any] | None = None,
    stats: bool | None = None,
    tickets: bool = False,
) -> WandbLogger:
    """Log to Weights & Biases, one run per study that goes on when the study does.

    All but the last two are arguments of ``wandb.init`` and mean what they mean there. What is null
    is left to the environment (``WANDB_PROJECT``, ``WANDB_MODE``, ``WANDB_RUN_GROUP``, ...) and to
    wandb's own settings file; what these do not say is ``project`` lth, ``name`` the study,
    ``group`` the name of the study without its hash, ``id`` one that follows from the study,
    ``resume`` allow. ``config`` is added to the study's configuration, ``settings`` go to
    ``wandb.Settings``. ``stats=false`` leaves out what the machine is doing; ``tickets`` uploads
    the files of the tickets as an artifact.
    """
    given = dict(
        project=project, entity=entity, name=name, group=group, job_type=job_type, tags=tags,
        notes=notes, id=id, resume=resume, mode=mode, dir=dir, save_code=save_code, force=force,
        config_include_keys=config_include_keys, config_exclude_keys=config_exclude_keys,
        resume_from=resume_from, fork_from=fork_from,
    )  # fmt: skip
    _check(given)
    for key, value in (("config", config), ("settings", settings)):
        if value is not None and not isinstance(value, Mapping):
            raise LthError(f"logger.{key}={short(value)}: a mapping of names to values")
    own = dict(settings or {}) | ({} if stats is None else {"x_disable_stats": not stats})
    _check_settings(own)
    told = {n: v for n, v in given.items() if v is not None}
    return WandbLogger(Asked(told, dict(config or {}), own), tickets)


def _check(given: Mapping[str, Any]) -> None:
    for key, known in (("mode", MODES), ("resume", RESUMES)):
        value = given[key]
        if value is not None and value not in known and not (key == "resume" and value is True):
            raise LthError(f"logger.{key}={value}: it is one of {', '.join(known)}, or null")
    for key in ("project", "id"):
        if odd := sorted(UNFIT & {*str(given[key] or "")}):
            raise LthError(f"logger.{key}={given[key]}: it may not have {' '.join(odd)} in it")
    for key, most in LONGEST.items():
        text = given[key]
        if text is not None and not 0 < len(str(text).strip()) <= most:
            raise LthError(f"logger.{key}={short(text)}: it has 1 to {most} characters")
    for key in ("tags", "config_include_keys", "config_exclude_keys"):
        _check_list(key, given[key])
    if given["config_include_keys"] and given["config_exclude_keys"]:
        raise LthError("logger.config_include_keys: config_exclude_keys is given too: one of them")
    _check_past(given)


def _check_list(key: str, values: Any) -> None:
    if values is None:
        return
    listed = isinstance(values, list | tuple) and all(isinstance(v, str) and v for v in values)
    if not listed:
        raise LthError(f"logger.{key}={short(values)}: a list of words: logger.{key}=[one,two]")
    if key == "tags" and (long := [v for v in values if len(v) > 64]):
        raise LthError(f"logger.tags: {short(long[0])}: a tag has at most 64 characters")


def _check_past(given: Mapping[str, Any]) -> None:
    """Refuse what would go on from a past run in two ways at once."""
    asked = [n for n in ("resume", "resume_from", "fork_from") if given[n] is not None]
    if len(asked) > 1:
        raise LthError(f"logger.{asked[1]}: {asked[0]} is given too: one of them")
    for name in ("resume_from", "fork_from"):
        if given[name] is not None and not FORK.fullmatch(given[name]):
            raise LthError(f"logger.{name}={given[name]}: it is written <run id>?_step=<step>")


def _check_settings(settings: Mapping[str, Any]) -> None:
    """Refuse by name what is no setting of wandb's, which is imported for these alone."""
    if not settings:
        return
    if "api_key" in settings:
        raise LthError(
            "logger.settings.api_key: set WANDB_API_KEY: a study writes its settings down"
        )
    import wandb

    known = wandb.Settings.model_fields
    for name in settings:
        if name not in known:
            raise LthError(f"logger.settings.{name}: no setting of wandb's{nearest(name, known)}")
    try:
        wandb.Settings(**settings)
    except Exception as error:
        raise LthError(f"logger.settings: {_first(error)}") from error


def _first(error: Exception) -> str:
    return "; ".join(line.strip() for line in str(error).splitlines()[1:3]) or str(error)
