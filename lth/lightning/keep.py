"""A callback that keeps a mask in any LightningModule: automatic or manual optimization, any rule.

Gradients of pruned weights are 0 from the moment they are made, so moments are too; after every
step of every optimizer the weights themselves are put back, whatever the rule did with the zeros.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from lth.types import Mask, Params


class KeepMask(pl.Callback):
    """Keeps pruned weights at 0, or at ``frozen`` values."""

    def __init__(self, mask: Mask, frozen: Params | None = None) -> None:
        self.mask = {n: m for n, m in mask.items() if not bool(m.all())}
        self.frozen = frozen or {}
        self._kept: list[tuple[nn.Parameter, Tensor, Tensor]] = []
        self._hooks: list[Any] = []

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Hook every masked parameter, and every optimizer."""
        self._release()
        parameters = dict(pl_module.named_parameters())
        for name, mask in self.mask.items():
            weight = parameters[name]
            kept = mask.to(weight.device)
            beneath = (
                self.frozen[name].to(weight) if name in self.frozen else torch.zeros_like(kept)
            )
            self._kept.append((weight, kept, beneath.to(weight.dtype)))
            if weight.requires_grad:
                self._hooks.append(weight.register_hook(_masked(kept)))
        for optimizer in trainer.optimizers:
            self._hooks.append(optimizer.register_step_post_hook(self._put_back))
        self._put_back()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Let go."""
        self._put_back()
        self._release()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Let go."""
        self._release()

    def _put_back(self, *_: Any) -> None:
        with torch.no_grad():
            for weight, kept, beneath in self._kept:
                weight.copy_(torch.where(kept, weight, beneath))

    def _release(self) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks, self._kept = [], []

    def __getstate__(self) -> Mapping[str, Any]:
        return vars(self) | {"_hooks": [], "_kept": []}


def _masked(kept: Tensor) -> Callable[[Tensor], Tensor]:
    """Return what makes a gradient 0 where a weight is pruned, also one that is not finite."""

    def hook(gradient: Tensor) -> Tensor:
        if gradient.is_sparse:  # rows of an embedding
            gradient = gradient.coalesce()
            rows, values = gradient.indices(), gradient.values()
            values = values.masked_fill(~kept[rows[0]], 0.0)
            return torch.sparse_coo_tensor(rows, values, gradient.shape, is_coalesced=True)
        return gradient.masked_fill(~kept, 0.0)

    return hook
