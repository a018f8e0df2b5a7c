"""What every network asks of its arguments: one clear line where they do not fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lth.errors import LthError
from lth.spec.argument_types import is_whole


def whole(name: str, value: Any, least: int = 1) -> int:
    """Return ``value``, a whole number of at least ``least``."""
    if not is_whole(value, least):
        raise LthError(f"model.{name}={value!r}: it must be a whole number, {least} or more")
    return value


def wholes(name: str, values: Any, count: int | None = None) -> tuple[int, ...]:
    """Return ``values``, a sequence of (``count``) whole numbers."""
    several = isinstance(values, Sequence) and not isinstance(values, str)
    if not several or (len(values) == 0 if count is None else len(values) != count):
        wanted = "one or more" if count is None else count
        raise LthError(f"model.{name}={values!r}: it must list {wanted} whole numbers")
    return tuple(whole(name, value) for value in values)


def image(input_shape: Any, side: int, why: str) -> tuple[int, int, int]:
    """Return ``input_shape`` as (C, H, W), with H and W at least ``side``."""
    channels, height, width = wholes("input_shape", input_shape, 3)  # e.g. a flat table has no H, W
    if min(height, width) < side:
        found = f"{height}x{width}"
        raise LthError(f"model.input_shape: {found} is too small for {why}, it needs {side}x{side}")
    return channels, height, width
