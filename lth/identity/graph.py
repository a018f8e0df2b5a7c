"""Everything a value can reach that could change a result, as one digest.

The walk is over what is in memory, which is what runs: functions with what they refer to, classes
with attributes and bases, instances with their state. What an installed library has, by its name.
"""

from __future__ import annotations

import builtins
import enum
import functools
import importlib
import importlib.util
import inspect
import types
from collections import deque
from collections.abc import Iterable, Mapping, Set
from dataclasses import MISSING, Field
from hashlib import sha256
from json import dumps
from pathlib import PurePath
from types import BuiltinFunctionType, CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lth.identity.modules import attributes_of, tensor_digest
from lth.identity.origin import (
    SILENT,
    bound_to,
    home_of,
    is_generated,
    is_library,
    marks_of,
    name_of,
    of_library,
    slots,
)
from lth.identity.source import read

ASIDE = (
    "__module__", "__qualname__", "__name__", "__doc__", "__dict__", "__weakref__", "__file__",
    "__annotations__", "__annotate__", "__annotate_func__", "__annotations_cache__",
    "__conditional_annotations__", "__firstlineno__", "__static_attributes__", "__type_params__",
    "__parameters__", "__orig_bases__", "__abstractmethods__", "_abc_impl", "__match_args__",
    "__dataclass_params__", "__spec__", "__loader__", "__package__", "__builtins__", "__cached__",
    "__path__", "_is_protocol", "_is_runtime_protocol", "__protocol_attrs__",
    "__non_callable_proto_members__", "__callable_proto_members_only__",
)  # fmt: skip
"""Attributes that say where a thing stands or how it is typed, not what it does."""

OF_C = (
    types.BuiltinFunctionType, types.ClassMethodDescriptorType, types.GetSetDescriptorType,
    types.MemberDescriptorType, types.MethodDescriptorType, types.MethodWrapperType,
    types.WrapperDescriptorType,
)  # fmt: skip

ATOMS = (type(None), bool, int, float, complex, str, bytes, type(Ellipsis), type(NotImplemented))


class Walk:
    """One walk: ``digest`` says what was reached, ``pieces`` by which names.

    Nodes (functions, classes, instances, modules) are numbered in the order in which they are met,
    so circles end and equal graphs have equal digests; nothing else of where they lie counts.
    """

    def __init__(self, *roots: Any) -> None:
        self.pieces: dict[str, str] = {}
        self._numbers: dict[int, int] = {}
        self._queue: deque[Any] = deque()
        self._alive: list[Any] = []  # an id may be used again only once its object is gone
        self._path: list[int] = []
        found = [[self.token(root) for root in roots]]
        while self._queue:
            found.append(self._describe(self._queue.popleft()))
        self.digest = sha256(dumps(found, separators=(",", ":")).encode()).hexdigest()

    def token(self, value: Any) -> Any:
        """Return what stands for a value in what refers to it: itself if plain, else a number."""
        kind = type(value)
        if kind in ATOMS:
            return [kind.__name__, repr(value)]
        if isinstance(value, Tensor):
            shape = [str(value.dtype), list(value.shape), value.requires_grad]
            return ["tensor", *shape, tensor_digest(value)]
        if isinstance(value, np.ndarray | np.generic) and value.dtype != object:
            array = np.ascontiguousarray(value)
            shape = [str(array.dtype), list(array.shape)]
            return ["array", *shape, sha256(array.tobytes()).hexdigest()]
        if isinstance(value, torch.dtype | torch.layout | torch.memory_format | torch.device):
            return ["torch", repr(value)]
        if isinstance(value, torch.Generator):
            return ["generator", tensor_digest(value.get_state())]
        if isinstance(value, enum.Enum):
            return ["enum", self.token(kind), value.name, self.token(value.value)]
        if isinstance(value, PurePath):
            return ["path", str(value)]
        if kind in (list, tuple, dict, set, frozenset):
            return self._container(value)
        return self._number(value)

    def _container(self, value: Any) -> Any:
        if id(value) in self._path:
            return ["above", len(self._path) - self._path.index(id(value))]
        self._path.append(id(value))
        try:
            if isinstance(value, Mapping):
                return ["dict", [[self.token(k), self.token(v)] for k, v in value.items()]]
            found = [self.token(v) for v in value]
            if isinstance(value, Set):
                found.sort(key=dumps)
            return [type(value).__name__, found]
        finally:
            self._path.pop()

    def _number(self, value: Any) -> Any:
        known = self._numbers.get(id(value))
        if known is None:
            known = self._numbers[id(value)] = len(self._numbers)
            self._alive.append(value)
            self._queue.append(value)
        return ["#", known]

    def _describe(self, value: Any) -> Any:
        if isinstance(value, FunctionType):
            return self._function(value)
        if isinstance(value, MethodType):
            return ["method", self.token(value.__func__), self.token(value.__self__)]
        if isinstance(value, staticmethod | classmethod):
            return [type(value).__name__, self.token(value.__func__)]
        if isinstance(value, property):
            return ["property", *(self.token(f) for f in (value.fget, value.fset, value.fdel))]
        if isinstance(value, functools.partial):
            return ["partial", *map(self.token, (value.func, value.args, value.keywords))]
        if isinstance(value, type):
            return self._class(value)
        if isinstance(value, ModuleType):
            return self._module(value)
        if isinstance(value, BuiltinFunctionType):
            return ["builtin", name_of(value), self.token(bound_to(value))]
        if isinstance(value, CodeType):
            return ["code", read(value, {}).digest]
        if isinstance(value, Field):  # but its type, which is an annotation
            parts = value.name, value.default, value.default_factory, value.init, value.kw_only
            return ["field", *map(self.token, parts)]
        if isinstance(value, torch.jit.ScriptFunction | torch.jit.ScriptModule):
            return ["script", str(value.code)]
        if type(value).__module__ in ("typing", "types"):
            return ["typing"]
        if isinstance(value, torch._ops.OperatorBase):
            return ["library", str(value)]
        if isinstance(value, OF_C):
            return ["routine", name_of(value)]
        return self._instance(value)

    def _function(self, function: FunctionType) -> Any:
        about = [
            self._cells(function), self.token(function.__defaults__),
            self.token(function.__kwdefaults__), self._state(marks_of(function)),
        ]  # fmt: skip
        home = home_of(function)
        if is_library(home):
            return ["library", f"{home}.{function.__code__.co_qualname}", *about]
        code = read(function.__code__, function.__globals__)
        self.pieces[f"{home}.{function.__code__.co_qualname}"] = code.digest
        return ["function", code.digest, *about, self._references(function)]

    def _cells(self, function: FunctionType) -> Any:
        cells: Iterable[CellType] = function.__closure__ or ()
        return [
            [name, self._cell(cell)]
            for name, cell in zip(function.__code__.co_freevars, cells, strict=True)
        ]

    def _cell(self, cell: CellType) -> Any:
        try:
            return self.token(cell.cell_contents)
        except ValueError:  # nothing in it yet
            return ["empty"]

    def _references(self, function: FunctionType) -> Any:
        """Return what stands behind every global name, attribute chain and import inside."""
        code, scope = read(function.__code__, function.__globals__), function.__globals__
        found: dict[str, Any] = {}
        for name in code.names:
            if name in ASIDE or (name not in scope and hasattr(builtins, name)):
                continue
            value = scope.get(name, MISSING)
            if of_library(code.brought.get(name), value):
                found[name] = ["library", *code.brought[name]]
            elif name in code.changed:
                said, *parts = code.changed[name]
                made_of = [[p, self.token(scope.get(p))] for p in parts if p not in code.changed]
                found[name] = ["memory", said, made_of]
            elif isinstance(value, ModuleType) and not is_library(value.__name__):
                found |= self._taken(value, name, code.chains, name in code.bare)
            else:
                found[name] = self._named(f"{home_of(function)}.{name}", value)
        for level, module, name in code.imports:
            found |= self._imported(function, level, module, name, code.chains)
        return sorted(found.items())

    def _taken(
        self, module: ModuleType, name: str, chains: Iterable[tuple[str, ...]], whole: bool
    ) -> dict[str, Any]:
        """Follow ``name.a.b`` into the user's modules; a module used otherwise counts whole."""
        if whole:
            return {name: self.token(module)}
        found = {}
        for chain in (c for c in chains if c[0] == name):
            value: Any = module
            for depth, part in enumerate(chain[1:], 2):
                owner, value = value, getattr(value, part, MISSING)
                if not isinstance(value, ModuleType):
                    label = f"{owner.__name__}.{part}"
                    found[".".join(chain[:depth])] = self._named(label, value)
                    break
        return found

    def _imported(
        self, function: FunctionType, level: int, module: str, name: str, chains: Any
    ) -> dict[str, Any]:
        package = function.__globals__.get("__package__") or ""
        try:
            full = importlib.util.resolve_name("." * level + module, package) if level else module
            if is_library(full):
                return {}
            found: Any = importlib.import_module(full)
        except ImportError:
            return {module: ["missing"]}
        if not name:
            return self._taken(found, module.partition(".")[0], chains, False) or {
                module: self.token(found)
            }
        if name == "*" or not hasattr(found, name):
            return {module: self.token(found)}
        value = getattr(found, name)
        if isinstance(value, ModuleType):
            return self._taken(value, name, chains, False) or {name: self.token(value)}
        return {name: self._named(f"{full}.{name}", value)}

    def _named(self, label: str, value: Any) -> Any:
        if value is MISSING:
            return ["missing"]
        found = self.token(value)
        if found[0] != "#":
            short = repr(value) if type(value) in ATOMS else ""
            text = short if 0 < len(short) <= 60 else sha256(dumps(found).encode()).hexdigest()[:12]
            self.pieces[label] = text
        return found

    def _class(self, kind: type) -> Any:
        if is_library(kind.__module__):
            return ["library", name_of(kind)]
        own = {n: v for n, v in vars(kind).items() if n not in ASIDE and not is_generated(v)}
        if issubclass(kind, enum.Enum):
            members = {n: m.value for n, m in kind.__members__.items()}
            own = members | {n: v for n, v in own.items() if inspect.isroutine(v)}
        label = name_of(kind)
        self.pieces[label] = f"class of {len(own)} attributes"
        bases = [self.token(base) for base in kind.__bases__]
        attributes = [[n, self._named(f"{label}.{n}", own[n])] for n in sorted(own)]
        return ["class", self.token(type(kind)), bases, attributes]

    def _module(self, module: ModuleType) -> Any:
        if is_library(module.__name__):
            return ["library", module.__name__]
        own = {n: v for n, v in vars(module).items() if n not in ASIDE}
        return ["module", [[n, self._named(f"{module.__name__}.{n}", own[n])] for n in sorted(own)]]

    def _instance(self, value: Any) -> Any:
        kind = type(value)
        if (kind.__module__ or "").partition(".")[0] in SILENT:
            return ["silent", name_of(kind)]
        found = ["instance", self.token(kind)]
        if isinstance(value, list | tuple | dict | set | frozenset | deque):
            found.append(self._container(dict(value) if isinstance(value, dict) else list(value)))
        state = dict(getattr(value, "__dict__", {}))
        state |= {s: getattr(value, s) for s in slots(kind) if hasattr(value, s)}
        if state or len(found) > 2 or not is_library(kind.__module__):
            return [*found, self._state(state)]
        return [*found, *self._reduced(value)]

    def _state(self, state: Mapping[str, Any]) -> Any:
        """Write attributes by name."""
        return [[n, self.token(v)] for n, v in attributes_of(state) if n not in ASIDE]

    def _reduced(self, value: Any) -> list[Any]:
        """Ask an object of a library for what pickle would write; handles have nothing to say."""
        try:
            parts = value.__reduce_ex__(2)
        except Exception:
            return []
        if isinstance(parts, str):
            return [parts]
        items = [list(p) if i > 2 and p is not None else p for i, p in enumerate(parts)]
        return [self.token(p) for p in items]
