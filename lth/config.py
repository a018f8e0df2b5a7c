"""Configuration as plain mappings: the YAMLs of conf/, put together with or without Hydra."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from lth.errors import LthError
from lth.spec import digest, plain, spec_of

GROUPS = ("data", "model", "recipe", "score", "search", "prune", "rewind", "trainer", "logger")
"""Groups of which one choice is made; ``arms`` takes several, ``experiment`` sets the others."""

ACTIONS = ("run", "plan", "plot", "analyse", "compare")

ASIDE = (
    "name", "out", "trials", "levels", "arms", "logger", "action", "studies", "reference",
    "trainer",
)  # fmt: skip
"""Settings that are not part of what a study is; precision and compile of the trainer are."""


def conf_folder() -> Path:
    """Return the folder of the YAMLs: inside the installed package, or beside it in a checkout."""
    here = Path(__file__).resolve().parent
    return here / "conf" if (here / "conf").is_dir() else here.parent / "conf"


def choices(group: str, folder: Path | None = None) -> list[str]:
    """Names that a group offers, such as ``frankle2019/lenet``."""
    root = (folder or conf_folder()) / group
    deep = group == "experiment"  # elsewhere a folder inside a group is a group of its own
    paths = root.rglob("*.yaml") if deep else root.glob("*.yaml")
    return sorted(p.relative_to(root).with_suffix("").as_posix() for p in paths)


def compose(**settings: Any) -> dict[str, Any]:
    """Put a configuration together as the command does, from names, mappings and factories.

    A group takes the name of a YAML, a mapping (merged over the default choice, or standing alone
    if it has a ``_target_``), a factory, or a ``functools.partial``. ``arms`` takes a list of
    names and factories, or a mapping from names to any of these.
    """
    names, values = _base(settings.pop("experiment", None))
    _check_keys(settings, values)
    found = {k: v for k, v in values.items() if k not in (*GROUPS, "arms")}
    found |= {k: plain(v) for k, v in settings.items() if k in found}
    for group in GROUPS:
        found[group] = _choose(group, names[group], values.get(group), settings.get(group))
        if isinstance(settings.get(group), str):
            names[group] = settings[group]
    found["arms"] = _arms(settings.get("arms", names["arms"]), values.get("arms") or {})
    found["name"] = found["name"] or default_name(names["model"], names["data"])
    return plain(OmegaConf.to_container(OmegaConf.create(found), resolve=True))


def default_name(model: str, data: str) -> str:
    """Name a study after its choices."""
    return f"{model}-{data}".replace("/", "-")


def study_id(config: Mapping[str, Any]) -> str:
    """Return ``<name>-<hash8>``: the hash of what every member of the study has in common.

    Not in it: ``ASIDE``, where the data lies, how it is trained.
    """
    common = {k: v for k, v in config.items() if k not in ASIDE}
    common["data"] = without_root(config["data"])
    trainer = config["trainer"]
    common["trainer"] = [str(trainer.get("precision", "32")), trainer.get("compile")]
    return f"{config['name']}-{digest(plain(common))[:8]}"


def without_root(data: Any) -> Any:
    """Drop where the data lies, also of a data set inside another."""
    if not isinstance(data, Mapping):
        return data
    return {k: without_root(v) for k, v in data.items() if k != "root"}


def load(group: str, name: str) -> dict[str, Any]:
    """Read one YAML of conf/."""
    path = conf_folder() / group / f"{name}.yaml"
    if not path.is_file():
        raise LthError(f"{group}={name}: no such choice; there are {', '.join(choices(group))}")
    found = _read(path)
    if group == "experiment":
        return found
    parts = {
        inner: load(f"{group}/{inner}", choice)
        for entry in found.pop("defaults", [])
        if entry != "_self_"
        for inner, choice in entry.items()
    }
    return _merge(parts, found)


def nearest(name: str, known: Any) -> str:
    """Return ``; did you mean x?`` if a known name is close, else the list of all."""
    close = difflib.get_close_matches(name, list(known), 1)
    return f"; did you mean {close[0]}?" if close else f"; there are {', '.join(known)}"


def _base(experiment: str | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the chosen names and the values of config.yaml, under those of an experiment."""
    base = _read(conf_folder() / "config.yaml")
    names = {k: v for entry in base.pop("defaults") if entry != "_self_" for k, v in entry.items()}
    base.pop("hydra", None)
    if experiment is not None:
        overlay = load("experiment", experiment)
        for entry in overlay.pop("defaults", []):
            if entry != "_self_":
                names |= {k.removeprefix("override /"): v for k, v in entry.items()}
        base |= overlay
    return names, base


def _check_keys(settings: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    known = dict.fromkeys([*GROUPS, "arms", "experiment", *values])
    for key in settings:
        if key not in known:
            raise LthError(f"{key}: no such setting{nearest(key, known)}")


def _choose(group: str, name: str, overlay: Any, setting: Any) -> Any:
    if isinstance(setting, str):
        return _merge(load(group, setting), overlay or {})
    if setting is None:
        setting = {}
    if not isinstance(setting, Mapping) or "_target_" in setting:
        return spec_of(setting)
    inner = {
        key: load(f"{group}/{key}", value)
        for key, value in setting.items()
        if isinstance(value, str) and (conf_folder() / group / key).is_dir()
    }
    return _merge(_merge(load(group, name), overlay or {}), {**setting, **inner})


def _merge(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Lay ``over`` on ``under``; a nested spec of another factory replaces, others merge."""
    found = dict(under)
    for key, value in over.items():
        old = found.get(key)
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            same = value.get("_target_", old.get("_target_")) == old.get("_target_")
            found[key] = _merge(old, value) if same else plain(value)
        else:
            found[key] = plain(value)
    return found


def _arms(chosen: Any, overlay: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``{name: spec with copies}`` in the order asked for; what is asked for wins."""
    entries = dict(chosen) if isinstance(chosen, Mapping) else {_arm_name(a): a for a in chosen}
    found = {}
    for name, arm in entries.items():
        preset = overlay.get(name) or {}
        if isinstance(arm, str):
            found[name] = {**load("arms", arm)[arm], **preset}
        elif isinstance(arm, Mapping) and "_target_" not in arm:
            found[name] = {**load("arms", name)[name], **preset, **plain(arm)}
        else:
            found[name] = {"copies": preset.get("copies", 1), **spec_of(arm)}
    return found


def _arm_name(arm: Any) -> str:
    return arm if isinstance(arm, str) else spec_of(arm)["_target_"].rpartition(".")[2]


def _read(path: Path) -> dict[str, Any]:
    found = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    return {str(k): v for k, v in found.items()} if isinstance(found, dict) else {}
