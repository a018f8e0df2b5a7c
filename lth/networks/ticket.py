"""A ticket: a net, and how it trains next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from torch import nn

from lth.errors import LthError
from lth.files import demand, reading, tensors_digest, write_atomic
from lth.networks import adopt, exact, masks, outward, ticket_check, ticket_file
from lth.networks.drawn import (
    State,
    draw_model,
    draw_state,
    drawable,
    drawing,
    layers_of,
    load_state,
    memory_key,
    network_of,
    passes_of,
    seed_all,
    state_of,
    traced,
)
from lth.networks.layers import Layers, describe
from lth.networks.mask import TicketMask, TicketParams, layers_html
from lth.networks.net import Net, network_for
from lth.spec.build import Spec
from lth.spec.naming import data_only, laid_over, named
from lth.spec.trust import Foreign, Trust, names_of, targets

__all__ = [
    "Net", "State", "Ticket", "draw_model", "draw_state", "drawable", "drawing", "layers_of",
    "load_state", "memory_key", "network_for", "network_of", "passes_of", "seed_all", "state_of",
    "tensors_digest", "traced",
]  # fmt: skip


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Ticket(Net):
    """A net and how it trains next: unpacks as ``mask, params, step = ticket``.

    Training starts from ``start`` at ``step``; ``stretch`` is how many times as long as the recipe
    says it trains; ``changes`` what of the recipe is otherwise (``schedule``, ``optimizer``,
    ``lr``, ``loss``); ``noise`` names the order and augmentation of its batches, the same for all
    members of a trial but where it is not 0. ``dynamics`` (pruning/dynamic.py) changes the mask on
    the way; ``teacher`` is the key of a stored member, whose outputs a loss may use; ``examples``
    says which training examples are seen, and how many labels (lth/data/seen.py). ``searched``
    is False where the mask came without a search. ``sizes`` counts the weights of every layer of
    its model and ``total`` those of the study's dense network; where they are left out they are
    counted when they are asked for.
    """

    step: int = 0
    origin: dict[str, Any] = field(default_factory=dict)
    stretch: float = 1.0
    changes: dict[str, Any] = field(default_factory=dict)
    searched: bool = True
    noise: int = 0
    dynamics: Spec | None = None
    teacher: str | None = None
    examples: dict[str, Any] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    total: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        ticket_check.check(self)
        if not ticket_check.fits(self.sizes, self.mask, self.params):
            object.__setattr__(self, "sizes", {})  # they are another model's

    @property
    def net(self) -> Net:
        """What the ticket is, apart from how it trains next."""
        return Net(**{f.name: getattr(self, f.name) for f in fields(Net)})

    def __iter__(self) -> Iterator[Any]:
        yield from (self.mask, TicketParams(self.start.params), self.step)

    def __eq__(self, other: object) -> bool:
        """Whether every field is the same, tensors to the bit."""
        if not isinstance(other, Ticket):
            return NotImplemented
        ordered = list(self.views) == list(other.views)
        return ordered and all(
            ticket_check.same(getattr(self, n), getattr(other, n)) for n in KINDS
        )

    def __repr__(self) -> str:
        """One line; no model is built for it."""
        name = str(self.model.get("_target_", "?"))
        kept_of = f"{sum(masks.kept(self.mask).values()):,} of {masks.size(self.mask):,} weights"
        density = f"density {self.density:.4g}, " if self.sizes else ""
        return f"Ticket({name}, {density}{kept_of} that can be pruned, step {self.step})"

    def _repr_html_(self) -> str:
        return layers_html(self.mask, repr(self))

    @property
    def weights(self) -> int:
        """Weights kept, those of unprunable layers included."""
        sizes = self._sizes()
        rest = sum(size for name, size in sizes.items() if name not in self.mask)
        return sum(masks.kept(self.mask).values()) + rest

    @property
    def density(self) -> float:
        """Weights kept / weights of the study's dense network, in [0, 1]."""
        return self.weights / (self.total or sum(self._sizes().values()))

    def counted(self, layers: Layers, model: Spec) -> Ticket:
        """Return the ticket with the sizes of its layers, and of the study's dense network.

        ``layers`` are that network's, ``model`` its spec.
        """
        own = layers if self.model == model else layers_of(self.model)
        return replace(self, sizes=dict(own.sizes), total=layers.total)

    def module(self, model: Any = None) -> nn.Module:
        """Return the model with the masked weights; it stays a ticket when trained.

        A plain module of ordinary names: pruned weights stay exactly 0 (or at ``frozen``) whatever
        optimizer trains it, in copies of it, and in its state dicts, whatever was loaded into it.
        (An optimizer that mixes the weights of a layer, as Muon does, moves them after its step;
        they are 0 again in the next forward pass or state dict.) ``model`` names the factory, or is
        a network to take a copy of, where the ticket's own may not be called because a file named
        it. Where there are views the weights are parametrized (``torch.nn.utils.parametrize``).
        """
        return exact.in_state_dicts(super().module(model))

    def save(self, path: str | Path) -> None:
        """Export to one safetensors file: every field, values beneath the mask, masks as bits."""
        if not isinstance(self.model, Foreign):
            object.__setattr__(self, "sizes", self._sizes())
            object.__setattr__(self, "total", self.total or sum(self.sizes.values()))
        values = {name: getattr(self, name) for name in KINDS}
        try:
            content = ticket_file.write(values, KINDS)
        except ValueError as error:
            raise LthError(f"{path}: this ticket cannot be saved: {error}") from None
        write_atomic(Path(path), content)

    def state_dict(self, model: Any = None) -> dict[str, Any]:
        """Return the state dict of a plain network at the ticket's start: 0 where it is pruned.

        ``model`` names the factory where the ticket's own is not trusted. Views are baked in.
        """
        return dict(network_for(self.model, self.baked(), model).state_dict())

    def to_torch_prune(self, module: nn.Module) -> nn.Module:
        """Give a network the ticket's weights and the masks of ``torch.nn.utils.prune``, in place.

        ``weight_orig`` holds the values beneath the mask too; what was pruned in it before must be
        plain again (``prune.remove``). Returned is the module itself.
        """
        return outward.into_torch_prune(self, module)

    def save_openlth(self, folder: str | Path, model: Any = None) -> None:
        """Write a level of OpenLTH's: ``mask.pth``, ``model_ep0_it<step>.pth``, and its report.

        LeNet-300-100, ResNets and VGGs of ``lth.models`` get OpenLTH's names, any other network
        keeps its own. Values beneath the mask are written too: OpenLTH masks what it loads.
        """
        outward.save_openlth(self, Path(folder), model)

    @classmethod
    def load(cls, path: str | Path, model: Any = None, trust: Trust = ()) -> Ticket:
        """Read a ticket that ``save`` wrote; it runs nothing, and a damaged file is refused.

        By itself a file may name the networks of ``lth.models`` and ``torch.nn``. For one of your
        own give its factory as ``model``, or the modules that it may name as ``trust``.
        """
        trust, asked = names_of(trust), None if model is None else named(model)
        with reading(path, "ticket file", "export it again; for other files: Ticket.from_state"):
            values = ticket_file.read(Path(path).read_bytes(), KINDS)
            if asked is not None:
                values["model"] = laid_over(values["model"], asked)
                trust = (*trust, *map(str, targets(asked)))
            values["mask"] = TicketMask(values["mask"])
            found = cls(**data_only(values, PLAIN, trust, str(path)))
            demand(
                found.sizes == values.get("sizes", {}), "its layers have other sizes than it says"
            )
            adds = "model" in found.model  # a rewrite, with gates or exits of its own
            many = bool(found.sizes) and found.density > 1 and not adds
            demand(not many, "it keeps more weights than there are")
            return found

    @classmethod
    def from_state(
        cls, model: Any, state: Any, mask: Any = None, *, step: int = 0,
        origin: Mapping[str, Any] | None = None,
    ) -> Ticket:  # fmt: skip
        """Make a ticket of what others wrote: a state dict, and a mask of 0 and 1 by weight name.

        ``model`` is a factory, a ``functools.partial`` of one, or a spec. ``state`` and ``mask``
        are dicts of tensors or the files that ``torch.save`` wrote (OpenLTH's, say; read with
        ``weights_only``). The ``weight_orig``, ``weight_mask`` of ``torch.nn.utils.prune`` are a
        state and a mask in one; ``mask="zeros"`` takes for pruned what is exactly 0. Names, shapes,
        dtypes and values are checked, all by name.
        """
        spec = named(model)
        network, again = draw_model(spec, 0), draw_model(spec, 1)
        layers = describe(network)
        adopted = adopt.adopt(network, again, layers.shapes, state, mask)
        return cls(
            model=spec,
            mask=TicketMask(adopted.mask),
            params=adopted.params,
            buffers=adopted.buffers,
            step=step,
            origin=dict(origin or {}),
            sizes=layers.sizes,
            total=layers.total,
        )

    def about(self) -> dict[str, Any]:
        """Return what an entry of the store keeps of a ticket beside its mask and its start."""
        plain = ticket_file.plain_fields({n: getattr(self, n) for n in KINDS}, KINDS)
        del plain["model"]
        return plain | {"params": tensors_digest(self.params), "owned": list(self.owned)}

    def _sizes(self) -> dict[str, int]:
        own = {n: m.numel() for n, m in self.mask.items()}
        return self.sizes or {**layers_of(self.model).sizes, **own}


KINDS = {
    f.name: {"Params": "tensors", "Mask": "mask"}.get(str(f.type), "plain") for f in fields(Ticket)
}
"""What each field of a ticket is: ``tensors`` by name, a ``mask``, or ``plain`` data."""

PLAIN = {name: kind == "plain" for name, kind in KINDS.items()}
