"""Data sets that are not on this machine, stood in for by noise of their shape: for plans only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch

from lth.data.cifar10 import SOURCE as CIFAR10
from lth.data.cifar100 import SOURCE as CIFAR100
from lth.data.dataset import Dataset, tensors
from lth.data.fetch import cache_of
from lth.data.mnist import FASHION_MNIST, MNIST
from lth.errors import LthError
from lth.streams import stream
from lth.types import Augment


class Shape(NamedTuple):
    """What a data set holds, and the files by which it is known to be on this machine."""

    inputs: tuple[int, int, int]
    train: int
    test: int
    classes: int
    files: tuple[str, ...]


SHAPES = {
    **{
        source.name: Shape((1, 28, 28), source.rows["train"], source.rows["t10k"], 10,
                           tuple(f"{name}.gz" for name in source.hashes))
        for source in (MNIST, FASHION_MNIST)
    },
    **{
        source.name: Shape((3, 32, 32), len(source.train) * source.rows[0], source.rows[1],
                           source.classes, (f"{source.archive}.untar",))
        for source in (CIFAR10, CIFAR100)
    },
}  # fmt: skip
"""The data sets that are downloaded, by the name of their factory."""

FACTORY = "lth.data.stand_in.stand_in"


def stand_in(
    of: str, validation: int = 5000, augment: Augment | None = None, root: str | None = None
) -> Dataset:
    """Make noise of the shape, the size and the classes of a data set: to time it, not to train.

    ``root`` is accepted as by the data sets themselves.
    """
    if of not in SHAPES:
        raise LthError(f"data.of={of}: it is one of {', '.join(SHAPES)}")
    shape, generator = SHAPES[of], stream("stand-in", of)
    parts = []
    for rows in (shape.train, shape.test):
        inputs = torch.randint(
            256, (rows, *shape.inputs), generator=generator, dtype=torch.uint8
        )  # fmt: skip
        parts.append((inputs, torch.arange(rows) % shape.classes))
    return tensors(of, parts[0], parts[1], validation, augment, "a stand-in", classes=shape.classes)


def with_stand_ins(spec: Any) -> tuple[Any, tuple[str, ...]]:
    """Replace what would be downloaded, also inside another data set; return the names of those."""
    if not isinstance(spec, Mapping):
        return spec, ()
    inner = {key: with_stand_ins(value) for key, value in spec.items()}
    names = tuple(name for _, found in inner.values() for name in found)
    made = {key: value for key, (value, _) in inner.items()}
    package, _, name = str(spec.get("_target_", "")).rpartition(".")
    if package.startswith("lth.data") and name in SHAPES and not _is_here(name, spec.get("root")):
        return {**made, "_target_": FACTORY, "of": name}, (*names, name)
    return made, names


def _is_here(name: str, root: Any) -> bool:
    if root is not None:
        return True  # what it lacks is said by name
    return all((cache_of(name) / file).exists() for file in SHAPES[name].files)
