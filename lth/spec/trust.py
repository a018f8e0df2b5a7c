"""Trust: which factories a spec may name that was read from a file.

A YAML on one's own command line is code; a file from elsewhere is data. By itself it may name this
package's own factories and the module and optimizer classes of torch, nothing else, nested
arguments included; what more it may name, the user says: ``trust=["mine"]``.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from types import ModuleType
from typing import Any

from lth.errors import LthError
from lth.spec.names import moved

Trust = str | ModuleType | Callable[..., Any] | Iterable[str | ModuleType | Callable[..., Any]]
"""Modules by name, with all that is below them, and factories by name or themselves."""

TORCH = {"torch.nn.": ("Module", "torch.nn.modules."), "torch.optim.": ("Optimizer", "torch.optim")}
"""By the beginning of a name: which classes it may stand for, and where they must be defined."""


class Foreign(dict[str, Any]):
    """A spec of a file that names code which nobody here has vouched for: nothing calls it."""

    refusal: str = "a file names code that is not trusted"


class ForeignName(str):
    """The name of a factory in a ``Foreign`` spec: it stays what it is in a plain copy of that."""

    refusal: str = Foreign.refusal


def allow(value: Any, rooms: Iterable[str], trust: Trust, source: str, mend: str) -> Any:
    """Return plain data of a file; where it names what may not be called, it is ``Foreign``.

    ``rooms`` are the parts of this package whose factories fit there, such as ``models``.
    """
    trusted = names_of(trust)
    refused = [t for t in dict.fromkeys(targets(value)) if not may_call(t, rooms, trusted)]
    if not refused:
        return value
    said = ", ".join(str(t)[:80] for t in refused[:3])
    return _mark(value, f"{source} wants to call {said}, which is not lth's own code; {mend}")


def vouched(value: Any) -> Any:
    """Return a spec, or its name, that may be called; another is refused in its own words."""
    if isinstance(value, Foreign | ForeignName):
        raise LthError(value.refusal)
    return value


def names_of(trust: Trust) -> tuple[str, ...]:
    """Return the dotted names that a user trusts."""
    if isinstance(trust, str | ModuleType) or callable(trust):
        trust = [trust]
    found = []
    for item in trust:
        if isinstance(item, partial):
            item = item.func
        if isinstance(item, str | ModuleType):
            found.append(item if isinstance(item, str) else item.__name__)
        elif hasattr(item, "__qualname__"):
            found.append(f"{item.__module__}.{item.__qualname__}")
        else:
            raise LthError(f"trust={item!r}: name modules or factories, such as trust=['mine']")
    return tuple(found)


def targets(value: Any) -> Iterator[Any]:
    """Yield what every spec inside plain data names."""
    if isinstance(value, Mapping):
        if "_target_" in value:
            target = value["_target_"]
            yield target if isinstance(target, str) else repr(target)
        for inner in value.values():
            yield from targets(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from targets(inner)


def may_call(target: str, rooms: Iterable[str], trusted: Iterable[str] = ()) -> bool:
    """Whether a file may name this factory; nothing but this package and torch is imported."""
    target = moved(target)
    parts = target.split(".")
    if not all(part.isidentifier() for part in parts):
        return False
    room, _, name = target.removeprefix("lth.").rpartition(".")
    if parts[0] == "lth" and room in rooms:
        return _is_factory(f"lth.{room}", name)
    for beginning, (kind, where) in TORCH.items():
        if target.startswith(beginning):
            return _is_class(parts, kind, where) or target in trusted
    return any(_is_below(target, name) for name in trusted)


def _is_factory(room: str, name: str) -> bool:
    """Whether a part of this package offers a factory of that name."""
    module = importlib.import_module(room)
    offered = getattr(module, "__all__", None)
    if offered is not None:
        return name in offered
    found = vars(module).get(name)
    return not name.startswith("_") and getattr(found, "__module__", None) == room


def _is_class(parts: list[str], kind: str, where: str) -> bool:
    """Whether a name leads, through torch's own modules alone, to a class of this kind."""
    package = ".".join(parts[:2])
    found: Any = importlib.import_module(package)
    base = getattr(found, kind)
    for part in parts[2:]:
        if not isinstance(found, ModuleType) or not f"{found.__name__}.".startswith(f"{package}."):
            return False
        found = vars(found).get(part)
    return (
        isinstance(found, type) and issubclass(found, base) and found.__module__.startswith(where)
    )


def _is_below(target: str, name: str) -> bool:
    """Whether a trusted name covers a factory: it is the one, or is defined below that module.

    Defined: ``mine.system``, which ``mine`` has only imported, is not ``mine``'s.
    """
    if target == name:
        return True
    if not target.startswith(f"{name}."):
        return False
    found = _find(target.split("."))
    found = found.func if isinstance(found, partial) else found
    home = getattr(found, "__module__", None)
    return isinstance(home, str) and f"{home}.".startswith(f"{name}.")


def _find(parts: list[str]) -> Any:
    for cut in range(len(parts) - 1, 0, -1):
        module = ".".join(parts[:cut])
        try:
            found: Any = sys.modules.get(module) or importlib.import_module(module)
        except ImportError:
            continue
        for part in parts[cut:]:
            found = getattr(found, part, None)
        return found
    return None


def _mark(value: Any, refusal: str) -> Any:
    if isinstance(value, Mapping):
        found = Foreign({k: _mark(v, refusal) for k, v in value.items()})
        found.refusal = refusal
        if "_target_" in found:
            found["_target_"] = ForeignName(found["_target_"])
            found["_target_"].refusal = refusal
        return found
    return [_mark(v, refusal) for v in value] if isinstance(value, list | tuple) else value
