"""Arms that keep the weights and change which of them are kept."""

from __future__ import annotations

from dataclasses import replace
from math import floor, prod

import torch

from lth.arms.protocol import Arm
from lth.arms.reinit import random_reinit
from lth.errors import LthError
from lth.networks import masks
from lth.networks.ticket import Ticket
from lth.pruning.needs import takes
from lth.pruning.rules import split_like
from lth.types import Mask

COUNTS = ("winner", "global", "uniform", "erk")


def random_mask(reinit: bool = False, counts: str = "winner") -> Arm:
    """Draw a mask at random, as many weights in all as the winner keeps, over the winner's start.

    ``counts`` says how they spread over the layers: ``winner`` as the winner's do (the mask
    shuffled within layers: Frankle et al. 2021, arXiv 2009.08576, Section 5); ``global`` as falls
    out when it is shuffled over all layers; ``uniform`` at one density; ``erk`` by
    Erdos-Renyi-Kernel (Evci et al. 2020, arXiv 1911.11134, Section 3). With ``reinit`` the initial
    weights are drawn anew too (Frankle & Carbin 2019, arXiv 1803.03635, Figure 1).
    """
    if counts not in COUNTS:
        raise LthError(f"counts={counts}: it is one of {', '.join(COUNTS)}")

    def arm(winner: Ticket, generator: torch.Generator) -> Ticket:
        base = random_reinit()(winner, generator) if reinit else winner
        mask = _spread(winner.mask, counts)
        used = ["layers" if counts == "winner" else "total"] + ([] if reinit else ["start"])
        if counts == "global":
            return takes(replace(base, mask=_shuffle_all(mask, generator)), *used)
        drawn = {}
        for name, m in mask.items():
            order = torch.randperm(m.numel(), generator=generator)
            drawn[name] = m.reshape(-1)[order].reshape(m.shape)
        return takes(replace(base, mask=drawn), *used)

    return arm


def erk_densities(mask: Mask) -> dict[str, float]:
    """Return densities ``min(1, e * sum(shape) / prod(shape))``, ``e`` set by the weights kept."""
    raw = {n: sum(m.shape) / prod(m.shape) for n, m in mask.items()}
    total, full = sum(masks.kept(mask).values()), set[str]()
    while True:
        left = total - sum(mask[n].numel() for n in full)
        scale = left / sum(raw[n] * mask[n].numel() for n in mask if n not in full)
        over = {n for n in mask if n not in full and scale * raw[n] > 1}
        if not over:
            return {n: 1.0 if n in full else scale * raw[n] for n in mask}
        full |= over


def _spread(mask: Mask, counts: str) -> Mask:
    """Return a mask with the wanted count in every layer; which weights does not matter yet."""
    if counts in ("winner", "global"):
        return mask
    total = sum(masks.kept(mask).values())
    density = total / sum(m.numel() for m in mask.values())
    shares = dict.fromkeys(mask, density) if counts == "uniform" else erk_densities(mask)
    wanted = _whole_counts({n: shares[n] * mask[n].numel() for n in mask}, total)
    return {n: (torch.arange(m.numel()) < wanted[n]).reshape(m.shape) for n, m in mask.items()}


def _whole_counts(wanted: dict[str, float], total: int) -> dict[str, int]:
    """Round so that the sum is ``total``: the largest remainders are rounded up."""
    found = {n: floor(w) for n, w in wanted.items()}
    order = sorted(wanted, key=lambda n: found[n] - wanted[n])
    for name in order[: total - sum(found.values())]:
        found[name] += 1
    return found


def _shuffle_all(mask: Mask, generator: torch.Generator) -> Mask:
    flat = torch.cat([m.reshape(-1) for m in mask.values()])
    return split_like(flat[torch.randperm(len(flat), generator=generator)], mask)
