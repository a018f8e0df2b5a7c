"""Early exit: an image leaves a network of several exits where that one is sure enough of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import log
from typing import Any

import torch
from torch import Tensor, nn

from lth.errors import LthError, nearest
from lth.networks.net import Net
from lth.networks.rewrites.cuts import take
from lth.networks.rewrites.exits import LAST, Stage, prefixed
from lth.spec.argument_types import is_whole, number, one_of
from lth.spec.build import Spec

NEVER = 2.0
"""A threshold that no confidence reaches: that exit's classifier is not even run."""


def probability(logits: Tensor) -> Tensor:
    """Return the greatest softmax probability: ``[B, K] -> [B]``, in [1 / K, 1]."""
    return logits.softmax(-1).amax(-1)


def certainty(logits: Tensor) -> Tensor:
    """Return ``1 - H / log K``, H the entropy of the softmax: ``[B, K] -> [B]``, in [0, 1]."""
    logs = logits.log_softmax(-1)
    return 1 + (logs.exp() * logs).sum(-1) / log(max(2, logits.shape[-1]))


CONFIDENCES: dict[str, Callable[[Tensor], Tensor]] = {
    "probability": probability, "entropy": certainty
}  # fmt: skip
"""How sure an exit is, by what it is read from; more is surer."""


class EarlyExit(nn.Module):
    """A network of several exits that, as it is measured, goes no further than an image needs."""

    dynamic = True  # what it executes depends on the images

    def __init__(self, model: nn.Module, thresholds: Sequence[float], confidence: str) -> None:
        super().__init__()
        self.model, self.thresholds, self.confidence = model, tuple(thresholds), confidence

    @property
    def exit_names(self) -> tuple[str, ...]:
        """The exits of the network."""
        return names_of(self.model)

    def stages(self) -> list[Stage]:
        """Return the network from exit to exit, whatever the thresholds are."""
        return stages_of(self.model)

    def forward(self, inputs: Tensor) -> Any:
        """Return the logits of the exit that each image leaves at; all exits' in training."""
        return self.model(inputs) if self.training else self.exits(inputs)[0]

    def exits(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits ``[B, K]`` and at which exit each image left, from 0, ``[B]``."""
        state, rows = inputs, torch.arange(len(inputs), device=inputs.device)
        stages, left = self.stages(), torch.zeros_like(rows)
        answers: Tensor | None = None
        for n, (stage, threshold) in enumerate(zip(stages, (*self.thresholds, 0.0), strict=True)):
            state = stage.advance(state)
            if threshold > 1:
                continue
            logits = stage.classify(state)
            leaves = CONFIDENCES[self.confidence](logits) >= threshold
            leaves = leaves | (threshold <= 0)  # also what is no number
            if answers is None:
                answers = logits.new_zeros(len(inputs), logits.shape[-1])
            answers[rows[leaves]], left[rows[leaves]] = logits[leaves], n
            if bool(leaves.all()):
                break
            if bool(leaves.any()):
                state, rows = take(state, ~leaves), rows[~leaves]
        assert answers is not None
        return answers, left


def early_exit(
    model: nn.Module,
    thresholds: Sequence[float] | float | None = None,
    exit: int | str | None = None,
    confidence: str = "probability",
) -> EarlyExit:
    """Let an image leave at the first exit whose confidence reaches the exit's threshold.

    ``thresholds`` are one for each exit but the last, or one for all of them: 0 lets every image
    leave, above 1 none. ``exit``: all images leave at that one, 1 the first, or by its name.
    ``confidence`` is the greatest ``probability``, or ``entropy``: ``1 - H / log K``. What an image
    does not need is not run: the others are gathered and go on. BranchyNet (Teerapittayanon et al.
    2016, arXiv 1709.01686, Section III), by entropy; Huang et al. 2018 (arXiv 1703.09844, Section
    5) by probability.
    """
    one_of("early_exit: confidence", confidence, CONFIDENCES)
    names = names_of(model)
    if (thresholds is None) == (exit is None):
        raise LthError("early_exit: give thresholds, or the one exit that all images leave at")
    if exit is not None:
        return EarlyExit(model, _only(_place(exit, names), names), confidence)
    single = not isinstance(thresholds, list | tuple)
    given: Any = [thresholds] * (len(names) - 1) if single else thresholds
    if len(given) != len(names) - 1:
        raise LthError(
            f"early_exit: {len(given)} thresholds, and there are {len(names) - 1} exits before the "
            f"last: {', '.join(names)}"
        )
    for threshold in given:
        number("early_exit: thresholds", threshold, f"[0, {NEVER}]", "above 1 nothing leaves")
    return EarlyExit(model, [float(t) for t in given], confidence)


def _only(place: int, names: Sequence[str]) -> list[float]:
    return [0.0 if n == place else NEVER for n in range(len(names) - 1)]


def _place(exit: int | str, names: Sequence[str]) -> int:
    if is_whole(exit, 1) and int(exit) <= len(names):
        return int(exit) - 1
    if isinstance(exit, str) and exit in names:
        return names.index(exit)
    near = nearest(str(exit), names)
    raise LthError(f"early_exit: exit={exit!r}: there are {len(names)} exits{near}")


def stages_of(model: nn.Module) -> list[Stage]:
    """Return a module's ``stages()``: one without is no network of several exits."""
    stages = getattr(model, "stages", None)
    if not callable(stages):
        raise LthError(
            f"{type(model).__name__} has no exits: attach some (lth.moves.attach_exits, "
            "lth.networks.rewrites.with_exits), or let it offer stages()"
        )
    found: Any = stages()
    return [Stage(*stage) for stage in found]


def names_of(model: nn.Module) -> tuple[str, ...]:
    """Return the names of a module's exits, the last one among them."""
    named = getattr(model, "exit_names", None)
    if named is not None:
        return tuple(named)
    return (*(f"exit{n + 1}" for n in range(len(stages_of(model)) - 1)), LAST)


def carry(net: Net, model: Spec) -> Net:
    """Return the net under the thresholds: nothing of it changes but its names."""
    return prefixed(net, model)


vars(early_exit).update(carry=carry, masked=True)
