"""A probe for scores that need a gradient: the loss of a LightningModule's own training step."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.func import functional_call

from lth.errors import LthError, told
from lth.lightning.step_probe import Step, loss_of, silent
from lth.networks.drawn import draw_model
from lth.pruning.probe import Probe
from lth.streams import stream_seed
from lth.types import Params


@dataclass
class TaskProbe(Probe):
    """Runs ``training_step`` on batches of the train loader; its logits are the loss already.

    So ``loss(logits / temperature, targets)`` is the module's loss, scaled. What asks for logits of
    a tensor of its own choosing gets the module's ``forward``.
    """

    make_trainer: Callable[[], pl.Trainer] = field(default=pl.Trainer)

    def logits(
        self,
        params: Params,
        buffers: Params,
        inputs: Any,
        training: bool = True,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Return the mean loss over the batches, or ``forward`` of a tensor."""
        drawn = stream_seed("model", *self._stands(generator))
        module = draw_model(self.model, 0).train(training)
        assert isinstance(module, pl.LightningModule)
        copies = {n: b.clone() for n, b in buffers.items()}
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.default_generator.manual_seed(drawn)
            if isinstance(inputs, Tensor):
                return self._forward(module, params, copies, inputs)
            return self._loss(module, params, copies, inputs)

    def _forward(
        self, module: pl.LightningModule, params: Params, buffers: Params, inputs: Tensor
    ) -> Tensor:
        self.seen += len(inputs)
        module = module.to(inputs.dtype)
        try:
            found = functional_call(module, (params, buffers), (inputs,))
        except LthError:
            raise
        except Exception as error:
            raise LthError(
                f"score: it looks at forward() of a tensor of shape {list(inputs.shape)}, which "
                f"this module does not take ({told(error)}); take magnitude or snip"
            ) from error
        if not isinstance(found, Tensor):
            raise LthError("score: it needs one tensor of forward(); take magnitude or snip")
        return found

    def _loss(
        self, module: pl.LightningModule, params: Params, buffers: Params, batches: list[Any]
    ) -> Tensor:
        if not module.automatic_optimization:
            raise LthError(
                "score: with manual optimization a training step has no one loss; take magnitude"
            )
        vars(module)["log"] = vars(module)["log_dict"] = silent
        module.trainer = self.make_trainer()
        step = Step(module)
        named = {f"module.{n}": t for n, t in (params | buffers).items()}
        losses = []
        for number, batch in enumerate(batches):
            try:
                made = functional_call(step, named, (batch, number))
            except Exception as error:
                raise LthError(
                    f"score: training_step cannot be run by itself ({told(error)}); take magnitude"
                ) from error
            losses.append(loss_of(made, "score: training_step gives no loss; take magnitude"))
            self.seen += self.counts.pop(0) if self.counts else 1
        return torch.stack(losses).mean()

    counts: list[int] = field(default_factory=list)
    """How many examples the batches that were drawn have."""


def batches_of(loader: Any, number: int, size: Callable[[Any], int]) -> Iterator[tuple[Any, int]]:
    """Yield whole batches of a loader until there are ``number`` examples, or no more."""
    seen = 0
    for batch in loader:
        yield batch, size(batch)
        seen += size(batch)
        if seen >= number:
            return


def itself(loss: Tensor, _: Any) -> Tensor:
    """Return the loss that a training step has computed."""
    return loss
