"""A probe: a model, a loss and training examples, for scores that need a gradient."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import functional_call

from lth.errors import LthError
from lth.networks.ticket import draw_model
from lth.networks.trace import answering
from lth.spec.build import Spec
from lth.streams import stream_seed
from lth.types import Loss, Params, PlainLoss

Examples = Callable[[int, torch.Generator], tuple[Tensor, Tensor]]
"""``(number, generator) -> (prepared inputs, targets)`` from the trial's training split."""


@dataclass
class Probe:
    """What a gradient is taken of, never the validation or the test split; counts what it shows.

    ``seen`` is how many examples have gone through the network: what scoring has cost. What the
    model draws (dropout) comes from the stream ``seed``, or from where a given generator stands.
    """

    model: Spec
    input_shape: Sequence[int]
    classes: int
    loss: Loss | PlainLoss
    examples: Examples
    seen: int = 0
    seed: int = 0

    def tensors(self, number: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return examples to run a network on; those of a task only its module can take."""
        inputs, targets = self.examples(number, generator)
        if not isinstance(inputs, Tensor):
            raise LthError("a task's data are its module's own: only its training step takes them")
        return inputs, targets

    def logits(
        self,
        params: Params,
        buffers: Params,
        inputs: Tensor,
        training: bool = True,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Run the model; norms take the batch's statistics (``training``) or the running ones.

        The generator is read and not moved; the global ones stay as they are.
        """
        drawn = stream_seed("model", *self._stands(generator))
        self.seen += len(inputs)
        model = draw_model(self.model, 0)
        model = model.train() if training else answering(model)
        model = model.to(inputs.dtype) if inputs.is_floating_point() else model  # tokens are whole
        copies = {n: b.clone() for n, b in buffers.items()}  # a norm in training writes to them
        with torch.random.fork_rng(devices=[inputs.device] if inputs.is_cuda else []):
            # not torch.manual_seed: it would seed every GPU's generator too
            (torch.cuda if inputs.is_cuda else torch.default_generator).manual_seed(drawn)
            return functional_call(model, (params, copies), (inputs,))

    def _stands(self, generator: torch.Generator | None) -> tuple[str | int, ...]:
        if generator is None:
            return self.seed, self.seen
        state = generator.get_state().numpy().tobytes()
        return (hashlib.sha256(state).hexdigest(),)
