"""What a gated network does with its inputs: how many policies, how much runs, for which inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import isnan
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lth.models.gated import Decisions, Gated
from lth.records.intervals import mean
from lth.train.evaluate import EVALUATION_BATCH


class Policies(NamedTuple):
    """What gates decide on a split, in numbers.

    ``policies`` is how many different sets of gates are open; ``usage_mean`` and ``usage_std`` are
    over the inputs, of the share of the gates' multiply-adds that is run; ``usage_difficulty`` is
    the correlation of that share with the inputs' loss under a static network, nan where all run
    the same; ``usage_right`` and ``usage_wrong`` its means over what that network gets right and
    wrong.
    """

    policies: int
    usage_mean: float
    usage_std: float
    usage_difficulty: float
    usage_right: float
    usage_wrong: float

    def measures(self) -> Iterator[tuple[str, float]]:
        """Name every number that there is, as in ``analysis.csv``."""
        named = zip(self._fields, map(float, self), strict=True)
        yield from ((name, value) for name, value in named if not isnan(value))


def said(arm: str, each: Sequence[Mapping[str, float]]) -> str:
    """Say in one line what an arm's networks do, one of each trial; a collapse is said as one."""
    used = f"{arm}: {100 * mean([m['usage_mean'] for m in each]):.1f} % of what is gated runs"
    alive = [m for m in each if m["policies"] > 1]
    if not alive:
        return f"{used}; collapsed: one policy for every input, so that it is a static network"
    used += f"; collapsed in {len(each) - len(alive)} of {len(each)} trials" * (
        len(alive) < len(each)
    )
    values = {n: [m[n] for m in alive if n in m] for n in Policies._fields}
    found = {n: mean(v) if v else float("nan") for n, v in values.items()}
    return (
        f"{used}; {found['policies']:.0f} policies, standard deviation "
        f"{100 * found['usage_std']:.1f} points, correlation with difficulty "
        f"{found['usage_difficulty']:+.2f} ({100 * found['usage_right']:.1f} % for what a static "
        f"network gets right, {100 * found['usage_wrong']:.1f} % for what it gets wrong)"
    )


def policies(
    network: nn.Module, inputs: Tensor, targets: Tensor, static: Callable[[Tensor], Tensor]
) -> Policies:
    """Look at the gates of a network on prepared ``inputs [N, ...]`` and classes ``[N]``.

    ``static`` is a network without gates: how hard an input is, is its loss under that one.
    """
    assert isinstance(network, Gated)
    network.eval()
    with torch.no_grad():
        parts = inputs.split(EVALUATION_BATCH)
        found = [network.decide(part) for part in parts]
        logits = torch.cat([static(part).float() for part in parts])
    opened = torch.cat([f.open for f in found])
    share = _shares(opened, found[0])
    difficulty = F.cross_entropy(logits, targets, reduction="none").double()
    right = logits.argmax(-1) == targets
    return Policies(
        len(torch.unique(opened, dim=0)), float(share.mean()), float(share.std(correction=0)),
        correlation(share, difficulty), _mean(share[right]), _mean(share[~right]),
    )  # fmt: skip


def correlation(a: Tensor, b: Tensor) -> float:
    """Return Pearson's correlation, nan where one of them does not vary.

    >>> correlation(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([2.0, 4.0, 6.0]))
    1.0
    >>> correlation(torch.ones(3), torch.arange(3.0))
    nan
    """
    a, b = a.double() - a.double().mean(), b.double() - b.double().mean()
    scale = float(a.norm() * b.norm())
    return round(float(a @ b) / scale, 12) if scale > 0 else float("nan")


def _shares(opened: Tensor, decisions: Decisions) -> Tensor:
    macs = decisions.macs.to(opened.device).double()
    return (opened.double() @ macs) / macs.sum()


def _mean(values: Tensor) -> float:
    return float(values.mean()) if len(values) else float("nan")
