"""What the views of a network say of its weights as symbols."""

from __future__ import annotations

import torch

from lth.networks.net import Net
from lth.networks.views.see import Views
from lth.types import Symbols


def symbols_of(net: Net) -> dict[str, Symbols]:
    """Return the symbols of every weight whose last view offers them, by name."""
    made = net.built_views()
    found: dict[str, Symbols] = {}
    with torch.no_grad():
        for name, mask in net.mask.items():
            last = [
                n for n, tensors in enumerate(made.tensors[: len(made.views)]) if name in tensors
            ]
            if not last or not hasattr(made.views[last[-1]], "symbols"):
                continue
            at, kept = last[-1], mask.to(net.params[name])
            own = {n.rpartition("/")[2]: t.detach() for n, t in made.own.items()
                   if n.startswith(f"{name}/")}  # fmt: skip
            before = Views(made.views[:at], None, made.tensors[:at])
            weight = before.see(name, net.params[name], kept, own, False)
            given = {n: own[n] for n in made.tensors[at][name]}
            symbols = made.views[at].symbols(name, weight, kept, given)  # type: ignore[attr-defined]
            if symbols is not None:
                found[name] = symbols
    return found
