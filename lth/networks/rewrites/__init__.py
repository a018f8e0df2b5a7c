"""Rewrites: the same network in another form; factories of models around a model.

A rewritten network's model is a nested spec, ``{_target_: the factory, model: the inner spec}``
and further arguments that say what form it has; how values come into that form is the factory's
``carry`` (carry.py).
"""

from lth.networks.rewrites.narrow import narrowed

__all__ = ["narrowed"]
