"""What a function's code says: a digest of its syntax that only what can change a result moves.

The syntax tree is read from the source that the running code was made of, and only after the two
have been compared, instruction by instruction. Docstrings, comments, layout, annotations and the
words of messages are left out, and so is whatever differs between Python 3.11 and 3.13.
"""

from __future__ import annotations

import ast
import dis
import hashlib
import json
import linecache
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType
from typing import Any

from lth.errors import LthError
from lth.identity.syntax import (
    Function,
    bare_of,
    body_of,
    brought_by,
    canonical,
    chains_of,
    changed_of,
    imports_of,
    statements_with,
)


@dataclass(frozen=True)
class Code:
    """A function's code: the digest of what it does, and the names outside that it uses.

    ``chains`` are the attributes taken of a name, ``("torch", "nn", "Linear")``; a name used
    otherwise is in ``bare`` too. ``imports`` are the modules imported inside, with the name taken
    of each (empty: the module itself). ``changed`` names globals that the function writes to, with
    a digest of how they are defined and the names that go into that; ``brought`` names those that
    its file takes of other modules.
    """

    digest: str
    names: tuple[str, ...]
    chains: tuple[tuple[str, ...], ...] = ()
    bare: frozenset[str] = frozenset()
    imports: tuple[tuple[int, str, str, str], ...] = ()
    changed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    brought: Mapping[str, tuple[str, str]] = field(default_factory=dict)


def read(code: CodeType, scope: Mapping[str, Any]) -> Code:
    """Describe a function's code; ``scope`` is its globals, which tell how it was imported.

    Raises LthError where its file has been edited since it was imported, so that what lies on disk
    is not what runs. Code that has no source is told by its instructions, in this version of Python
    only.
    """
    stamp = _stamp(code.co_filename)
    known = _READ.get(id(code))
    if known is None or known[0] is not code or known[1] != stamp:  # an id may be used again
        known = _READ[id(code)] = code, stamp, _read(code, scope)
    return known[2]


_READ: dict[int, tuple[CodeType, Any, Code]] = {}
"""Code never changes and is kept alive here; its file may change, and is then read again."""


def _stamp(filename: str) -> tuple[int, int] | None:
    try:
        status = os.stat(filename)
    except (OSError, ValueError):
        return None
    return status.st_mtime_ns, status.st_size


def _read(code: CodeType, scope: Mapping[str, Any]) -> Code:
    names = tuple(sorted(_globals_of(code)))
    text = source_of(code.co_filename)
    node = None if text is None else _find(code, text)
    if node is None:
        if text is not None and _is_file(code, scope):
            raise LthError(
                f"{code.co_filename}: it was edited after it was imported: {code.co_qualname} runs "
                "otherwise than it is written there, so its results could be filed under the wrong "
                "code; start again (in a notebook: restart, or importlib.reload its module)"
            )
        marks = [*map(str, sys.version_info[:2]), *map(repr, instructions(code))]
        return Code(_hash(["instructions", marks]), names, bare=frozenset(names))
    chains, imports = tuple(sorted({*chains_of(node)})), tuple(sorted({*imports_of(node)}))
    bare = frozenset(bare_of(node))
    brought = {n: m for n, m in _parsed(text or "")[2].items() if n in names}
    changed = {n: _definition(n, text or "", brought) for n in changed_of(node) if n in names}
    return Code(_hash(body_of(node)), names, chains, bare, imports, changed, brought)


def _definition(name: str, text: str, brought: Mapping[str, tuple[str, str]]) -> tuple[str, ...]:
    """Digest what a module says of a global; what it holds now is a function's memory."""
    module, there = brought.get(name, ("", name))
    file = getattr(sys.modules.get(module), "__file__", None)
    try:
        tree = ast.parse((source_of(file) or "") if file else text)
    except (SyntaxError, ValueError):
        return ("",)
    statements = list(statements_with(tree, there))
    nodes = (n for statement in statements for n in ast.walk(statement))
    used = {n.id for n in nodes if isinstance(n, ast.Name)} - {there}
    return _hash([canonical(s) for s in statements]), *sorted(used)


def source_of(filename: str) -> str | None:
    """Return the text that code of this file name was made of, None if there is none.

    A file is read as it is now, whatever anybody remembers of it; a notebook's cells are in
    ``linecache``.
    """
    try:
        return Path(filename).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return "".join(linecache.getlines(filename)) or None


def _is_file(code: CodeType, scope: Mapping[str, Any]) -> bool:
    """Whether Python itself made the code of the file, and no tool that rewrites it on import."""
    loader = scope.get("__loader__")
    mine = loader is None or type(loader) is SourceFileLoader
    return mine and Path(code.co_filename).is_file()


def _find(code: CodeType, text: str) -> Function | None:
    """Return the function in ``text`` whose instructions are those of the running code."""
    tree, codes, _ = _parsed(text)
    alike = [c for c in codes.get(code.co_qualname, ()) if same(c, code)]
    alike.sort(key=lambda c: abs(c.co_firstlineno - code.co_firstlineno))
    return next((f for c in alike if (f := _node(tree, c)) is not None), None)


@lru_cache(maxsize=512)
def _parsed(
    text: str,
) -> tuple[list[Function], dict[str, list[CodeType]], dict[str, tuple[str, str]]]:
    """Parse and compile a text: its functions, its code by qualified name, what it imports."""
    try:
        tree = ast.parse(text)
        module = compile(text, "<source>", "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        return [], {}, {}
    codes: dict[str, list[CodeType]] = {}
    for inner in inside(module):
        codes.setdefault(inner.co_qualname, []).append(inner)
    functions = [node for node in ast.walk(tree) if isinstance(node, Function)]
    return functions, codes, brought_by(tree)


def _node(functions: list[Function], code: CodeType) -> Function | None:
    """Return the syntax of a code object of the same text: by its line, a lambda by its span."""
    if code.co_name != "<lambda>":
        for f in functions:
            if not isinstance(f, ast.Lambda) and f.name == code.co_name:
                first = min([f.lineno, *(d.lineno for d in f.decorator_list)])
                if first == code.co_firstlineno:
                    return f
        return None
    own = [i.positions for i in dis.get_instructions(code)]
    around = [
        f for f in functions if isinstance(f, ast.Lambda) and f.lineno == code.co_firstlineno
        and all(_spans(f.body, p) for p in own if p is not None and p.end_col_offset)
    ]  # fmt: skip
    return max(around, key=lambda f: f.col_offset, default=None)  # the innermost


def _spans(node: ast.expr, span: dis.Positions) -> bool:
    begin, end = (node.lineno, node.col_offset), (node.end_lineno or 0, node.end_col_offset or 0)
    first, last = (span.lineno, span.col_offset), (span.end_lineno, span.end_col_offset)
    return None not in (*first, *last) and begin <= first and last <= end  # type: ignore[operator]


def same(a: CodeType, b: CodeType) -> bool:
    """Whether two code objects do the same, wherever they stand in their files."""
    shapes = [
        (c.co_name, c.co_argcount, c.co_posonlyargcount, c.co_kwonlyargcount, c.co_varnames,
         c.co_freevars, c.co_cellvars) for c in (a, b)
    ]  # fmt: skip
    return shapes[0] == shapes[1] and instructions(a) == instructions(b)


def instructions(code: CodeType) -> list[tuple[str, Any]]:
    """List what a code object does, in this version of Python; docstrings are not among it."""
    return [
        (i.opname, _operand(i.argval)) for i in dis.get_instructions(code)
        if i.opname not in ("EXTENDED_ARG", "CACHE", "NOP")
    ]  # fmt: skip


def _operand(value: Any) -> Any:
    if isinstance(value, CodeType):
        return instructions(value)
    if isinstance(value, frozenset):
        return sorted(map(repr, value))
    return type(value).__name__, repr(value)


def inside(code: CodeType) -> Iterator[CodeType]:
    """Yield a code object and all that are nested in it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from inside(constant)


def _globals_of(code: CodeType) -> set[str]:
    wanted = ("LOAD_GLOBAL", "LOAD_NAME")
    return {
        str(i.argval) for c in inside(code) for i in dis.get_instructions(c) if i.opname in wanted
    }


def _hash(value: Any) -> str:
    text = json.dumps(value, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
