"""A syntax tree as plain lists: what a function does, apart from how it is written."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Any

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda

IGNORED = ("ctx", "kind", "returns", "annotation", "type_comment", "type_params", "type_ignores")
"""Fields of syntax nodes that change no result, or that only some versions of Python have."""

MESSAGES = re.compile(
    r"print|(warnings\.)?warn|_?log(ger|ging)?\.(debug|info|warn|warning|error|critical)"
)
"""Calls whose text is for a reader, where nothing is done with what they return."""

MUTATORS = (
    "add", "append", "appendleft", "clear", "discard", "extend", "insert", "pop", "popitem",
    "remove", "setdefault", "update",
)  # fmt: skip


def body_of(function: Function) -> Any:
    """Write the function itself: neither its name nor its decorators, which are seen at work."""
    body = function.body if isinstance(function.body, list) else [ast.Return(function.body)]
    return ["function", canonical(function.args), *_statements(body)]


def canonical(node: Any, quiet: bool = False) -> Any:
    """Write a syntax tree as lists and strings; under ``quiet`` without the words of messages."""
    if isinstance(node, list):
        return [canonical(n, quiet) for n in node]
    if isinstance(node, ast.Constant):
        blank = quiet and isinstance(node.value, str)
        return ["constant", "" if blank else [type(node.value).__name__, repr(node.value)]]
    if isinstance(node, ast.JoinedStr):
        return ["text", *_joined(node, quiet)]
    if isinstance(node, ast.AnnAssign):
        value = None if node.value is None else canonical(node.value, quiet)
        return ["Assign", [canonical(node.target, quiet)], value]
    if not isinstance(node, ast.AST):
        return node if node is None or isinstance(node, bool | int | str) else repr(node)
    quiet = quiet or isinstance(node, ast.Raise) or _is_message(node)
    parts: list[Any] = [type(node).__name__]
    for name, value in ast.iter_fields(node):
        if name in IGNORED or (isinstance(node, ast.Assert) and name == "msg"):
            continue
        blocks = name in ("body", "orelse", "finalbody") and isinstance(value, list)
        parts.append(_statements(value, quiet) if blocks else canonical(value, quiet))
    return parts


def _statements(body: list[Any], quiet: bool = False) -> list[Any]:
    """Write statements: docstrings, ``pass`` and the like do nothing."""
    idle = [
        isinstance(s, ast.Pass) or (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))
        for s in body
    ]
    return [canonical(s, quiet) for s, nothing in zip(body, idle, strict=True) if not nothing]


def _joined(node: ast.JoinedStr, quiet: bool) -> Iterator[Any]:
    text = ""
    for part in node.values:
        if isinstance(part, ast.Constant):
            text += "" if quiet else str(part.value)
            continue
        yield from [text] if text else []
        text = ""
        yield canonical(part, quiet)
    yield from [text] if text else []


def _is_message(node: ast.AST) -> bool:
    call = node.value if isinstance(node, ast.Expr) else None
    if not isinstance(call, ast.Call):
        return False
    return MESSAGES.fullmatch(".".join(_chain(call.func)).lower()) is not None


def chains_of(function: ast.AST) -> Iterator[tuple[str, ...]]:
    """Yield the attributes taken of a name, as far as they go: ``("torch", "nn", "Linear")``."""
    inner = {id(n.value) for n in ast.walk(function) if isinstance(n, ast.Attribute)}
    for node in ast.walk(function):
        if isinstance(node, ast.Attribute) and id(node) not in inner and (chain := _chain(node)):
            yield chain


def _chain(node: ast.expr) -> tuple[str, ...]:
    """``a.b.c`` -> ("a", "b", "c"); nothing if it does not start at a name."""
    if isinstance(node, ast.Name):
        return (node.id,)
    inner = _chain(node.value) if isinstance(node, ast.Attribute) else ()
    return (*inner, node.attr) if inner and isinstance(node, ast.Attribute) else ()


def bare_of(function: ast.AST) -> Iterator[str]:
    """Yield the names that are used otherwise than for an attribute of theirs."""
    taken = {id(n.value) for n in ast.walk(function) if isinstance(n, ast.Attribute)}
    for node in ast.walk(function):
        if isinstance(node, ast.Name) and id(node) not in taken:
            yield node.id


def imports_of(function: ast.AST) -> Iterator[tuple[int, str, str, str]]:
    """Yield what is imported inside: (level, module, its part or nothing, the name it gets)."""
    for node in ast.walk(function):
        if isinstance(node, ast.Import):
            yield from ((0, alias.name, "", alias.asname or "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            yield from ((node.level, module, a.name, a.asname or "") for a in node.names)
        elif isinstance(node, ast.Call) and (name := _named_import(node)):
            yield 0, name, "*", ""


def _named_import(call: ast.Call) -> str:
    """Return the module that ``importlib.import_module("name")`` and its like name."""
    if not call.args or not isinstance(call.args[0], ast.Constant):
        return ""
    which = _chain(call.func)[-1:]
    given = call.args[0].value
    return (
        given if which in (("import_module",), ("__import__",)) and isinstance(given, str) else ""
    )


def changed_of(function: ast.AST) -> Iterator[str]:
    """Yield names that the function writes into: they are its memory, not its setting."""
    for node in ast.walk(function):
        if isinstance(node, ast.Global):
            yield from node.names
        elif isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Load):
            yield from [node.value.id] if isinstance(node.value, ast.Name) else []
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr in MUTATORS and isinstance(node.func.value, ast.Name):
                yield node.func.value.id


def brought_by(tree: ast.AST) -> dict[str, tuple[str, str]]:
    """Return the names that a module takes of others: ``{name: (module, its name there)}``."""
    return {
        alias.asname or alias.name: (node.module, alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module and not node.level
        for alias in node.names
    }


def statements_with(tree: ast.Module, name: str) -> Iterator[ast.stmt]:
    """Yield the statements of a module, outside its functions and classes, that use a name."""
    for statement in tree.body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        if any(isinstance(n, ast.Name) and n.id == name for n in ast.walk(statement)):
            yield statement
