"""Scores from gradients on training examples: pruning at initialisation.

They score whatever network they are given, masked; which network that is, is the search's business.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from lth import masks
from lth.errors import LthError
from lth.probe import Probe
from lth.types import Mask, Params, Score


def snip(per_class: int = 10) -> Score:
    """``|g * w|``, g the gradient of the loss over ``per_class`` examples a class, on average.

    Lee et al. 2019, arXiv 1810.02340, Equation 6 (their normalisation does not change the order).
    """
    return _first_order(per_class, lambda gradient, weight: (gradient * weight).abs())


def gradient_magnitude(per_class: int = 10) -> Score:
    """``|g|`` (Zhou et al. 2019, arXiv 1905.01067: grad)."""
    return _first_order(per_class, lambda gradient, weight: gradient.abs())


def grasp(per_class: int = 10, temperature: float = 200.0) -> Score:
    """``w * (H g)``: keep what the gradient's norm would miss.

    Removing w changes ``g^T g`` by ``-2 w * (H g)`` to first order; the paper prunes where that is
    greatest. Logits are divided by ``temperature``. Wang et al. 2020, arXiv 2002.07376, Equation 8.
    """
    if not temperature > 0:
        raise LthError(f"score.temperature={temperature}: it must be above 0")

    def formula(loss: Tensor, weights: list[Tensor]) -> Iterable[Tensor]:
        gradients = torch.autograd.grad(loss, weights, create_graph=True)
        norm = sum(((g * g.detach()).sum() for g in gradients), torch.zeros(()))
        products = torch.autograd.grad(norm, weights)  # d(g . g_const)/dw = H g
        return (w * h for w, h in zip(weights, products, strict=True))

    return _of_loss(per_class, formula, temperature)


def synflow() -> Score:
    """``|w| * dR/d|w|`` with ``R = sum of outputs`` for an input of ones and weights ``|w|``.

    In float64: products over many layers overflow float32. Norms use their running statistics. No
    data is used. Tanaka et al. 2020, arXiv 2006.05467, Equation 2 and Algorithm 1; meant for
    ``search=at_init search.rounds=100``.
    """

    def score(
        final: Params, *, mask: Mask, buffers: Params | None = None, probe: Probe | None = None,
        **_: Any,
    ) -> Params:  # fmt: skip
        probe, buffers = _needed(probe), buffers or {}
        positive = {n: p.double().abs() for n, p in final.items()}
        leaves = _leaves(positive, mask)
        running = {n: b.double().abs() if b.is_floating_point() else b for n, b in buffers.items()}
        ones = torch.ones(1, *probe.input_shape, dtype=torch.float64)
        total = probe.logits(leaves, running, ones, training=False).sum()
        weights = [leaves[n] for n in mask]
        gradients = torch.autograd.grad(total, weights)
        return {n: (w * g).detach() for n, w, g in zip(mask, weights, gradients, strict=True)}

    return score


def _first_order(per_class: int, of: Callable[[Tensor, Tensor], Tensor]) -> Score:
    def formula(loss: Tensor, weights: list[Tensor]) -> Iterable[Tensor]:
        gradients = torch.autograd.grad(loss, weights)
        return (of(g, w) for g, w in zip(gradients, weights, strict=True))

    return _of_loss(per_class, formula)


def _of_loss(
    per_class: int,
    formula: Callable[[Tensor, list[Tensor]], Iterable[Tensor]],
    temperature: float = 1.0,
) -> Score:
    """Make a score of ``(loss on examples, weights) -> scores``, layer by layer."""
    if isinstance(per_class, bool) or not isinstance(per_class, int) or per_class < 1:
        raise LthError(f"score.per_class={per_class!r}: a number of examples, from 1")

    def score(
        final: Params, *, mask: Mask, generator: torch.Generator, buffers: Params | None = None,
        probe: Probe | None = None, **_: Any,
    ) -> Params:  # fmt: skip
        probe, buffers = _needed(probe), buffers or {}
        leaves = _leaves(final, mask)
        inputs, targets = probe.examples(per_class * probe.classes, generator)
        logits = probe.logits(leaves, buffers, inputs, generator=generator)
        loss = probe.loss(logits / temperature, targets)
        found = formula(loss, [leaves[n] for n in mask])
        return {n: s.detach() for n, s in zip(mask, found, strict=True)}

    return score


def _needed(probe: Probe | None) -> Probe:
    if probe is None:
        raise LthError(
            "this score is a gradient: it needs a model and training examples; "
            "give it probe=lth.probe.Probe(...), as a study does"
        )
    return probe


def _leaves(params: Params, mask: Mask) -> dict[str, Tensor]:
    """Return masked copies, those that can be pruned with a gradient."""
    seen = masks.apply(params, mask)
    return {n: p.detach().clone().requires_grad_(n in mask) for n, p in seen.items()}
