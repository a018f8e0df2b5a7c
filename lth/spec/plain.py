"""Plain data: what a setting given in Python is in a configuration, or a line on what to give.

A configuration goes through YAML and JSON, to other processes and onto the disk. Numbers of numpy
and of torch are taken as numbers, ranges and arrays of numbers as lists. Among the arguments of a
user's own factory a tuple stays a tuple, written ``{_tuple_: [1, 1]}``, and a class or function is
passed as it is where the factory asks for one, written ``{_target_: its name, _partial_: true}``.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from enum import Enum
from pathlib import PurePath
from typing import Any

from lth.errors import LthError, told
from lth.spec.argument_types import is_whole, kinds_of
from lth.spec.names import locate, name_of
from lth.spec.trust import vouched

Spec = dict[str, Any]
"""A plain mapping with the dotted name of a factory under ``_target_``."""

TUPLE, PARTIAL = "_tuple_", "_partial_"

LARGEST = 1000
"""Numbers of an array that may stand in a configuration; more are data, not settings."""


def target_of(spec: Mapping[str, Any]) -> str:
    """Return the dotted factory name of ``spec``; one that a file brought is refused."""
    vouched(spec)
    if not isinstance(spec, Mapping) or "_target_" not in spec:
        raise LthError(
            f"{short(spec)} is not a spec: it needs a _target_, the dotted name of a factory"
        )
    return str(vouched(spec["_target_"]))


def ours(target: str) -> bool:
    """Whether a factory is this package's own: those take sequences of any kind."""
    return target.startswith("lth.")


def at(values: Any, path: str) -> Any:
    """Return what stands at a dotted place of nested mappings, None where there is nothing.

    >>> at({"a": {"b": 1}}, "a.b"), at({"a": 2}, "a.b")
    (1, None)
    """
    for name in path.split("."):
        values = values.get(name) if isinstance(values, Mapping) else None
    return values


def spec_of(value: Any, where: str = "") -> Spec:
    """Describe a spec, an importable factory, or a ``functools.partial`` of one, as a spec.

    >>> import fractions
    >>> spec_of(functools.partial(fractions.Fraction, numerator=3))
    {'_target_': 'fractions.Fraction', 'numerator': 3}
    """
    if isinstance(value, Mapping):
        target_of(value)
        return plain(value, where)
    if isinstance(value, functools.partial):
        if value.args:
            raise LthError(
                f"{_of(where)}{short(value)}: give the partial's arguments by name, "
                "so they are recorded"
            )
        under = spec_of(value.func, where)
        return {**under, **_arguments(under["_target_"], value.keywords, where)}
    if _callable(value):
        try:
            return {"_target_": name_of(value)}
        except LthError as error:
            raise LthError(f"{_of(where)}{error}") from None
    if value is None or isinstance(value, bool | int | float | str | list | tuple | range):
        raise LthError(
            f"{_of(where)}{short(value)} is neither a spec, a factory, nor a functools.partial of "
            "one: give a function that makes it"
        )
    raise LthError(_no_object(value, where))


def plain(value: Any, where: str = "", target: str = "lth.") -> Any:
    """Return ``value`` in JSON's types only; anything else is refused by name.

    ``target`` is the factory whose argument it is.
    """
    vouched(value)
    if isinstance(value, Enum):
        raise LthError(
            f"{_of(where)}{value} is an Enum's: give its value, {short(value.value)}, and let the "
            "factory make it"
        )
    if value is None or isinstance(value, bool | int | float | str):
        return _scalar(value, where)
    if isinstance(value, Mapping):
        return _mapping(value, where, target)
    if isinstance(value, tuple) and not ours(target) and not target.startswith("torch.optim."):
        if hasattr(value, "_fields"):
            raise LthError(f"{_of(where)}a {_kind(value)} would not stay one: give a plain tuple")
        return {TUPLE: [plain(v, where, target) for v in value]}
    if isinstance(value, list | tuple | range):
        if len(value) > 100 * LARGEST:
            raise LthError(_no_object(value, where, target))
        return [plain(v, where, target) for v in value]
    if isinstance(value, PurePath):
        return _scalar(str(value), where)
    if hasattr(value, "tolist") and hasattr(value, "shape"):
        return _numbers(value, where, target)
    if _callable(value):
        return spec_of(value, where) | ({} if ours(target) else {PARTIAL: True})
    raise LthError(_no_object(value, where, target))


def short(value: Any) -> str:
    """Show a value in a few words: plain ones as they are, of others only what they are.

    >>> short(range(3)), short([True] * 100), short(print)
    ('range(0, 3)', '[True, True, True, True, True, True, True, True, True, T...', 'print')
    """
    if isinstance(value, functools.partial):
        return f"a functools.partial of {short(value.func)}"
    if isinstance(value, Mapping):
        text = ", ".join(f"{short(k)}: {short(v)}" for k, v in [*value.items()][:9])
        text = f"{{{text}}}"
    elif isinstance(value, list | tuple):
        text = ", ".join(short(v) for v in value[:20])
        text = f"[{text}]" if isinstance(value, list) else f"({text})"
    elif isinstance(value, int) and abs(value) > 10**60:
        text = "a huge number"
    elif value is None or isinstance(value, bool | int | float | str | range):
        text = repr(value)
    else:
        text = getattr(value, "__qualname__", f"a {_kind(value)}")
    return text if len(text) <= 60 else f"{text[:57]}..."


def _kind(value: Any) -> str:
    return type(value).__name__


def _of(where: str) -> str:
    return f"{where}: " if where else ""


def _no_object(value: Any, where: str, target: str = "lth.") -> str:
    """Say of an object what to give in its place."""
    shape = getattr(value, "shape", None)
    of = f" of shape {tuple(shape)}" if isinstance(shape, tuple) else ""
    if _kind(value) in ("dtype", "device"):
        text = str(value)[:60]
        return f"{_of(where)}{text} cannot stand in a configuration: give its name as text"
    said = f"{_of(where)}a {_kind(value)} object{of} cannot stand in a configuration: "
    if ours(target):
        return f"{said}give a function that makes it"
    made = f"{type(value).__module__}.{type(value).__qualname__}"  # a function would stay one
    return f"{said}make it inside {target}, or give {{'_target_': '{made}'}}, which makes it"[:400]


def _scalar(value: Any, where: str) -> Any:
    """Return exactly a bool, int, float or str, where the value may be of a class made of one."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise LthError(f"{_of(where)}{value!a} cannot be written as UTF-8") from None
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return value


def _mapping(value: Mapping[Any, Any], where: str, target: str) -> dict[str, Any]:
    if "_target_" in value:
        named = value["_target_"]
        target = name_of(named) if _callable(named) else str(named)
        rest = {k: v for k, v in value.items() if k != "_target_"}
        return {"_target_": target, **_arguments(target, rest, where)}
    return {key_of(k, where, target): plain(v, _inside(where, k), target) for k, v in value.items()}


def key_of(key: Any, where: str = "", target: str = "") -> str:
    """Return a key of a configuration, which is text: JSON has no others.

    Of this package's own factories a whole number is the name of a layer, such as a Sequential's.
    """
    if ours(target) and is_whole(key, 0) and not isinstance(key, Enum):
        return str(int(key))
    if not isinstance(key, str) or isinstance(key, Enum):
        raise LthError(f"{_of(where)}the key {short(key)} must be text")
    return _scalar(key, where)


def _inside(where: str, key: Any) -> str:
    return f"{where}.{key}" if where else str(key)


def _arguments(target: str, given: Mapping[Any, Any], where: str) -> dict[str, Any]:
    """Return a factory's arguments as plain data."""
    arguments = {}
    for key, value in given.items():
        name = key_of(key, where)
        whose = "lth." if _callable(value) and _wants_made(target, name) else target
        arguments[name] = plain(value, _inside(where, name), whose)
    return arguments


def _callable(value: Any) -> bool:
    """Whether a value is a class or a function, and no object of the user's that can be called."""
    return isinstance(value, functools.partial | type) or hasattr(value, "__qualname__")


def _wants_made(target: str, name: str) -> bool:
    """Whether a factory asks, by its annotation, for what a class or function makes.

    An argument that may be anything, or a ``Callable``, gets the class or function itself.
    """
    kinds = kinds_of(locate(target)).get(name, ())
    return bool(kinds) and not any(k in (type, Callable) for k in kinds)


def _numbers(value: Any, where: str, target: str) -> Any:
    """Return numpy's and torch's numbers as numbers, arrays of numbers as lists.

    A tensor, or an array that a factory of the user's is to get, would not stay what it is.
    """
    shape = tuple(value.shape)
    arrays = ours(target) and not hasattr(value, "requires_grad")
    many = math.prod(shape) > LARGEST or (shape != () and not arrays)
    if many:
        raise LthError(_no_object(value, where, target) + (", or .tolist()" if shape else ""))
    try:
        numbers = value.tolist()
    except Exception as error:
        raise LthError(f"{_of(where)}{told(error)}") from error
    if hasattr(numbers, "tolist"):
        raise LthError(_no_object(value, where))  # numpy's longdouble gives itself
    return plain(numbers, where, target)
