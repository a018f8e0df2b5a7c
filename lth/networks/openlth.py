"""OpenLTH's names and files (github.com/facebookresearch/open_lth), into this package's and back.

A level of theirs is a folder: ``mask.pth`` holds int32 tensors of 0 and 1 by weight name, one for
every Linear and Conv2d; ``model_ep<epoch>_it<iteration>.pth`` a state dict of the masked network;
``sparsity_report.json`` counts. Names of their LeNet, ResNet and VGG are told by pattern; their
VGG's convolutions have biases, which those here lack, so of it masks alone fit.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeVar

from lth.errors import LthError

T = TypeVar("T")

MASK, STATE = "mask.pth", re.compile(r"model_ep(\d+)_it(\d+)\.pth")

BUFFER = "mask_"
"""How the masks begin in the state of a ``PrunedModel``: ``mask_fc___weight``."""


def files(folder: Path) -> tuple[Path, Path]:
    """Return mask and earliest state of a level's folder."""
    states = [(found, p) for p in folder.iterdir() if (found := STATE.fullmatch(p.name))]
    mask = folder / MASK
    if not mask.is_file() or not states:
        lacks = MASK if not mask.is_file() else "model_ep0_it0.pth"
        raise LthError(f"{folder}: no level of OpenLTH's: it has no {lacks}")
    _, first = min(states, key=lambda pair: tuple(map(int, pair[0].groups())))
    return mask, first


def unwrapped(given: Mapping[str, T]) -> dict[str, T]:
    """Take the state of a ``PrunedModel`` apart: its masks get the names of torch's own pruning."""
    if given and all(n.startswith("module.") for n in given):  # DataParallel around it
        return unwrapped({n.removeprefix("module."): t for n, t in given.items()})
    masks = {n: n.removeprefix(BUFFER).replace("___", ".") for n in given if n.startswith(BUFFER)}
    inner = [n for n in given if n not in masks]
    if not masks or not inner or not all(n.startswith("model.") for n in inner):
        return dict(given)
    return {
        f"{masks[n]}_mask" if n in masks else n.removeprefix("model."): t for n, t in given.items()
    }


def ours(given: Iterable[str], names: Iterable[str]) -> dict[str, str]:
    """Map those of their names that a network has as ``names`` of its own; others are left out.

    >>> ours(["fc_layers.0.weight", "fc.bias"], ["fc1.weight", "fc1.bias", "output.bias"])
    {'fc_layers.0.weight': 'fc1.weight', 'fc.bias': 'output.bias'}
    """
    back = {other: own for own, other in theirs(names).items()}
    stems = {n: _plain(n) for n in given}
    return {n: back[s] + n[len(s) :] for n, s in stems.items() if s in back}


def theirs(names: Iterable[str]) -> dict[str, str]:
    """Map a network's own names to OpenLTH's; of one that they do not have: nothing.

    >>> theirs(["fc1.weight", "output.weight"])
    {'fc1.weight': 'fc_layers.0.weight', 'output.weight': 'fc.weight'}
    """
    names = list(names)
    for table in (_lenet, _resnet, _vgg):
        found = table(names)
        if all(n in found for n in names):
            return found
    return {}


def _plain(name: str) -> str:
    """Take the ending of torch's own pruning off."""
    return re.sub(r"(_mask|_orig)$", "", name)


def _lenet(names: Iterable[str]) -> dict[str, str]:
    return _named(names, {r"fc(\d+)\.(.+)": lambda m: f"fc_layers.{int(m[1]) - 1}.{m[2]}"})


def _resnet(names: Iterable[str]) -> dict[str, str]:
    """Number blocks through the stages: ``stage2.block1`` is ``blocks.3`` where a stage has 3."""
    pattern = re.compile(r"stage(\d)\.block(\d+)\.(first|second|shortcut)\.(conv|norm)\.(.+)")
    names = list(names)
    blocks = sorted({(int(m[1]), int(m[2])) for n in names if (m := pattern.fullmatch(n))})
    kinds = {
        ("first", "conv"): "conv1", ("first", "norm"): "bn1", ("second", "conv"): "conv2",
        ("second", "norm"): "bn2", ("shortcut", "conv"): "shortcut.0",
        ("shortcut", "norm"): "shortcut.1",
    }  # fmt: skip

    def block(m: re.Match[str]) -> str:
        return f"blocks.{blocks.index((int(m[1]), int(m[2])))}.{kinds[m[3], m[4]]}.{m[5]}"

    stem = {r"stem\.conv\.(.+)": lambda m: f"conv.{m[1]}",
            r"stem\.norm\.(.+)": lambda m: f"bn.{m[1]}"}  # fmt: skip
    return _named(names, {pattern.pattern: block, **stem}) if blocks else {}


POOLED = {8: (1, 2, 4, 6), 10: (2, 4, 6, 8), 13: (2, 4, 7, 10), 16: (2, 4, 8, 12)}
"""By how many convolutions a VGG has: behind which there is a pooling, which counts as a layer."""


def _vgg(names: Iterable[str]) -> dict[str, str]:
    names = list(names)
    count = max((int(m[1]) for n in names if (m := re.match(r"conv(\d+)\.", n))), default=0)
    pooled = POOLED.get(count, ())

    def layer(number: str) -> int:
        return int(number) - 1 + sum(int(number) > last for last in pooled)

    return _named(names, {
        r"conv(\d+)\.(.+)": lambda m: f"layers.{layer(m[1])}.conv.{m[2]}",
        r"norm(\d+)\.(.+)": lambda m: f"layers.{layer(m[1])}.bn.{m[2]}",
    }) if pooled else {}  # fmt: skip


def _named(
    names: Iterable[str], patterns: Mapping[str, Callable[[re.Match[str]], str]]
) -> dict[str, str]:
    every = {**patterns, r"output\.(.+)": lambda m: f"fc.{m[1]}"}
    return {
        name: make(found)
        for name in names
        for pattern, make in every.items()
        if (found := re.fullmatch(pattern, name))
    }
