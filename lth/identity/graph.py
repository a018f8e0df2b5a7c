"""Everything a value can reach that could change a result, as one digest.

The walk is over what is in memory, which is what runs: functions with what they refer to, classes
with attributes and bases, instances with their state. What an installed library has, by its name.
"""

from __future__ import annotations

import enum
import functools
import inspect
import re
import types
from collections import deque, namedtuple
from collections.abc import Iterable, Mapping, Set
from contextvars import ContextVar
from dataclasses import MISSING, Field
from hashlib import sha256
from json import dumps
from pathlib import PurePath
from types import (
    BuiltinFunctionType,
    CellType,
    CodeType,
    FunctionType,
    GenericAlias,
    MappingProxyType,
    MethodType,
    ModuleType,
    UnionType,
)
from typing import Any
from weakref import ref

import numpy as np
import torch
from torch import Tensor, nn

from lth.errors import LthError
from lth.identity.modules import attributes_of, scripted, tensor_digest
from lth.identity.origin import (
    ASIDE,
    SILENT,
    bound_to,
    home_of,
    is_generated,
    is_library,
    keeps_inside,
    marks_of,
    name_of,
    slots,
    sort_key,
)
from lth.identity.references import references
from lth.identity.source import read

TENSORS = (Tensor, nn.Parameter, nn.Buffer)

PARTS = ("fget", "fset", "fdel", "__func__", "func", "args", "keywords", "__dict__")
"""What properties, bound functions and partials hold."""

OF_TUPLES = type(vars(namedtuple("Any", "field"))["field"])
"""What a named tuple has in the place of a property; its name is another in every Python."""

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
        nodes = [[self.token(root) for root in roots]]
        while self._queue:
            nodes.append(self._describe(self._queue.popleft()))
        self.digest = sha256(dumps(nodes, separators=(",", ":")).encode()).hexdigest()

    def token(self, value: Any) -> Any:
        """Return what stands for a value in what refers to it: itself if plain, else a number."""
        kind = type(value)
        if kind in ATOMS:
            return [kind.__name__, repr(value)]
        if isinstance(value, Tensor):
            shape = [str(value.dtype), list(value.shape), value.requires_grad]
            own = [] if kind in TENSORS else [self.token(kind), self._state(vars(value))]
            return ["tensor", *shape, tensor_digest(value), *own]
        if (kind is np.ndarray or isinstance(value, np.generic)) and value.dtype != object:
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
            # a set's own order goes by addresses
            items = sorted(value, key=sort_key) if isinstance(value, Set) else value
            return [type(value).__name__, [self.token(v) for v in items]]
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
        if type(value) in (staticmethod, classmethod):
            return [type(value).__name__, self.token(value.__func__)]
        if type(value) is functools.cached_property:  # Python 3.11 has a lock in it
            own = {n: v for n, v in vars(value).items() if n != "lock"}
            return ["made", self.token(type(value)), self._state(own)]
        if isinstance(value, OF_TUPLES):
            return ["field of a tuple", value.__reduce__()[1][0]]
        if isinstance(value, property | staticmethod | classmethod | functools.partial):
            parts = [getattr(value, n) for n in PARTS if hasattr(value, n)]
            return ["made", self.token(type(value)), *map(self.token, parts)]
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
            return ["field", *map(self.token, (*parts, dict(value.metadata)))]
        if isinstance(value, re.Pattern):
            return ["pattern", self.token(value.pattern), value.flags]
        if isinstance(value, MappingProxyType):
            return self._container(dict(value))
        if isinstance(value, ref):
            return ["reference", self.token(value())]
        if isinstance(value, ContextVar):
            return ["context", value.name, self._now(value)]
        if isinstance(value, torch.jit.ScriptFunction):
            return ["script", scripted(value)]
        if type(value).__module__ == "typing" or isinstance(value, GenericAlias | UnionType):
            return ["typing"]
        if isinstance(value, torch._ops.OperatorBase):
            return ["library", str(value)]
        if isinstance(value, OF_C):
            return ["routine", name_of(value), self.token(getattr(value, "__self__", None))]
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
        return ["function", code.digest, *about, references(function, self.token, self.named)]

    def _cells(self, function: FunctionType) -> Any:
        cells: Iterable[CellType] = function.__closure__ or ()
        return [
            [name, self._cell(cell)]
            for name, cell in zip(function.__code__.co_freevars, cells, strict=True)
        ]

    def _now(self, variable: ContextVar[Any]) -> Any:
        try:
            return self.token(variable.get())
        except LookupError:
            return ["empty"]

    def _cell(self, cell: CellType) -> Any:
        try:
            return self.token(cell.cell_contents)
        except ValueError:  # nothing in it yet
            return ["empty"]

    def named(self, label: str, value: Any) -> Any:
        """Return a value's token, and note it by its name if it is plain."""
        if value is MISSING:
            return ["missing"]
        token = self.token(value)
        if token[0] != "#":
            short = repr(value) if type(value) in ATOMS else ""
            text = short if 0 < len(short) <= 60 else sha256(dumps(token).encode()).hexdigest()[:12]
            self.pieces[label] = text
        return token

    def _class(self, kind: type) -> Any:
        if is_library(kind.__module__):
            return ["library", name_of(kind)]
        own = {n: v for n, v in vars(kind).items() if n not in ASIDE and not is_generated(v)}
        if issubclass(kind, enum.Enum):
            members = {n: m.value for n, m in kind.__members__.items()}
            inside = ("_generate_next_value_", "__new__")  # enum's own
            own = members | {
                n: v for n, v in own.items()
                if n not in (*members, *inside) and (n[0] != "_" or inspect.isroutine(v))
            }  # fmt: skip
        label = name_of(kind)
        self.pieces[label] = f"class of {len(own)} attributes"
        bases = [self.token(base) for base in kind.__bases__]
        attributes = [[n, self.named(f"{label}.{n}", own[n])] for n in sorted(own)]
        return ["class", self.token(type(kind)), bases, attributes]

    def _module(self, module: ModuleType) -> Any:
        if is_library(module.__name__):
            return ["library", module.__name__]
        own = {n: v for n, v in vars(module).items() if n not in ASIDE}
        return ["module", [[n, self.named(f"{module.__name__}.{n}", own[n])] for n in sorted(own)]]

    def _instance(self, value: Any) -> Any:
        kind = type(value)
        if (kind.__module__ or "").partition(".")[0] in SILENT:
            return ["silent", name_of(kind)]
        parts = ["instance", self.token(kind)]
        if isinstance(value, list | tuple | dict | set | frozenset | deque):
            parts.append(self._container(dict(value) if isinstance(value, dict) else list(value)))
        state = dict(getattr(value, "__dict__", {}))
        state |= {s: getattr(value, s) for s in slots(kind) if hasattr(value, s)}
        parts.append(self._state(state))
        return [*parts, *self._reduced(value, bool(state) or len(parts) > 3)]

    def _state(self, state: Mapping[str, Any]) -> Any:
        """Write attributes by name."""
        return [[n, self.token(v)] for n, v in attributes_of(state) if n not in ASIDE]

    def _reduced(self, value: Any, seen: bool) -> list[Any]:
        """Return what pickle would write of an object that has more to it than its attributes.

        One that tells nothing of itself is refused: it could stand for anything.
        """
        kind = type(value)
        if not keeps_inside(kind):
            return []
        try:
            parts = value.__reduce_ex__(2)
        except Exception:
            if seen:
                return []
            raise LthError(
                f"a {name_of(kind)} cannot be told from another by what it shows, so no result can "
                "be filed under it: make it inside the function that uses it"
            ) from None
        if isinstance(parts, str):
            return [parts]
        items = [list(p) if i > 2 and p is not None else p for i, p in enumerate(parts)]
        return [self.token(p) for p in items]
