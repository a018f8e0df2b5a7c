"""Checks before any work: whether the parts of a study, each right by itself, go together."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from lth.data.dataset import Dataset
from lth.data.seen import check_seen
from lth.errors import LthError, told
from lth.recipe.recipe import Recipe
from lth.spec.build import untagged
from lth.spec.plain import short

REQUIRED_METHODS = {
    "search": ("iterates", "trained_levels"), "prune": ("prunable", "remaining", "to"),
    "rewind": ("needs",), "logger": ("start", "log", "finish", "abort"),
}  # fmt: skip
"""What a part has beside being called."""

CALL_SIGNATURES = {
    "score": (("final",), ("initial", "mask", "generator", "buffers", "probe")),
    "search": (("turn",), ()),
    "prune": (("scores", "mask", "layers"), ()),
    "rewind": (("dense", "trained"), ()),
    "arms": (("winner", "generator"), ("initial", "trained", "dense", "input_shape", "steps")),
}
"""With what a part is called: by place, and by name. An arm gets of the names what it asks for."""


def named_parts(arms: Mapping[str, Any], loggers: Mapping[str, Any]) -> dict[str, Any]:
    """Return arms (each with its copies) and loggers by the names that a user knows them by."""
    by_name = {f"logger.{name}".rstrip("."): each for name, each in loggers.items()}
    return by_name | {f"arms.{name}": arm for name, (arm, _) in arms.items()}


def check_parts(parts: Mapping[str, Any]) -> None:
    """Refuse what a ``_target_`` gave where it cannot do the part's work, by its signature."""
    for name, part in parts.items():
        kind = name.partition(".")[0]
        lacking = [f"it has no {m}" for m in REQUIRED_METHODS.get(kind, ()) if not hasattr(part, m)]
        if why := (lacking or [_misfit(kind, part)])[0]:
            made = type(part).__name__
            raise LthError(f"{name}: its _target_ gave a {made}, which does not fit: {why}")


def _misfit(kind: str, part: Any) -> str:
    """Say why a part cannot be called as it will be; what has no signature is let pass."""
    if kind not in CALL_SIGNATURES:
        return ""
    if not callable(part):
        return "it cannot be called"
    places, names = CALL_SIGNATURES[kind]
    try:
        signature = inspect.signature(part)
    except (TypeError, ValueError):
        return ""
    asked = names if kind != "arms" else [n for n in names if n in signature.parameters]
    try:
        signature.bind(*places, **dict.fromkeys(asked))
    except TypeError as error:
        return f"it cannot be called with {', '.join([*places, *asked])}: {error}"
    return ""


def check_augment(dataset: Dataset) -> None:
    """Try the augmentation on two examples."""
    change, raw = dataset.augment, dataset.train_inputs[:2]
    if change is None:
        return
    name = f"data.augment={type(change).__name__}"
    if not callable(change) or not callable(getattr(change, "draw", None)):
        raise LthError(f"{name}: it must be called with a batch, and have draw: see lth.types")
    try:
        with torch.random.fork_rng(devices=[]):
            new = change(raw.clone(), change.draw(len(raw), torch.Generator().manual_seed(0)))
    except Exception as error:
        raise LthError(f"{name}: it fails on inputs of {list(raw.shape)}: {told(error)}") from error
    tensor = isinstance(new, torch.Tensor)
    if not tensor or (new.shape, new.dtype) != (raw.shape, raw.dtype):
        made = f"{list(new.shape)}, {new.dtype}" if tensor else ""
        raise LthError(
            f"{name}: of inputs {list(raw.shape)}, {raw.dtype}, it makes {made or short(new)}: "
            "shape and dtype must stay"
        )


def check_agreement(asked: Mapping[str, Any], of_data: Mapping[str, Any]) -> None:
    """Refuse a model's ``classes`` or ``input_shape`` that are given, and not those of the data."""
    for name, value in asked.items():
        if untagged(value) != of_data[name]:
            raise LthError(
                f"model.{name}={short(untagged(value))}: the data's is {of_data[name]}; leave it "
                "out: it is left to the data"
            )


def check_batch(recipe: Recipe, dataset: Dataset) -> None:
    """Refuse a batch that the training split does not have."""
    if recipe.batch > dataset.training:
        raise LthError(
            f"recipe.batch={recipe.batch}: the training split has {dataset.training} examples"
        )


def check_examples(score: Any, dataset: Dataset) -> None:
    """Refuse a score, or one inside it, that asks for more examples than the training split has."""
    if not isinstance(score, Mapping):
        return
    for inner in score.values():
        check_examples(inner, dataset)
    asked = score.get("per_class")
    if isinstance(asked, int) and asked * dataset.classes > dataset.training:
        raise LthError(
            f"score.per_class={asked}: that is {asked * dataset.classes} examples of "
            f"{dataset.classes} classes, and the training split has {dataset.training}"
        )


def check_shown(methods: Mapping[str, Any], dataset: Dataset) -> None:
    """Refuse a move that shows its students examples which these data have not."""
    for name, method in methods.items():
        for _, move in method.moves:
            examples = {**dataset.examples, **getattr(move, "examples", {})}
            check_seen(
                examples, dataset.train_targets, dataset.training, dataset.classes,
                f"method.{name}: moves.show",
            )  # fmt: skip


def check_finite(value: Any, path: str = "") -> None:
    """Refuse a number that is infinite or none at all: no result could be filed under it."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            check_finite(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list | tuple):
        for inner in value:
            check_finite(inner, path)
    elif isinstance(value, float) and not math.isfinite(value):
        raise LthError(f"{path}={value}: it must be a finite number")


@contextmanager
def told_of_flat(dataset: Dataset) -> Iterator[None]:
    """Say what a convolution misses in inputs that have no height and width, where it fails."""
    try:
        yield
    except LthError as error:
        words = str(error)
        if len(dataset.input_shape) != 1 or not re.search("input_shape|conv", words):
            raise
        raise LthError(
            f"{words}; the data's inputs are flat, {list(dataset.input_shape)}, and a convolution "
            "takes images [C, H, W]: give the data that shape, or name another model: model=lenet"
        ) from error
