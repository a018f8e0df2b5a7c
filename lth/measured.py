"""What a study judges by: one metric, whether more of it is better, and what stops early."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from lth.errors import LthError
from lth.spec.build import build

PREFIXES = {
    "train": "train", "training": "train", "val": "validation", "valid": "validation",
    "validation": "validation", "test": "test",
}  # fmt: skip
"""By what a logged name begins with: the split that it is of."""

HIGHER = ("acc", "f1", "auc", "auroc", "precision", "recall", "bleu", "rouge", "iou", "dice", "map",
          "psnr", "ssim", "r2", "score", "reward", "return", "likelihood", "hits", "top",
          "tokens")  # fmt: skip
"""What the name of a metric holds of which more is better."""


class Measured(NamedTuple):
    """The judged metric: its name in the records, its direction, and the value that is monitored.

    Test rows of ``metric`` are judged, validation rows where a task has no test split.
    """

    metric: str = "accuracy"
    higher: bool = True
    monitor: str = "loss"


def measured_of(config: Mapping[str, Any]) -> Measured:
    """Return what a resolved configuration judges by: accuracy, if nothing else is named.

    That is a task's monitored value, or the first of ``recipe.measures``.

    >>> measured_of({})
    Measured(metric='accuracy', higher=True, monitor='loss')
    >>> measured_of({"task": {"monitor": "val_loss", "mode": None}})
    Measured(metric='loss', higher=False, monitor='loss')
    >>> measured_of({"recipe": {"measures": {"mse": {"_target_": "lth.recipe.measures.mse"}}}})
    Measured(metric='mse', higher=False, monitor='loss')
    """
    task = config.get("task") or {}
    monitor = task.get("monitor")
    if not monitor:
        return _of_recipe(config.get("recipe") or {})
    metric, mode = split_and_metric(str(monitor))[1], task.get("mode")
    higher = higher_is_better(metric) if mode is None else mode == "max"
    return Measured(metric, higher, metric)


def _of_recipe(recipe: Mapping[str, Any]) -> Measured:
    """Return the first of a recipe's measures, accuracy where it names none."""
    monitor, measures = recipe.get("monitor") or "loss", recipe.get("measures") or {}
    if not measures:
        return Measured(monitor=monitor)
    name, spec = next(iter(measures.items()))
    monitored = monitor.partition("/")[0] == name
    if monitored and recipe.get("mode"):
        return Measured(name, recipe["mode"] == "max", monitor)
    return Measured(name, is_better_higher(name, spec), monitor)


def is_better_higher(name: str, spec: Mapping[str, Any] | None) -> bool:
    """Return whether more of a measure is better: as its ``higher`` says, else by its names.

    Of a measure ``of`` another one it is as of that; a name that says nothing is taken for an
    error's.

    >>> is_better_higher("best", {"_target_": "lth.recipe.measures.top_k"})
    True
    """
    given = spec or {}
    factory = str(given.get("_target_", "")).rpartition(".")[2]
    if (said := _said(given)) is not None:
        return said
    inner = given.get("of") if isinstance(given.get("of"), Mapping) else None
    if inner is not None and is_better_higher("", inner):
        return True
    return higher_is_better(name) or higher_is_better(factory)


def _said(spec: Mapping[str, Any]) -> bool | None:
    """Return what the measure itself says; of one that cannot, or may not, be made here: None."""
    try:
        said = getattr(build(spec), "higher", None) if spec else None
    except LthError:
        return None
    return None if said is None else bool(said)


def split_and_metric(name: str) -> tuple[str | None, str]:
    """Return the split that a logged name's prefix tells, None without one, and the rest.

    >>> split_and_metric("val_loss"), split_and_metric("test/acc"), split_and_metric("elbo")
    (('validation', 'loss'), ('test', 'acc'), (None, 'elbo'))
    """
    for mark in ("/", "_", "."):
        prefix, found, rest = name.partition(mark)
        if found and rest and prefix.lower() in PREFIXES:
            return PREFIXES[prefix.lower()], rest
    return None, name


def higher_is_better(metric: str) -> bool:
    """Guess from a metric's name whether more of it is better; of a loss or an error it is not.

    >>> higher_is_better("accuracy"), higher_is_better("loss"), higher_is_better("map_loss")
    (True, False, False)
    """
    words = re.split(r"[^a-z0-9]+", metric.lower())
    if any(w.startswith(("loss", "err", "nll")) or w.endswith(("loss", "error")) for w in words):
        return False
    return any(w.startswith("acc") or w in HIGHER or w.endswith("score") for w in words)
