"""CIFAR-10: 50,000 + 10,000 colour images of 32x32 in ten classes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lth.data.dataset import Dataset, tensors
from lth.data.fetch import MemberId, cached, download, local
from lth.errors import LthError
from lth.types import Augment

FOLDER = "cifar-10-batches-bin"
TRAIN = [f"data_batch_{i}.bin" for i in range(1, 6)]
TEST = ["test_batch.bin"]
RECORD = 1 + 3 * 32 * 32


@dataclass(frozen=True)
class Source:
    """Where the official archive lies, its hash, and the images in each of its six files."""

    archive: str = "cifar-10-binary.tar.gz"
    known_hash: str = "md5:c32a1d4ab5d03f1284b67883e8d87530"
    mirrors: tuple[str, ...] = ("https://www.cs.toronto.edu/~kriz/",)
    rows: int = 10_000


def cifar10(
    root: str | None = None, validation: int = 5000, augment: Augment | None = None
) -> Dataset:
    """Load CIFAR-10 from ``root``/cifar-10-batches-bin, or download it (Krizhevsky 2009).

    The split of Frankle & Carbin 2019 (arXiv 1803.03635, Section 3): 5,000 of the training images
    are held out for validation.
    """
    return load(Source(), root, validation, augment)


def load(source: Source, root: str | None, validation: int, augment: Augment | None) -> Dataset:
    """Read the six files and check that they are what they should be."""
    place = _downloaded(source) if root is None else local(root, FOLDER)
    train, test = (_read(place, names, source.rows) for names in (TRAIN, TEST))
    return tensors("cifar10", train, test, validation, augment, place.note, classes=10)


def _downloaded(source: Source) -> MemberId:
    members = [f"{FOLDER}/{name}" for name in (*TRAIN, *TEST)]
    found = download(source.archive, source.known_hash, source.mirrors, "cifar10", members)
    return cached(found / FOLDER)


def _read(place: MemberId, names: list[str], rows: int) -> tuple[Tensor, Tensor]:
    records = torch.cat([_records(place.folder / name, rows, place.mend) for name in names])
    return records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0].long()


def _records(path: Path, rows: int, mend: str) -> Tensor:
    """Read uint8 ``[rows, 3073]``: the label, then the red, green and blue planes, row-major."""
    try:
        content = np.fromfile(path, np.uint8)
    except FileNotFoundError:
        raise LthError(f"{path}: no such file; {mend}") from None
    except OSError as error:
        raise LthError(f"{path}: cannot be read ({error}); {mend}") from None
    if content.size != rows * RECORD:
        found = f"{content.size:,} bytes, not {rows:,} records of {RECORD:,}"
        raise LthError(f"{path}: damaged, {found}; {mend}")
    records = torch.from_numpy(content.reshape(rows, RECORD))
    if int(records[:, 0].max()) > 9:
        raise LthError(f"{path}: label {int(records[:, 0].max())}, not 0..9; {mend}")
    return records
