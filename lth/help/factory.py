"""What a factory says of itself, read from its source: nothing is imported, torch least of all."""

from __future__ import annotations

import ast
import functools
import importlib.util
import inspect
import re
from pathlib import Path
from typing import NamedTuple

from lth.errors import LthError
from lth.spec.names import locate, moved

Definition = ast.FunctionDef | ast.ClassDef


class Factory(NamedTuple):
    """A factory's docstring, its arguments with their defaults, and where it is defined.

    ``behind`` are the docstrings of its module and of what its own refers to: sources stand there.
    """

    doc: str
    arguments: dict[str, str | None]
    place: str
    behind: tuple[str, ...] = ()


class Found(NamedTuple):
    """Where a name is defined."""

    module: str
    path: Path
    tree: ast.Module
    node: Definition


@functools.lru_cache(maxsize=512)
def described(target: str) -> Factory | None:
    """Return what there is to say of a factory; None where nothing of that name is found."""
    module, _, name = moved(target).rpartition(".")
    found = _definition(module, name) if module else None
    if found is None:
        return _imported(target)
    doc = ast.get_docstring(found.node) or ""
    behind = (*_referred(found, doc), ast.get_docstring(found.tree) or "")
    return Factory(doc, _arguments(found.module, found.node), _where(found), behind)


def _imported(target: str) -> Factory | None:
    """Ask the factory itself: one of a library, or a name that is made on the way.

    Not torch, which takes seconds to import and has its own pages.
    """
    if target.startswith("torch."):
        return None
    try:
        factory = locate(target)
        parameters = inspect.signature(factory).parameters.values()
    except (LthError, TypeError, ValueError):
        return None
    arguments = {
        p.name: None if p.default is p.empty else repr(p.default)
        for p in parameters
        if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    }
    return Factory(inspect.getdoc(factory) or "", arguments, "")


def _definition(module: str, name: str, hops: int = 5) -> Found | None:
    """Find where a name is defined, through the modules that only hand it on."""
    path = source_of(module)
    if path is None or hops == 0:
        return None
    tree = _parsed(path)
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
            return Found(module, path, tree, node)
    given = _imports(tree).get(name)
    return _definition(*given, hops - 1) if given else None


@functools.lru_cache(maxsize=256)
def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _imports(tree: ast.Module) -> dict[str, tuple[str, str]]:
    """Return what a module imports by name: from which module, and how it is called there."""
    return {
        alias.asname or alias.name: (node.module, alias.name)
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0
        for alias in node.names
    }


def source_of(module: str) -> Path | None:
    """Return the file of a module, found as a path below its outermost package."""
    root, *rest = module.split(".")
    try:
        spec = importlib.util.find_spec(root)
    except (ImportError, ValueError):
        return None
    if root == "torch" or spec is None or spec.origin is None:
        return None
    origin = Path(spec.origin)
    if not rest:
        return origin if origin.suffix == ".py" else None
    place = origin.parent.joinpath(*rest)
    found = (place.with_suffix(".py"), place / "__init__.py")
    return next((path for path in found if path.is_file()), None)


def _referred(found: Found, doc: str) -> list[str]:
    """Return the docstrings of what a docstring names: ``lth.a.b``, or ``b.c`` of an imported b."""
    imports, docs = _imports(found.tree), list[str]()
    for name in re.findall(r"``([a-z_]\w*(?:\.\w+)+)``", doc):
        first, _, rest = name.partition(".")
        whole = name if first not in imports else ".".join((*imports[first], rest))
        module, _, last = whole.rpartition(".")
        there = _definition(module, last)
        if there is not None:
            docs.append(ast.get_docstring(there.node) or "")
    return docs


def _where(found: Found) -> str:
    package, path = Path(__file__).resolve().parents[1], found.path.resolve()
    inside = path.is_relative_to(package)
    shown = Path("lth") / path.relative_to(package) if inside else found.path
    return f"{shown.as_posix()}:{found.node.lineno}"


def _arguments(module: str, node: Definition) -> dict[str, str | None]:
    """Return arguments by name with the text of their defaults, None where there is none.

    Those of a class are its constructor's, or its fields behind those of the classes it comes from.
    """
    if isinstance(node, ast.FunctionDef):
        return _of_signature(node.args, 0)
    for part in node.body:
        if isinstance(part, ast.FunctionDef) and part.name in ("__init__", "__new__"):
            return _of_signature(part.args, 1)
    found: dict[str, str | None] = {}
    for base in node.bases:
        if isinstance(base, ast.Name) and (above := _definition(module, base.id)) is not None:
            found |= _arguments(above.module, above.node)
    return found | _fields(node)


def _of_signature(given: ast.arguments, skipped: int) -> dict[str, str | None]:
    places = [*given.posonlyargs, *given.args]
    defaults = [*[None] * (len(places) - len(given.defaults)), *given.defaults]
    found = dict(zip((p.arg for p in places), map(_text, defaults), strict=True))
    found = dict(list(found.items())[skipped:])
    names = (a.arg for a in given.kwonlyargs)
    return found | dict(zip(names, map(_text, given.kw_defaults), strict=True))


def _fields(node: ast.ClassDef) -> dict[str, str | None]:
    """Return the fields of a dataclass."""
    return {
        n.target.id: _text(n.value)
        for n in node.body
        if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)
        if not (isinstance(n.annotation, ast.Subscript) and "ClassVar" in ast.unparse(n.annotation))
    }


def _text(node: ast.expr | None) -> str | None:
    return None if node is None else ast.unparse(node)
