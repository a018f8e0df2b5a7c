"""A classifier behind layers of a network: its exits.

In training all exits answer, a tuple of logits ``[B, K]``, the network's own outputs last
(``lth.recipe.loss.per_output``); as it is measured the last one does. ``early_exit`` (early.py)
lets an image leave before.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from lth.errors import LthError, nearest
from lth.models.check import wholes
from lth.networks import masks
from lth.networks.drawn import State, draw_state
from lth.networks.net import Net
from lth.networks.rewrites.caught import given_by
from lth.networks.rewrites.cuts import Cuts
from lth.networks.rewrites.heads import Head, Stage
from lth.networks.rewrites.places import places_of
from lth.networks.ticket import layers_of
from lth.spec.argument_types import whole
from lth.spec.build import Spec

LAST = "last"
"""The name of the exit that is the network's own output."""

ATTACHED = ("pool", "hidden")
"""What may be said of one exit's classifier."""


class WithExits(nn.Module):
    """A network, and a classifier behind each of some of its layers, in the order they run."""

    def __init__(
        self, model: nn.Module, heads: Mapping[str, nn.Module], example: Tensor, frozen: bool,
        changed: Collection[str] = (),
    ) -> None:  # fmt: skip
        super().__init__()
        self.after, self.frozen = tuple(heads), frozen
        self.heads = nn.ModuleList(heads.values())
        self.model = model  # registered last: its output layer is the output layer
        self._example, self._cuts = (tuple(example.shape), example.dtype), Cuts()
        self._changed = frozenset(changed)  # in place, by what comes after: read as it is given

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
            features, outputs = given_by(self.model, self.after, inputs, self._changed)
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

    Every one that runs once in a forward pass and gives one tensor, which the classifier reads as
    it was given, whatever changes it in place later; what is named is refused where it is not so.
    Maps ``[C, H, W]`` are averaged to ``pool`` by ``pool`` (None: as they are) and flattened; then
    comes a layer of ``hidden`` ReLUs where that is not None, and a linear one. ``after`` may map a
    name to its own ``{pool, hidden}``. Under ``frozen`` only the classifiers train. BranchyNet
    (Teerapittayanon et al. 2016, arXiv 1709.01686); a probe of every layer where it is frozen
    (Alain & Bengio 2016, arXiv 1610.01644).
    """
    if isinstance(after, str) or (after is not None and not after):
        raise LthError(f"with_exits: after={after!r}: a list of layers, or null for every one")
    example = _example_of(model, input_shape)
    places = places_of(model, after, example)
    of = dict(after) if isinstance(after, Mapping) else {}
    heads = {
        name: Head(given, places.outputs, **_settings(name, of.get(name), pool, hidden))
        for name, given in places.features.items()
    }
    return WithExits(model, heads, example, bool(frozen), places.changed)


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
