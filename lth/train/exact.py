"""Float32 on a GPU as it is on a CPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def exact() -> Iterator[None]:
    """Convolve in float32 as it is: by torch's default a GPU rounds to 10 bits first (TF32).

    That moves a gradient by percents where batches are normalised, and the device is no part of a
    result's identity. What is faster and is part of it: ``trainer.precision=bf16``. Matrix products
    are exact by torch's default.
    """
    of: Any = torch.backends.cudnn
    name, value = "allow_tf32", False
    try:
        before = of.allow_tf32
    except RuntimeError:  # torch's newer switch was used before; from then on it is the only one
        of, name, value = of.conv, "fp32_precision", "ieee"
        before = of.fp32_precision
    setattr(of, name, value)
    try:
        yield
    finally:
        setattr(of, name, before)
