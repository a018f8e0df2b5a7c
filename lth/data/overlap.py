"""Examples that two splits share: what is validated on should be neither trained nor tested on."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator

from torch import Tensor


def tell_of_shared_rows(name: str, validation: Tensor, train: Tensor, test: Tensor) -> None:
    """Warn where inputs of a validation split of one's own are training or test inputs too."""
    held_out = list(_digests(validation))
    for where, other, why in (
        ("training", train, "early stop would be chosen on what was trained on"),
        ("test", test, "nothing may be chosen on the test set"),
    ):
        there = set(_digests(other))
        shared = sum(row in there for row in held_out)
        if shared:
            warnings.warn(
                f"{name}: {shared:,} of {len(held_out):,} validation examples are {where} examples "
                f"too: {why}; make the splits disjoint",
                stacklevel=4,
            )


def _digests(inputs: Tensor) -> Iterator[bytes]:
    """Hash every row."""
    for row in inputs.flatten(1).numpy():
        yield hashlib.blake2b(row.tobytes(), digest_size=16).digest()
