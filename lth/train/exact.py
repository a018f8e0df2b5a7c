"""Float32 on a GPU as it is on a CPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

import torch

_lock, _before = Lock(), list[bool | None]()


@contextmanager
def exact() -> Iterator[None]:
    """Convolve in float32 as it is: by torch's default a GPU rounds to 10 bits first (TF32).

    That moves a gradient by percents where batches are normalised, and the device is no part of a
    result's identity. What is faster and is part of it: ``trainer.precision=bf16``. Matrix products
    are exact by torch's default. Who has used torch's newer switch (``fp32_precision``) has said
    what they want, and it stays. Studies in several threads share the switch.
    """
    with _lock:
        _before.append(None if _before else _switched_off())
    try:
        yield
    finally:
        with _lock:
            first = _before.pop(0)
            if _before:
                _before[0] = first
            elif first is not None:
                torch.backends.cudnn.allow_tf32 = first


def _switched_off() -> bool | None:
    """Let convolutions not round, and return whether they did; None: that is not ours to say."""
    cudnn: Any = torch.backends.cudnn
    try:
        before = cudnn.allow_tf32
    except RuntimeError:  # the newer switch was used, and torch reads the older one no more
        return None
    cudnn.allow_tf32 = False
    if cudnn.conv.fp32_precision == "tf32":  # so says the newer one, for all kinds at once
        cudnn.allow_tf32 = before
        return None
    return before
