"""IDX: the official format of MNIST and of the data sets made in its image."""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from lth.data.fetch import MemberId
from lth.errors import LthError

UNSIGNED_BYTES = 0x08


def read_idx(place: MemberId, name: str, shape: Sequence[int]) -> Tensor:
    """Read ``name`` or ``name.gz`` as uint8 of exactly ``shape``.

    The file is ``[0, 0, 8, D]``, then D lengths as big-endian uint32, then the bytes, row-major
    (LeCun, Cortes & Burges, "The MNIST database", "File formats").
    """
    path = _find(place, name)
    content = _content(path, place)
    header = bytes([0, 0, UNSIGNED_BYTES, len(shape)])
    if content[:4] != header:
        found = f"it starts with {content[:4].hex() or 'nothing'}, not {header.hex()}"
        raise LthError(f"{path}: not an IDX file of this kind ({found}); {place.mend}")
    start = 4 + 4 * len(shape)
    sizes = [int.from_bytes(content[i : i + 4], "big") for i in range(4, start, 4)]
    if sizes != list(shape):
        raise LthError(f"{path}: holds {_times(sizes)} values, not {_times(shape)}; {place.mend}")
    if len(content) != start + math.prod(shape):
        found = f"{len(content):,} bytes where its header says {start + math.prod(shape):,}"
        raise LthError(f"{path}: damaged, {found}; {place.mend}")
    return torch.frombuffer(content, dtype=torch.uint8, offset=start).reshape(*shape)


def _find(place: MemberId, name: str) -> Path:
    packed = place.folder / f"{name}.gz"
    for path in (place.folder / name, packed):
        if path.is_file():
            return path
    raise LthError(f"{packed}: no such file, packed or unpacked; {place.mend}")


def _content(path: Path, place: MemberId) -> bytearray:
    try:
        content = path.read_bytes()
        return bytearray(gzip.decompress(content) if path.suffix == ".gz" else content)
    except (OSError, EOFError, zlib.error) as error:
        raise LthError(f"{path}: cannot be read ({error}); {place.mend}") from None


def _times(sizes: Sequence[int]) -> str:
    return " x ".join(f"{size:,}" for size in sizes)
