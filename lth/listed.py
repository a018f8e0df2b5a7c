"""Groups of which several may be chosen at once, by name: the loggers."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any

from lth.errors import LthError
from lth.presets import load, merged, offered
from lth.spec.build import spec_of
from lth.spec.plain import short


def choose_loggers(
    group: str, names: Any, overlay: Any, setting: Any, own: Path | None
) -> dict[str, Any]:
    """Return the loggers by name, ``{wandb: spec, csv: spec}``; a factory alone is one spec.

    A setting is a name, a list of names and factories, a mapping of names to settings, or the
    settings of the one that is chosen anyway.
    """
    listed = [names] if isinstance(names, str) else list(names or [])
    if isinstance(setting, str) and not isinstance(setting, Enum):
        listed, setting = [setting], {}
    elif isinstance(setting, list | tuple):
        listed, setting = list(setting), {}
    if setting is not None and (not isinstance(setting, Mapping) or "_target_" in setting):
        return spec_of(setting, group)
    chosen: dict[str, Any] = {}
    for each in listed:
        if isinstance(each, str):
            chosen[each] = load(group, each, own)
        else:
            spec = spec_of(each, group)
            chosen[spec["_target_"].rpartition(".")[2]] = spec
    for laid in (overlay or {}, setting or {}):
        chosen = _laid_over(chosen, laid, group, own)
    return chosen


def _laid_over(
    chosen: dict[str, Any], laid: Mapping[str, Any], group: str, own: Path | None
) -> dict[str, Any]:
    """Lay settings of the only choice over it; a mapping that names some is the choice itself."""
    known = {*chosen, *offered(group, own)}
    named = {n: v for n, v in laid.items() if n in known or _is_factory(v)}
    rest = {n: v for n, v in laid.items() if n not in named}
    if rest and (named or len(chosen) != 1):
        which = ", ".join(f"{group}.{n}" for n in {**named, **({} if named else chosen)})
        raise LthError(f"{group}.{next(iter(rest))}: say of which: {which}")
    if rest:
        (only,) = chosen
        return {only: merged(chosen[only], rest, f"{group}.{only}")}
    found = {}
    for name, values in named.items():
        if _is_factory(values):
            found[name] = spec_of(values, f"{group}.{name}")
            continue
        if not isinstance(values, Mapping | None):
            raise LthError(f"{group}.{name}={short(values)}: a mapping of its settings")
        under = chosen.get(name) or load(group, name, own)
        found[name] = merged(under, values or {}, f"{group}.{name}")
    return found or chosen


def _is_factory(value: Any) -> bool:
    return callable(value) or (isinstance(value, Mapping) and "_target_" in value)


def stands_alone(setting: Any) -> bool:
    """Whether a choice is a factory or a spec, and not laid over the default choice."""
    if setting is None or isinstance(setting, str):
        return False
    return not isinstance(setting, Mapping) or "_target_" in setting
