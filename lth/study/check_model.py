"""Checks of a network before any work: on two examples, as it is measured and as it trains."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from lth.data.dataset import Dataset
from lth.errors import LthError, first_line
from lth.networks.layers import Layers
from lth.networks.ticket import draw_model, draw_state, drawing, load_state, state_of
from lth.recipe.adapt import as_loss
from lth.recipe.evaluation import as_floats
from lth.recipe.recipe import Recipe
from lth.spec.build import Spec, build, target_of
from lth.types import Batch, Loss


def check_model(model: Spec, dataset: Dataset, recipe: Recipe) -> None:
    """Try the model and the loss on two examples, as it is measured and as it trains: a step."""
    network = draw_model(model, 0)
    _check_plain(model, network, draw_model(model, 0))
    for name, tensor in (*network.named_parameters(), *network.named_buffers()):
        if tensor.is_complex():
            raise LthError(f"model={target_of(model)}: {name} is complex: weights are real numbers")
    before, targets = _shapes(network), dataset.train_targets[:2]
    several = recipe.measures is not None  # which may be of several outputs
    batch = Batch(dataset.prepare(dataset.train_inputs[:2]), targets, torch.arange(2), 0)
    with torch.no_grad():
        outputs = as_floats(_logits(network.eval(), model, dataset, several=several))
        _check_loss(recipe.loss, outputs, batch)
        _check_measures(recipe, outputs, batch)
    loss = as_loss(build(recipe.loss))
    takes = several or partial(_takes, loss, batch)
    outputs = as_floats(_logits(network.train(), model, dataset, " in training", takes))
    _check_step(model, loss(outputs, batch))
    _check_memory(model, network, dataset)
    odd = sorted(n for n, _ in before ^ _shapes(network))
    if odd:
        raise LthError(
            f"model={target_of(model)}: {odd[0]} appears, goes or changes its shape in a forward "
            "pass: register it in __init__, as it will be, or keep it out of the buffers"
        )


def _takes(loss: Loss, batch: Batch, outputs: Any) -> bool:
    """Whether a loss takes several outputs, which a network may give in training alone."""
    try:
        loss(as_floats(outputs), batch)
    except Exception:
        return False
    return True


def _check_memory(model: Spec, network: nn.Module, dataset: Dataset) -> None:
    """Refuse a network that remembers what its params and buffers do not hold: it would be lost."""
    twin, here, there = draw_model(model, 0), state_of(network), None
    try:
        load_state(twin, here)
    except LthError:
        return  # the shapes changed, which is told in its own words
    with torch.no_grad():
        both = (_logits(n.eval(), model, dataset, several=True) for n in (network, twin))
        here, there = (tree_leaves(outputs) for outputs in both)
    if any(
        isinstance(a, Tensor) and not torch.equal(a.nan_to_num(), b.nan_to_num())
        for a, b in zip(here, there, strict=True)
    ):
        raise LthError(
            f"model={target_of(model)}: in training its forward pass changes attributes that its "
            "outputs depend on and that are neither params nor buffers, so they would be lost: "
            "register them as buffers"
        )


def check_zeros(model: Spec, dataset: Dataset, prunable: Collection[str]) -> None:
    """Refuse a network whose forward pass writes to weights: what is pruned would come back."""
    network = draw_model(model, 0).train()
    weights = {n: p for n, p in network.named_parameters() if n in prunable}
    with torch.no_grad():
        for weight in weights.values():
            weight.zero_()
        _logits(network, model, dataset, " in training", several=True)
    for name, weight in weights.items():
        if bool((weight.nan_to_num() != 0).any()):
            raise LthError(
                f"model={target_of(model)}: its forward pass writes to {name}, so that pruned "
                "weights come back: do it to a copy, or exclude it with prune.spare"
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


def _logits(
    network: nn.Module, model: Spec, dataset: Dataset, when: str = "",
    several: bool | Callable[[Any], bool] = False,
) -> Any:  # fmt: skip
    name, shape = f"model={target_of(model)}", list(dataset.input_shape)
    with drawing(0):
        try:
            logits = network(dataset.prepare(dataset.train_inputs[:2]))
        except Exception as error:
            raise LthError(
                f"{name}: it does not take the data's input_shape {shape}{when}: "
                f"{first_line(error)}" + _of_tokens(dataset)
            ) from error
    if not isinstance(logits, Tensor) and (several(logits) if callable(several) else several):
        return logits  # its loss and measures say whether they take it
    sizes, (wanted, fits) = tuple(getattr(logits, "shape", ())), _wanted(logits, dataset)
    if not fits or logits.is_complex():
        mend = ": let it return the logits alone" if when and not sizes else ""
        mend += ", or recipe.loss be lth.recipe.loss.per_output" if mend else ""
        mend += "; model.classes is left to the data" if dataset.classes else ""
        raise LthError(
            f"{name}: two examples give {sizes or f'a {type(logits).__name__}'}{when}, not "
            f"{wanted}{mend}"
        )
    return logits


def _wanted(outputs: Any, dataset: Dataset) -> tuple[tuple[int, ...], bool]:
    """Return the shape that outputs of two examples should have, and whether they have it."""
    found: tuple[int, ...] = tuple(getattr(outputs, "shape", ()))
    targets = (2, *dataset.train_targets.shape[1:])
    if not dataset.classes:
        return targets, found == targets
    last = found[:-1] == targets and found[-1:] >= (dataset.classes,)
    second = len(targets) > 1 and found[:1] + found[2:] == targets  # as torch's losses have it
    return (*targets, dataset.classes), bool(last or (second and found[1:2] >= (dataset.classes,)))


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
            f"model={target_of(model)}: it has no gradient: {first_line(error)}"
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


def _of_tokens(dataset: Dataset) -> str:
    prepared = dataset.prepare(dataset.train_inputs[:1])
    if prepared.is_floating_point():
        return ""
    return (
        f"; inputs of {prepared.dtype} pass as they are, as tokens: measurements are floats, "
        "pixels uint8"
    )


def _check_measures(recipe: Recipe, outputs: Any, batch: Batch) -> None:
    """Try every measure, so that one that does not fit is refused by name before any work."""
    found = recipe.evaluator()(outputs, batch)
    for name, pair in found.items():
        if any(value.ndim for value in pair):
            raise LthError(f"recipe.measures.{name}: it gives no sum over the batch, a scalar")
    if recipe.monitor not in found:
        raise LthError(f"recipe.monitor={recipe.monitor}: it is one of {', '.join(found)}")


def _check_loss(spec: Spec, outputs: Any, batch: Batch) -> None:
    name = f"recipe.loss={target_of(spec)}"
    try:
        value = as_loss(build(spec), name)(outputs, batch)
    except Exception as error:
        raise LthError(f"{name}: it fails on logits and targets: {first_line(error)}") from error
    if not isinstance(value, torch.Tensor) or value.ndim != 0:
        raise LthError(f"{name}: it gives no scalar tensor")
