"""The command's arguments, made ready for Hydra: flags first, globs spelled out, no empty sweep."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

from lth.config import choices
from lth.errors import LthError

VALUED = (
    "--config-dir", "-cd", "--config-path", "-cp", "--config-name", "-cn", "--cfg", "-c",
    "--package", "-p",
)  # fmt: skip
"""Flags of Hydra's that the next argument belongs to."""

MULTIRUN = ("-m", "--multirun")


def ready(arguments: Sequence[str], config_folder: str | None = None) -> list[str]:
    """Put flags first and, in a sweep, spell out globs over choices; an empty sweep is refused.

    Hydra's own glob sees only the files right in a group's folder, and a sweep that is empty it
    takes for done.
    """
    flags, settings = _apart(arguments)
    if set(flags) & set(MULTIRUN):
        folder = Path(config_folder) if config_folder else None
        settings = [_spelled_out(setting, folder) for setting in settings]
    if "task=lightning" in settings:
        _check_apply(settings)
    return [*flags, *map(_opened, settings)]


def _opened(setting: str) -> str:
    """Let a task and the trainer take arguments that no YAML names: Hydra wants a ``++`` there."""
    return f"++{setting}" if setting.startswith(("task.", "trainer.")) else setting


def _check_apply(settings: Sequence[str]) -> None:
    """Refuse by name what a LightningModule of one's own brings itself."""
    for key in (setting.partition("=")[0].lstrip("+~") for setting in settings):
        group = key.partition(".")[0].partition("/")[0]
        if group in ("data", "model") or (group == "recipe" and key != "recipe.lr"):
            raise LthError(
                f"{key}: it does not apply to task=lightning: set task.module, task.data, "
                "trainer.max_epochs; recipe.lr sweeps the module's rate"
            )


def jobs(settings: Sequence[str]) -> list[list[str]]:
    """Return the settings of every job of a sweep: all combinations."""
    each = ([setting] if (found := _values(setting)) is None else found for setting in settings)
    return [list(job) for job in product(*each)]


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


def _spelled_out(setting: str, folder: Path | None) -> str:
    key, _, text = setting.partition("=")
    group = key.lstrip("+")
    if text.startswith("glob(") and (known := _known(group, folder)):
        override = _parse(setting)
        if override is None:
            return setting
        found = override.value().filter(known)
        if not found:
            raise LthError(f"{setting}: it matches no choice; there are {', '.join(known)}")
        return f"{key}={','.join(found)}"
    if _values(setting) == []:
        raise LthError(f"{setting}: an empty sweep: it starts no job")
    return setting


def _known(group: str, folder: Path | None) -> list[str]:
    found = choices(group)
    own = choices(group, folder) if folder else []
    return sorted({*found, *own})


def _values(setting: str) -> list[str] | None:
    """Return what a setting sweeps over, as settings; None for one that does not sweep."""
    override = _parse(setting)
    if override is None or not override.is_sweep_override() or not override.is_discrete_sweep():
        return None
    if type(override.value()).__name__ == "Glob":
        return None
    key = override.get_key_element()
    return [f"{key}={value}" for value in override.sweep_string_iterator()]


def _parse(setting: str) -> Any:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        return OverridesParser.create().parse_override(setting)
    except HydraException:
        return None  # which Hydra will say in its own words
