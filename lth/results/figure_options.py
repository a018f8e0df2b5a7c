"""How figures are written: file formats, size, style; and the words over them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from lth.config import without_root
from lth.errors import LthError, nearest
from lth.presets import choices, load

FORMATS = ("png", "pdf", "svg")

WIDTHS = {"column": 3.3, "page": 6.8}
"""Inches: of a column of a paper set in two, and of its page."""

STYLES = ("light", "dark", "paper")
"""Ours; any of matplotlib's, and the path of a ``.mplstyle`` file, will do too."""

SMALLEST, GREATEST = 1.5, 40.0
"""Inches between which a width lies."""


@dataclass(frozen=True)
class FigureOptions:
    """The settings ``figures``: see conf/config.yaml.

    ``width`` is in inches, ``font`` in points, ``dpi`` dots per inch of a PNG; None: as fits a
    screen, and, of a font, the width.
    """

    formats: tuple[str, ...] = ("png",)
    width: float | None = None
    style: str = "light"
    font: float | None = None
    dpi: int | None = None
    title: bool = True


def figure_options(config: Mapping[str, Any] | None) -> FigureOptions:
    """Return the settings ``figures`` of a configuration, each refused by name where it is wrong.

    >>> figure_options({"figures": {"width": "column", "formats": "pdf"}}).width
    3.3
    """
    given = (config or {}).get("figures") or {}
    if not isinstance(given, Mapping):
        raise LthError(f"figures={given!r}: a mapping, such as figures.formats=[png,pdf]")
    known = [f.name for f in fields(FigureOptions)]
    for key in given:
        if key not in known:
            raise LthError(f"figures.{key}: no such setting{nearest(str(key), known)}")
    said = {key: value for key, value in given.items() if value is not None}
    read = {"formats": _formats, "width": _width, "style": _style, "font": _font, "dpi": _dpi,
            "title": _title}  # fmt: skip
    return FigureOptions(**{key: read[key](value) for key, value in said.items()})


def _formats(value: Any) -> tuple[str, ...]:
    wanted = [value] if isinstance(value, str) else value
    if not isinstance(wanted, Sequence) or not wanted:
        raise LthError(f"figures.formats={value!r}: a list of {', '.join(FORMATS)}")
    for name in wanted:
        if name not in FORMATS:
            raise LthError(f"figures.formats={name}: it is one of {', '.join(FORMATS)}")
    return tuple(dict.fromkeys(wanted))


def _width(value: Any) -> float:
    number = WIDTHS.get(value, value) if isinstance(value, str) else value
    if isinstance(number, str):
        raise LthError(
            f"figures.width={value}: {' or '.join(WIDTHS)}, or inches{nearest(value, WIDTHS)}"
        )
    return _between("width", number, SMALLEST, GREATEST, "inches")


def _font(value: Any) -> float:
    return _between("font", value, 3, 40, "points")


def _dpi(value: Any) -> int:
    return int(_between("dpi", value, 20, 1200, "dots per inch"))


def _between(name: str, value: Any, low: float, high: float, unit: str) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not low <= value <= high:
        raise LthError(f"figures.{name}={value!r}: {unit}, from {low:g} to {high:g}")
    return float(value)


def _title(value: Any) -> bool:
    if not isinstance(value, bool):
        raise LthError(f"figures.title={value!r}: true or false: whether they say what they show")
    return value


def _style(value: Any) -> str:
    if value in STYLES:
        return value
    if isinstance(value, str) and value.endswith(".mplstyle") and Path(value).is_file():
        return value
    from lth.results.figures.style import offered  # what matplotlib has: it is slow to import

    if value not in offered():
        raise LthError(
            f"figures.style={value}: it is {', '.join(STYLES)}, a style of matplotlib, or the path "
            f"of a .mplstyle file{nearest(str(value), [*STYLES, *offered()])}"
        )
    return str(value)


def about(*configs: Mapping[str, Any]) -> str:
    """Say of which model, data and length studies are: ``lenet on mnist, 50,000 steps``.

    What studies have otherwise is left out.
    """
    said = [(_model(c), _named("data", c.get("data")), _steps(c)) for c in configs]
    model, data, steps = (
        own.pop() if len(own := set(column)) == 1 else "" for column in zip(*said, strict=True)
    )
    return ", ".join(filter(None, (" on ".join(filter(None, (model, data))), steps)))


def _model(config: Mapping[str, Any]) -> str:
    task = config.get("task") or {}
    if task.get("module"):
        return _last(task["module"])
    return _named("model", config.get("model"))


def _steps(config: Mapping[str, Any]) -> str:
    steps = (config.get("recipe") or {}).get("steps")
    return f"{steps:,} steps" if isinstance(steps, int) else ""


def _named(group: str, spec: Any) -> str:
    """Return the name of the YAML that a spec is of, else that of its factory and what is other."""
    if not isinstance(spec, Mapping) or not _last(spec):
        return ""
    offered = {name: load(group, name) for name in choices(group)}
    own = {n: p for n, p in offered.items() if p.get("_target_") == spec["_target_"]}
    for name, preset in own.items():
        if not _changed(spec, preset):
            return name
    named = _last(spec)
    changes = _changed(spec, own[named]) if named in own else {}
    told = [f"{k} {_short(v)}" for k, v in changes.items() if not isinstance(v, Mapping)]
    return f"{named} ({', '.join(told[:2])})" if told else named


def _changed(spec: Mapping[str, Any], preset: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a spec says otherwise than a YAML; what that leaves open is no change."""
    ours, theirs = without_root(spec), without_root(preset)
    return {k: v for k, v in ours.items() if theirs.get(k) is not None and theirs[k] != v}


def _last(spec: Any) -> str:
    return str((spec or {}).get("_target_", "")).rpartition(".")[2]


def _short(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
