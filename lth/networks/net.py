"""A net: all that decides a network's outputs, and its size on disk."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from lth.errors import LthError, told
from lth.networks import kept, masks, ticket_check
from lth.networks.drawn import State, load_state, network_of
from lth.networks.gates import as_view
from lth.networks.views.parametrized import see_through
from lth.networks.views.see import Views, views_of
from lth.spec.build import Spec, build
from lth.spec.naming import laid_over, named
from lth.types import Mask, Params


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Net:
    """A model, its params and buffers, and how its weights are seen.

    ``params`` may hold values under pruned weights; ``start`` gives them masked. ``buffers``
    (BatchNorm statistics) are never masked. ``frozen`` holds values for pruned weights that are
    kept, not zeroes; under a ``gate`` (networks/gates.py) a mask within ``mask`` is trained, and no
    weight. ``views`` are specs of what else the forward pass sees of the weights (``View`` in
    lth/types.py), by a name of one's own and in their order: the mask, the gate, these, the frozen
    values. ``owned`` holds values of tensors that they own, as ``fc1.weight/scale``; what it lacks
    is as the view makes it. Such names among params or buffers are taken over.
    """

    model: Spec
    mask: Mask
    params: Params
    buffers: Params
    frozen: Params = field(default_factory=dict)
    gate: Spec | None = None
    views: dict[str, Spec] = field(default_factory=dict)
    owned: Params = field(default_factory=dict)

    def __post_init__(self) -> None:
        ticket_check.check_net(self)
        if self.views or self.gate is not None:
            self._take_over()

    def __repr__(self) -> str:
        """One line; no model is built for it."""
        kept_of = f"{sum(masks.kept(self.mask).values()):,} of {masks.size(self.mask):,} weights"
        return f"Net({self.model.get('_target_', '?')}, {kept_of} that can be pruned)"

    @property
    def start(self) -> State:
        """The state that the net is in: ``mask * params (+ frozen)``, and the buffers.

        What views own lies beside them under its further names.
        """
        plain = self.plain_start
        if not self.views:
            return plain
        made = self.built_views()
        own = {n: t for n, t in made.own.items() if n in made.lasting}
        trained = {n: t.detach() for n, t in own.items() if isinstance(t, nn.Parameter)}
        constant = {n: t for n, t in own.items() if n not in trained}
        return State(plain.params | trained, plain.buffers | constant)

    @property
    def plain_start(self) -> State:
        """The state without what views own: ``mask * params (+ frozen)``, and the buffers."""
        return State(masks.apply(self.params, self.mask, self.frozen), self.buffers)

    def built_views(self) -> Views:
        """Build the views of the weights, and what they own."""
        if not (self.views or self.gate or self.frozen):
            return Views()
        gate = [] if self.gate is None else [self.gate]
        made = [as_view(build(spec)) for spec in (*gate, *self.views.values())]
        return views_of(made, self.params, self.mask, self.frozen, self.owned)

    def baked(self) -> State:
        """Return the state of a plain network that computes the same, its views in its weights."""
        made, plain = self.built_views(), self.plain_start
        return State(made.baked(plain.params, self.mask, {}), plain.buffers) if made else plain

    def module(self, model: Any = None) -> nn.Module:
        """Return the model with the masked weights; it stays a ticket when trained.

        A plain module of ordinary names: pruned weights stay exactly 0 (or at ``frozen``) whatever
        optimizer trains it, and in copies of it. ``model`` names the factory, or is a network to
        take a copy of, where the net's own may not be called because a file named it. Where there
        are views the weights are parametrized (``torch.nn.utils.parametrize``), and trained so.
        """
        network, made = self._network(model, self.plain_start), self.built_views()
        if not made.views:
            return kept.keep_masked(network, self.mask, self.frozen)
        see_through(network, self.mask, made)
        return network

    def pruned(self, model: Any = None) -> nn.Module:
        """Return the model with the masks of ``torch.nn.utils.prune`` in place.

        ``weight_orig`` holds the values beneath the mask too; ``prune.remove`` makes it plain.
        """
        kept.check_prunable(self.frozen, bool(self.views or self.gate))
        state = State(self.params, self.buffers)
        return kept.prune_in_place(self._network(model, state), self.mask)

    def _take_over(self) -> None:
        """Move what views own from params and buffers, where a stored state has it."""
        own = {
            n: t
            for n, t in (self.params | self.buffers).items()
            if n.rpartition("/")[0] in self.mask
        }
        for kind in ("params", "buffers") if own else ():
            rest = {n: t for n, t in getattr(self, kind).items() if n not in own}
            object.__setattr__(self, kind, rest)
        object.__setattr__(self, "owned", own | self.owned)

    def _network(self, model: Any, state: State) -> nn.Module:
        return network_for(self.model, state, model)


def copied(model: nn.Module) -> nn.Module:
    """Copy a module; tensors that its forward pass has left in attributes leave their graph.

    The hooks of ``torch.nn.utils.weight_norm`` and ``spectral_norm`` keep the weight they made, a
    module may keep its losses: none is a leaf, and ``deepcopy`` takes leaves alone.
    """
    kept = (t for m in model.modules() for t in _tensors(vars(m)))
    memo: dict[int, Any] = {id(t): t.detach().clone() for t in kept if not t.is_leaf}
    try:
        return copy.deepcopy(model, memo)
    except Exception as error:
        raise LthError(
            f"{type(model).__name__} cannot be copied: {told(error)}; name its factory instead, "
            "model=mine.net"
        ) from error


def _tensors(value: Any) -> Iterator[Tensor]:
    """Yield the tensors in nested lists and dicts."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping | list | tuple):
        for part in value.values() if isinstance(value, Mapping) else value:
            yield from _tensors(part)


def network_for(
    spec: Spec, state: State, model: Any = None, trials: int | None = None
) -> nn.Module:
    """Return a model in a state, ``model`` named by the user in the place of a file's ``spec``.

    Of what a file names by itself no more is made than the state that came with it fills, and it is
    run no longer than ``trials``.
    """
    if isinstance(model, nn.Module):
        network = copied(model)
        load_state(network, state)
        return network
    spec = spec if model is None else laid_over(spec, named(model))
    ticket_check.outline(spec, state, trials if model is None else None)
    return network_of(spec, state)
