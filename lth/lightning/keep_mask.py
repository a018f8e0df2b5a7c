"""KeepMask: a callback under which any LightningModule stays a ticket while it trains."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies import DeepSpeedStrategy, FSDPStrategy, ModelParallelStrategy
from torch import Tensor, nn

from lth.errors import LthError
from lth.files import tensors_digest
from lth.lightning.held import Held, hold
from lth.lightning.named import booleans, fitted, names_of
from lth.networks import masks
from lth.networks.parametrized import tame
from lth.types import Mask, Params

SHARDED = (FSDPStrategy, DeepSpeedStrategy, ModelParallelStrategy)


class KeepMask(pl.Callback):
    """Keep a mask: pruned weights, their gradients and their moments are exactly 0 throughout.

    ``mask`` holds booleans by parameter name, True where a weight is kept: tensors, arrays, or a
    ``Ticket``; names are those of ``module.named_parameters()``, with or without the ``_orig_mod.``
    of ``torch.compile``. Weights are masked before training (and before validation, test and
    prediction), gradients as soon as they are there (so that clipping sees the masked norm),
    weights and moments after every step of every optimizer, be the optimization automatic or
    manual, and weights before and after every batch, whatever moved them. Running averages of
    weights kept by other callbacks are masked as well.

    The mask travels in checkpoints. ``KeepMask()`` takes it from the one that ``fit(ckpt_path=)``
    resumes; a mask that disagrees with it is refused. Under DDP all ranks must have the same mask.
    ``frozen`` gives values by name that pruned weights have in the place of 0.

    Raises ``LthError`` before training: unknown names, other shapes, values that are not booleans,
    masks that differ between ranks, strategies that shard weights (FSDP, DeepSpeed).
    """

    def __init__(self, mask: Any = None, frozen: Params | None = None) -> None:
        self.mask: Mask | None = None if mask is None else booleans(mask)
        self.frozen = dict(frozen or {})
        self._saved: Mask | None = None
        self._held: dict[int, Held] = {}
        self._handles: list[Any] = []
        self._listening: set[int] = set()
        self._stepped: set[int] = set()
        self._unheard: list[Any] = []

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Fit the mask to the module, and mask its weights."""
        if isinstance(trainer.strategy, SHARDED):
            kind = type(trainer.strategy).__name__
            raise LthError(f"{type(self).__name__}: {kind} shards weights: take strategy='ddp'")
        self._resolve(pl_module)
        self._check_ranks(trainer)
        tame(pl_module)
        self._hold(pl_module)
        self._clear_weights(trainer)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Listen to gradients and optimizers, and mask the moments that a checkpoint brought."""
        self._hold(pl_module)
        self._listen(trainer)
        self._clear_weights(trainer)
        for optimizer in trainer.optimizers:
            self._after_step(optimizer)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Listen to weights and optimizers that have come since, as when layers are unfrozen."""
        self._hold(pl_module)
        self._listen(trainer)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Mask what hooks have put into weights since; an epoch's first batch finds new ones."""
        if batch_idx == 0:
            self._hold(pl_module)
            self._listen(trainer)
        self._clear_held()
        self._stepped = set()

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Any
    ) -> None:
        """Mask the gradients: after they are unscaled, before they are clipped."""
        for held in self._held.values():
            held.clear_gradient()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any, **kwargs: Any
    ) -> None:
        """Mask weights that no optimizer's step moves: a target network's, noise after the step."""
        for optimizer in self._unheard:
            self._after_step(optimizer)
        self._clear_held(self._stepped if pl_module.automatic_optimization else ())

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Measure the ticket, also where nothing has trained."""
        self._before_measuring(trainer, pl_module)

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Measure the ticket, also where nothing has trained."""
        self._before_measuring(trainer, pl_module)

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Predict by the ticket, also where nothing has trained."""
        self._before_measuring(trainer, pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Mask what callbacks have put into the module, and averages that they are about to."""
        self._clear_weights(trainer)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Mask the weights for the last time, after every other callback."""
        self._hold(pl_module)
        self._clear_weights(trainer)

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Let go of the module."""
        self._let_go()

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Let go of the module."""
        self._let_go()

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Mask the averages that other callbacks are about to save, or have (by reference)."""
        self._clear_weights(trainer)

    def state_dict(self) -> dict[str, Any]:
        """Return the mask for a checkpoint, a bit per weight."""
        mask = self.mask or {}
        return {
            "bits": {n: masks.pack(m) for n, m in mask.items()},
            "shapes": {n: list(m.shape) for n, m in mask.items()},
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the mask of a checkpoint; one that was given is compared when training starts."""
        bits, shapes = state_dict["bits"], state_dict["shapes"]
        self._saved = {n: masks.unpack(b.cpu(), shapes[n]) for n, b in bits.items()} or None
        if self.mask is None:
            self.mask = self._saved

    def _resolve(self, module: nn.Module) -> None:
        if self.mask is None:
            raise LthError(
                f"{type(self).__name__}: there is no mask: give one, or resume from a checkpoint "
                "that has one: Trainer.fit(..., ckpt_path=...)"
            )
        self.mask = fitted(self.mask, module)
        self.frozen = {names_of(module).get(n, n): f for n, f in self.frozen.items()}
        if self._saved is not None:
            self._compare(fitted(self._saved, module))

    def _compare(self, saved: Mask) -> None:
        """Refuse a mask that is not the one of the checkpoint."""
        mask = self.mask or {}
        odd = [n for n in {**saved, **mask} if n not in saved or n not in mask]
        odd += [n for n in saved if n in mask and not torch.equal(saved[n], mask[n])]
        if odd:
            raise LthError(
                f"KeepMask: the checkpoint was saved with another mask of {odd[0]}: give "
                "KeepMask() none to go on with that, or load the weights alone "
                "(load_from_checkpoint)"
            )

    def _check_ranks(self, trainer: pl.Trainer) -> None:
        if trainer.world_size == 1:
            return
        own = tensors_digest({n: m.to(torch.uint8) for n, m in sorted((self.mask or {}).items())})
        same = trainer.strategy.broadcast(own) == own
        if not trainer.strategy.reduce_boolean_decision(same, all=True):
            raise LthError(
                f"{type(self).__name__}: the ranks have different masks: make the mask from a seed,"
                " or read it from a file, so that every process has the same"
            )

    def _hold(self, module: nn.Module) -> None:
        """Find the weights of the mask as they are now: a module may have replaced some."""
        weights = dict(module.named_parameters())
        for name, part in (self.mask or {}).items():
            weight = weights.get(name)
            if weight is not None and not (part.all() and not self._changes):
                if id(weight) not in self._held or self._changes:
                    self._held[id(weight)] = hold(weight, part, self.frozen.get(name))

    _changes = False
    """Whether the mask may change on the way."""

    def _listen(self, trainer: pl.Trainer) -> None:
        for held in self._held.values():
            if held.weight.requires_grad and id(held.weight) not in self._listening:
                self._listening.add(id(held.weight))
                self._handles.append(
                    held.weight.register_post_accumulate_grad_hook(self._after_gradient)
                )
        for optimizer in trainer.optimizers:
            if id(optimizer) in self._listening:
                continue
            self._listening.add(id(optimizer))
            try:
                self._handles.append(optimizer.register_step_post_hook(self._after_step))
            except AttributeError:  # it is no torch optimizer, but does what one does
                self._unheard.append(optimizer)

    def _let_go(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles, self._held, self._listening, self._unheard = [], {}, set(), []

    def _after_gradient(self, weight: Tensor) -> None:
        held = self._held.get(id(weight))
        if held is not None:
            held.clear_gradient()

    def _after_step(self, optimizer: Any, *_: Any) -> None:
        """Mask the weights that an optimizer moves, and what it keeps of them."""
        state = getattr(optimizer, "state", {})
        for weight in (w for group in optimizer.param_groups for w in group["params"]):
            held = self._held.get(id(weight))
            if held is not None:
                held.clear_weight()
                self._stepped.add(id(weight))
                held.clear_slots(state.get(weight, {}))

    def _clear_held(self, but: Collection[int] = ()) -> None:
        for own, held in self._held.items():
            if own not in but:
                held.clear_weight()

    def _clear_weights(self, trainer: pl.Trainer) -> None:
        self._clear_held()
        for module in _averages(trainer):
            for name, weight in module.named_parameters():
                part = (self.mask or {}).get(name)
                if part is not None and part.shape == weight.shape:
                    hold(weight, part, self.frozen.get(name)).clear_weight()

    def _before_measuring(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if self.mask is None:
            return
        if not self._held:
            self.mask = fitted(self.mask, module)
            self._hold(module)
        self._clear_weights(trainer)


def callbacks_of(trainer: pl.Trainer) -> list[pl.Callback]:
    """Return a trainer's own list of callbacks: what is put in acts."""
    return trainer.callbacks  # type: ignore[attr-defined]


def _averages(trainer: pl.Trainer) -> Iterator[nn.Module]:
    """Yield the averages of the weights that other callbacks keep (EMA, SWA)."""
    for callback in callbacks_of(trainer):
        average = getattr(callback, "_average_model", None)
        if isinstance(average, nn.Module):
            yield getattr(average, "module", average)
