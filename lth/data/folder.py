"""Pictures of one's own in folders by class: ``train/cat/1.png``, ``test/dog/2.jpg``."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lth.data.dataset import Dataset, tensors
from lth.data.place import brief, check_memory, place_of
from lth.data.splits import Splits, split_called, tenth
from lth.errors import LthError
from lth.types import Augment

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm",
           ".pbm")  # fmt: skip
MODES = {"grey": "L", "rgb": "RGB"}
GREY = ("1", "L", "LA")
DEEP = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")
"""Modes of more than eight bits, which eight would spoil."""
TURNED, SIDEWAYS = 274, (5, 6, 7, 8)
"""EXIF's tag for how a camera was held, and the values that swap height and width."""
CAMERAS = ("JPEG", "MPO", "TIFF", "WEBP")
"""Formats that cameras write; of others the tag would cost reading the file twice."""


@dataclass(frozen=True)
class Picture:
    """A file, its class, and what its header says."""

    path: Path
    label: int
    size: tuple[int, int]  # height, width
    colour: str


def image_folder(
    path: str | Path,
    validation: int | None = None,
    size: int | Sequence[int] | None = None,
    colour: str | None = None,
    augment: Augment | None = None,
) -> Dataset:
    """Load the pictures in ``path/train/<class>``, ``path/test/<class>``, perhaps ``path/val``.

    Each becomes uint8 ``[C, H, W]``, turned as its camera was held, transparency dropped; of
    several frames the first. Classes are numbered in the order of the names of train's folders;
    folders inside a class belong to it, hidden files and files that are no pictures do not.

    Args:
        path: The folder of train and test.
        validation: Training pictures to hold out; None: those of ``val``, the same in every trial,
            or a tenth, drawn in every trial.
        size: Height and width in pixels, one number or two, to resize to (bilinear, the shape not
            kept); None: all pictures are of one size.
        colour: ``grey`` (C = 1) or ``rgb`` (C = 3); None: all pictures are the one or the other.
        augment: What changes batches at random, such as ``lth.data.flip_and_crop()``.
    """
    wanted = _size(size)
    if colour is not None and colour not in MODES:
        raise LthError(f"data.colour={colour!r}: {', '.join(MODES)}, or null")
    place = place_of(path, "folder", "pictures")
    folders = _folders(place)
    if folders.validation is not None and validation is not None:
        raise LthError(
            f"data.validation={validation}: {folders.validation} is a validation split of its own; "
            "leave data.validation out, or move the folder away"
        )
    names = _classes(folders.train)
    listed = {s: _listed(f, names) for s, f in folders._asdict().items() if f is not None}
    shape = _shape(place, [p for split in listed.values() for p in split], wanted, colour)
    parts = {split: _pixels(pictures, shape) for split, pictures in listed.items()}
    held_out = tenth(parts["train"][1]) if validation is None else validation
    note = "classes: " + ", ".join(f"{i} {name}" for i, name in enumerate(names))
    return tensors(
        place.resolve().name, parts["train"], parts["test"], parts.get("validation", held_out),
        augment, note, classes=len(names),
    )  # fmt: skip


def _size(size: Any) -> tuple[int, int] | None:
    if size is None:
        return None
    sides: list[Any] = (
        list(size) if isinstance(size, Sequence) and not isinstance(size, str) else [size] * 2
    )
    if len(sides) != 2 or any(type(s) is not int or s < 1 for s in sides):
        raise LthError(f"data.size={size!r}: pixels, one whole number, or [height, width]")
    return sides[0], sides[1]


def _folders(place: Path) -> Splits:
    if not place.is_dir():
        mend = "; for an .npz file say data=npz" if place.suffix == ".npz" else ""
        raise LthError(f"{place}: not a folder{mend}")
    there = _inside(place)
    found: dict[str, Path] = {}
    for folder in there:
        split = split_called(folder.name)
        if split in found:
            raise LthError(f"{place} has {found[split].name}/ and {folder.name}/: keep one")
        if split is not None:
            found[split] = folder
    if {"train", "test"} <= set(found):
        return Splits(**found)
    lacking = " and no ".join(f"{s}/" for s in ("train", "test") if s not in found)
    held = ", ".join(f.name for f in there[:6]) or "no folders"
    mend = "lay it out as train/<class>/*.png and test/<class>/*.png"
    if set(found) == {"train", "validation"}:
        name = found["validation"].name
        mend = f"call {name}/ test/, and a tenth of train/ is held out for validation"
    raise LthError(f"{place} has no {lacking}, but {held}: {mend}")


def _inside(folder: Path) -> list[Path]:
    """Return the folders inside, by name; of names that are all numbers by number."""
    try:
        inside = [f for f in folder.iterdir() if f.is_dir() and not f.name.startswith(".")]
    except OSError as error:
        raise LthError(f"{folder}: cannot be read ({error})") from None
    numbers = all(f.name.isascii() and f.name.isdigit() for f in inside)
    return sorted(inside, key=lambda f: (int(f.name) if numbers else 0, f.name))


def _classes(train: Path) -> list[str]:
    names = [folder.name for folder in _inside(train)]
    if not names:
        raise LthError(f"{train}: no folder of a class in it: train/<class>/*.png")
    return names


def _listed(split: Path, names: list[str]) -> list[Picture]:
    """Return a split's pictures, class by class, their headers read."""
    folders = _inside(split)
    for folder in folders:
        if folder.name not in names:
            shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
            raise LthError(f"{folder}: train has no such class, but {shown}")
    missing = sorted(set(names) - {f.name for f in folders})
    if missing:
        warnings.warn(f"{split}: it has no {', '.join(missing[:8])}, which train has", stacklevel=4)
    found = []
    for folder in folders:
        files = _files(folder)
        if not files:
            raise LthError(
                f"{folder}: no picture in it ({', '.join(e[1:] for e in ENDINGS)}): add some, or "
                "take the folder away"
            )
        label = names.index(folder.name)
        found += [_header(file, label) for file in files]
    if not found:
        raise LthError(f"{split}: no folder of a class in it: {split.name}/<class>/*.png")
    return found


def _files(folder: Path) -> list[Path]:
    def counts(path: Path) -> bool:
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        return path.suffix.lower() in ENDINGS and not hidden and path.is_file()

    return sorted(filter(counts, folder.rglob("*")), key=lambda p: p.relative_to(folder).as_posix())


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a picture; what is wrong with it becomes one line."""
    from PIL import Image  # slow to import, and only this source needs it

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as picture:
                yield picture
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        limit = f"{Image.MAX_IMAGE_PIXELS:,}"
        raise LthError(f"{path}: more than {limit} pixels: make it smaller first") from None
    except LthError:
        raise
    except Exception as error:  # a damaged file may end in any
        raise LthError(
            f"{path}: cannot be read ({brief(error)}): mend it, or take it away"
        ) from None


def _header(path: Path, label: int) -> Picture:
    with _opened(path) as picture:
        width, height = picture.size
        if picture.mode in DEEP:
            raise LthError(
                f"{path}: more than eight bits a pixel (mode {picture.mode}): make it eight, or "
                "put the pictures' numbers into an .npz file: data=npz"
            )
        if picture.format in CAMERAS and picture.getexif().get(TURNED) in SIDEWAYS:
            width, height = height, width
        return Picture(path, label, (height, width), "grey" if picture.mode in GREY else "rgb")


def _shape(
    place: Path, pictures: list[Picture], size: tuple[int, int] | None, colour: str | None
) -> tuple[int, int, int]:
    """Return (C, H, W) of all pictures; refuse a mix that nothing settles, and too many."""
    first = pictures[0]
    for picture in pictures:
        if size is None and picture.size != first.size:
            sizes = [f"{h} x {w}" for h, w in (picture.size, first.size)]
            raise LthError(
                f"{picture.path} is {sizes[0]} pixels, {first.path} {sizes[1]}: say data.size=N to "
                "resize all"
            )
        if colour is None and picture.colour != first.colour:
            raise LthError(
                f"{picture.path} is {picture.colour}, {first.path} {first.colour}: say "
                "data.colour=grey or data.colour=rgb to make all alike"
            )
    height, width = size or first.size
    shape = len(MODES[colour or first.colour]), height, width
    what = f"{place}: {len(pictures):,} pictures"
    check_memory(len(pictures) * math.prod(shape), what, "say a smaller data.size")
    return shape


def _pixels(pictures: list[Picture], shape: tuple[int, int, int]) -> tuple[Tensor, Tensor]:
    """Read pictures into uint8 ``[N, C, H, W]``, and their classes."""
    from PIL import Image, ImageOps

    channels, height, width = shape
    mode = "L" if channels == 1 else "RGB"
    inputs = torch.empty((len(pictures), *shape), dtype=torch.uint8)
    for row, known in enumerate(pictures):
        with _opened(known.path) as picture:
            turned = picture.format in CAMERAS
            upright = (ImageOps.exif_transpose(picture) if turned else picture).convert(mode)
            if upright.size != (width, height):
                upright = upright.resize((width, height), Image.Resampling.BILINEAR)
            pixels = np.array(upright).reshape(height, width, channels)
        inputs[row] = torch.from_numpy(pixels).permute(2, 0, 1)
    return inputs, torch.tensor([known.label for known in pictures])
