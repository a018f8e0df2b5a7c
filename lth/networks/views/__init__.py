"""Views of weights: factories that a ticket's ``views`` name."""

from lth.networks.views.clustering import clustered
from lth.networks.views.rounding import rounded
from lth.networks.views.scale import scaled

__all__ = ["clustered", "rounded", "scaled"]
