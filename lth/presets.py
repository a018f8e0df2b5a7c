"""The YAMLs of conf/ and of a user's folder laid out like it: which there are, what they hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from lth.errors import LthError, nearest
from lth.spec.build import plain
from lth.spec.plain import short

GROUPS = ("data", "model", "recipe", "score", "search", "prune", "rewind", "trainer", "logger")
"""Groups of one choice; ``arms`` and ``method`` take several, ``experiment`` sets the others."""


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


def offered(group: str, own: str | Path | None = None) -> list[str]:
    """Names that a group offers, those in the user's own folder of YAMLs first."""
    mine = choices(group, Path(own)) if own else []
    return list(dict.fromkeys([*mine, *choices(group)]))


def load(group: str, name: str, own: Path | None = None) -> dict[str, Any]:
    """Read one YAML of conf/, or of the user's folder, laid out like it."""
    path = next((p for f in folders(own) if (p := f / group / f"{name}.yaml").is_file()), None)
    if path is None:
        raise LthError(no_choice(group, name, offered(group, own)))
    values = read(path)
    if group in ("experiment", "task", "tune") or group.startswith("hydra/"):
        return values  # their defaults speak of other groups, or of Hydra's own
    parts: dict[str, Any] = {}
    for entry in values.pop("defaults", []):
        for inner, choice in _entries(entry, path):
            under = load(f"{group}/{inner}" if inner else group, choice, own)
            parts = merged(parts, {inner: under} if inner else under)
    return merged(parts, values)


def no_choice(group: str, name: str, offered: Iterable[str]) -> str:
    """Say that there is no such YAML, and which may be meant; a path is told how it is given."""
    said, known = f"{group}={name}: no such choice", list(offered)
    if group == "data" and name.endswith(".npz"):
        return f"{said}; a file is data=npz data.path={name}"
    if group == "data" and Path(name).is_dir():
        return f"{said}; a folder is data=folder data.path={name}"
    if "," in name:
        return f"{said}; several are a list: {group}=[{name}]"
    ends = [each for each in known if each.endswith(f"/{name}") or each.startswith(name)]
    if name and ends:
        return f"{said}; did you mean {' or '.join(ends[:4])}?"
    hint = nearest(name, known)
    if elsewhere := _elsewhere(name) if name and "did you mean" not in hint else []:
        return f"{said}; did you mean {' or '.join(elsewhere)}?"
    return said + hint


def _elsewhere(name: str) -> list[str]:
    """Return ``group=choice`` of the groups that have a choice of this name."""
    root = conf_folder()
    found = [p.parent.relative_to(root).as_posix() for p in sorted(root.rglob(f"{name}.yaml"))]
    inside = [group for group in found if group.partition("/")[0] not in (".", "experiment")]
    return [f"{g}=[{name}]" if g in ("arms", "method") else f"{g}={name}" for g in inside]


def folders(own: Path | None) -> list[Path]:
    """Return where YAMLs lie; the user's own come first, as with ``--config-dir``."""
    return [conf_folder()] if own is None else [own, conf_folder()]


def _entries(entry: Any, path: Path) -> list[tuple[str, str]]:
    """Return (group inside, choice) of an entry of ``defaults``; a name alone is of this group."""
    if isinstance(entry, str):
        return [] if entry == "_self_" else [("", entry)]
    pairs = [(str(k), v) for k, v in entry.items()] if isinstance(entry, Mapping) else []
    if not pairs or not all(k.replace("_", "").isalnum() and isinstance(v, str) for k, v in pairs):
        raise LthError(f"{path}: defaults: {short(entry)}: name a YAML of this group or below it")
    return pairs


def merged(under: Mapping[str, Any], over: Mapping[str, Any], where: str = "") -> dict[str, Any]:
    """Lay ``over`` on ``under``; a nested spec of another factory replaces, others merge."""
    laid = dict(under)
    # what is laid over the arguments of a factory is an argument of that factory
    target = str(over.get("_target_", under.get("_target_", "lth.")))
    for key, value in over.items():
        old, inside = laid.get(key), f"{where}.{key}" if where else str(key)
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            same = value.get("_target_", old.get("_target_")) == old.get("_target_")
            laid[key] = merged(old, value, inside) if same else plain(value, inside, target)
        else:
            laid[key] = plain(value, inside, target)
    return laid


def read(path: Path) -> dict[str, Any]:
    """Read a YAML as plain data; what refers to other settings is left as it stands."""
    values = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    return {str(k): v for k, v in values.items()} if isinstance(values, dict) else {}
