"""Files as data: what is read is checked before anything is made of it, and nothing is run.

Whatever is wrong with a file, the reader says so in one line that names the file.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load
from torch import Tensor

from lth.errors import LthError

MAX_HEADER = 100 << 20
"""Bytes of a safetensors header, at most: its authors' own limit."""

KEY = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,199}")
"""What a file's name may be made of: no separator, no beginning with a dot."""


class Damaged(ValueError):
    """A file does not hold what it should; the reader that catches it knows which."""


class Described(NamedTuple):
    """One tensor of a safetensors file, before it is read: dtype in safetensors' words, shape."""

    dtype: str
    shape: tuple[int, ...]


@contextmanager
def reading(path: str | Path, what: str, mend: str) -> Iterator[None]:
    """Turn whatever goes wrong while a file is read into one line."""
    try:
        yield
    except FileNotFoundError:
        raise LthError(f"{path}: no such {what}") from None
    except OSError as error:
        raise LthError(f"{path}: cannot be read ({error.strerror})") from None
    except Exception as error:  # a parser may raise anything on what nobody foresaw
        said = str(error).partition("\n")[0][:200] or type(error).__name__
        name = what.removesuffix(" file") if what != "file" else what
        raise LthError(f"{path}: damaged {name} ({said}); {mend}") from None


def demand(holds: bool, otherwise: str) -> None:
    """Call the file damaged where something does not hold."""
    if not holds:
        raise Damaged(otherwise)


def parse(text: str | bytes) -> Any:
    """Read JSON; a name that comes twice, NaN and infinities are refused."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        demand(len(found) == len(pairs), "a name comes twice")
        return found

    def never(name: str) -> Any:
        raise Damaged(f"{name} where a number must stand")

    try:
        return json.loads(text, object_pairs_hook=once, parse_constant=never)
    except RecursionError:
        raise Damaged("nested too deeply") from None


def is_torchs(content: bytes) -> bool:
    """Whether a file is one of ``torch.save``'s, a zip or a pickle, and none of safetensors.

    The latter begins with the length of its header, any bytes at all, but then with a brace.
    """
    return content[:2] in (b"PK", b"\x80\x02") and content[8:9] != b"{"


def header(content: bytes) -> tuple[dict[str, Described], dict[str, str]]:
    """Read what a safetensors file says that it holds, and its metadata; no tensor is made."""
    length = int.from_bytes(content[:8], "little")
    if is_torchs(content):
        raise Damaged("it is torch.save's, not safetensors")
    demand(0 < length <= min(MAX_HEADER, len(content) - 8), "its header does not fit in it")
    found = parse(content[8 : 8 + length])
    demand(isinstance(found, dict), "its header is no table")
    meta = found.pop("__metadata__", {})
    whole = isinstance(meta, dict) and all(isinstance(v, str) for v in meta.values())
    demand(whole, "its metadata is not text")
    described = {}
    for name, about in found.items():
        shape = is_shape(about.get("shape")) if isinstance(about, dict) else None
        demand(shape is not None, f"{name} has no shape")
        described[name] = Described(str(about.get("dtype")), tuple(about["shape"]))
    return described, meta


def read_tensors(content: bytes) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return a safetensors file's tensors and metadata; its own parser checks every length."""
    _, meta = header(content)
    return load(content), meta


def metadata(content: bytes) -> dict[str, str]:
    """Return the metadata of a safetensors file's bytes."""
    return header(content)[1]


def is_shape(value: Any) -> tuple[int, ...] | None:
    """Return a shape, None if the value is none: up to 16 whole numbers from 0."""
    if not isinstance(value, list | tuple) or len(value) > 16:
        return None
    whole = all(type(n) is int and 0 <= n < 1 << 48 for n in value)
    return tuple(value) if whole else None


def packed_length(shape: tuple[int, ...]) -> int:
    """Return how many bytes a mask of a shape takes, a bit per weight."""
    return (prod(shape) + 7) // 8


def check_key(key: Any) -> str:
    """Return what names a file in a folder; what would lead elsewhere is refused."""
    if not isinstance(key, str) or not KEY.fullmatch(key):
        raise LthError(f"{str(key)[:80]!r}: no key of the store: it would name another folder")
    return key


def tensors_digest(tensors: Mapping[str, Tensor]) -> str:
    """Hash tensors by name, dtype, shape and bytes: SHA-256."""
    found = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        found.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        found.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def write_atomic(path: Path, content: bytes, into: bool = False) -> None:
    """Write a file whole or not at all: temporary name, fsync, rename.

    Its folder is made where it lacks, but if it is to be written ``into`` one that must be there.
    """
    if not into:
        path.parent.mkdir(parents=True, exist_ok=True)
    # machines that share a disk may share a process id, threads do
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
