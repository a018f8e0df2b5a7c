"""What a file names as a ticket's model and parts, and what a user names in its place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from lth.errors import LthError
from lth.spec.build import Spec, spec_of
from lth.spec.trust import Trust, allow

ROOMS = {
    "model": ("models", "networks.rewrites"), "dynamics": ("pruning.dynamic",),
    "gate": ("networks.gates",),
    "views": ("networks.gates", "networks.views"),
    "changes": ("recipe.schedule", "recipe.loss"),
}  # fmt: skip
"""Parts of lth whose factories a file may name in a ticket's field; in others none."""

MEND = (
    "name its factory, as in Ticket.load(path, model=mine.net) or ticket.module(model=mine.net), "
    "or what you trust: Ticket.load(path, trust=['mine'])"
)


def data_only(
    values: Mapping[str, Any],
    plain: Mapping[str, bool],
    trust: Trust,
    source: str,
    mend: str = MEND,
) -> dict[str, Any]:
    """Return the fields of a ticket that a file gave; what they may not call is ``Foreign``."""
    return {
        name: allow(value, ROOMS.get(name, ()), trust, f"{source}: its {name}", mend)
        if plain[name]
        else value
        for name, value in values.items()
    }


def named(model: Any) -> Spec:
    """Return the spec of what a user names as a model; a network itself has none."""
    if isinstance(model, nn.Module):
        kind = type(model).__name__
        raise LthError(
            f"model: a {kind} itself does not say how it is made; give its factory, such as "
            f"functools.partial({kind}, ...) with arguments by name"
        )
    return spec_of(model)


def laid_over(spec: Spec, name: Spec) -> Spec:
    """Return the spec that a user names, with a file's arguments where it has none."""
    return {**{k: v for k, v in spec.items() if k not in name}, **name}
