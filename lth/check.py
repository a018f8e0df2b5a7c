"""Checks before any work: whether the parts of a study, each right by itself, go together."""

from __future__ import annotations

import inspect
import math
from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import nn

from lth.data.dataset import Dataset
from lth.errors import LthError, told
from lth.layers import Layers
from lth.plain import short
from lth.recipe import Recipe
from lth.spec import Spec, build, target_of, untagged
from lth.ticket import draw_model, draw_state, drawing

HAS = {
    "search": ("iterates", "trained_levels"), "prune": ("prunable", "remaining", "to"),
    "rewind": ("needs",), "logger": ("start", "log", "finish", "abort"),
}  # fmt: skip
"""What a part has beside being called."""

CALLED = {
    "score": (("final",), ("initial", "mask", "generator", "buffers", "probe")),
    "search": (("case",), ()),
    "prune": (("scores", "mask", "layers"), ()),
    "rewind": (("dense", "trained"), ()),
    "arms": (("winner", "generator"), ("initial", "trained", "dense", "input_shape")),
}
"""With what a part is called: by place, and by name. An arm gets of the names what it asks for."""


def check_parts(parts: Mapping[str, Any]) -> None:
    """Refuse what a ``_target_`` gave where it cannot do the part's work, by its signature."""
    for name, part in parts.items():
        kind = name.partition(".")[0]
        lacking = [f"it has no {m}" for m in HAS.get(kind, ()) if not hasattr(part, m)]
        if why := (lacking or [_misfit(kind, part)])[0]:
            made = type(part).__name__
            raise LthError(f"{name}: its _target_ gave a {made}, which does not fit: {why}")


def _misfit(kind: str, part: Any) -> str:
    """Say why a part cannot be called as it will be; what has no signature is let pass."""
    if kind not in CALLED:
        return ""
    if not callable(part):
        return "it cannot be called"
    places, names = CALLED[kind]
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


def check_model(model: Spec, dataset: Dataset, recipe: Recipe) -> None:
    """Try the model and the loss on two examples, as it is measured and as it trains: a step."""
    network = draw_model(model, 0)
    _check_plain(model, network, draw_model(model, 0))
    for name, tensor in (*network.named_parameters(), *network.named_buffers()):
        if tensor.is_complex():
            raise LthError(f"model={target_of(model)}: {name} is complex: weights are real numbers")
    before, targets = _shapes(network), dataset.train_targets[:2]
    with torch.no_grad():
        logits = _logits(network.eval(), model, dataset)
        _check_loss(recipe.loss, logits.float(), targets)
    logits = _logits(network.train(), model, dataset, " in training")
    _check_step(model, build(recipe.loss)(logits.float(), targets))
    odd = sorted(n for n, _ in before ^ _shapes(network))
    if odd:
        raise LthError(
            f"model={target_of(model)}: {odd[0]} appears, goes or changes its shape in a forward "
            "pass: register it in __init__, as it will be, or keep it out of the buffers"
        )


def _check_plain(model: Spec, network: nn.Module, again: nn.Module) -> None:
    """Refuse what is compiled or scripted already, and two draws that share memory."""
    for module in network.modules():
        if isinstance(module, torch.jit.ScriptModule) or type(module).__name__ == "OptimizedModule":
            raise LthError(
                f"model={target_of(model)}: a {type(module).__name__} cannot be looked into: give "
                "the plain module; trainer.compile compiles it"
            )
    if network is again:
        raise LthError(
            f"model={target_of(model)}: it gives the same module every time: let it build a new "
            "one at each call"
        )
    ours, theirs = dict(network.named_parameters()), dict(again.named_parameters())
    for name, p in ours.items():
        if p.requires_grad and name in theirs and p.data_ptr() == theirs[name].data_ptr() != 0:
            raise LthError(
                f"model={target_of(model)}: two of its draws share the memory of {name}: training "
                "one would change the other; clone it in the factory"
            )


def _logits(network: nn.Module, model: Spec, dataset: Dataset, when: str = "") -> torch.Tensor:
    name, shape = f"model={target_of(model)}", list(dataset.input_shape)
    with drawing(0):
        try:
            logits = network(dataset.prepare(dataset.train_inputs[:2]))
        except Exception as error:
            raise LthError(
                f"{name}: it does not take the data's input_shape {shape}{when}: "
                f"{_first_line(error)}" + _of_tokens(dataset)
            ) from error
    found = tuple(getattr(logits, "shape", ()))
    if len(found) != 2 or found[0] != 2 or found[1] < dataset.classes or logits.is_complex():
        mend = ": let it return the logits alone" if when and not found else ""
        raise LthError(
            f"{name}: two examples give {found or f'a {type(logits).__name__}'}{when}, not "
            f"(2, {dataset.classes}){mend}; model.classes is left to the data"
        )
    return logits


def _check_step(model: Spec, loss: torch.Tensor) -> None:
    if not loss.requires_grad:
        raise LthError(
            f"model={target_of(model)}: nothing in it trains: the loss has no gradient by any "
            "parameter (all are frozen, or its forward pass is under no_grad)"
        )
    try:
        loss.backward()
    except Exception as error:
        raise LthError(
            f"model={target_of(model)}: it has no gradient: {_first_line(error)}"
        ) from error


def _shapes(network: nn.Module) -> set[tuple[str, tuple[int, ...]]]:
    named = (*network.named_parameters(), *network.named_buffers())
    return {(n, tuple(t.shape)) for n, t in named}


def check_weights(layers: Layers, prunable: Collection[str]) -> None:
    """Refuse a weight that is to be pruned and cannot be: zeros beneath it are none of its own."""
    for name in prunable:
        if name in layers.fixed:
            raise LthError(
                f"{name} cannot be pruned: {layers.fixed[name]}; or spare it: "
                f"prune=globally prune.spare=[{name}], or prune=layerwise with a rate of 0 for it"
            )
        if len(layers.shapes[name]) == 0:
            raise LthError(f"{name} cannot be pruned: it is a single number")


def equal_draws(model: Spec, layers: Layers) -> str:
    """Say of which weights two draws of the model are equal; a draw unlike itself is refused."""
    one, again, other = (draw_state(model, seed) for seed in (0, 0, 1))
    for kind in range(2):
        for name, value in one[kind].items():
            if not torch.equal(_bits(value), _bits(again[kind][name])):
                raise LthError(
                    f"model={target_of(model)}: two draws from one seed differ ({name}): it draws "
                    "from a generator that no seed reaches; use torch's, numpy's or random's global"
                )
    names = [
        n for n, w in layers.parts.items() if w not in layers.fixed and one.params[n].numel() > 1
    ]
    drawn = [n for n in names if not bool((one.params[n] == one.params[n].reshape(-1)[0]).all())]
    equal = [n for n in drawn or names if torch.equal(one.params[n], other.params[n])]
    if not equal:
        return ""
    which = "" if len(equal) == len(drawn or names) else f" in {', '.join(equal[:3])}"
    which += f" and {len(equal) - 3} more" if which and len(equal) > 3 else ""
    return (
        f"model={target_of(model)}: two draws of it are equal{which}: it seeds itself, loads "
        "weights, or sets them to constants; trials are then no replicates, and a reinit is none"
    )


def _bits(value: torch.Tensor) -> torch.Tensor:
    return value.contiguous().reshape(-1).view(torch.uint8)  # a NaN is itself


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
            found = change(raw.clone(), change.draw(len(raw), torch.Generator().manual_seed(0)))
    except Exception as error:
        raise LthError(f"{name}: it fails on inputs of {list(raw.shape)}: {told(error)}") from error
    if not isinstance(found, torch.Tensor) or (found.shape, found.dtype) != (raw.shape, raw.dtype):
        made = f"{list(found.shape)}, {found.dtype}" if isinstance(found, torch.Tensor) else ""
        raise LthError(
            f"{name}: of inputs {list(raw.shape)}, {raw.dtype}, it makes {made or short(found)}: "
            "shape and dtype must stay"
        )


def _of_tokens(dataset: Dataset) -> str:
    prepared = dataset.prepare(dataset.train_inputs[:1])
    if prepared.is_floating_point():
        return ""
    return (
        f"; inputs of {prepared.dtype} pass as they are, as tokens: measurements are floats, "
        "pixels uint8"
    )


def check_agreement(asked: Mapping[str, Any], of_data: Mapping[str, Any]) -> None:
    """Refuse a model's ``classes`` or ``input_shape`` that are given, and not those of the data."""
    for name, value in asked.items():
        if untagged(value) != of_data[name]:
            raise LthError(
                f"model.{name}={short(untagged(value))}: the data's is {of_data[name]}; leave it "
                "out: it is left to the data"
            )


def _check_loss(spec: Spec, logits: torch.Tensor, targets: torch.Tensor) -> None:
    name = f"recipe.loss={target_of(spec)}"
    try:
        found = build(spec)(logits, targets)
    except Exception as error:
        raise LthError(f"{name}: it fails on logits and targets: {_first_line(error)}") from error
    if not isinstance(found, torch.Tensor) or found.ndim != 0:
        raise LthError(f"{name}: it gives no scalar tensor")


def check_batch(recipe: Recipe, dataset: Dataset) -> None:
    """Refuse a batch that the training split does not have."""
    if recipe.batch > _size(dataset):
        raise LthError(
            f"recipe.batch={recipe.batch}: the training split has {_size(dataset)} examples"
        )


def check_examples(score: Any, dataset: Dataset) -> None:
    """Refuse a score, or one inside it, that asks for more examples than the training split has."""
    if not isinstance(score, Mapping):
        return
    for inner in score.values():
        check_examples(inner, dataset)
    asked = score.get("per_class")
    if isinstance(asked, int) and asked * dataset.classes > _size(dataset):
        raise LthError(
            f"score.per_class={asked}: that is {asked * dataset.classes} examples of "
            f"{dataset.classes} classes, and the training split has {_size(dataset)}"
        )


def _size(dataset: Dataset) -> int:
    return len(dataset.train_targets) - dataset.validation


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


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
