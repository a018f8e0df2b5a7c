"""Neurons and channels: how much each matters, and which go."""

from lth.pruning.units.importance import apoz, magnitude, random, surviving, taylor

__all__ = ["apoz", "magnitude", "random", "surviving", "taylor"]
