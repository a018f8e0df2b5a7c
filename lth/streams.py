"""Seed streams: everything random is a function of names, so nothing needs generator state."""

from __future__ import annotations

import hashlib
import json

import torch

from lth.errors import LthError


def stream_seed(*names: str | int) -> int:
    """Hash the names to a 63-bit seed: ``SHA-256(json(names)) mod 2^63``.

    Torch's CPU generator (MT19937) takes the lower 32 bits of a seed, so of n streams some two draw
    the same numbers with a chance of about ``n^2 / 2^33``; see ``check_trials``.

    >>> stream_seed("init", 0, 1) == stream_seed("init", 0, 1) != stream_seed("init", 0, 2)
    True
    """
    text = json.dumps(names, separators=(",", ":"))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def stream(*names: str | int) -> torch.Generator:
    """Return a fresh CPU generator for the named stream."""
    return torch.Generator().manual_seed(stream_seed(*names))


def check_trials(seed: int, trials: int) -> None:
    """Refuse a seed under which two trials would start from the same weights."""
    seen: dict[int, int] = {}
    for trial in range(trials):
        drawn = stream_seed("init", seed, trial) % 2**32  # what the generator takes of it
        if (other := seen.setdefault(drawn, trial)) != trial:
            raise LthError(
                f"seed={seed}: trials {other} and {trial} would draw the same numbers, as torch's "
                "generator takes 32 bits of a seed: take another seed"
            )
