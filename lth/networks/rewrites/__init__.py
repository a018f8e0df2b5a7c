"""Rewrites: a network in another form."""

from lth.networks.rewrites.low_rank import low_rank
from lth.networks.rewrites.separable import separable

__all__ = ["low_rank", "separable"]
