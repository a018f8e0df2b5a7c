"""Gates as rewrites: a network's residual blocks gated, or fixed open and closed."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from lth.models import gated as models
from lth.networks.rewrites.shared import by_rebuilding


def gated(
    model: nn.Module,
    by: str = "blocks",
    estimator: str = "straight_through",
    temperature: float = 1.0,
    groups: int = 4,
    bias: float = 2.0,
    blocks: Sequence[str] | None = None,
) -> nn.Module:
    """Gate a network's residual blocks: ``lth.models.gated.gated``; the gates start open."""
    return models.gated(model, by, estimator, temperature, groups, bias, blocks)


def always(model: nn.Module, blocks: Sequence[str]) -> nn.Module:
    """Fix a policy: run these residual blocks and skip the others (``lth.models.gated.always``)."""
    return models.always(model, blocks)


for _factory in (gated, always):
    vars(_factory).update(carry=by_rebuilding(_factory), masked=True)
