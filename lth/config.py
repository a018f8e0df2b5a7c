"""Configuration as plain mappings: the YAMLs of conf/, put together with or without Hydra."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lth.errors import LthError, first_line
from lth.listed import choose_loggers, stands_alone
from lth.near import no_setting
from lth.presets import (
    GROUPS,
    choices,
    conf_folder,
    folders,
    load,
    merged,
    no_choice,
    offered,
    read,
)
from lth.spec.build import digest, plain, spec_of, target_of
from lth.spec.plain import short

__all__ = [
    "ACTIONS", "GROUPS", "NOT_IN_STUDY_ID", "choices", "compose", "conf_folder", "default_name",
    "load", "make_importable", "no_choice", "offered", "study_id", "without_root",
]  # fmt: skip

ACTIONS = ("run", "plan", "explain", "plot", "analyse", "compare", "fit", "list", "clean", "sweep")

FIT = ("knob", "values", "low", "high", "budget", "trials")
"""What action=fit is told."""

NOT_IN_STUDY_ID = (
    "name", "out", "trials", "levels", "arms", "method", "logger", "action", "studies", "reference",
    "trainer", "budget", "axis", "budgets", "figures", "fit", "optimize", "plan", "clean", "table",
)  # fmt: skip
"""Settings that are not part of what a study is; precision and compile of the trainer are."""


def compose(config_dir: str | Path | None = None, **settings: Any) -> dict[str, Any]:
    """Put a configuration together as the command does, from names, mappings and factories.

    A group takes the name of a YAML, a mapping (merged over the default choice, or standing alone
    if it has a ``_target_``), a factory, or a ``functools.partial``. ``task`` takes the name of a
    YAML, or a mapping with ``module``, ``data`` and the rest of task=lightning. ``arms`` takes a
    list of names and factories, or a mapping from names to any of these; ``method`` a list of
    names, or a mapping from names to ``{"at": ..., "moves": [factories and partials]}``. YAMLs lie
    in conf/, and in a ``config_dir`` laid out like it.
    """
    own = _own(config_dir)
    names, values = _base(settings.pop("experiment", None), own, settings.get("task"))
    _check_keys(settings, values)
    task = settings.pop("task", None)
    config = {k: v for k, v in values.items() if k not in (*GROUPS, "arms", "method")}
    config |= {k: plain(v, k) for k, v in settings.items() if k in config}
    for group in GROUPS:
        chosen = settings.get(group)
        if names[group] is None and chosen is None and not values.get(group):
            continue  # the task has none
        choose = _choose if group != "logger" else choose_loggers
        config[group] = choose(group, names[group], values.get(group), chosen, own)
        if isinstance(chosen, str):
            names[group] = chosen
        elif group in ("model", "data") and stands_alone(chosen):  # a study is named after it
            names[group] = target_of(config[group]).rpartition(".")[2]
    config["arms"] = _arms(settings.get("arms", names["arms"]), values.get("arms") or {}, own)
    config["method"] = _methods(
        settings.get("method", names.get("method", [])), values.get("method") or {}, own
    )
    if isinstance(task, Mapping):
        named = {k: plain(v, f"task.{k}") for k, v in task.items()}
        config["task"] = merged(config["task"], named)
    config["name"] = config["name"] or default_name(
        names["model"], names["data"], config.get("task")
    )
    try:  # what refers to other settings, as ${data.root} does
        return plain(OmegaConf.to_container(OmegaConf.create(config), resolve=True))
    except OmegaConfBaseException as error:
        raise LthError(f"settings: {first_line(error)}") from None


def _own(folder: Any) -> Path | None:
    """Return the user's folder of YAMLs; what they name may lie there, or where the user is."""
    if folder is None:
        return None
    if not isinstance(folder, str | Path) or not Path(folder).is_dir():
        raise LthError(f"config_dir={short(folder)}: not a folder; it is laid out like conf/")
    make_importable(str(folder))
    return Path(folder)


def make_importable(folder: str | None) -> None:
    """Let a ``_target_`` name the user's own modules, in the working and the config folder."""
    for each in (folder, os.getcwd()):
        if each is not None and (path := os.path.abspath(each)) not in sys.path:
            sys.path.insert(0, path)


def default_name(model: str | None, data: str | None, task: Mapping[str, Any] | None = None) -> str:
    """Name a study after its choices, one of a task after its module."""
    if task:
        return str((task.get("module") or {}).get("_target_", "task")).rpartition(".")[2].lower()
    return f"{model}-{data}".replace("/", "-")


def study_id(config: Mapping[str, Any], identity: str = "") -> str:
    """Return ``<name>-<hash8>``: the hash of what every member of the study has in common.

    Not in it: ``NOT_IN_STUDY_ID``, where the data lies, how it is trained. ``identity`` stands for
    the data and the code, so that one folder never holds the results of two.
    """
    common = {k: v for k, v in config.items() if k not in NOT_IN_STUDY_ID}
    if "data" in config:
        common["data"] = without_root(config["data"])
    trainer = config["trainer"]
    common["trainer"] = [str(trainer.get("precision", "32")), trainer.get("compile")]
    if identity:
        common["identity"] = identity
    return f"{config['name']}-{digest(plain(common))[:8]}"


def without_root(data: Any) -> Any:
    """Drop where the data lies, also of a data set inside another.

    Of this package's data sets alone, whose content says what they are: a ``root`` or ``path`` of
    the user's own may name which data it is.
    """
    if not isinstance(data, Mapping):
        return data
    own = str(data.get("_target_", "")).startswith("lth.")
    return {k: without_root(v) for k, v in data.items() if not (own and k in ("root", "path"))}


def _base(
    experiment: Any, own: Path | None, task: Any = None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the chosen names and the values of config.yaml, under those of task and experiment."""
    base = read(next(p for f in folders(own) if (p := f / "config.yaml").is_file()))
    names = {k: v for entry in base.pop("defaults") if entry != "_self_" for k, v in entry.items()}
    base.pop("hydra", None)
    overlay: dict[str, Any] = {}
    if experiment is not None:
        if not isinstance(experiment, str):
            raise LthError(f"experiment={short(experiment)}: the name of a YAML")
        overlay = load("experiment", experiment, own)
    if not (task is None or isinstance(task, str | Mapping)):
        raise LthError(f"task={short(task)}: a YAML's name, or a mapping: module, data, monitor")
    chosen = _overrides(overlay)
    name = task if isinstance(task, str) else chosen.get("task", names["task"])
    if isinstance(task, Mapping) and name == "classification":
        name = "lightning"  # whoever names a module means to train it
    under, choices_made = _task(name, own)
    names |= choices_made | chosen
    for inside in [key for key in names if key.partition("/")[0] in GROUPS and "/" in key]:
        group, _, inner = inside.partition("/")
        within = {inner: load(inside, names.pop(inside), own)}
        overlay[group] = merged(within, overlay.get(group) or {})
    return names, merged(base | under, overlay) if under else base | overlay


def _task(name: str, own: Path | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read a task over those that its ``defaults`` name: its values, and the choices it makes."""
    found = load("task", name, own)
    entries, values, chosen = found.pop("defaults", []), dict[str, Any](), dict[str, Any]()
    for entry in entries:
        if isinstance(entry, str) and entry != "_self_":
            below, made = _task(entry, own)
            values, chosen = merged(values, below), chosen | made
    return merged(values, found), chosen | _overrides({"defaults": entries})


def _overrides(overlay: dict[str, Any]) -> dict[str, Any]:
    """Take out of an overlay which choices it makes."""
    found: dict[str, Any] = {}
    for entry in overlay.pop("defaults", []):
        if isinstance(entry, Mapping):
            found |= {k.removeprefix("override /"): v for k, v in entry.items()}
    return found


def _check_keys(settings: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    known = dict.fromkeys([*GROUPS, "arms", "method", "experiment", "task", *values])
    for key in settings:
        if key not in known:
            raise LthError(no_setting(key, known))


def _choose(group: str, name: str | None, overlay: Any, setting: Any, own: Path | None) -> Any:
    if isinstance(setting, str) and not isinstance(setting, Enum):
        return merged(load(group, setting, own), overlay or {}, group)
    under = {} if name is None else load(group, name, own)
    if setting is None:
        setting = {}
    if not isinstance(setting, Mapping) or stands_alone(setting):
        return spec_of(setting, group)
    inner = {
        key: load(f"{group}/{key}", value, own)
        for key, value in setting.items()
        if isinstance(key, str) and isinstance(value, str)
        if any((folder / group / key).is_dir() for folder in folders(own))
    }
    chosen = merged(under, overlay or {}, group)
    return merged(chosen, {**setting, **inner}, group)


def _arms(chosen: Any, overlay: Mapping[str, Any], own: Path | None) -> dict[str, Any]:
    """Return ``{name: spec with copies}``: those asked for in order, then those written out."""
    if isinstance(chosen, str):
        chosen = [chosen]
    if not isinstance(chosen, Mapping | list | tuple):
        raise LthError(f"arms={short(chosen)}: a list of names and factories, or a mapping to them")
    entries = dict(chosen) if isinstance(chosen, Mapping) else {_arm_name(a): a for a in chosen}
    written = {n: a for n, a in overlay.items() if n not in entries and "_target_" in (a or {})}
    arms = {}
    for name, arm in entries.items():
        preset, where = overlay.get(name) or {}, f"arms.{name}"
        if isinstance(arm, str):
            arms[name] = merged(_preset(arm, own), preset, where)
        elif isinstance(arm, Mapping) and "_target_" not in arm:
            arms[name] = merged(merged(_preset(name, own), preset, where), arm, where)
        else:
            arms[name] = {"copies": preset.get("copies", 1), **spec_of(arm, where)}
    return {**arms, **{n: {"copies": 1, **spec_of(a, f"arms.{n}")} for n, a in written.items()}}


def _methods(chosen: Any, overlay: Mapping[str, Any], own: Path | None) -> dict[str, Any]:
    """Return ``{name: {at, moves, repeat}}``: those written out, then those asked for in order."""
    if isinstance(chosen, str):
        chosen = [chosen]
    if not isinstance(chosen, Mapping | list | tuple):
        raise LthError(f"method={short(chosen)}: a list of names, or a mapping to at and moves")
    entries = dict(chosen) if isinstance(chosen, Mapping) else {_listed(n): {} for n in chosen}
    written = {n: m for n, m in overlay.items() if n not in entries and "moves" in m}
    methods = {}
    for name, method in {**written, **entries}.items():
        given = {} if isinstance(method, str) else method
        given = {"moves": given} if isinstance(given, list | tuple) else given
        if not isinstance(given, Mapping):
            raise LthError(f"method.{name}={short(method)}: a mapping with at and moves")
        preset = method if isinstance(method, str) else name
        base = {} if "moves" in given else _preset(preset, own, "method")
        base = {**base, **(overlay.get(name) or {})}
        moves = given.get("moves", base.get("moves"))
        if not isinstance(moves, list | tuple) or not moves:
            raise LthError(f"method.{name}.moves={short(moves)}: a list of at least one move")
        rest = plain({k: v for k, v in given.items() if k != "moves"}, f"method.{name}")
        specs = [spec_of(m, f"method.{name}.moves") for m in moves]
        methods[name] = {**base, **rest, "moves": specs}
    return methods


def _listed(name: Any) -> str:
    if not isinstance(name, str):
        raise LthError("method: a list is of names; moves of one's own need one: {name: [moves]}")
    return name


def _preset(name: str, own: Path | None, group: str = "arms") -> dict[str, Any]:
    preset = load(group, name, own).get(name)
    if not isinstance(preset, Mapping):
        what = "arm" if group == "arms" else group
        raise LthError(f"{group}/{name}.yaml: it must hold the {what} under its name: {name}: ...")
    return dict(preset)


def _arm_name(arm: Any) -> str:
    return arm if isinstance(arm, str) else spec_of(arm, "arms")["_target_"].rpartition(".")[2]
