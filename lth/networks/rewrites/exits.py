"""A classifier behind layers of a network: its exits.

In training all exits answer, a tuple of logits ``[B, K]``, the network's own outputs last
(``lth.recipe.loss.per_output``); as it is measured the last one does. ``early_exit`` (early.py)
lets an image leave before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from lth.errors import LthError, first_line, nearest
from lth.models.check import wholes
from lth.networks import masks
from lth.networks.drawn import State, draw_state
from lth.networks.net import Net
from lth.networks.rewrites.caught import changed_in_place, given_by
from lth.networks.rewrites.cuts import Cuts, own_segments
from lth.networks.rewrites.heads import Head, Stage
from lth.networks.ticket import layers_of
from lth.networks.trace import evaluating
from lth.spec.argument_types import whole
from lth.spec.build import Spec

LAST = "last"
"""The name of the exit that is the network's own output."""

ATTACHED = ("pool", "hidden")
"""What may be said of one exit's classifier."""


class WithExits(nn.Module):
    """A network, and a classifier behind each of some of its layers, in the order they run."""

    def __init__(
        self, model: nn.Module, heads: Mapping[str, nn.Module], example: Tensor, frozen: bool
    ) -> None:
        super().__init__()
        self.after, self.frozen = tuple(heads), frozen
        self.heads = nn.ModuleList(heads.values())
        self.model = model  # registered last: its output layer is the output layer
        self._example, self._cuts = (tuple(example.shape), example.dtype), Cuts()

    @property
    def exit_names(self) -> tuple[str, ...]:
        """The layers that the exits are behind, and the last."""
        return (*self.after, LAST)

    def train(self, mode: bool = True) -> WithExits:
        """Train or not; a frozen network under its exits never does."""
        super().train(mode)
        if self.frozen:
            self.model.eval()
        return self

    def forward(self, inputs: Tensor) -> Any:
        """Return the logits of all exits in training, else those of the last."""
        if not self.training:
            return self.model(inputs)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            features, outputs = given_by(self.model, self.after, inputs)
        logits = [
            head(features[name][0]) for name, head in zip(self.after, self.heads, strict=True)
        ]
        return (*logits, outputs)

    def stages(self) -> list[Stage]:
        """Return the network from exit to exit."""
        shape, dtype = self._example
        example = torch.zeros(shape, dtype=dtype, device=next(self.parameters()).device)
        *parts, last = self._cuts.segments(self.model, self.after, example)
        going = [*parts[:1], *map(_going_on, parts[1:]), _going_on(last)]
        heads = [*map(_on_features, self.heads), lambda outputs: outputs]
        return [Stage(*pair) for pair in zip(going, heads, strict=True)]


def _going_on(part: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Run a segment on what the one before it left for it, beside what its layer gave."""
    return lambda state: part(state[1])


def _on_features(head: nn.Module) -> Callable[[Any], Tensor]:
    return lambda state: head(state[0])


def with_exits(
    model: nn.Module,
    input_shape: Sequence[int],
    after: Sequence[str] | Mapping[str, Mapping[str, Any] | None] | None = None,
    pool: int | None = 4,
    hidden: int | None = None,
    frozen: bool = False,
) -> WithExits:
    """Attach a classifier behind the layers named in ``after``; None: behind every layer.

    Maps ``[C, H, W]`` are averaged to ``pool`` by ``pool`` (None: as they are) and flattened; then
    comes a layer of ``hidden`` ReLUs where that is not None, and a linear one. ``after`` may map a
    name to its own ``{pool, hidden}``. Under ``frozen`` only the classifiers train. BranchyNet
    (Teerapittayanon et al. 2016, arXiv 1709.01686); a probe of every layer where it is frozen
    (Alain & Bengio 2016, arXiv 1610.01644).
    """
    known = [*(own_segments(model) or dict(model.named_modules()))]
    known = known[:-1] if own_segments(model) else known[1:]
    asked = every_layer(model, known) if after is None else after
    if isinstance(asked, str) or not asked:
        raise LthError(f"with_exits: after={asked!r}: a list of layers, or null for every one")
    for name in asked:
        if name not in known:
            raise LthError(f"with_exits: {name} is no layer of the model{nearest(name, known)}")
    example = _example_of(model, input_shape)
    features, outputs = _tried(model, [n for n in known if n in asked], example)
    of = dict(asked) if isinstance(asked, Mapping) else {}
    heads = {
        name: Head(given, outputs.shape[1], **_settings(name, of.get(name), pool, hidden))
        for name, given in features.items()
    }
    return WithExits(model, heads, example, bool(frozen))


def every_layer(model: nn.Module, known: Sequence[str]) -> list[str]:
    """Return where an exit belongs: behind each layer that has no classifier, before the next.

    A layer is a child that has weights to multiply with; what follows it without any (a norm, an
    activation, a pooling, but no flattening) belongs to it. The last is a classifier, that of the
    one before it.
    """
    if own_segments(model) is not None:
        return list(known)
    found: list[str] = []
    for name, part in _children(model):
        if any(p.ndim > 1 for p in part.parameters()):
            found.append(name)
        elif found and not isinstance(part, nn.Flatten | nn.Dropout):
            found[-1] = name
    if len(found) < 2:
        raise LthError("with_exits: it has no layer before its last: there is nowhere to exit")
    return found[:-2] or found[:1]


def _children(module: nn.Module, path: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Yield the parts of a module in order, those of a Sequential that is one in its place."""
    for name, part in module.named_children():
        inner = f"{path}.{name}" if path else name
        if type(part) is nn.Sequential and len(part):
            yield from _children(part, inner)
        else:
            yield inner, part


def _settings(
    name: str, given: Mapping[str, Any] | None, pool: int | None, hidden: int | None
) -> dict[str, Any]:
    found = {"pool": pool, "hidden": hidden} | dict(given or {})
    if odd := [key for key in found if key not in ATTACHED]:
        raise LthError(f"with_exits: {name}: {odd[0]}{nearest(odd[0], ATTACHED)}")
    for key, value in found.items():
        if value is not None:
            whole(f"with_exits: {key}", value, 1)
    return found


def _example_of(model: nn.Module, input_shape: Sequence[int]) -> Tensor:
    """Return two examples of zeros that a model takes: numbers, or else tokens."""
    shape = wholes("input_shape", input_shape)
    floats = torch.zeros(2, *shape)
    tokens = torch.zeros(2, *shape, dtype=torch.long)
    embeds = next((True for m in model.modules() if isinstance(m, nn.Embedding)), False)
    return tokens if embeds else floats


def _tried(
    model: nn.Module, names: Sequence[str], example: Tensor
) -> tuple[dict[str, Tensor], Tensor]:
    """Run two examples; return what the layers give, in the order they run, and the outputs."""
    try:
        with torch.no_grad(), evaluating(model):
            given, outputs = given_by(model, names, example)
            changed = changed_in_place(model, names, example)
    except Exception as error:
        shape = list(example.shape[1:])
        raise LthError(
            f"with_exits: the model does not take examples of input_shape {shape}: "
            f"{first_line(error)}"
        ) from error
    for name in names:
        if len(each := given.get(name, ())) != 1:
            raise LthError(f"with_exits: {name} runs {len(each)} times in a forward pass, not once")
        if not isinstance(each[0], Tensor) or each[0].ndim < 2:
            kind = type(each[0]).__name__
            raise LthError(f"with_exits: {name} gives a {kind}: a classifier needs [B, ...]")
        if name in changed:
            raise LthError(
                f"with_exits: what {name} gives is changed in place by what follows it: name that "
                "layer in after, or leave what was given as it was (relu for relu_, inplace=False)"
            )
    if not isinstance(outputs, Tensor) or outputs.ndim != 2:
        raise LthError("with_exits: the model's outputs are no logits [B, K]")
    return {name: values[0] for name, values in given.items()}, outputs


def prefixed(net: Net, model: Spec, new: State | None = None) -> Net:
    """Return a net whose model is within another, as its ``model``; ``new`` is what that adds.

    Beneath the mask lies nothing: the dense network's values are another model's.
    """

    def under(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {f"model.{name}": tensor for name, tensor in tensors.items()}

    new = new or State({}, {})
    return replace(
        net, model=model, mask=under(net.mask),
        params=new.params | under(masks.apply(net.params, net.mask)),
        buffers=new.buffers | under(net.buffers),
    )  # fmt: skip


def is_new(name: str) -> bool:
    """Whether a parameter of a network with exits is a classifier's."""
    return name.startswith("heads.")


def carry(net: Net, model: Spec) -> Net:
    """Attach the exits to a net: its values as they are, and classifiers drawn from seed 0."""
    drawn = draw_state(model, 0)
    new = State(*({n: t for n, t in part.items() if is_new(n)} for part in drawn))
    found = prefixed(net, model, new)
    weights = [n for n in layers_of(model).shapes if is_new(n)]
    whole = {n: torch.ones_like(new.params[n], dtype=torch.bool) for n in weights}
    return replace(found, mask=whole | found.mask)


vars(with_exits).update(carry=carry, masked=True)
