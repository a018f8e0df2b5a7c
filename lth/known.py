"""The names that there are: groups, choices, and settings by their dotted places."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from lth import presets
from lth.presets import conf_folder, folders, load, offered, read

GROUPS = ("experiment", "task", *presets.GROUPS[:-2], "arms", "method", *presets.GROUPS[-2:])
"""The groups, in the order in which a user thinks of them."""

SEVERAL = ("arms", "method", "logger")
"""Groups of which several choices are named at once, as a list."""

OF_SETTINGS = {"recipe": "lth.recipe.recipe.Recipe", "trainer": "lth.train.options.Options"}
"""What a group's settings are given to, where its YAMLs name no factory."""

OURS = ("_target_", "_partial_", "defaults", "hydra")
"""Keys that are no settings."""


class Setting(NamedTuple):
    """A setting: its dotted place, its value, and the factory whose argument it is."""

    place: str
    value: Any
    target: str = ""

    @property
    def name(self) -> str:
        """The last part of its place."""
        return self.place.rpartition(".")[2]


def all_groups() -> tuple[str, ...]:
    """Return the groups, those that lie inside of one (``recipe/optimizer``), and Hydra's here."""
    found, root = list[str](), conf_folder()
    others = sorted(p.name for p in root.iterdir() if p.is_dir() and p.name not in GROUPS)
    for group in (*GROUPS, *others):
        found += [group] * bool(offered(group))
        inside = (root / group).iterdir() if group != "experiment" else ()
        found += sorted(f"{group}/{p.name}" for p in inside if p.is_dir())
    return tuple(found)


def settings_in(values: Any, place: str = "", target: str = "") -> Iterator[Setting]:
    """Yield every setting of nested plain data; a list of plain values is one.

    So is a mapping that is an argument of a factory, unless it names a factory itself.
    """
    argument = target not in ("", *OF_SETTINGS.values())
    if isinstance(values, Mapping) and values and ("_target_" in values or not argument):
        inner = str(values.get("_target_", target if target in OF_SETTINGS.values() else ""))
        for key, value in values.items():
            if key not in OURS:
                yield from settings_in(value, f"{place}.{key}" if place else str(key), inner)
    elif isinstance(values, list) and any(isinstance(v, Mapping) for v in values):
        for number, value in enumerate(values):
            yield from settings_in(value, f"{place}.{number}", target)
    elif place:
        yield Setting(place, values, target)


def of_choice(group: str, name: str, own: Path | None) -> list[Setting]:
    """Return the settings of a choice, at their places: ``arms.rigl.every``, ``recipe.steps``."""
    values = load(group, name, own)
    inside = group if group in SEVERAL else "" if whole(group, name, own) else group
    return list(settings_in(values, inside.replace("/", "."), OF_SETTINGS.get(group, "")))


def whole(group: str, name: str, own: Path | None = None) -> bool:
    """Whether a choice speaks of all settings, as an experiment does, not of its group's alone."""
    if group in ("experiment", "task"):
        return True
    path = next((p for f in folders(own) if (p := f / group / f"{name}.yaml").is_file()), None)
    return path is not None and path.read_text(encoding="utf-8").startswith("# @package _global_")


def top_level() -> dict[str, Any]:
    """Return the settings of config.yaml with their values."""
    values = read(conf_folder() / "config.yaml")
    return {k: v for k, v in values.items() if k not in OURS}


@functools.lru_cache(maxsize=32)
def everywhere(own: Path | None = None, within: str = "") -> dict[str, Setting]:
    """Return every setting of every choice (``within`` a group), by its place.

    Their values are those of the default choices, of others where no default choice has them.
    """
    found = {s.place: s for s in settings_in(top_level())}
    for group in all_groups():
        if group == "experiment" or within not in ("", group.partition("/")[0]):
            continue
        default = default_of(group)
        names = sorted(offered(group, own), key=lambda name: name != default)
        for name in names:
            for setting in of_choice(group, name, own):
                found.setdefault(setting.place, setting)
    return found


def choices_by_name(own: Path | None = None) -> dict[str, list[tuple[str, str]]]:
    """Return (group, choice) of every name; an experiment is known by its last part, too."""
    found: dict[str, list[tuple[str, str]]] = {}
    for group in all_groups():
        for name in offered(group, own):
            for known in {name, name.rpartition("/")[2]}:
                found.setdefault(known, []).append((group, name))
    return found


def default_of(group: str) -> str:
    """Return what config.yaml chooses of a group, or of one inside its default choice."""
    outer, _, inner = group.partition("/")
    chosen = _chosen(conf_folder() / "config.yaml", outer)
    if inner and isinstance(chosen, str):
        chosen = _chosen(conf_folder() / outer / f"{chosen}.yaml", inner)
    if isinstance(chosen, list):
        return f"[{','.join(chosen)}]" if chosen else ""
    return str(chosen or "")


def _chosen(path: Path, group: str) -> Any:
    entries = [e for e in read(path).get("defaults", []) if isinstance(e, dict)]
    return next((entry[group] for entry in entries if group in entry), None)
