"""The command's arguments, made ready for Hydra: flags first, globs spelled out, no empty sweep."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from lth.config import offered
from lth.errors import LthError
from lth.study.shorthand import of_its_logger, undashed

VALUED = (
    "--config-dir", "-cd", "--config-path", "-cp", "--config-name", "-cn", "--cfg", "-c",
    "--package", "-p",
)  # fmt: skip
"""Flags of Hydra's that the next argument belongs to."""

MULTIRUN = ("-m", "--multirun")

PATHS = ("path", "root", "out")
"""Settings that name a place: what Hydra reads otherwise (``~``, a comma, 2024) is theirs."""

LIMIT = re.compile(r"fit\.budget=\w+\s*<=[^,\[\]'\"]+")
"""A limit, whose ``<=`` Hydra cannot read."""


def ready(arguments: Sequence[str], config_folder: str | None = None) -> list[str]:
    """Put flags first, quote paths, and spell out globs over choices; no sweep may be empty.

    Hydra's own glob sees only the files right in a group's folder, and a sweep that is empty it
    takes for done.
    """
    flags, settings = _apart([undashed(argument) for argument in arguments])
    several = bool(set(flags) & set(MULTIRUN))
    settings = [_quoted(setting, several) for setting in settings]
    if several:
        settings = [_spelled_out(setting, config_folder) for setting in settings]
    if "task=lightning" in settings:
        _check_apply(settings)
    return [*flags, *map(_opened, of_its_logger(settings))]


def _opened(setting: str) -> str:
    """Let factories take arguments that no YAML names: Hydra wants a ``++`` there.

    Those of a task, of the trainer and of loggers, and those of a mapping with a ``_target_`` of
    its own.
    """
    own = re.match(r"[\w.]+=\{.*\b_target_:", setting)
    return (
        f"++{setting}" if own or setting.startswith(("task.", "trainer.", "logger.")) else setting
    )


def _check_apply(settings: Sequence[str]) -> None:
    """Refuse by name what a LightningModule of one's own brings itself."""
    for key in (setting.partition("=")[0].lstrip("+~") for setting in settings):
        group = key.partition(".")[0].partition("/")[0]
        if group in ("data", "model") or (group == "recipe" and key != "recipe.lr"):
            raise LthError(
                f"{key}: it does not apply to task=lightning: set task.module, task.data, "
                "trainer.max_epochs; recipe.lr sweeps the module's rate"
            )


def _apart(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Part flags from settings: Hydra takes settings on one side of a flag only."""
    flags, settings = list[str](), list[str]()
    rest = iter(arguments)
    for argument in rest:
        if not argument.startswith("-"):
            settings.append(argument)
            continue
        flags.append(argument)
        if argument in VALUED:
            flags += [value for value in [next(rest, None)] if value is not None]
    return flags, settings


def _quoted(setting: str, several: bool) -> str:
    """Quote a path that Hydra cannot read, or would sweep over where there is no sweep."""
    key, _, text = setting.partition("=")
    if LIMIT.fullmatch(setting):
        return f"{key}='{text}'"
    if key == "name" and text[:1] not in ("'", '"', "") and parse(setting) is None:
        return f"name='{text}'" if "'" not in text else setting
    if key.rpartition(".")[2] not in PATHS or text[:1] in ("'", '"', "["):
        return setting
    override = parse(setting)
    if override is not None and override.is_sweep_override() and several:
        return setting
    if override is not None and isinstance(override.value(), str | None):
        return setting
    escaped = text.replace("'", "\\'")
    return f"{key}='{escaped}'"


def _spelled_out(setting: str, folder: str | None) -> str:
    key, _, text = setting.partition("=")
    known = sorted(offered(key.lstrip("+"), folder))
    if text.startswith("glob(") and known:
        override = parse(setting)
        if override is None:
            return setting
        matching = override.value().filter(known)
        if not matching:
            raise LthError(f"{setting}: it matches no choice; there are {', '.join(known)}")
        return f"{key}={','.join(matching)}"
    if values(setting) == []:
        raise LthError(f"{setting}: an empty sweep: it starts no job")
    return setting


def values(setting: str) -> list[str] | None:
    """Return what a setting sweeps over, as settings; None for one that does not sweep."""
    override = parse(setting)
    if override is None or not override.is_sweep_override() or not override.is_discrete_sweep():
        return None
    if type(override.value()).__name__ == "Glob":
        return None
    key = override.get_key_element()
    return [f"{key}={value}" for value in override.sweep_string_iterator()]


def parse(setting: str) -> Any:
    """Return Hydra's reading of a setting, None where it has none."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        return OverridesParser.create().parse_override(setting)
    except HydraException:
        return None  # which Hydra will say in its own words
