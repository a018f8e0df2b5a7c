"""Arms that keep the mask and change the weights that it keeps.

The mask-1 actions of Zhou et al. 2019 (arXiv 1905.01067, Section 4) and the noise of Frankle &
Carbin 2019 (arXiv 1803.03635, Appendix F.7). Biases and norms keep the ticket's values, except in
a reinit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from lth.arms.protocol import Arm, around, draw_seed
from lth.errors import LthError
from lth.networks.ticket import Ticket, draw_state
from lth.pruning.needs import takes


def random_reinit(keep_signs: bool = False) -> Arm:
    """Keep the mask, draw new initial weights, train from step 0 with the full schedule.

    Frankle & Carbin 2019, arXiv 1803.03635, Section 2. With ``keep_signs`` every weight gets the
    sign that the ticket's has (Zhou et al. 2019, arXiv 1905.01067: signed reinit).
    """

    def arm(winner: Ticket, generator: torch.Generator) -> Ticket:
        params, buffers = draw_state(winner.model, draw_seed(generator))
        if keep_signs:
            params |= {n: params[n].abs() * _signs(winner.params[n]) for n in winner.mask}
        drawn = replace(winner, params=params, buffers=buffers, step=0, changes={})
        return takes(drawn, "mask", *(["start"] if keep_signs else []))

    return arm


def reshuffle(keep_signs: bool = False) -> Arm:
    """Deal the surviving weights' own values out anew, layer by layer.

    That draws from their empirical distribution. With ``keep_signs`` magnitudes are dealt and every
    place keeps its sign (Zhou et al. 2019: random and signed reshuffle).
    """

    def change(weight: Tensor, mask: Tensor, generator: torch.Generator) -> Tensor:
        kept = weight[mask]
        dealt = kept[torch.randperm(len(kept), generator=generator)]
        return dealt.abs() * _signs(kept) if keep_signs else dealt

    return _changing(change)


def constant(signs: str = "ticket") -> Arm:
    """Set every weight to ``+-std`` of its layer's weights at the start, signs from the ticket.

    ``signs=random`` draws them (Zhou et al. 2019: signed constant and random signed constant);
    ``positive`` has none, so that only the mask tells the units of a layer apart.
    """
    if signs not in ("ticket", "random", "positive"):
        raise LthError(f"signs={signs}: it is one of ticket, random, positive")

    def change(weight: Tensor, mask: Tensor, generator: torch.Generator) -> Tensor:
        kept, size = weight[mask], weight.std(correction=0)
        if signs == "random":
            return size * (torch.randint(2, kept.shape, generator=generator) * 2.0 - 1.0)
        return size * (_signs(kept) if signs == "ticket" else torch.ones_like(kept))

    return _changing(change)


def noise(scale: float = 1.0) -> Arm:
    """Add Gaussian noise: ``w + scale * std(layer) * N(0, 1)``, std over the layer at the start.

    Frankle & Carbin 2019, arXiv 1803.03635, Appendix F.7: scales 0.5 to 3.
    """
    if isinstance(scale, bool) or not 0 <= scale < float("inf"):
        raise LthError(f"scale={scale}: a number of standard deviations, 0 or more")

    def change(weight: Tensor, mask: Tensor, generator: torch.Generator) -> Tensor:
        drawn = torch.randn(int(mask.sum()), generator=generator)
        return weight[mask] + scale * weight.std(correction=0) * drawn

    return _changing(change)


def rescaled(of: Callable[..., Ticket], power: float = 0.5) -> Callable[..., Ticket]:
    """Multiply another arm's weights, layer by layer, by ``(weights / weights kept) ** power``.

    Power 1/2 keeps the variance of what reaches a unit; 1 keeps its mean: the dynamic weight
    rescaling of Zhou et al. 2019 (arXiv 1905.01067, Section 5).
    """
    if not abs(power) < float("inf"):
        raise LthError(f"power={power}: a finite number")

    def rescale(found: Ticket) -> Ticket:
        factors = {n: (m.numel() / max(1, int(m.sum()))) ** power for n, m in found.mask.items()}
        scaled = {n: found.params[n] * factor for n, factor in factors.items()}
        return replace(found, params=found.params | scaled)

    return around(of, rescale)


def _changing(change: Callable[[Tensor, Tensor, torch.Generator], Tensor]) -> Arm:
    """Apply ``(weight, mask, generator) -> kept values`` to every layer."""

    def arm(winner: Ticket, generator: torch.Generator) -> Ticket:
        changed = {}
        for name, mask in winner.mask.items():
            weight = winner.params[name].clone()
            weight[mask] = change(winner.params[name], mask, generator).to(weight.dtype)
            changed[name] = weight
        return replace(winner, params=winner.params | changed)

    return arm


def _signs(weight: Tensor) -> Tensor:
    return torch.where(weight < 0, -1.0, 1.0).to(weight.dtype)
