"""CIFAR-10: 50,000 + 10,000 colour images of 32x32 in ten classes."""

from __future__ import annotations

from lth.data.cifar import Source, load
from lth.data.dataset import Dataset
from lth.types import Augment

SOURCE = Source(
    name="cifar10",
    folder="cifar-10-batches-bin",
    archive="cifar-10-binary.tar.gz",
    known_hash="md5:c32a1d4ab5d03f1284b67883e8d87530",
    train=tuple(f"data_batch_{i}.bin" for i in range(1, 6)),
    test="test_batch.bin",
    rows=(10_000, 10_000),
    labels=1,
    classes=10,
)


def cifar10(
    root: str | None = None, validation: int = 5000, augment: Augment | None = None
) -> Dataset:
    """Load CIFAR-10 from ``root``/cifar-10-batches-bin, or download it (Krizhevsky 2009).

    The split of Frankle & Carbin 2019 (arXiv 1803.03635, Section 3): 5,000 of the training images
    are held out for validation.
    """
    return load(SOURCE, root, validation, augment)
