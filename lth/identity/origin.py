"""Where a thing of the program comes from: an installed library, or the user's own modules."""

from __future__ import annotations

import functools
import importlib.util
import site
import sys
import sysconfig
from importlib.metadata import distributions
from pathlib import Path
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

import torch

PLUMBING = (
    "lth.errors", "lth.files", "lth.identity", "lth.networks.trace", "lth.records.record",
    "lth.spec", "lth.store.entry", "lth.store.store", "lth.store.study",
)  # fmt: skip
"""Parts of lth that carry numbers and do not make them; known by name, like a library."""


ASIDE = (
    "__module__", "__qualname__", "__name__", "__doc__", "__dict__", "__weakref__", "__file__",
    "__annotations__", "__annotate__", "__annotate_func__", "__annotations_cache__",
    "__conditional_annotations__", "__firstlineno__", "__static_attributes__", "__type_params__",
    "__parameters__", "__orig_bases__", "__abstractmethods__", "_abc_impl", "__match_args__",
    "__dataclass_params__", "__spec__", "__loader__", "__package__", "__builtins__", "__cached__",
    "__path__", "_is_protocol", "_is_runtime_protocol", "__protocol_attrs__",
    "__non_callable_proto_members__", "__callable_proto_members_only__",
    "__slotnames__",  # which Python writes on a class once one of its instances is copied
)  # fmt: skip
"""Attributes that say where a thing stands or how it is typed, not what it does."""

SILENT = (
    "_thread", "_io", "asyncio", "concurrent", "contextvars", "io", "logging", "multiprocessing",
    "rich", "socket", "subprocess", "threading", "tqdm", "wandb", "weakref", "_weakref",
)  # fmt: skip
"""Libraries whose objects hold no numbers, only handles and memory; known by their class."""


def is_library(name: str | None) -> bool:
    """Whether a module is of Python or of an installed package, and so is known by its name.

    ``lth`` is not, wherever it lies: the code that makes numbers counts.
    """
    if not isinstance(name, str):  # numpy's classes in C have something else there
        name = "builtins"
    root = name.partition(".")[0]
    if root == "lth":
        return any(name == p or name.startswith(p + ".") for p in PLUMBING)
    if root == "__main__":  # whatever program this is, its main module is the user's
        return False
    if name.startswith("namedtuple_"):  # where ``NamedTuple`` makes its methods
        return True
    files = [getattr(sys.modules.get(n), "__file__", None) for n in (name, root)]
    file = files[0] or files[1] or (None if root in sys.modules else _file_of(root))
    if file is None:  # compiled into Python, or made by hand, as in a notebook
        return root in sys.builtin_module_names or root in sys.stdlib_module_names
    return _is_installed(str(file))


def of_library(where: tuple[str, str] | None, value: Any) -> bool:
    """Whether a global name still is what was taken of an installed library: a table, say."""
    if where is None or not is_library(where[0]):
        return False
    return getattr(sys.modules.get(where[0]), where[1], None) is value


def _file_of(root: str) -> str | None:
    """Return where a module that is not imported yet would come from."""
    try:
        spec = importlib.util.find_spec(root)
    except (ImportError, ValueError):
        return None
    return None if spec is None or not spec.has_location else spec.origin


@functools.lru_cache(maxsize=4096)
def _is_installed(file: str) -> bool:
    path = Path(file)
    if any(path.is_relative_to(folder) for folder in _installed()):
        return True
    return any(
        path.relative_to(folder).as_posix() in _brought(folder)
        for folder in sys.path if folder and path.is_relative_to(folder)
    )  # fmt: skip


@functools.cache
def _brought(folder: str) -> frozenset[str]:
    """Name the files that ``pip install --target`` put into a folder.

    A source tree's own metadata (``egg-info``) has no list of what was installed.
    """
    return frozenset(
        file.as_posix() for found in distributions(path=[folder])
        if found.read_text("RECORD") for file in found.files or ()
    )  # fmt: skip


@functools.cache
def _installed() -> tuple[str, ...]:
    keys = ("stdlib", "platstdlib", "purelib", "platlib")
    folders = {sysconfig.get_path(k) for k in keys} | {site.getusersitepackages()}
    folders |= {*site.getsitepackages(), str(Path(torch.__file__).parents[1])}
    return (*folders, *(str(Path(p).resolve()) for p in folders))


def home_of(function: FunctionType) -> str:
    """Return the module that a function was written in, which ``functools.wraps`` hides."""
    return str(function.__globals__.get("__name__") or function.__module__)


def is_generated(value: Any) -> bool:
    """Whether ``dataclass`` or ``NamedTuple`` made a method, of what counts anyway."""
    if isinstance(value, staticmethod | classmethod):
        value = value.__func__
    if not isinstance(value, FunctionType):
        return False
    home, code = home_of(value), value.__code__
    inner = getattr(value, "__wrapped__", value)
    return (
        code.co_qualname.startswith("__create_fn__")
        or getattr(inner, "__code__", code).co_qualname.startswith("__create_fn__")
        or home in ("dataclasses", "collections", "typing")
        or home.startswith("namedtuple_")
    )


def name_of(thing: Any) -> str:
    """Return a thing's dotted name, an instance's class's."""
    module = getattr(thing, "__module__", None)
    module = module if isinstance(module, str) else ""
    return f"{module}.{getattr(thing, '__qualname__', type(thing).__qualname__)}"


def bound_to(function: BuiltinFunctionType) -> Any:
    """Return the object that a method written in C is bound to; a module is none."""
    owner = function.__self__
    return None if isinstance(owner, ModuleType) or owner is None else owner


def slots(kind: type) -> list[str]:
    """Name the attributes that a class and its bases keep outside ``__dict__``."""
    names = [_mangled(k, s) for k in kind.__mro__ for s in _as_tuple(vars(k).get("__slots__", ()))]
    return [s for s in names if s not in ("__dict__", "__weakref__")]


def _mangled(kind: type, name: str) -> str:
    private = name.startswith("__") and not name.endswith("__")
    return f"_{kind.__name__.lstrip('_')}{name}" if private else name


def keeps_inside(kind: type) -> bool:
    """Whether instances have more to them than attributes: a value of C's, a way to be pickled."""
    own = kind.__reduce__ is not object.__reduce__ or kind.__reduce_ex__ is not object.__reduce_ex__
    static = (k for k in kind.__mro__ if k is not object and not k.__flags__ & HEAP_TYPE)
    return (
        own or next(static, None) is not None or (is_library(kind.__module__) and not slots(kind))
    )


HEAP_TYPE = 1 << 9
"""CPython's mark of a class that was made by a class statement (Py_TPFLAGS_HEAPTYPE)."""


def sort_key(value: Any) -> tuple[str, str]:
    """Order what is in a set, the same in every process: by kind, then by value or name."""
    plain = value is None or isinstance(value, bool | int | float | complex | str | bytes)
    return type(value).__qualname__, repr(value) if plain else name_of(value)


def _as_tuple(value: Any) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def marks_of(function: FunctionType) -> dict[str, Any]:
    """Return a function's own attributes, but those in which torch.compile keeps its memory.

    Nor the ``carry`` of a rewrite: what values it gives a net is seen in these.
    """
    return {
        n: v for n, v in vars(function).items()
        if n == "__wrapped__" or not n.startswith(("__", "_torchdynamo", "carry"))
    }  # fmt: skip
