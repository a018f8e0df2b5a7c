"""A module's own training step, as scores that need a gradient see it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.combined_loader import CombinedLoader
from pytorch_lightning.utilities.model_helpers import is_overridden
from torch import Tensor, nn
from torch.func import functional_call

from lth.errors import LthError, told
from lth.networks.drawn import drawing
from lth.streams import stream_seed
from lth.types import Params

NO_LOSS = "find_tickets: training_step returns no loss to take a gradient of"


class Step(nn.Module):
    """Calls a module's training step, so that it runs on other tensors."""

    def __init__(self, module: pl.LightningModule) -> None:
        super().__init__()
        self.module = module

    def forward(self, batch: Any, index: int) -> Any:
        """Return what the training step gives of a batch."""
        return self.module.training_step(batch, index)


class StepProbe:
    """What ``lth.pruning.probe.Probe`` is for a study: the loss of a module on batches of its data.

    The loss is what ``training_step`` returns, in training mode, averaged over as many batches as
    hold ``per_class`` examples (a Lightning task has no classes), at least one. The module is as
    before afterwards. Scores that look at more than that loss say they cannot.
    """

    classes = 1

    def __init__(self, module: pl.LightningModule, loader: Iterable[Any], seed: int = 0) -> None:
        self.module, self.loader, self.seed, self.seen = module, loader, seed, 0

    def __getattr__(self, name: str) -> Any:
        raise LthError(
            f"find_tickets: this score asks for the {name} of a plain network, and the module has "
            "its training_step alone: take magnitude, snip or gradient_magnitude"
        )

    def examples(self, count: int, generator: torch.Generator) -> tuple[list[Any], None]:
        """Return the first batches of the data that hold ``count`` examples."""
        batches: list[Any] = []
        here = 0
        with drawing(stream_seed("batches", self.seed)):
            for batch in self.loader:
                batches.append(batch)
                here += _length(batch)
                if here >= count:
                    break
        if not batches:
            raise LthError("find_tickets: the training data has no batch to score on")
        self.seen += here
        return batches, None

    def logits(
        self,
        params: Params,
        buffers: Params,
        inputs: list[Any],
        training: bool = True,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Return the loss of each batch, ``[n]``."""
        copies = {n: b.clone() for n, b in buffers.items()}
        given = {f"module.{n}": t for n, t in (params | copies).items()}
        with apart(self.module), drawing(stream_seed("score", self.seed)):
            self.module.train(training)
            step = Step(self.module)
            made = [functional_call(step, given, (b, i)) for i, b in enumerate(inputs)]
            losses = [loss_of(one, NO_LOSS) for one in made]
        return torch.stack(losses)

    def loss(self, logits: Tensor, targets: None) -> Tensor:
        """Return the mean of the losses."""
        return logits.mean()


class Batches:
    """The training batches as ``training_step`` gets them, made when they are asked for.

    A data module is set up anew, since its trainer has torn it down; several loaders are combined
    and batches go through the hooks of their transfer as in a Trainer.
    """

    def __init__(self, module: pl.LightningModule, data: Any) -> None:
        self.module, self.data = module, data

    def __iter__(self) -> Iterator[Any]:
        if not isinstance(self.data, pl.LightningDataModule):
            yield from self._batches(self.module if self.data is None else self.data)
            return
        self.data.setup("fit")
        try:
            yield from self._batches(self.data)
        finally:
            self.data.teardown("fit")

    def _batches(self, source: Any) -> Iterator[Any]:
        if hasattr(source, "train_dataloader"):
            source = source.train_dataloader()
        elif isinstance(source, tuple | list):
            source = source[0]
        if isinstance(source, Mapping | list | tuple):
            source = (batch for batch, *_ in CombinedLoader(source, "max_size_cycle"))
        return map(self._transferred, source)

    def _transferred(self, batch: Any) -> Any:
        batch = self._hook("on_before_batch_transfer", batch, 0)
        batch = self._hook("transfer_batch_to_device", batch, self.module.device, 0)
        return self._hook("on_after_batch_transfer", batch, 0)

    def _hook(self, name: str, *given: Any) -> Any:
        ours = isinstance(self.data, pl.LightningDataModule) and is_overridden(name, self.data)
        return getattr(self.data if ours else self.module, name)(*given)


@contextmanager
def apart(module: pl.LightningModule) -> Iterator[None]:
    """Silence a module for a while: what it logs goes nowhere; its trainer says where it ended."""
    if not module.automatic_optimization:
        raise LthError(
            "find_tickets: a score that is a gradient needs a training_step that returns a loss, "
            "and this module optimizes by hand: take magnitude"
        )
    trainer, modes = module._trainer, {m: m.training for m in module.modules()}
    loggers = [] if trainer is None else trainer.loggers
    vars(module)["log"] = vars(module)["log_dict"] = silent
    if trainer is not None:
        trainer.loggers = []
    try:
        yield
    except LthError:
        raise
    except Exception as error:
        raise LthError(
            "find_tickets: a score that is a gradient runs training_step after training, and here "
            f"that fails: {told(error)}; take magnitude"
        ) from error
    finally:
        del vars(module)["log"], vars(module)["log_dict"]
        if trainer is not None:
            trainer.loggers = loggers
        for part, mode in modes.items():
            part.training = mode


def silent(*args: Any, **kwargs: Any) -> None:
    """Log nothing."""


def loss_of(made: Any, without: str) -> Tensor:
    """Return the loss in what a training step made; ``without`` is said where there is none."""
    loss = made.get("loss") if isinstance(made, Mapping) else made
    if not isinstance(loss, Tensor):
        raise LthError(without)
    return loss


def _length(batch: Any) -> int:
    """Return the examples of a batch: the length of the first tensor in it."""
    if isinstance(batch, Tensor):
        return len(batch) if batch.ndim else 1
    parts = batch.values() if isinstance(batch, Mapping) else batch
    if isinstance(parts, Iterable) and not isinstance(parts, str):
        return next((n for n in map(_length, parts) if n), 0)
    return 0
