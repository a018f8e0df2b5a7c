"""What a function refers to: its globals, what it takes of modules, what it imports inside."""

from __future__ import annotations

import builtins
import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import MISSING
from types import FunctionType, ModuleType
from typing import Any

from lth.identity.origin import ASIDE, home_of, is_library, of_library
from lth.identity.source import Code, read

BY_NAME = ("globals", "eval", "exec")
"""Builtins that reach whatever a module has by its name."""

MEMORIES = (list, dict, set, int, float, str, type(None))
"""Kinds of globals that a function may write to as its memory."""

Token = Callable[[Any], Any]
Named = Callable[[str, Any], Any]


def references(function: FunctionType, token: Token, named: Named) -> list[Any]:
    """Return what stands behind every global name, attribute chain and import inside."""
    code, scope = read(function.__code__, function.__globals__), function.__globals__
    by_name: dict[str, Any] = {}
    for name in code.names:
        if name in ASIDE or (name not in scope and hasattr(builtins, name)):
            continue
        value = scope.get(name, MISSING)
        if of_library(code.brought.get(name), value):
            by_name[name] = ["library", *code.brought[name]]
        elif name in code.changed and isinstance(value, MEMORIES):
            said, *parts = code.changed[name]
            made_of = [[p, token(scope.get(p))] for p in parts if p not in code.changed]
            by_name[name] = ["memory", said, made_of]
        elif isinstance(value, ModuleType) and not is_library(value.__name__):
            by_name |= _taken(value, name, code, name, token, named)
        else:
            by_name[name] = named(f"{home_of(function)}.{name}", value)
    if not {*BY_NAME}.isdisjoint(code.names):
        by_name["by name"] = token({n: v for n, v in scope.items() if n not in ASIDE})
    for level, module, name, bound in code.imports:
        by_name |= _imported(function, (level, module, name, bound), code, token, named)
    return sorted(by_name.items())


def _taken(
    module: ModuleType, name: str, code: Code, bound: str, token: Token, named: Named
) -> dict[str, Any]:
    """Follow ``name.a.b`` into the user's modules; a module used otherwise counts whole."""
    if is_library(module.__name__):
        return {}
    if bound in code.bare:
        return {name: token(module)}
    taken = {}
    for chain in (c for c in code.chains if c[0] == bound):
        value: Any = module
        for depth, part in enumerate(chain[1:], 2):
            owner, value = value, getattr(value, part, MISSING)
            if not isinstance(value, ModuleType):
                taken[".".join(chain[:depth])] = named(f"{owner.__name__}.{part}", value)
                break
        else:
            taken[".".join(chain)] = token(value)
    return taken


def _imported(
    function: FunctionType,
    what: tuple[int, str, str, str],
    code: Code,
    token: Token,
    named: Named,
) -> dict[str, Any]:
    level, module, name, bound = what
    package = function.__globals__.get("__package__") or ""
    try:
        full = importlib.util.resolve_name("." * level + module, package) if level else module
        if is_library(full):
            return {}
        imported: Any = importlib.import_module(full)
        if not name:
            root = imported if bound else importlib.import_module(full.partition(".")[0])
            return _taken(root, full, code, bound or root.__name__, token, named)
        if name != "*" and not hasattr(imported, name):
            imported = importlib.import_module(f"{full}.{name}")
            return _taken(imported, name, code, bound or name, token, named)
    except ImportError:
        return {module: ["missing"]}
    if name == "*":
        return {module: token(imported)}
    value = getattr(imported, name)
    if isinstance(value, ModuleType):
        return _taken(value, name, code, bound or name, token, named)
    return {name: named(f"{full}.{name}", value)}
