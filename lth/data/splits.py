"""Names of splits, and of arrays by split: ``val``, ``x_train``, ``train_images`` and the like."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sized
from typing import Any, NamedTuple

from lth.errors import LthError

SPLITS = {
    "train": ("training", "train", "tr"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("testing", "test", "te"),
}
PARTS = {
    "inputs": ("x", "inputs", "input", "images", "image", "data", "features", "feature"),
    "targets": ("y", "targets", "target", "labels", "label", "classes", "class"),
}
WANTED = "x_train, y_train, x_test, y_test, and perhaps x_val, y_val"


class Splits(NamedTuple):
    """What stands for each split; ``validation`` is None where there is none of its own."""

    train: Any
    test: Any
    validation: Any = None


def split_called(name: str) -> str | None:
    """Return which split a name stands for: train, validation, test, or None.

    >>> split_called("val"), split_called("Training"), split_called("cats")
    ('validation', 'train', None)
    """
    return _meant(SPLITS).get(_bare(name))


def array_called(name: str) -> tuple[str, str] | None:
    """Return (split, part) of an array's name, in either order, or None.

    >>> array_called("X_train"), array_called("val_labels"), array_called("weights")
    (('train', 'inputs'), ('validation', 'targets'), None)
    """
    return _array_names().get(_bare(name))


def splits_of(given: Mapping[str, Any], where: str) -> Splits:
    """Return the splits in a mapping, named ``train``, ``test``, perhaps ``validation``; or arrays.

    Names that mean nothing here are left aside.
    """
    whole = _by_meaning(given, split_called, where)
    if {"train", "test"} <= set(whole):
        return Splits(**whole)
    return arrays_of(given, where, f"give train and test, or {WANTED}")


def arrays_of(given: Mapping[str, Any], where: str, mend: str = f"name them {WANTED}") -> Splits:
    """Return the pairs (inputs, targets) of each split in a mapping of arrays by name."""
    arrays = _by_meaning(given, array_called, where)
    wanted = [(s, p) for s in ("train", "test") for p in PARTS]
    if any(split == "validation" for split, _ in arrays):
        wanted += [("validation", part) for part in PARTS]
    missing = [f"{split} {part}" for split, part in wanted if (split, part) not in arrays]
    if missing:
        names = ", ".join(list(given)[:12]) or "nothing"
        raise LthError(f"{where} has no {', no '.join(missing)}, but {names}: {mend}")
    splits = dict.fromkeys(split for split, _ in wanted)
    return Splits(**{s: tuple(arrays[s, part] for part in PARTS) for s in splits})


def tenth(targets: Any) -> int:
    """Return how many of so many training examples are held out where nobody says."""
    return max(1, (len(targets) if isinstance(targets, Sized) else 0) // 10)


def _by_meaning(given: Mapping[str, Any], meaning: Any, where: str) -> dict[Any, Any]:
    found: dict[Any, Any] = {}
    names: dict[Any, str] = {}
    for name, value in given.items():
        meant = meaning(name)
        if meant is None:
            continue
        if meant in found:
            what = meant if isinstance(meant, str) else " ".join(meant)
            raise LthError(f"{where} has {names[meant]} and {name}, both the {what}: keep one")
        found[meant], names[meant] = value, name
    return found


def _array_names() -> dict[str, tuple[str, str]]:
    splits, parts = _meant(SPLITS).items(), _meant(PARTS).items()
    return {
        joined: (split, part)
        for word, split in splits
        for other, part in parts
        for joined in (word + other, other + word)
    }


def _meant(words: Mapping[str, Iterable[str]]) -> dict[str, str]:
    return {word: meaning for meaning, several in words.items() for word in several}


def _bare(name: Any) -> str:
    return re.sub(r"[\W_]+", "", str(name).lower())
