"""Kinds: whether a plain value may be what a factory's annotations ask for.

The command reads ``x=no`` as text and ``x=1e3`` as a number with a point; the one must not pass for
true, nor the other for a whole number. Where an annotation does not settle it, anything may pass.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Hashable, Iterable, Mapping
from numbers import Real
from os import PathLike
from pathlib import PurePath
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from lth.errors import LthError, first_line

PLAIN = {bool: "true or false", int: "a whole number", float: "a number", str: "text",
         NoneType: "null"}  # fmt: skip

MAY_BE = {float: (int, float), complex: (int, float)}
"""Kinds that plain values of other types stand for."""

ANYTHING = (Any, object, Annotated, inspect.Parameter.empty)


def is_whole(value: Any, least: int) -> bool:
    """Whether a value is a whole number from ``least``; true and false are none."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def whole(name: str, value: Any, least: int, what: str = "a whole number") -> int:
    """Return a whole number from ``least``; anything else is refused by ``name``."""
    if not is_whole(value, least):
        raise LthError(f"{name}={value!r}: {what} from {least}")
    return value


def number(name: str, value: Any, interval: str, what: str = "a number") -> float:
    """Return a number that lies in ``interval``, written ``(0, 1]``; others are refused by name."""
    low, high = map(float, interval[1:-1].split(","))
    ends = [low] * (interval[0] == "[") + [high] * (interval[-1] == "]")
    real = issubclass(type(value), Real) and not isinstance(value, bool)
    if not real or not (low < value < high or value in ends):
        raise LthError(f"{name}={value!r}: {what}, in {interval}")
    return value


def one_of(name: str, value: Any, known: Iterable[str]) -> str:
    """Return a value that is among the ``known``; another is refused by name."""
    if value not in known:
        raise LthError(f"{name}={value}: it is one of {', '.join(known)}")
    return value


def check_kinds(
    target: str, factory: Any, given: Mapping[str, Any], error: Exception | None = None
) -> None:
    """Refuse a plain value (text, a number, true, null) that the factory's annotations rule out.

    Classes of which there is no telling what a factory makes of a name (a dtype, an Enum) pass;
    after the factory's ``error`` such an argument is named as what may have caused it.
    """
    for name, kinds in kinds_of(factory).items():
        if name not in given or type(value := given[name]) not in PLAIN:
            continue
        if not any(_fits(value, kind, strict=error is not None) for kind in kinds):
            wanted = dict.fromkeys(PLAIN.get(k) or f"a {k.__name__}" for k in kinds)
            quotes = "; put it in quotes" if str in kinds and value is not None else ""
            cause = "" if error is None else f" ({first_line(error)})"
            raise LthError(
                f"{target}: {name}={value!r}: it must be {' or '.join(wanted)}{quotes}{cause}"
            ) from error


def kinds_of(factory: Any) -> dict[str, tuple[type, ...]]:
    """Return the classes that each argument may have; left out is what may be anything."""
    return _kinds(factory) if isinstance(factory, Hashable) else {}


@functools.lru_cache(maxsize=256)
def _kinds(factory: Any) -> dict[str, tuple[type, ...]]:
    try:
        parameters = inspect.signature(factory, eval_str=True).parameters.values()
    except Exception:  # annotations may name what is not there when the program runs
        return {}
    by_name = {}
    for parameter in parameters:
        note = parameter.annotation
        parts = get_args(note) if get_origin(note) in (Union, UnionType) else (note,)
        kinds = [NoneType if part is None else get_origin(part) or part for part in parts]
        if type(parameter.default) in PLAIN:  # ``x: int = None``
            kinds.append(type(parameter.default))
        several = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        if not several and all(isinstance(k, type) and k not in ANYTHING for k in kinds):
            by_name[parameter.name] = tuple(kinds)
    return by_name


def _fits(value: Any, kind: type, strict: bool) -> bool:
    if kind in PLAIN or kind in MAY_BE:
        return type(value) in MAY_BE.get(kind, (kind,))
    protocol = getattr(kind, "_is_protocol", False)
    if kind is Callable or (protocol and "__call__" in vars(kind)):
        return False  # nothing plain can be called
    if kind.__module__ in ("builtins", "collections.abc"):
        return isinstance(value, kind)
    return not strict or _stands_for(value, kind, protocol)


def _stands_for(value: Any, kind: type, protocol: bool) -> bool:
    if kind is PathLike or issubclass(kind, PurePath):
        return isinstance(value, str)
    return not protocol and isinstance(value, kind)
