"""Where the exits of a network belong, and what its layers give there."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lth.errors import LthError, first_line, nearest
from lth.networks.rewrites.caught import changed_in_place, given_by
from lth.networks.rewrites.cuts import own_segments
from lth.networks.trace import evaluating


class Places(NamedTuple):
    """What layers give, in the order they run, what the network does; ``changed``: in place later.

    What is changed later has to be taken as it is given.
    """

    features: dict[str, Tensor]
    outputs: Tensor
    changed: frozenset[str] = frozenset()


def places_of(model: nn.Module, asked: Collection[str] | None, example: Tensor) -> Places:
    """Return the places of the exits behind the layers asked for, None: wherever one can be.

    A place runs once in a forward pass and gives one tensor. Of named ones nothing is changed in
    place later: what is read there would not be what the network goes on with.
    """
    own = own_segments(model)
    known = list(own)[:-1] if own else list(dict(model.named_modules()))[1:]
    for name in asked or ():
        if name not in known:
            raise LthError(f"with_exits: {name} is no layer of the model{nearest(name, known)}")
    if asked is not None:
        return _tried(model, [n for n in known if n in asked], example)
    names = known if own else [layer[-1] for layer in every_layer(model)]
    tried = _Tried(model, [n for n in known if n in names], example)
    if any(tried.why_not(name) for name in tried.names):
        tried = _Tried(model, known, example)
        chosen = known if own else _that_can(tried, every_layer(model, opened=True))
        tried.names = [n for n in known if n in chosen and not tried.why_not(n)]
    if not tried.names:
        raise LthError(
            "with_exits: no layer before the last runs once in a forward pass and gives one "
            "tensor [B, ...]: there is nowhere to exit: name a layer in after"
        )
    return tried.places()


def every_layer(model: nn.Module, opened: bool = False) -> list[list[str]]:
    """Return where exits belong: each layer that has no classifier before the next, and its parts.

    A layer is a child that has weights to multiply with; what follows it without any (a norm, an
    activation, a pooling, but no flattening) belongs to it, and the exit behind that. The last is a
    classifier, that of the one before it. ``opened``: lists and dicts of modules, which no forward
    pass runs, are their parts.
    """
    found: list[list[str]] = []
    for name, part in _children(model, opened=opened):
        if any(p.ndim > 1 for p in part.parameters()):
            found.append([name])
        elif found and not isinstance(part, nn.Flatten | nn.Dropout):
            found[-1].append(name)
    if len(found) < 2:
        raise LthError("with_exits: it has no layer before its last: there is nowhere to exit")
    return found[:-2] or found[:1]


def _children(
    module: nn.Module, path: str = "", opened: bool = False
) -> Iterator[tuple[str, nn.Module]]:
    """Yield the parts of a module in order, those of a Sequential that is one in its place."""
    for name, part in module.named_children():
        inner = f"{path}.{name}" if path else name
        holds = type(part) is nn.Sequential
        holds = holds or (opened and isinstance(part, nn.ModuleList | nn.ModuleDict))
        if holds and next(part.children(), None) is not None:
            yield from _children(part, inner, opened)
        else:
            yield inner, part


def _that_can(tried: _Tried, layers: Sequence[Sequence[str]]) -> set[str]:
    """Return the last part of each layer behind which an exit can be."""
    able = ([n for n in layer if not tried.why_not(n)] for layer in layers)
    return {parts[-1] for parts in able if parts}


def _tried(model: nn.Module, names: Sequence[str], example: Tensor) -> Places:
    """Return places that were named; refuse what cannot be one."""
    tried = _Tried(model, names, example)
    for name in names:
        if why := tried.why_not(name):
            raise LthError(f"with_exits: {name} {why}")
        if name in tried.changed:
            raise LthError(
                f"with_exits: what {name} gives is changed in place by what follows it: name that "
                "layer in after, or leave what was given as it was (relu for relu_, inplace=False)"
            )
    return tried.places()


class _Tried:
    """Two examples run through a network: what layers give on the way."""

    def __init__(self, model: nn.Module, names: Sequence[str], example: Tensor) -> None:
        self.names, self.examples = list(names), len(example)
        try:
            with torch.no_grad(), evaluating(model):
                self.given, self.outputs = given_by(model, names, example, names)
                self.changed = changed_in_place(model, names, example)
        except Exception as error:
            shape = list(example.shape[1:])
            raise LthError(
                f"with_exits: the model does not take examples of input_shape {shape}: "
                f"{first_line(error)}"
            ) from error

    def why_not(self, name: str) -> str:
        """Say why no exit can be behind a layer; nothing where one can."""
        each = self.given.get(name, ())
        if len(each) != 1:
            how = f"runs {len(each)} times in a forward pass, not once"
            return f"{how}: name a layer in after that does, or null for all that do"
        if (what := _unlike_features(each[0], self.examples)) is None:
            return ""
        return (
            f"gives {what}: a classifier needs [B, ...]: name another in after, or null for all "
            "that can"
        )

    def places(self) -> Places:
        """Return the places, the network's outputs being logits."""
        if not isinstance(self.outputs, Tensor) or self.outputs.ndim != 2:
            raise LthError("with_exits: the model's outputs are no logits [B, K]")
        features = {name: values[0] for name, values in self.given.items() if name in self.names}
        return Places(features, self.outputs, frozenset(self.changed.intersection(self.names)))


def _unlike_features(given: Any, examples: int) -> str | None:
    """Say what is given in the place of features of so many examples, None: they are."""
    if not isinstance(given, Tensor):
        return f"a {type(given).__name__}"
    return None if given.ndim > 1 and len(given) == examples else str(list(given.shape))
