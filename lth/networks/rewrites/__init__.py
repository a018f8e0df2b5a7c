"""Rewrites of networks: factories of a model from an inner one."""
