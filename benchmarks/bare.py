"""The alternative: the PyTorch loop that one would write by hand for one dense network.

Everything a careful author does is done: data in memory as uint8, batches by index, normalised on
the way, torch's fused optimizer, gradients set to None, no host synchronisation inside the loop.
It measures what the framework measures: validation at the start and at the end, and all three
splits at the end. It keeps no records and writes nothing. With ``masks`` it prunes the usual way,
weights multiplied by their mask after every update.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass
class Split:
    inputs: Tensor
    targets: Tensor


@dataclass
class Task:
    model: nn.Module
    optimizer: type[torch.optim.Optimizer]
    settings: dict[str, object]
    train: Split
    validation: Split
    test: Split
    mean: Tensor
    std: Tensor
    batch: int
    steps: int
    masks: dict[str, Tensor] | None = None


def train(task: Task) -> dict[str, tuple[float, float]]:
    """Train one network and return its final (loss, accuracy) on each split."""
    model, size = task.model, len(task.train.targets)
    optimizer = task.optimizer(model.parameters(), fused=True, **task.settings)  # type: ignore[call-arg]
    evaluate(task, task.validation)
    model.train()
    masks = task.masks or {}
    pruned = [(p.data, masks[n]) for n, p in model.named_parameters() if n in masks]
    order, at = torch.randperm(size, device=task.train.inputs.device), 0
    losses = []
    for _ in range(task.steps):
        if at + task.batch > size:
            order, at = torch.randperm(size, device=order.device), 0
        rows = order[at : at + task.batch]
        at += task.batch
        inputs = task.train.inputs[rows].float().sub_(task.mean).div_(task.std)
        loss = F.cross_entropy(model(inputs), task.train.targets[rows])
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        for weight, mask in pruned:
            weight.mul_(mask)
        losses.append(loss.detach())
    float(torch.stack(losses).mean())
    parts = {"train": task.train, "validation": task.validation, "test": task.test}
    return {name: evaluate(task, split) for name, split in parts.items()}


@torch.no_grad()
def evaluate(task: Task, split: Split, batch: int = 500) -> tuple[float, float]:
    task.model.eval()
    total, right = 0.0, 0
    for inputs, targets in zip(split.inputs.split(batch), split.targets.split(batch), strict=True):
        logits = task.model(inputs.float().sub_(task.mean).div_(task.std))
        total += float(F.cross_entropy(logits, targets, reduction="sum"))
        right += int((logits.argmax(1) == targets).sum())
    return total / len(split.targets), right / len(split.targets)
