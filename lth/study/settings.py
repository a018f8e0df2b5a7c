"""A study's settings: values checked by name, and the small ones that are made of plain data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any, TypeVar

from lth.config import ACTIONS, GROUPS
from lth.errors import LthError, nearest
from lth.pruning.experiment import Arms
from lth.records.budget import AXES
from lth.results.figure_options import figure_options
from lth.spec.argument_types import is_whole
from lth.spec.build import build
from lth.spec.plain import short
from lth.types import WINNER, PruningChain

T = TypeVar("T")

SETTINGS = ("name", "seed", "trials", "levels", "out", "action", "studies", "reference", "arms",
            "method", "task", "budget", "axis", "budgets", "figures", "fit", "optimize", "plan",
            "clean", "table", *GROUPS)  # fmt: skip

TABLES = ("short", "full")


def check_values(config: Mapping[str, Any]) -> None:
    """Refuse a setting that is unknown or out of its range, by name; nothing is built for it."""
    for key in config:
        if key not in SETTINGS:
            raise LthError(f"{key}: no such setting{nearest(key, SETTINGS)}")
    for name, least in (("seed", 0), ("trials", 1)):
        if not is_whole(config[name], least):
            raise LthError(f"{name}={config[name]!r}: it must be a whole number from {least}")
    if config["action"] not in ACTIONS:
        raise LthError(f"action={config['action']}: it is one of {', '.join(ACTIONS)}")
    if config["action"] not in ("compare", "sweep", "list") and config.get("studies") is not None:
        raise LthError(
            "studies: action=clean takes them as clean.studies=[...]" if config["action"] == "clean"
            else "studies: they are compared, not run: add action=compare"
        )  # fmt: skip
    reference = config.get("reference")
    if reference is not None and (config["action"], type(reference)) != ("compare", str):
        raise LthError(
            f"reference={reference!r}: a study, an arm, or study/arm, for action=compare alone"
        )
    if config.get("table", TABLES[0]) not in TABLES:
        raise LthError(f"table={config['table']}: it is one of {', '.join(TABLES)}")
    _check_budgets(config)
    figure_options(config)
    plan = config.get("plan") or {}
    if not isinstance(plan, Mapping) or not isinstance(plan.get("measure", False), bool):
        raise LthError(f"plan={plan}: {{measure: true}} or {{measure: false}}, for action=plan")
    if config["action"] != "plan" and plan.get("measure"):
        raise LthError("plan.measure: it times a few steps for a plan: add action=plan")
    if config["action"] != "clean" and (config.get("clean") or {}).get("delete"):
        raise LthError("clean.delete: it deletes what action=clean shows: add action=clean")
    if config["action"] != "fit" and any(v is not None for v in (config.get("fit") or {}).values()):
        raise LthError("fit: it chooses a setting for a budget: add action=fit")
    if not isinstance(config["out"], str) or not config["out"]:
        raise LthError(f"out={config['out']!r}: the folder of all outputs, such as out=out")
    name = config["name"]
    if not isinstance(name, str) or not name or set(name) & set("/\\\0") or name.startswith("."):
        raise LthError(f"name={name!r}: a study's name is part of a folder's: letters, digits, - _")


def _check_budgets(config: Mapping[str, Any]) -> None:
    """Refuse what says otherwise than it may what networks are weighed and compared by."""
    wanted, axis, budgets = (config.get(name) for name in ("budget", "axis", "budgets"))
    if wanted not in (None, "auto") and not isinstance(wanted, bool):
        raise LthError(
            f"budget={wanted!r}: whether what networks cost is measured: true, false or auto"
        )
    if axis is None and budgets is None:
        return
    if config["action"] != "compare":
        raise LthError(f"{'axis' if axis else 'budgets'}: for action=compare alone")
    if axis not in AXES:
        raise LthError(f"axis={axis!r}: it is one of {', '.join(AXES)}")
    if budgets is not None and not (
        isinstance(budgets, list) and budgets and all(_is_positive(b) for b in budgets)
    ):
        raise LthError(f"budgets={budgets!r}: a list of numbers above 0: budgets=[27000,44000]")


def _is_positive(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and 0 < value < float("inf")


def levels_of(value: Any) -> tuple[int, ...]:
    """Return the levels at which arms are compared: ``1..N``, or those that a list names."""
    if is_whole(value, 0):
        return tuple(range(1, value + 1))
    if not isinstance(value, list) or not value or not all(is_whole(n, 0) for n in value):
        raise LthError(f"levels={value!r}: a whole number from 0, or a list of them: levels=[7,13]")
    return tuple(sorted({*value} - {0}))


def arms_of(specs: Any) -> Arms:
    """Build the arms, each with its copies per trial."""
    if not isinstance(specs, Mapping) or not specs:
        raise LthError("arms: name at least one, such as arms=[winning_ticket,random_reinit]")
    arms = {}
    for name, spec in specs.items():
        if not isinstance(spec, Mapping):
            raise LthError(f"arms.{name}={short(spec)}: it is no arm and no setting of one")
        copies = spec.get("copies", 1)
        if not is_whole(copies, 1):
            raise LthError(f"arms.{name}.copies={copies!r}: it must be a whole number from 1")
        if name == WINNER and copies != 1:
            raise LthError(f"arms.{name}.copies={copies}: there is one winning ticket per level")
        arms[name] = build({k: v for k, v in spec.items() if k != "copies"}), copies
    return arms


def chains_of(trials: int, rates: Sequence[float]) -> Iterator[PruningChain]:
    """Yield a study's chains: every trial at every learning rate."""
    for trial in range(trials):
        for lr in rates:
            yield PruningChain(trial, float(lr))


def make(kind: type[T], values: Any, where: str) -> T:
    """Call a dataclass with a mapping; a key that it lacks is refused by name."""
    known = [f.name for f in fields(kind)]  # type: ignore[arg-type]
    for key in values:
        if key not in known:
            raise LthError(f"{where}.{key}: no such setting{nearest(key, known)}")
    try:
        return kind(**values)
    except TypeError as error:
        raise LthError(f"{where}: {error}") from None


def looked_at(part: Any, steps: int) -> Sequence[int]:
    """Return the steps at which a search or a move looks at the dense run; most do not."""
    return getattr(part, "needs", lambda _: ())(steps)
