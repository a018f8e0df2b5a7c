"""The binary versions of CIFAR-10 and CIFAR-100: records of a label and three planes of pixels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lth.data.dataset import Dataset, tensors
from lth.data.fetch import OfficialFiles, cached, download, local
from lth.errors import LthError
from lth.types import Augment

PIXELS = 3 * 32 * 32


@dataclass(frozen=True)
class Source:
    """An official archive: its hash, the files in it, and what a file holds.

    ``rows`` are the images in each training file and in the test file; a record starts with
    ``labels`` bytes, the last of them the class.
    """

    name: str
    folder: str
    archive: str
    known_hash: str
    train: tuple[str, ...]
    test: str
    rows: tuple[int, int]
    labels: int
    classes: int
    mirrors: tuple[str, ...] = ("https://www.cs.toronto.edu/~kriz/",)


def load(source: Source, root: str | None, validation: int, augment: Augment | None) -> Dataset:
    """Read the files of ``source`` and check that they are what they should be."""
    place = _downloaded(source) if root is None else local(root, source.folder)
    parts = [_read(source, place, names, rows) for names, rows in
             zip((source.train, (source.test,)), source.rows, strict=True)]  # fmt: skip
    return tensors(
        source.name, parts[0], parts[1], validation, augment, place.note, classes=source.classes
    )


def _downloaded(source: Source) -> OfficialFiles:
    members = [f"{source.folder}/{name}" for name in (*source.train, source.test)]
    unpacked = download(source.archive, source.known_hash, source.mirrors, source.name, members)
    return cached(unpacked / source.folder)


def _read(
    source: Source, place: OfficialFiles, names: tuple[str, ...], rows: int
) -> tuple[Tensor, Tensor]:
    records = torch.cat([_records(source, place, name, rows) for name in names])
    pixels, label = records[:, source.labels :], records[:, source.labels - 1]
    return pixels.reshape(-1, 3, 32, 32), label.long()


def _records(source: Source, place: OfficialFiles, name: str, rows: int) -> Tensor:
    """Read uint8 ``[rows, labels + 3072]``: red, green and blue planes, row-major."""
    path, size = place.folder / name, source.labels + PIXELS
    content = _content(path, place.mend)
    if content.size != rows * size:
        held = f"{content.size:,} bytes, not {rows:,} records of {size:,}"
        raise LthError(f"{path}: damaged, {held}; {place.mend}")
    records = torch.from_numpy(content.reshape(rows, size))
    greatest = int(records[:, source.labels - 1].max())
    if greatest >= source.classes:
        raise LthError(f"{path}: label {greatest}, not 0..{source.classes - 1}; {place.mend}")
    return records


def _content(path: Path, mend: str) -> np.ndarray:
    try:
        return np.fromfile(path, np.uint8)
    except FileNotFoundError:
        raise LthError(f"{path}: no such file; {mend}") from None
    except OSError as error:
        raise LthError(f"{path}: cannot be read ({error}); {mend}") from None
