"""Losses: factories of ``(outputs, batch) -> scalar``, or of plain ``(outputs, targets)``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lth.data.seen import UNLABELLED
from lth.errors import LthError
from lth.recipe.adapt import as_loss
from lth.types import Batch, Loss, PlainLoss


def cross_entropy(label_smoothing: float = 0.0) -> PlainLoss:
    """Mean cross-entropy, optionally against smoothed labels: ``[B, K], [B]``.

    Of sequences, ``[B, T, K], [B, T]``, the mean over all tokens.
    """
    if not 0 <= label_smoothing <= 1:
        raise LthError(f"loss.label_smoothing={label_smoothing}: it lies in [0, 1]")

    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        if targets.is_floating_point():
            raise LthError("loss: the targets are numbers, not classes: lth.recipe.loss.mse")
        if targets.ndim > 1 and logits.shape[:-1] == targets.shape:
            logits, targets = logits.flatten(0, -2), targets.flatten()
        return F.cross_entropy(logits, targets, label_smoothing=label_smoothing)

    return loss


def mse() -> PlainLoss:
    """Mean squared error of outputs and targets of one shape."""

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        if not targets.is_floating_point():
            raise LthError("loss: the targets are classes, not numbers: cross_entropy")
        if outputs.shape != targets.shape:
            raise LthError(
                f"loss: outputs {list(outputs.shape)}, targets {list(targets.shape)}: they must be "
                "alike"
            )
        return F.mse_loss(outputs, targets)

    return loss


def distillation(temperature: float = 4.0, soft_weight: float = 0.9) -> Loss:
    """Learn a teacher's outputs: ``(1 - a) CE(z, y) + a T^2 KL(softmax(t / T) || softmax(z / T))``.

    ``z [B, K]`` are the logits, ``t`` the teacher's, ``a`` the ``soft_weight``, T the temperature
    (Hinton et al. 2015, arXiv 1503.02531, Section 2; there the weights are the other way round).
    With ``a = 1`` a student that equals its teacher has loss 0 and gradient 0. CE is the mean over
    the batch's examples that have a label, 0 if none has: a target of -100 is none.
    """
    if not temperature > 0 or not 0 <= soft_weight <= 1:
        given = f"temperature={temperature}, soft_weight={soft_weight}"
        raise LthError(f"loss: {given}: a number above 0, and a share in [0, 1]")

    def loss(outputs: Tensor, batch: Batch) -> Tensor:
        if batch.teacher is None:
            raise LthError("recipe.loss: distillation needs a teacher: a ticket that names one")
        if batch.targets.is_floating_point():
            raise LthError("loss: the targets are numbers, and distillation is of classes")
        wanted = F.log_softmax(batch.teacher / temperature, -1)
        given = F.log_softmax(outputs / temperature, -1)
        soft = (wanted.exp() * (wanted - given)).sum(-1).mean()
        hard = _of_labelled(outputs.flatten(0, -2), batch.targets.flatten())
        return (1 - soft_weight) * hard + soft_weight * temperature**2 * soft

    return loss


def _of_labelled(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the mean cross-entropy over the targets that are told."""
    total = F.cross_entropy(logits, targets, ignore_index=UNLABELLED, reduction="sum")
    return total / (targets != UNLABELLED).sum().clamp(min=1)


def with_computation(of: Any, weight: float = 0.1, target: float | None = None) -> Loss:
    """Add what computation costs: ``loss + w s``, or ``loss + w (s - target)^2``.

    ``s`` is the batch's mean of the second output, ``share [B]``: what a gated network
    (``lth.models.gated``) has run of what its gates decide on, in [0, 1]. With a ``target`` a batch
    is to run that share, whichever inputs run more (Veit & Belongie 2018, arXiv 1711.11503);
    without, every multiply-add costs the same (Wang et al. 2018, arXiv 1711.09485). Logits alone,
    as outside training, have the loss alone.
    """
    each = as_loss(of, "with_computation")
    _check_penalty("with_computation", weight)
    if target is not None and not 0 <= target <= 1:
        raise LthError(f"with_computation: target={target}: a share of the computation, in [0, 1]")

    def loss(outputs: Any, batch: Batch) -> Tensor:
        if isinstance(outputs, Tensor):
            return each(outputs, batch)
        logits, share = _parts(outputs, 2, "with_computation")
        cost = share.mean() if target is None else (share.mean() - target) ** 2
        return each(logits, batch) + weight * cost

    return loss


def policy_gradient(of: Any, weight: float = 1.0, wrong: float = 1.0) -> Loss:
    """Reward right answers for little computation: REINFORCE with a self-critical baseline.

    ``loss - w mean((R(u) - R(u')) log p(u))`` of five outputs (``lth.models.gated``, estimator
    reinforce): ``R = 1 - s^2`` where the answer is right, ``-wrong`` where it is not; s is the
    share that was run, u the policy drawn and u' the likeliest (Wu et al. 2018, arXiv 1711.08393,
    Section 3.2). Logits alone have the loss alone.
    """
    each = as_loss(of, "policy_gradient")
    _check_penalty("policy_gradient", weight)

    def reward(logits: Tensor, share: Tensor, targets: Tensor) -> Tensor:
        return torch.where(logits.argmax(-1) == targets, 1 - share**2, -wrong)

    def loss(outputs: Any, batch: Batch) -> Tensor:
        if isinstance(outputs, Tensor):
            return each(outputs, batch)
        logits, share, chance, greedy, best = _parts(outputs, 5, "policy_gradient")
        gain = reward(logits, share, batch.targets) - reward(greedy, best, batch.targets)
        return each(logits, batch) - weight * (gain.detach() * chance).mean()

    return loss


def _check_penalty(name: str, weight: float) -> None:
    if not weight >= 0:
        raise LthError(f"{name}: weight={weight}: what computation costs, 0 or more")


def _parts(outputs: Any, number: int, name: str) -> tuple[Tensor, ...]:
    if not isinstance(outputs, tuple | list) or len(outputs) != number:
        raise LthError(
            f"{name}: it is of a gated network, which gives {number} outputs in training"
        )
    return tuple(outputs)


def per_output(of: Any, weights: Sequence[float] | None = None) -> Loss:
    """Add the losses of several outputs, a tuple or a dict of them, times ``weights`` (else 1).

    A single tensor is the last of the outputs: what a network of several exits or widths gives
    where it is measured.
    """
    each = as_loss(of, "per_output")

    def loss(outputs: Any, batch: Batch) -> Tensor:
        if isinstance(outputs, Tensor):
            return each(outputs, batch) * (1.0 if weights is None else weights[-1])
        listed = list(outputs.values()) if isinstance(outputs, Mapping) else list(outputs)
        factors = [1.0] * len(listed) if weights is None else weights
        if len(factors) != len(listed):
            raise LthError(f"loss.weights={list(factors)}: the model gives {len(listed)} outputs")
        terms = [w * each(o, batch) for w, o in zip(factors, listed, strict=True)]
        return sum(terms[1:], terms[0])

    return loss
