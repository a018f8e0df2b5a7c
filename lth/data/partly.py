"""Data sets made of another: with few labels, or without some classes in training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lth.data.dataset import Dataset
from lth.data.own import dataset_of
from lth.data.seen import check_seen, examples_of


def partly_labelled(of: Dataset, labels: int, root: str | None = None) -> Dataset:
    """Tell the classes of so many training examples only; the others are a pool without labels.

    Which ones is drawn anew in every trial, as many of every class as there can be. A member that
    has a teacher trains on all, those without a label bearing the target -100; one that has none
    trains on the labelled ones alone. Validation and test keep their labels: how many that are is
    to be said beside ``labels`` (Oliver et al. 2018, arXiv 1804.09170, Section 4.6). ``root`` is
    for the data set inside.
    """
    return _with(of, f"{labels}-labels", labels=labels)


def without(of: Dataset, classes: int | Sequence[int], root: str | None = None) -> Dataset:
    """Leave all examples of some classes out of training; validation and test keep them.

    The transfer set of Hinton et al. 2015 (arXiv 1503.02531, Section 3) has no 3. ``root`` is for
    the data set inside.
    """
    return _with(of, "without", without=classes)


def _with(
    of: Dataset, name: str, labels: int | None = None, without: int | Sequence[int] | None = None
) -> Dataset:
    of = dataset_of(of, "data.of")
    examples = {**of.examples, **examples_of(labels, without, "data")}
    check_seen(examples, of.train_targets, of.training, of.classes, "data")
    return replace(of, name=f"{of.name}-{name}", examples=examples)
