"""Scores from gradients on training examples: pruning at initialisation.

They score whatever network they are given, masked; which network that is, is the search's business.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from lth.errors import LthError, first_line
from lth.networks import masks
from lth.networks.ticket import draw_model, traced
from lth.networks.trace import twice_differentiable
from lth.pruning.probe import Probe
from lth.recipe.adapt import as_loss
from lth.spec.argument_types import number, whole
from lth.types import Batch, Mask, Params, Score


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
    number("score.temperature", temperature, "(0, inf]", "it must be above 0")

    def formula(loss: Tensor, weights: list[Tensor]) -> Iterable[Tensor]:
        gradients = gradients_of(loss, weights, create_graph=True)
        norm = sum(((g * g.detach()).sum() for g in gradients), torch.zeros(()))
        products = gradients_of(norm, weights)  # d(g . g_const)/dw = H g
        return (w * h for w, h in zip(weights, products, strict=True))

    score = _of_loss(per_class, formula, temperature)

    def twice(final: Params, **context: Any) -> Params:
        with twice_differentiable():
            try:
                return score(final, **context)
            except (RuntimeError, NotImplementedError) as error:
                if "is not implemented" not in str(error) and "differentiate" not in str(error):
                    raise
                raise LthError(
                    f"score.grasp: the model has no second derivative ({first_line(error)}); "
                    "take another score, such as snip"
                ) from error

    return twice


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
        try:
            scores = flow(final, mask, buffers, probe, torch.float64)
        except RuntimeError as error:
            if "indices" in str(error):
                raise LthError(
                    "score.synflow: its input is 1.0 everywhere, and the model takes whole numbers "
                    "(an embedding's); take another score, such as snip"
                ) from error
            if "dtype" not in str(error):
                raise
            mixed = flow(final, mask, buffers, probe, None)  # it mixes types by itself
            return _check_flow(mixed, probe)
        _check_flow(scores, probe)
        if all(bool(m.all()) for m in mask.values()):
            _warn_of_loss(scores, final, buffers, probe)
        return scores

    def flow(
        final: Params, mask: Mask, buffers: Params, probe: Probe, dtype: torch.dtype | None
    ) -> Params:
        positive, running = _positive(final, dtype), _positive(buffers, dtype)
        leaves = _leaves(positive, mask)
        ones = torch.ones(1, *probe.input_shape, dtype=dtype)
        total = _total(probe.logits(leaves, running, ones, training=False))
        weights = [leaves[n] for n in mask]
        gradients = gradients_of(total, weights)
        return {n: (w * g).detach() for n, w, g in zip(mask, weights, gradients, strict=True)}

    return score


def _total(outputs: Any) -> Tensor:
    """Add up the outputs, of every exit where there are several."""
    return torch.stack([z.double().sum() for z in tree_leaves(outputs)]).sum()


def _positive(tensors: Params, dtype: torch.dtype | None) -> Params:
    """Return ``|w|`` in the type, or each in its own; whole numbers as they are."""
    return {
        n: t.to(dtype or t.dtype).abs() if t.is_floating_point() else t for n, t in tensors.items()
    }


def _check_flow(scores: Params, probe: Probe) -> Params:
    """Refuse scores below 0: what flows is then not kept, and the criterion is not SynFlow."""
    lowest = min(float(s.min()) for s in scores.values())
    highest = max(float(s.abs().max()) for s in scores.values())
    if not lowest < -1e-6 * highest:
        return scores
    modules = draw_model(probe.model, 0).named_modules()
    odd = [f"{n or 'the model'} ({type(m).__name__})" for n, m in modules if _recentres(m)]
    why = f"{', '.join(odd[:3])} does not pass it on" if odd else "an operation does not pass it on"
    raise LthError(
        f"score.synflow: some scores are below 0, so what flows through the weights is not kept: "
        f"{why}; take BatchNorm instead, or another score"
    )


def _warn_of_loss(scores: Params, final: Params, buffers: Params, probe: Probe) -> None:
    """Say where a dense network keeps no flow: a layer that gets none, an output that is curved.

    With positive weights a network of ReLUs is affine in its input: ``R(3x) - 2 R(2x) + R(x) = 0``.
    """
    uses = traced(probe.model, probe.input_shape).uses
    dry = [n for n, s in scores.items() if n in uses and not bool(s.any())]
    if dry:
        warnings.warn(f"score.synflow: nothing flows through {', '.join(dry)}", stacklevel=4)
    double = torch.float64
    positive, running = _positive(final, double), _positive(buffers, double)
    quiet, ones = replace(probe, seen=0), torch.ones(1, *probe.input_shape, dtype=double)
    with torch.no_grad():
        one, two, three = (
            float(_total(quiet.logits(positive, running, c * ones, training=False)))
            for c in (1, 2, 3)
        )
    if abs(three - 2 * two + one) > 1e-6 * abs(three - one):
        warnings.warn(
            "score.synflow: the outputs are not linear in the inputs even with positive weights "
            "(a saturating activation, a softmax): what flows through the weights is not kept",
            stacklevel=4,
        )


def _recentres(module: torch.nn.Module) -> bool:
    kind = type(module).__name__
    return ("Norm" in kind and "BatchNorm" not in kind) or "Attention" in kind


def _first_order(per_class: int, of: Callable[[Tensor, Tensor], Tensor]) -> Score:
    def formula(loss: Tensor, weights: list[Tensor]) -> Iterable[Tensor]:
        gradients = gradients_of(loss, weights)
        return (of(g, w) for g, w in zip(gradients, weights, strict=True))

    return _of_loss(per_class, formula)


def _of_loss(
    per_class: int,
    formula: Callable[[Tensor, list[Tensor]], Iterable[Tensor]],
    temperature: float = 1.0,
) -> Score:
    """Make a score of ``(loss on examples, weights) -> scores``, layer by layer."""
    whole("score.per_class", per_class, 1, "a number of examples,")

    def score(
        final: Params, *, mask: Mask, generator: torch.Generator, buffers: Params | None = None,
        probe: Probe | None = None, **_: Any,
    ) -> Params:  # fmt: skip
        probe, buffers = _needed(probe), buffers or {}
        leaves = _leaves(final, mask)
        inputs, targets = probe.examples(per_class * probe.classes, generator)
        logits = probe.logits(leaves, buffers, inputs, generator=generator)
        logits = tree_map(lambda z: z / temperature, logits)  # of every output
        loss = as_loss(probe.loss)(logits, Batch(inputs, targets))
        scores = formula(loss, [leaves[n] for n in mask])
        return {n: s.detach() for n, s in zip(mask, scores, strict=True)}

    return score


def gradients_of(
    loss: Tensor, weights: list[Tensor], create_graph: bool = False
) -> tuple[Tensor, ...]:
    """Return the gradient by each weight: 0 where this forward pass does not use it."""
    if not loss.requires_grad:
        return tuple(torch.zeros_like(w) for w in weights)
    return torch.autograd.grad(loss, weights, create_graph=create_graph, materialize_grads=True)


def _needed(probe: Probe | None) -> Probe:
    if probe is None:
        raise LthError(
            "this score is a gradient: it needs a model and training examples; "
            "give it probe=lth.pruning.probe.Probe(...), as a study does"
        )
    return probe


def _leaves(params: Params, mask: Mask) -> dict[str, Tensor]:
    """Return masked copies, those that can be pruned with a gradient."""
    seen = masks.apply(params, mask)
    return {n: p.detach().clone().requires_grad_(n in mask) for n, p in seen.items()}
