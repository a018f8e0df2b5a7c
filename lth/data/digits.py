"""Digits: 1,797 real 8x8 images that come with scikit-learn, so nothing is downloaded."""

from __future__ import annotations

from typing import Any

import torch

from lth.data.dataset import Dataset, tensors
from lth.streams import stream

TEST = 400


def digits(validation: int = 200, root: str | None = None) -> Dataset:
    """Load the digits: pixels 0..16, one fixed stratified test set of 400, the rest for training.

    ``root`` is accepted as by the other data sets, and not needed.

    Alpaydin & Kaynak 1998, UCI "Optical Recognition of Handwritten Digits", as in scikit-learn.
    """
    from sklearn.datasets import load_digits  # slow to import, and only this source needs it

    found: Any = load_digits()
    inputs = torch.from_numpy(found.images).to(torch.uint8).unsqueeze(1)
    targets = torch.from_numpy(found.target).long()
    test = _stratified(targets, TEST)
    return tensors(
        "digits", (inputs[~test], targets[~test]), (inputs[test], targets[test]), validation
    )


def _stratified(targets: torch.Tensor, size: int) -> torch.Tensor:
    """Mark ``size`` rows, 1 / classes of them of every class, the same on every machine."""
    order = torch.randperm(len(targets), generator=stream("digits", "test"))
    chosen = torch.zeros(len(targets), dtype=torch.bool)
    for digit in range(10):
        rows = order[targets[order] == digit]
        chosen[rows[: size // 10]] = True
    return chosen
