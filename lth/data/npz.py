"""Arrays of one's own in an ``.npz`` file; nothing in it is unpickled."""

from __future__ import annotations

import warnings
import zipfile
from pathlib import Path

import numpy as np

from lth.data.dataset import Dataset, tensors
from lth.data.place import brief, check_memory, place_of
from lth.data.splits import array_called, arrays_of, tenth
from lth.errors import LthError
from lth.types import Augment

CHANNELS = ("first", "last", "none")
FEW = (1, 3, 4)
"""How many channels a picture has."""


def npz(
    path: str | Path,
    validation: int | None = None,
    channels: str | None = None,
    normalise: bool | None = None,
    augment: Augment | None = None,
    classes: int | None = None,
) -> Dataset:
    """Load ``x_train, y_train, x_test, y_test`` (and ``x_val, y_val``) of an ``.npz`` file.

    The file's words may be others, see `lth.data.splits`: ``train_images``, ``val_labels``. A
    validation split of the file is the same in every trial; without one ``validation`` training
    examples are held out, by default a tenth.

    ``channels`` says where pictures have theirs: ``first`` (``[N, C, H, W]``, and whatever is no
    picture), ``last`` (``[N, H, W, C]``), or ``none`` (``[N, H, W]``: an axis is added). By default
    uint8 ``[N, H, W]`` has none, and ``[N, H, W, C]`` of 1, 3 or 4 channels, with more rows than
    that, has them last. ``classes`` as in ``tensors``: 0 for a regression.
    """
    if channels is not None and channels not in CHANNELS:
        raise LthError(f"data.channels={channels!r}: {', '.join(CHANNELS)}, or null")
    place = place_of(path, "file", "mine.npz")
    arrays = _arrays(place)
    splits = arrays_of(arrays, f"{place}")
    if splits.validation is not None and validation is not None:
        raise LthError(
            f"data.validation={validation}: {place} has a validation split of its own; leave "
            "data.validation out, or the split out of the file"
        )
    layout = channels or _layout(splits.train[0])
    given = {split: pair for split, pair in splits._asdict().items() if pair is not None}
    pairs = {split: (_first(inputs, layout, place), y) for split, (inputs, y) in given.items()}
    held_out = tenth(splits.train[1]) if validation is None else validation
    unused = ", ".join(name for name, array in arrays.items() if array is None)
    return tensors(
        place.stem, pairs["train"], pairs["test"], pairs.get("validation", held_out), augment,
        f"not used: {unused}" if unused else "", normalise, classes,
    )  # fmt: skip


def _arrays(place: Path) -> dict[str, np.ndarray | None]:
    """Read the arrays whose names say what they are; the others' names stand alone."""
    if not place.is_file() or not zipfile.is_zipfile(place):
        mend = "; for pictures in folders say data=folder" if place.is_dir() else ""
        raise LthError(f"{place}: not an .npz file, which np.savez writes{mend}")
    try:
        with zipfile.ZipFile(place) as packed:
            sizes = {i.filename.removesuffix(".npy"): i.file_size for i in packed.infolist()}
        used = {name: size for name, size in sizes.items() if array_called(name)}
        check_memory(sum(used.values()), f"{place}: its arrays", "keep fewer examples")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of files that an old Python wrote
            with np.load(place, allow_pickle=False) as file:
                return {name: np.asarray(file[name]) if name in used else None for name in sizes}
    except LthError:
        raise
    except Exception as error:  # a damaged or hostile file may end in any
        raise LthError(f"{place}: cannot be read ({brief(error)}); write it again") from None


def _layout(inputs: np.ndarray) -> str:
    """Tell where pictures have their channels, by their shape."""
    shape = inputs.shape
    if len(shape) == 3 and inputs.dtype == np.uint8:
        return "none"
    last = len(shape) == 4 and shape[3] in FEW and shape[1] not in FEW
    return "last" if last else "first"


def _first(inputs: np.ndarray, layout: str, place: Path) -> np.ndarray:
    """Return inputs with the channels first."""
    wanted = {"none": 3, "last": 4}.get(layout)
    if wanted is not None and inputs.ndim != wanted:
        raise LthError(
            f"data.channels={layout}: {place} has inputs of shape {inputs.shape}, not of {wanted} "
            "axes"
        )
    if layout == "none":
        return inputs[:, None]
    return inputs.transpose(0, 3, 1, 2) if layout == "last" else inputs
