"""The nouns of the framework and the shapes of its functions, in the papers' words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

Params = dict[str, Tensor]
"""Values of one network by parameter (or buffer) name."""

Mask = dict[str, Tensor]
"""Boolean tensors by prunable weight name; the only authority on what is pruned."""


WINNER = "winning_ticket"
"""The arm that every other one is compared with; level 0 is its dense network."""


class PruningChain(NamedTuple):
    """The levels of one trial at one learning rate: each prunes by its own trained ticket."""

    trial: int
    lr: float


class MemberId(NamedTuple):
    """Which member of a study is meant; ``phase`` is 0 but for what a method's moves have made."""

    trial: int
    lr: float
    arm: str
    level: int
    copy: int
    phase: int = 0


class Score(Protocol):
    """How much each weight matters: ``(trained params, context) -> scores``, higher is kept.

    A score receives everything a criterion of the literature needs and drops what it does not use.
    """

    def __call__(
        self, final: Params, *, initial: Params, mask: Mask, generator: torch.Generator, **_: Any
    ) -> Params:
        """Score every weight named in ``mask``; shapes as the weights."""
        ...


class View(Protocol):
    """What the forward pass sees of a weight: ``w' = view(w)``, and 0 where the weight is pruned.

    Views of a network come in an order, each seeing what the one before it gave; the first is the
    mask, ``w' = m * w``. After the last one what is pruned is 0 again, whatever a view made of it.
    A view may also say of itself (all are optional): ``draws = True``, it draws random numbers;
    ``holds = True``, no weight and no bias trains beside what it owns; ``replaces = True``, what is
    seen does not depend on the weights it looks at, which do not train; ``mask(name, own)``, the
    mask within the mask that it stands for (a gate): training ends with that, and the view is done;
    ``symbols(name, weight, mask, own)``, the few symbols (``Symbols``) that it makes of a weight,
    or None: a packed file may code them in the place of what is seen.
    """

    def own(self, name: str, weight: Tensor, mask: Tensor) -> Params | None:
        """Return the tensors that it owns of a weight, as training starts, by name.

        An ``nn.Parameter`` is trained, any other tensor is a constant; None: a weight that it does
        not look at. ``weight`` is 0 where it is pruned. Deterministic, from the arguments alone.
        """
        ...

    def __call__(
        self, name: str, weight: Tensor, mask: Tensor, own: Params, training: bool, /
    ) -> Tensor:
        """Return the weight that is seen: differentiable, same shape.

        ``mask`` is 0 or 1 in the weight's dtype; ``own`` are its tensors of this weight.
        """
        ...


class Batch(NamedTuple):
    """What a loss and a measure are given beside a network's outputs.

    ``inputs`` as the network gets them, ``[B, ...]``, and ``targets``; ``rows`` are the examples'
    places in the split's file (training and validation share one), int64 ``[B]``; ``step`` is the
    update, None in an evaluation; ``teacher`` the outputs of the ticket's teacher on these very
    inputs, None where it has none.
    """

    inputs: Tensor
    targets: Tensor
    rows: Tensor | None = None
    step: int | None = None
    teacher: Any = None


class Symbols(NamedTuple):
    """A weight as few symbols: what is seen of it is ``values[ids]``, or ``steps * ids``.

    ``ids`` int64, of the weight's shape; ``values`` ``[k]``, or ``steps``, one per channel and
    shaped to be multiplied with the weight. What is pruned is 0 whatever it says here.
    """

    ids: Tensor
    values: Tensor | None = None
    steps: Tensor | None = None


class Loss(Protocol):
    """A differentiable scalar from a network's outputs and a batch, the mean over its examples."""

    def __call__(self, outputs: Any, batch: Batch, /) -> Tensor:
        """Return the mean loss over the batch."""
        ...


class PlainLoss(Protocol):
    """A loss of ``logits [B, K]`` and integer ``targets [B]`` alone, as torch's own are."""

    def __call__(self, logits: Tensor, targets: Tensor, /) -> Tensor:
        """Return the mean loss over the batch."""
        ...


class Measure(Protocol):
    """What evaluation reports of outputs and a batch: sums over examples, divided at the end.

    With an attribute ``finish``, a function of the quotient, that is reported instead.
    """

    def __call__(self, outputs: Any, batch: Batch, /) -> Any:
        """Return the sum over the batch's examples; a pair ``(sum, count)``; or a dict of these."""
        ...


class Schedule(Protocol):
    """The factor on the learning rate of update ``step`` (0-based, absolute) of ``steps``."""

    def __call__(self, step: int, steps: int, /) -> float:
        """Return the factor, usually in [0, 1]."""
        ...


class Augment(Protocol):
    """A random change of a batch, split into its draws and a deterministic tensor function."""

    def draw(self, batch: int, generator: torch.Generator) -> Tensor:
        """Draw the random numbers of ``batch`` examples: integers, shape [B, ...]."""
        ...

    def __call__(self, inputs: Tensor, draws: Tensor, /) -> Tensor:
        """Apply them: ``[B, C, H, W] -> [B, C, H, W]``, dtype unchanged."""
        ...


Config = Mapping[str, Any]
"""Plain configuration values; the library never sees a DictConfig."""
