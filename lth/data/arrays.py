"""What people's arrays become: inputs and targets as plain tensors, or a line on what is wrong."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lth.errors import LthError

WHOLE = (torch.int32, torch.int64)
"""Inputs of these dtypes are tokens: they pass as they are."""

PIXELS = (torch.uint8,)
"""Inputs of this dtype stay what they are on the device, and are normalised batch by batch."""


def inputs_of(value: Any, name: str) -> Tensor:
    """Return inputs as uint8, int32, int64 or float32, one row per example and all of them finite.

    Booleans are pixels, smaller and unsigned whole numbers are measurements (float32 holds them).
    """
    found = tensor_of(value, name)
    if found.ndim < 2:
        shape = tuple(found.shape)
        raise LthError(f"{name} has shape {shape}: one row per example, such as x[:, None]")
    if found.numel() == 0 and len(found):
        raise LthError(f"{name} has shape {tuple(found.shape)}: there is nothing in a row")
    if found.dtype == torch.bool:
        return found.to(torch.uint8)
    if found.dtype in (*WHOLE, *PIXELS):
        return found
    found = found.to(torch.float32)
    wrong = ~found.isfinite().flatten(1).all(1)
    if wrong.any():
        row = int(wrong.nonzero()[0])
        bad = found[row][~found[row].isfinite()][0]
        raise LthError(
            f"{name}[{row}] holds {float(bad)} (as float32), {int(wrong.sum()):,} rows do: "
            "inputs are finite numbers"
        )
    return found


def targets_of(value: Any, name: str, classes: int | None = None) -> Tensor:
    """Return targets: int64 ``[N]``, one class per example, from 0.

    With ``classes`` 0 they are numbers, float32 ``[N, ...]`` (``[N]`` becomes ``[N, 1]``); with so
    many there may be one for each of an example's tokens or pixels, ``[N, ...]``.
    """
    found = tensor_of(value, name)
    if type(classes) is int and classes == 0:
        return _numbers(found, name)
    if found.ndim == 2 and found.shape[1] == 1:
        found = found[:, 0]
    several = type(classes) is int and classes > 0 and found.ndim > 1
    if found.ndim != 1 and (not several or _are_one_hot(found)):
        raise LthError(
            f"{name} has shape {tuple(found.shape)}: one class per example, [N]; for one-hot rows "
            "give .argmax(1); of one per token or pixel say how many there are: classes=K"
        )
    rows = _rows(found)
    if found.is_floating_point():
        for row in (~rows.isfinite() | (rows != rows.round())).any(1).nonzero()[:1, 0].tolist():
            bad = rows[row][~rows[row].isfinite() | (rows[row] != rows[row].round())][0]
            raise LthError(
                f"{name}[{row}] = {float(bad):g}: no class; classes are whole numbers from 0; for "
                "regression say classes=0, as in lth.data.tensors(..., classes=0)"
            )
    found = found.to(torch.int64)
    for row in (rows < 0).any(1).nonzero()[:1, 0].tolist():
        raise LthError(
            f"{name}[{row}] = {int(rows[row].min())}: classes are 0, 1, ...; leave examples "
            "without a label out"
        )
    return found


def _numbers(found: Tensor, name: str) -> Tensor:
    """Return what a regression predicts, float32, one row of finite numbers per example."""
    if found.ndim == 0 or (found.numel() == 0 and len(found)):
        raise LthError(f"{name} has shape {tuple(found.shape)}: one row of numbers per example")
    found = found.to(torch.float32)
    for row in (~_rows(found).isfinite()).any(1).nonzero()[:1, 0].tolist():
        raise LthError(f"{name}[{row}] holds what is no finite number (as float32)")
    return found.unsqueeze(1) if found.ndim == 1 else found


def _rows(found: Tensor) -> Tensor:
    return found.reshape(len(found), math.prod(found.shape[1:]))


def _are_one_hot(found: Tensor) -> bool:
    """Whether rows of 0 and 1 have a single 1 each."""
    if found.ndim != 2 or found.shape[1] < 2:
        return False
    return bool(((found == 0) | (found == 1)).all()) and bool((found.sum(1) == 1).all())


def tensor_of(value: Any, name: str) -> Tensor:
    """Return a tensor, an array, or nested lists of numbers as a dense, contiguous tensor."""
    if not isinstance(value, Tensor):
        value = _from_numpy(value, name)
    kind = type(value).__name__
    if value.is_nested or value.layout != torch.strided or value.is_quantized:
        raise LthError(
            f"{name}: a sparse, nested or quantized {kind}: give a dense one, .to_dense()"
        )
    if value.is_meta or value.is_complex():
        what = "on the meta device" if value.is_meta else f"{value.dtype}"
        raise LthError(f"{name}: a {kind} {what}: give real numbers")
    return value.detach().as_subclass(Tensor).contiguous()


def _from_numpy(value: Any, name: str) -> Tensor:
    if isinstance(value, np.ma.MaskedArray):
        raise LthError(f"{name}: a masked array: fill it, or leave those rows out")
    if not hasattr(value, "__array__") and not isinstance(value, list | tuple | int | float):
        raise LthError(f"{name}: a {type(value).__name__}: give a tensor or an array")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what has an old __array__
            array = np.asarray(value)
    except Exception as error:
        raise LthError(f"{name}: no array of numbers: {error}") from error
    if array.dtype.kind not in "biuf":
        shown = (
            f" ({array.flat[0].item()!r:.40}, ...)"
            if array.size and array.dtype.kind in "US"
            else ""
        )
        raise LthError(f"{name}: an array of {array.dtype}{shown}: give numbers")
    if array.dtype.kind == "f" and array.dtype.itemsize not in (2, 4, 8):
        array = array.astype(np.float64)
    array = np.ascontiguousarray(array).reshape(array.shape)
    array = array.astype(array.dtype.newbyteorder("="), copy=not array.flags.writeable)
    return torch.from_numpy(array)


def check_classes(name: str, targets: Tensor, classes: int) -> None:
    """Refuse a class that no training example has: labels that do not count from 0 make one."""
    present = targets.unique()
    if len(present) == classes:
        return
    there = set(present.tolist())
    missing = [k for k in range(min(classes, 10_000)) if k not in there][:5]
    raise LthError(
        f"{name}: no training example of class {', '.join(map(str, missing))}, {classes} classes "
        f"up to {classes - 1}: number them from 0 without a gap, or say classes={classes}"
    )
