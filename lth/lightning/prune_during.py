"""PruneDuring: a callback that changes the mask on the way."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from lth.errors import LthError
from lth.lightning.held import hold
from lth.lightning.keep_mask import KeepMask, callbacks_of
from lth.lightning.named import booleans, refuse_lazy
from lth.lightning.updates import Updates, in_all, trained_by
from lth.networks import masks
from lth.networks.layers import describe
from lth.pruning import dynamic
from lth.pruning.dynamic import DropAndGrow, Dynamics, MaskUpdate
from lth.spec.argument_types import is_whole
from lth.spec.build import build
from lth.streams import stream
from lth.types import Mask, Params

ByHand = Callable[[int, Mask, Params], Mapping[str, Any]]
"""``(step, mask, weights) -> mask``: called before update ``step``, weights masked."""


class PruneDuring(KeepMask):
    """Change a mask on a schedule, and keep it in between as ``KeepMask`` does.

    ``PruneDuring(density=0.2)`` prunes every layer by magnitude to that share of its weights:
    ``kept(t) = final + (size - final) (1 - (t - begin) / (until - begin)) ** 3``, every ``every``
    updates between the shares ``begin`` and ``until`` of the run (Zhu & Gupta 2017, arXiv
    1710.01878, Equation 1). Another ``schedule`` is one of ``lth.pruning.dynamic`` (``gradual``,
    ``sparse_evolution``, ``rigl``), or a function ``(step, mask, weights) -> mask`` that is asked
    before every update, or every ``every``.

    ``mask`` is where it starts; by default every weight of Linear, Conv, recurrent and attention
    modules that an optimizer trains is kept. ``steps`` is how many updates the run makes, where the
    trainer cannot tell, as where a module steps by hand on every second batch: a run that ends too
    early for its schedule warns. A schedule that grows by gradient (RigL) sees that of the update
    before which it acts, reduced over ranks and before clipping; the update is made with the new
    mask. Newly kept weights start at 0 with moments of 0. A ``KeepMask`` beside it bounds the mask.
    The mask of the moment travels in checkpoints; under DDP it is rank 0's. Steps are counted as
    ``RewindPoint`` counts them, from ``start`` on.
    """

    _changes = True

    def __init__(
        self,
        schedule: Dynamics | ByHand | Mapping[str, Any] | None = None,
        *,
        density: float | None = None,
        every: int | None = None,
        begin: float = 0.0,
        until: float = 0.5,
        mask: Any = None,
        steps: int | None = None,
        start: int = 0,
    ) -> None:
        super().__init__(mask)
        if (schedule is None) == (density is None):
            raise LthError("PruneDuring: give a schedule or density=, one of them")
        if density is not None and not (isinstance(density, float) and 0 < density < 1):
            raise LthError(f"PruneDuring: density={density!r}: the share kept, in (0, 1)")
        if every is not None and not is_whole(every, 1):
            raise LthError(f"PruneDuring: every={every!r}: a number of updates, from 1")
        self.density, self.every, self.shares = density, every, (begin, until)
        self.steps, self.start = steps, start
        self.schedule: Any = build(schedule) if isinstance(schedule, Mapping) else schedule
        if density is not None:
            dynamic.gradual({}, every or 100, begin, until)  # refuses wrong shares now
        elif not callable(self.schedule):
            raise LthError(f"PruneDuring: {type(schedule).__name__} is no schedule")
        self._updates, self._count = Updates(), None
        self._due: frozenset[int] | None = None
        self._total = 0
        self._bound: Mask = {}
        self._dense = self._whole = False

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start from the mask given, a checkpoint's, or the dense network's."""
        if self._saved is not None:
            self.mask = self._saved
            self._saved = None
        if self.mask is None:
            refuse_lazy(pl_module, "PruneDuring")
            layers = describe(pl_module)
            self.mask = masks.full(layers, (n for n in layers.shapes if n not in layers.fixed))
            self._whole = True
            self._check_any()
        super().on_fit_start(trainer, pl_module)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Find out when the mask changes."""
        self._updates.start(trainer, self._count)
        self._bound = _bound_of(trainer)
        assert self.mask is not None
        trained = trained_by(trainer, pl_module) if self._whole else None
        if trained is not None:  # a network that mirrors another is no optimizer's
            self.mask = {n: m for n, m in self.mask.items() if n in trained}
            self._check_any()
            self._held = {}
        self.mask = self._bounded(self.mask)
        if self.density is not None:
            final = {n: max(1, round(self.density * m.numel())) for n, m in self.mask.items()}
            self.schedule = dynamic.gradual(final, self.every or 100, *self.shares)
        if not _by_hand(self.schedule):
            self._total = in_all(trainer, self.steps, "PruneDuring", self.start)
            self._due = frozenset(self.schedule.updates(self._total))
        if isinstance(self.schedule, DropAndGrow) and all(m.all() for m in self.mask.values()):
            raise LthError(
                "PruneDuring: this schedule keeps every layer's count, and the mask is dense: give "
                "the mask to start from, mask="
            )
        super().on_train_start(trainer, pl_module)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Change the mask if it is due before the next update."""
        super().on_train_batch_start(trainer, pl_module, batch, batch_idx)
        self._updates.before_batch(trainer)
        if not self._is_due(self.start + self._updates.done):
            return
        if getattr(self.schedule, "needs_gradient", False):
            self._dense = True  # gradients are left whole until the update
        else:
            self._change(trainer, pl_module, None)

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Any
    ) -> None:
        """Change a mask that goes by gradients, now that they are there; then mask them."""
        if self._dense:
            weights = {n: pl_module.get_parameter(n) for n in self.mask or {}}
            mine = {id(p) for group in optimizer.param_groups for p in group["params"]}
            if not all(id(w) in mine for w in weights.values()):
                raise LthError(
                    "PruneDuring: a schedule that grows by gradient needs its weights in one "
                    "optimizer: give the mask of those that it may change, mask="
                )
            self._dense = False
            whole = {n: _gradient(w) for n, w in weights.items()}
            self._change(trainer, pl_module, whole)
        super().on_before_optimizer_step(trainer, pl_module, optimizer)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any, **kwargs: Any
    ) -> None:
        """Count the update."""
        if self._updates.after_batch(trainer):
            self._done_at = None
        super().on_train_batch_end(trainer, pl_module, *args, **kwargs)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Say so where the run ended before the mask was as sparse as was asked for."""
        super().on_train_end(trainer, pl_module)
        made, last = self.start + self._updates.done, max(self._due or {-1})
        if isinstance(self.schedule, dynamic.gradual) and made <= last:
            mask = self.mask or {}
            share = sum(int(m.sum()) for m in mask.values()) / sum(m.numel() for m in mask.values())
            warnings.warn(
                f"PruneDuring: the run ended after {made} updates, and the mask was to change last "
                f"at {last}: {share:.1%} of its weights are kept; say steps=, the updates it makes",
                stacklevel=2,
            )

    def _let_go(self) -> None:
        super()._let_go()
        self._updates.stop()

    def state_dict(self) -> dict[str, Any]:
        """Return the mask of the moment and the count of updates."""
        return super().state_dict() | {"updates": self._updates.done}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take them up again."""
        self.mask = None
        super().load_state_dict(state_dict)
        self._count = state_dict["updates"]

    def _after_gradient(self, weight: Tensor) -> None:
        if not self._dense:
            super()._after_gradient(weight)

    def _check_any(self) -> None:
        if not self.mask:
            raise LthError(
                "PruneDuring: the module has no weights of Linear, Conv, recurrent or attention "
                "modules that can be pruned and train: name its own, mask={name: booleans}"
            )

    _done_at: int | None = None
    """The step before which the mask has been changed already: a batch may be part of an update."""

    def _is_due(self, step: int) -> bool:
        if self._done_at == step:
            return False
        due = step % (self.every or 1) == 0 if self._due is None else step in self._due
        if due:
            self._done_at = step
        return due

    def _change(
        self, trainer: pl.Trainer, module: pl.LightningModule, gradient: Params | None
    ) -> None:
        """Change the mask; weights and moments are 0 wherever it was or is not kept."""
        assert self.mask is not None
        own, step = dict(module.named_parameters()), self.start + self._updates.done
        weights = {n: own[n].detach().cpu() for n in self.mask}
        new = self._bounded(fits(self._asked(step, weights, gradient), self.mask))
        if trainer.world_size > 1:
            new = trainer.strategy.broadcast(new)
        for name, part in new.items():
            both = hold(own[name], self.mask[name] & part)
            both.clear_weight()
            for optimizer in trainer.optimizers:
                both.clear_slots(optimizer.state.get(own[name], {}))
        self.mask = new
        self._hold(module)

    def _bounded(self, mask: Mask) -> Mask:
        return {n: m & self._bound[n] if n in self._bound else m for n, m in mask.items()}

    def _asked(self, step: int, weights: Params, gradient: Params | None) -> Any:
        mask = {n: m.clone() for n, m in (self.mask or {}).items()}
        if _by_hand(self.schedule):
            return self.schedule(step, mask, {n: w.clone() for n, w in weights.items()})
        generator = stream("dynamics", getattr(self.schedule, "seed", 0), step)
        seen = None if gradient is None else {n: g.detach().cpu() for n, g in gradient.items()}
        wide = {n: w.float() for n, w in weights.items()}
        return self.schedule(MaskUpdate(step, self._total, wide, mask, generator, seen))


def fits(new: Any, mask: Mask) -> Mask:
    """Return what a schedule gave as the next mask, in full: the same names and shapes."""
    found = booleans(new, "PruneDuring: what the schedule gave")
    odd = next((n for n in found if n not in mask), None)
    if odd is not None:
        raise LthError(f"PruneDuring: the schedule gave a mask of {odd}, which it does not have")
    for name, part in found.items():
        if part.shape != mask[name].shape:
            raise LthError(
                f"PruneDuring: the schedule gave {name} the shape {tuple(part.shape)}, not "
                f"{tuple(mask[name].shape)}"
            )
    return {n: found.get(n, m) for n, m in mask.items()}


def _gradient(weight: Tensor) -> Tensor:
    """Return a weight's gradient, 0 where this update does not use it."""
    return torch.zeros_like(weight) if weight.grad is None else weight.grad.to_dense()


def _by_hand(schedule: Any) -> bool:
    return not hasattr(schedule, "updates")


def _bound_of(trainer: pl.Trainer) -> Mask:
    """Return the mask that a KeepMask beside this keeps."""
    found: Mask = {}
    for callback in callbacks_of(trainer):
        if isinstance(callback, KeepMask) and not isinstance(callback, PruneDuring):
            found |= callback.mask or {}
    return found
