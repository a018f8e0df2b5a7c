"""Computation by resource: what every exit answers and takes, and the thresholds that fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from lth.errors import LthError
from lth.networks.net import Net
from lth.networks.rewrites.carry import carried
from lth.networks.rewrites.early import CONFIDENCES, NEVER, early_exit, names_of, stages_of
from lth.networks.trace import evaluating, plainly
from lth.recipe.evaluation import EVALUATION_BATCH
from lth.spec.argument_types import number, one_of
from lth.spec.build import Spec

GRID = 40
"""How many quantiles of an exit's confidence are tried as its threshold."""


class Spent(NamedTuple):
    """What thresholds come to: the share of right answers, and multiply-adds, mean per image."""

    accuracy: float
    macs: float


@dataclass(frozen=True)
class Exits:
    """A network of several exits, seen on N labelled images: E exits, the last is the network's.

    ``confidence`` float ``[E, N]``; ``right`` bool ``[E, N]``; ``advance`` and ``classify`` are
    multiply-adds of one image from one exit to the next, and in its classifier, ``[E]``.
    """

    names: tuple[str, ...]
    confidence: Tensor
    right: Tensor
    advance: tuple[int, ...]
    classify: tuple[int, ...]

    @property
    def whole(self) -> int:
        """Multiply-adds of the network without its other exits."""
        return sum(self.advance) + self.classify[-1]

    @property
    def least(self) -> int:
        """Multiply-adds of the first exit."""
        return self.advance[0] + self.classify[0]

    @property
    def accuracy(self) -> float:
        """Share of right answers of the last exit."""
        return float(self.right[-1].double().mean())

    def spent(self, thresholds: Sequence[float]) -> Spent:
        """Return what thresholds, one for every exit but the last, come to on these images."""
        inside = torch.ones(self.right.shape[1], dtype=torch.bool)
        macs, right = 0, 0
        for n, threshold in enumerate((*thresholds, 0.0)):
            left = int(inside.sum())
            macs += left * self.advance[n]
            if threshold > 1:
                continue
            macs += left * self.classify[n]
            leaves = inside if threshold <= 0 else inside & (self.confidence[n] >= threshold)
            right += int((leaves & self.right[n]).sum())
            inside = inside & ~leaves
        size = self.right.shape[1]
        return Spent(right / size, macs / size)


def seen_on(
    model: nn.Module, inputs: Tensor, targets: Tensor, confidence: str = "probability"
) -> Exits:
    """Run all exits of a network on prepared inputs ``[N, ...]`` with their classes ``[N]``."""
    one_of("confidence", confidence, CONFIDENCES)
    sure, right = list[Tensor](), list[Tensor]()
    with torch.no_grad(), evaluating(model):
        stages, names = stages_of(model), names_of(model)
        for some, wanted in zip(
            inputs.split(EVALUATION_BATCH), targets.split(EVALUATION_BATCH), strict=True
        ):
            state, each = some, list[Tensor]()
            for stage in stages:
                state = stage.advance(state)
                each.append(stage.classify(state).float())
            sure.append(torch.stack([CONFIDENCES[confidence](z) for z in each]))
            right.append(torch.stack([z.argmax(-1) == wanted for z in each]))
        advance, classify = _counted(stages, inputs[:1])
    return Exits(names, torch.cat(sure, 1), torch.cat(right, 1), advance, classify)


def _counted(stages: Sequence[Any], example: Tensor) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Count the multiply-adds of every stage and of every classifier, of one example."""
    state, found = example, list[tuple[int, int]]()
    with plainly():
        for stage in stages:
            on, state = _macs(lambda stage=stage, state=state: stage.advance(state))
            here, _ = _macs(lambda stage=stage, state=state: stage.classify(state))
            found.append((on, here))
    advance, classify = zip(*found, strict=True)
    return advance, classify


def _macs(run: Callable[[], Any]) -> tuple[int, Any]:
    with FlopCounterMode(display=False) as counter:
        given = run()
    return counter.get_total_flops() // 2, given


def within(exits: Exits, macs: float) -> list[float]:
    """Return the thresholds of most right answers that take no more than ``macs`` per image.

    ``macs`` up to 1 is a share of what the network takes without its other exits.
    """
    number("macs", macs, "(0, inf)", "multiply-adds, or a share of the network's")
    budget = macs * exits.whole if macs <= 1 else macs
    if budget < exits.least:
        raise LthError(
            f"macs={macs}: that is {budget:,.0f} multiply-adds, and the first exit "
            f"({exits.names[0]}) takes {exits.least:,}, {exits.least / exits.whole:.3f} of the "
            f"network's {exits.whole:,}"
        )

    def better(spent: Spent) -> tuple[float, float, float]:
        over = max(0.0, spent.macs - budget)
        return (-over, spent.accuracy, -spent.macs)

    return _searched(exits, better)


def losing(exits: Exits, accuracy_drop: float) -> list[float]:
    """Return the thresholds that take least and are right ``accuracy_drop`` less often at most.

    Less often than the last exit; a share, 0.002 is 0.2 points.
    """
    number("accuracy_drop", accuracy_drop, "[0, 1)", "a share of the images")
    wanted = exits.accuracy - accuracy_drop - 1e-12

    def better(spent: Spent) -> tuple[float, float, float]:
        short = max(0.0, wanted - spent.accuracy)
        return (-short, -spent.macs, spent.accuracy)

    return _searched(exits, better)


def _searched(exits: Exits, better: Callable[[Spent], Any]) -> list[float]:
    """Search thresholds: one for all exits, shares by a geometric series, then exit by exit.

    Starts are every single exit, one threshold for all, and shares ``q^n`` that leave at exit n
    (Huang et al. 2018, arXiv 1703.09844, Section 5), the thresholds their quantiles. The best one
    is improved an exit at a time over quantiles of its confidence until nothing more is gained.
    """
    grids = [_quantiles(row) for row in exits.confidence[:-1]]
    starts = [_alone(n, len(grids)) for n in range(len(grids) + 1)]
    starts += [[t] * len(grids) for t in sorted({t for grid in grids for t in grid})]
    starts += [_geometric(exits, q) for q in torch.linspace(0.2, 3.0, 29).tolist()]
    value, best = max(((better(exits.spent(t)), t) for t in starts), key=lambda pair: pair[0])
    while True:
        before = value
        for n, grid in enumerate(grids):
            tried = [[*best[:n], t, *best[n + 1 :]] for t in (0.0, *grid, NEVER)]
            found = [(better(exits.spent(t)), t) for t in tried]
            value, best = max([(value, best), *found], key=lambda pair: pair[0])
        if value <= before:
            return best


def _alone(place: int, exits: int) -> list[float]:
    return [0.0 if n == place else NEVER for n in range(exits)]


def _quantiles(confidence: Tensor) -> list[float]:
    found = torch.quantile(confidence.double(), torch.linspace(0, 1, GRID + 1).double())
    return sorted({min(1.0, float(t)) for t in found})


def _geometric(exits: Exits, ratio: float) -> list[float]:
    """Return thresholds at which, of all images, shares in the ratio leave at exit after exit."""
    shares = torch.tensor([ratio**n for n in range(len(exits.names))]).double()
    shares = shares / shares.sum()
    inside, found = torch.ones(exits.right.shape[1], dtype=torch.bool), list[float]()
    for n, share in enumerate(shares[:-1].tolist()):
        sure = exits.confidence[n][inside].sort(descending=True).values
        wanted = min(len(sure), round(share * len(inside)))
        found.append(min(1.0, float(sure[wanted - 1])) if wanted else NEVER)
        inside = inside & (exits.confidence[n] < found[-1])
    return found


def that_fits(
    net: Net | nn.Module,
    macs: float,
    validation: tuple[Tensor, Tensor],
    confidence: str = "probability",
) -> Any:
    """Return a network of several exits under the thresholds that fit a budget of multiply-adds.

    ``macs`` are those of one image on average, up to 1 a share of the network's; ``validation`` are
    prepared inputs and their classes. Of a net (a ticket) a ``Net``, of a module a module.
    """
    module = net if isinstance(net, nn.Module) else net.module()
    found = within(seen_on(module, *validation, confidence), macs)
    if isinstance(net, nn.Module):
        return early_exit(net, found, confidence=confidence)
    plain = Net(**{n: getattr(net, n) for n in Net.__dataclass_fields__})
    return carried(plain, under(net.model, found, confidence))


def under(model: Spec, thresholds: Sequence[float], confidence: str) -> Spec:
    """Return the spec of a model of several exits under thresholds."""
    return {
        "_target_": "lth.networks.rewrites.early_exit", "model": model,
        "thresholds": list(thresholds), "exit": None, "confidence": confidence,
    }  # fmt: skip
