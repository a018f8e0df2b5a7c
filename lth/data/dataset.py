"""A data set as tensors: what every source of data becomes before anything trains on it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lth.errors import LthError
from lth.types import Augment


@dataclass(frozen=True)
class Dataset:
    """Raw inputs (uint8 or float, ``[N, C, H, W]`` or ``[N, F]``) and integer targets ``[N]``.

    ``mean`` and ``std`` (one value per channel, in the inputs' units) are those of the official
    training file. ``validation`` images of that file are held out, drawn anew in every trial; the
    test set is fixed. ``digest`` stands for the content: equal data, equal digest.
    """

    name: str
    train_inputs: Tensor
    train_targets: Tensor
    test_inputs: Tensor
    test_targets: Tensor
    mean: Sequence[float]
    std: Sequence[float]
    classes: int
    validation: int
    augment: Augment | None = None
    digest: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        total = len(self.train_targets)
        if isinstance(self.validation, bool) or not 0 < self.validation < total:
            raise LthError(f"data.validation={self.validation}: it must lie in 1..{total - 1}")
        for split in ("train", "test"):
            inputs, targets = getattr(self, f"{split}_inputs"), getattr(self, f"{split}_targets")
            if len(inputs) != len(targets) or len(inputs) == 0:
                raise LthError(f"{self.name}: {len(inputs)} {split} inputs, {len(targets)} targets")
        if not self.digest:
            object.__setattr__(self, "digest", content_digest(self))
        shape = (1, -1) + (1,) * (self.train_inputs.ndim - 2)
        device = self.train_inputs.device
        for name in ("mean", "std"):
            values = torch.tensor(getattr(self, name), dtype=torch.float32, device=device)
            object.__setattr__(self, f"_{name}", values.reshape(shape))

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one example."""
        return tuple(self.train_inputs.shape[1:])

    def prepare(self, raw: Tensor) -> Tensor:
        """Normalise a raw batch: ``(x - mean) / std``, float32."""
        mean: Tensor = self._mean  # type: ignore[attr-defined]
        std: Tensor = self._std  # type: ignore[attr-defined]
        return raw.float().sub_(mean).div_(std) if raw.dtype == torch.uint8 else (raw - mean) / std

    def to(self, device: torch.device | str) -> Dataset:
        """Move the tensors."""
        names = ("train_inputs", "train_targets", "test_inputs", "test_targets")
        return replace(self, **{n: getattr(self, n).to(device) for n in names})


def tensors(
    name: str,
    train: tuple[Tensor, Tensor],
    test: tuple[Tensor, Tensor],
    validation: int,
    augment: Augment | None = None,
    note: str = "",
) -> Dataset:
    """Make a data set of tensors ``(inputs, targets)``; the normalisation constants are computed.

    ``mean_c`` and ``std_c`` run over every pixel of channel c of the training file: exact sums for
    uint8, so they are the same on every machine, else in float64.
    """
    for split, (inputs, targets) in (("train", train), ("test", test)):
        if len(inputs) == 0:
            raise LthError(f"{name}: 0 {split} inputs, {len(targets)} targets")
    moments = _exact_moments if train[0].dtype == torch.uint8 else _moments
    mean, std = moments(train[0])
    targets = train[1].long(), test[1].long()
    classes = int(max(t.max() for t in targets)) + 1
    return Dataset(
        name, train[0], targets[0], test[0], targets[1], mean, std, classes, validation, augment,
        note=note,
    )  # fmt: skip


def _moments(inputs: Tensor) -> tuple[list[float], list[float]]:
    array = inputs.cpu().double().numpy()  # torch's std depends on the number of threads
    axes = (0, *range(2, inputs.ndim))
    return array.mean(axes).tolist(), array.std(axes).clip(1e-12).tolist()


def _exact_moments(inputs: Tensor) -> tuple[list[float], list[float]]:
    """Sum in integers over the histogram: ``mean = S1 / n``, ``std = sqrt(n S2 - S1^2) / n``."""
    means, stds = [], []
    for channel in inputs.unbind(1):
        counts = torch.bincount(channel.reshape(-1), minlength=256).tolist()
        total = sum(counts)
        first = sum(value * count for value, count in enumerate(counts))
        second = sum(value * value * count for value, count in enumerate(counts))
        means.append(first / total)
        stds.append(max(math.sqrt(total * second - first * first) / total, 1e-12))
    return means, stds


def split(dataset: Dataset, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw a trial's (train, validation) rows of the training file: disjoint, together all."""
    order = torch.randperm(len(dataset.train_targets), generator=generator)
    return order[dataset.validation :].sort().values, order[: dataset.validation].sort().values


def content_digest(dataset: Dataset) -> str:
    """Hash the tensors and the normalisation constants: SHA-256."""
    found = hashlib.sha256(repr((list(dataset.mean), list(dataset.std), dataset.classes)).encode())
    for name in ("train_inputs", "train_targets", "test_inputs", "test_targets"):
        tensor = getattr(dataset, name).cpu().contiguous()
        found.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        found.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()
