"""Rewrites: the same network in another form; factories of models around a model.

A rewritten network's model is a nested spec, ``{_target_: the factory, model: the inner spec}``
and further arguments that say what form it has; how values come into that form is the factory's
``carry`` (carry.py).
"""

from lth.networks.rewrites.early import early_exit
from lth.networks.rewrites.exits import with_exits
from lth.networks.rewrites.gates import always, gated
from lth.networks.rewrites.low_rank import low_rank
from lth.networks.rewrites.narrow import narrowed
from lth.networks.rewrites.nesting import at_ticket, nested
from lth.networks.rewrites.quantized_inputs import quantized_inputs
from lth.networks.rewrites.separable import separable
from lth.networks.rewrites.slim import at_width, slimmable

__all__ = [
    "always", "at_ticket", "at_width", "early_exit", "gated", "low_rank", "narrowed", "nested",
    "quantized_inputs", "separable", "slimmable", "with_exits",
]  # fmt: skip
