"""Names: the dotted name of a function or class, and what such a name stands for."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable
from typing import Any

from lth.errors import LthError, told

MOVED = {
    "score": "pruning.score", "prune": "pruning.rules", "search": "pruning.search",
    "rewind": "pruning.rewind", "transfer": "pruning.transfer", "from_file": "pruning.from_file",
    "dynamic": "pruning.dynamic", "gates": "networks.gates", "loss": "recipe.loss",
    "schedule": "recipe.schedule",
}  # fmt: skip
"""Where factories are that files written by version 0.1.0 name elsewhere in ``lth``."""


def moved(target: str) -> str:
    """Return the present name of a factory of lth that a file may call by an earlier one.

    >>> moved("lth.score.magnitude")
    'lth.pruning.score.magnitude'
    """
    root, _, rest = target.partition(".")
    part, _, name = rest.partition(".")
    return f"lth.{MOVED[part]}.{name}" if root == "lth" and part in MOVED and name else target


def locate(target: str) -> Any:
    """Import the object that the dotted name ``target`` stands for."""
    target = moved(target)
    parts = target.split(".")
    if not all(part.isidentifier() for part in parts):
        raise LthError(f"_target_ {target}: no module of that name on the path")
    for cut in range(len(parts) - 1, 0, -1):
        name = ".".join(parts[:cut])
        try:
            found: Any = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is not None and (name == error.name or name.startswith(error.name + ".")):
                continue  # a shorter prefix may be the module
            raise LthError(f"{target}: importing {name} needs the missing {error.name}") from error
        except Exception as error:
            raise LthError(f"{target}: importing {name} fails: {told(error)}") from error
        for part in parts[cut:]:
            if not hasattr(found, part):
                near = ", ".join(n for n in sorted(dir(found)) if not n.startswith("_"))
                raise LthError(f"_target_ {target}: {name} has no {part!r}; it has {near[:300]}")
            found = getattr(found, part)
        return found
    raise LthError(f"_target_ {target}: no module of that name on the path")


def name_of(factory: Callable[..., Any]) -> str:
    """Return the dotted name of a function or class; what has none, or another's, is refused."""
    module, name = getattr(factory, "__module__", None), factory.__qualname__
    if not module or "<" in name:
        raise LthError(f"{name} cannot be found by name: define it at the top level of a module")
    packages = module.split(".")
    for cut in range(1, len(packages)):  # the shortest name it is known by, as the YAMLs use
        shorter = ".".join(packages[:cut])
        if getattr(sys.modules.get(shorter), name, None) is factory:
            return f"{shorter}.{name}"
    dotted = f"{module}.{name}"
    try:
        same = locate(dotted) == factory
    except LthError:
        same = False
    if not same:
        bound = ", which is bound to an object" if inspect.ismethod(factory) else ""
        raise LthError(
            f"{dotted} is not the name of what was given{bound}: define a function for it at the "
            "top level of a module"
        )
    return dotted
