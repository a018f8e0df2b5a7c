"""CIFAR-100: 50,000 + 10,000 colour images of 32x32 in a hundred classes."""

from __future__ import annotations

from lth.data.cifar import Source, load
from lth.data.dataset import Dataset
from lth.types import Augment

SOURCE = Source(
    name="cifar100",
    folder="cifar-100-binary",
    archive="cifar-100-binary.tar.gz",
    known_hash="md5:03b5dce01913d631647c71ecec9e9cb8",
    train=("train.bin",),
    test="test.bin",
    rows=(50_000, 10_000),
    labels=2,  # of the twenty superclasses, then of the class
    classes=100,
)


def cifar100(
    root: str | None = None, validation: int = 5000, augment: Augment | None = None
) -> Dataset:
    """Load CIFAR-100 from ``root``/cifar-100-binary, or download it (Krizhevsky 2009, Section 3.1).

    The classes are the hundred fine ones. 5,000 of the training images are held out for
    validation, as of CIFAR-10.
    """
    return load(SOURCE, root, validation, augment)
