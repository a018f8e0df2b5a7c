"""Whether a network calls the layers that another form has put in the place of its own."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from lth.errors import LthError
from lth.networks.cost import uses
from lth.networks.drawn import draw_model
from lth.networks.trace import trace
from lth.spec.build import Spec


def passed_by(form: Spec, layers: Collection[str], input_shape: Sequence[int]) -> list[str]:
    """Return which of the ``layers`` a form has pairs of, that its forward pass uses uncalled.

    A pass that takes a layer's ``weight`` itself (``F.linear(x, self.fc.weight)``) makes it of the
    pair's two every time, and executes no fewer multiply-adds than before.
    """
    network, called = draw_model(form, 0), set[str]()
    modules = dict(network.named_modules())
    for name in layers:
        modules[name].register_forward_hook(lambda *_, name=name: called.add(name))
    trace(network, input_shape, {})
    used = [n for n, times in uses(form["model"], input_shape).items() if times]
    return [
        name for name in layers
        if name not in called and any(n.startswith(f"{name}." if name else "") for n in used)
    ]  # fmt: skip


def check_called(form: Spec, layers: Collection[str], input_shape: Sequence[int]) -> None:
    """Refuse a form that makes pairs of layers which the forward pass does not call."""
    for name in passed_by(form, layers, input_shape):
        raise LthError(
            f"{name}: the forward pass holds its weight by another way than the layer: call the "
            "layer, or leave it out of layers"
        )
