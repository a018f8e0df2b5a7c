"""A forward pass in pieces, so that it can stop behind a layer and be gone on with later.

A module may say itself how it is cut, ``segments() -> {name: function}``: run one after the other,
each on what the one before it gave, they are its forward pass. Any other is traced by ``torch.fx``,
its layers whole, and cut behind those that are named.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils._pytree import tree_leaves, tree_map

from lth.errors import LthError, first_line
from lth.networks.trace import evaluating

Segment = Callable[[Any], Any]
"""From what flows at one cut to ``(what the layer gave, what flows on)``; the last to outputs."""


def own_segments(model: nn.Module) -> Mapping[str, Segment] | None:
    """Return the pieces that a module says it has, by name, None if it says nothing."""
    own = getattr(model, "segments", None)
    found: Any = own() if callable(own) else None
    return found


def grouped(own: Mapping[str, Segment], names: Sequence[str]) -> list[Segment]:
    """Join a module's own segments up to each of the names, and to the end."""
    groups: list[list[Segment]] = [[]]
    for name, part in own.items():
        groups[-1].append(part)
        groups += [[]] if name in names else []

    def run(parts: Sequence[Segment], ends: bool, state: Any) -> Any:
        found = reduce(lambda value, part: part(value), parts, state)
        return found if ends else (found, found)

    return [partial(run, group, n == len(groups) - 1) for n, group in enumerate(groups)]


def take(state: Any, rows: Tensor) -> Any:
    """Return what flows for some of the examples: rows of every tensor."""
    return tree_map(lambda t: t[rows], state)


class Cuts:
    """A memory of where a traced forward pass is cut; a copy of it, or a file, has forgotten."""

    def __init__(self) -> None:
        self._found: list[_Piece] | None = None

    def __reduce__(self) -> Any:
        return Cuts, ()

    def segments(self, model: nn.Module, names: Sequence[str], example: Tensor) -> list[Segment]:
        """Return a forward pass cut behind the layers named, in the order in which they run."""
        own = own_segments(model)
        if own is not None:
            return grouped(own, names)
        if self._found is None:
            with evaluating(model):
                self._found = _traced(model, names)
                _check(self._found, model, names, example)
        return [partial(piece, model) for piece in self._found]


def _traced(model: nn.Module, names: Sequence[str]) -> list[_Piece]:
    try:
        tracer = _Tracer(names)
        nodes = list(tracer.trace(model).nodes)
    except Exception as error:
        raise LthError(
            f"{type(model).__name__}: its forward pass cannot be cut in pieces "
            f"({first_line(error)}): let it offer segments(), or be an nn.Sequential"
        ) from error
    cuts = [tracer.behind[n] for n in names]
    places = [nodes.index(node) + 1 for node in cuts]
    parts = [nodes[a:b] for a, b in zip([0, *places], [*places, len(nodes)], strict=True)]
    found = []
    for n, part in enumerate(parts):
        used = {a for after in parts[n + 1 :] for node in after for a in node.all_input_nodes}
        lives = {node.name for node in (*used, *cuts[n + 1 :]) if node.op != "get_attr"}
        found.append(_Piece(part, lives, cuts[n].name if n < len(cuts) else ""))
    return found


class _Tracer(fx.Tracer):
    """Looks into those modules alone that hold a layer behind which is cut."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self.names, self.behind = set(names), dict[str, fx.Node]()

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether a module stays whole."""
        return not any(n.startswith(f"{module_qualified_name}.") for n in self.names)

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        """Note which value a layer gives that is cut behind."""
        found, path = super().call_module(m, forward, args, kwargs), self.path_of_module(m)
        if path in self.names:
            self.behind[path] = found.node
        return found


@dataclass
class _Piece:
    """Some operations of a traced forward pass, run on a module as it is then.

    ``lives`` are the values that a later piece uses, ``cut`` the one that its layer gives.
    """

    nodes: Sequence[fx.Node]
    lives: set[str]
    cut: str

    def __call__(self, model: nn.Module, state: Any) -> Any:
        values = dict(state) if isinstance(state, dict) else {"": state}
        for node in self.nodes:
            if node.op == "output":
                return _given(node.args[0], model, values)
            if node.op != "get_attr":
                values[node.name] = _done(node, model, values)
        return values[self.cut], {n: v for n, v in values.items() if n in self.lives}


def _done(node: fx.Node, model: nn.Module, values: Mapping[str, Any]) -> Any:
    if node.op == "placeholder":
        return values[""] if node.prev.op == "root" else node.args[0]
    args, kwargs = _given(node.args, model, values), _given(node.kwargs, model, values)
    if node.op == "call_module":
        return model.get_submodule(str(node.target))(*args, **kwargs)
    if node.op == "call_method":
        return getattr(args[0], str(node.target))(*args[1:], **kwargs)
    assert callable(node.target)
    return node.target(*args, **kwargs)


def _given(args: Any, model: nn.Module, values: Mapping[str, Any]) -> Any:
    def value(node: fx.Node) -> Any:
        if node.op == "get_attr":  # as it is now; and it has no row for every example
            return operator.attrgetter(str(node.target))(model)
        return values[node.name]

    return fx.map_arg(args, value)


def _check(
    found: Sequence[_Piece], model: nn.Module, names: Sequence[str], example: Tensor
) -> None:
    """Refuse a cut at which something flows that does not belong to single examples."""
    state: Any = example
    for name, piece in zip(names, found, strict=False):
        with torch.no_grad():
            _, state = piece(model, state)
        for leaf in tree_leaves(state):
            if not isinstance(leaf, Tensor) or leaf.ndim == 0 or len(leaf) != len(example):
                what = list(leaf.shape) if isinstance(leaf, Tensor) else repr(leaf)
                raise LthError(
                    f"{type(model).__name__}: it cannot be left behind {name}: {what} goes on from "
                    "there, which has no row for every example"
                )
