"""A spec: the plain, hashable description of an object, ``{_target_: factory, **arguments}``.

Everything that a study is made of is named by a spec, whether it was written in YAML or in Python,
so the command and ``lth.run`` are the same study and every worker process can build its own copy.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib
import inspect
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lth.errors import LthError
from lth.kinds import check_kinds
from lth.trust import vouched

Spec = dict[str, Any]
"""A plain mapping with the dotted name of a factory under ``_target_``."""


def locate(target: str) -> Any:
    """Import the object that the dotted name ``target`` stands for."""
    parts = target.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        name = ".".join(parts[:cut])
        try:
            found: Any = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is not None and (name == error.name or name.startswith(error.name + ".")):
                continue  # a shorter prefix may be the module
            raise LthError(f"{target}: importing {name} needs the missing {error.name}") from error
        for part in parts[cut:]:
            if not hasattr(found, part):
                near = ", ".join(n for n in sorted(vars(found)) if not n.startswith("_"))
                raise LthError(f"_target_ {target}: {name} has no {part!r}; it has {near[:300]}")
            found = getattr(found, part)
        return found
    raise LthError(f"_target_ {target}: no module of that name on the path")


def build(spec: Mapping[str, Any], **extra: Any) -> Any:
    """Call the factory of ``spec`` with its arguments, nested specs first.

    ``extra`` fills parameters that the factory has and the spec leaves out; the rest is dropped.

    >>> build({"_target_": "fractions.Fraction", "numerator": 3}, denominator=4)
    Fraction(3, 4)
    """
    target = target_of(spec)
    factory = locate(target)
    given = {k: _build_nested(v) for k, v in spec.items() if k != "_target_"}
    accepted = inspect.signature(factory).parameters
    arguments = {k: v for k, v in extra.items() if k in accepted} | given
    _check_arguments(target, accepted, arguments)
    try:
        found = factory(**arguments)
    except LthError:
        raise  # the factory's own words say it best
    except Exception as error:
        check_kinds(target, factory, given, error)
        raise
    check_kinds(target, factory, given)
    return found


def target_of(spec: Mapping[str, Any]) -> str:
    """Return the dotted factory name of ``spec``; one that a file brought is refused."""
    vouched(spec)
    if not isinstance(spec, Mapping) or "_target_" not in spec:
        raise LthError(f"{spec!r} is not a spec: it needs a _target_, the dotted name of a factory")
    return str(vouched(spec["_target_"]))


def _build_nested(value: Any) -> Any:
    if isinstance(value, Mapping):
        if "_target_" in value:
            return build(value)
        return {k: _build_nested(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_build_nested(v) for v in value]
    return value


def _check_arguments(target: str, accepted: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    kinds = inspect.Parameter
    if not any(p.kind is kinds.VAR_KEYWORD for p in accepted.values()):
        for name in given:
            if name not in accepted:
                raise LthError(f"{target} takes no {name!r}; it takes {', '.join(accepted)}")
    for name, parameter in accepted.items():
        optional = parameter.kind in (kinds.VAR_KEYWORD, kinds.VAR_POSITIONAL)
        if parameter.default is kinds.empty and not optional and name not in given:
            raise LthError(f"{target} needs {name!r}")


def fill(spec: Mapping[str, Any], **extra: Any) -> Spec:
    """Return ``spec``, completed by those of ``extra`` that its factory takes and it lacks."""
    accepted = inspect.signature(locate(target_of(spec))).parameters
    missing = {k: v for k, v in extra.items() if k in accepted and spec.get(k) is None}
    return {**spec, **missing}


def complete(value: Any) -> Any:
    """Return plain data with the defaults of every spec's factory written out.

    So a factory named in Python and one named in YAML, argument by argument, are one thing. Torch's
    own factories are left alone: their lists of arguments change from version to version.
    """
    if isinstance(value, list):
        return [complete(v) for v in value]
    if not isinstance(value, Mapping):
        return value
    found = {k: complete(v) for k, v in value.items()}
    if "_target_" not in value or str(value["_target_"]).startswith("torch."):
        return found
    parameters = inspect.signature(locate(target_of(value))).parameters.values()
    missing = [p for p in parameters if p.name not in found and p.default is not p.empty]
    return found | {p.name: plain(p.default) for p in missing}


def spec_of(value: Any) -> Spec:
    """Describe a spec, an importable factory, or a ``functools.partial`` of one, as a spec.

    >>> import fractions
    >>> spec_of(functools.partial(fractions.Fraction, numerator=3))
    {'_target_': 'fractions.Fraction', 'numerator': 3}
    """
    if isinstance(value, Mapping):
        target_of(value)
        return plain(value)
    if isinstance(value, functools.partial):
        if value.args:
            raise LthError(f"{value!r}: give the partial's arguments by name, so they are recorded")
        return {**spec_of(value.func), **plain(value.keywords)}
    if callable(value):
        return {"_target_": _dotted(value)}
    raise LthError(f"{value!r} is neither a spec, a factory, nor a functools.partial of one")


def _dotted(factory: Callable[..., Any]) -> str:
    module, name = factory.__module__, factory.__qualname__
    if "<" in name:
        raise LthError(f"{name} cannot be found by name: define it at the top level of a module")
    packages = module.split(".")
    for cut in range(1, len(packages)):  # the shortest name it is known by, as the YAMLs use
        shorter = ".".join(packages[:cut])
        if getattr(sys.modules.get(shorter), name, None) is factory:
            return f"{shorter}.{name}"
    return f"{module}.{name}"


def plain(value: Any) -> Any:
    """Return ``value`` in JSON's types only; anything else is refused by name."""
    vouched(value)
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, functools.partial) or callable(value):
        return spec_of(value)
    raise LthError(f"{value!r} cannot stand in a configuration: use plain values or a spec")


def digest(value: Any) -> str:
    """Hash plain data: SHA-256 of its canonical JSON."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def sources(value: Any) -> dict[str, str]:
    """Digest the source of every module that a ``_target_`` inside ``value`` names.

    Comments and layout do not count. torch's own modules do not either: library versions are
    recorded beside a result, they are not part of what it is.
    """
    found: dict[str, str] = {}
    if isinstance(value, Mapping):
        if "_target_" in value:
            found |= module_source(locate(target_of(value)))
        for nested in value.values():
            found |= sources(nested)
    elif isinstance(value, list | tuple):
        for nested in value:
            found |= sources(nested)
    return found


def module_source(thing: Any) -> dict[str, str]:
    """Digest the source of the module that defines ``thing``, ``{}`` for torch and builtins."""
    name = getattr(thing, "__module__", None) or ""
    if name.split(".")[0] in ("torch", "builtins", ""):
        return {}
    path = getattr(sys.modules.get(name), "__file__", None)
    if path is None:
        return {}
    stat = Path(path).stat()
    return {name: _source_digest(path, stat.st_mtime_ns, stat.st_size)}


@functools.lru_cache(maxsize=256)
def _source_digest(path: str, mtime: int, size: int) -> str:
    try:
        tree = ast.dump(ast.parse(Path(path).read_text(encoding="utf-8")))
    except (SyntaxError, UnicodeDecodeError):
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]
    return hashlib.sha256(tree.encode()).hexdigest()[:16]
