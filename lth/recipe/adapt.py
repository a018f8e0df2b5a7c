"""Losses as people write them, called in one way: ``loss(outputs, batch)``."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from lth.errors import LthError
from lth.types import Batch, Loss

PLAIN = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)

NEEDS = "a loss takes (outputs, batch), or (outputs, targets) as torch's own do"


class OnTargets:
    """A loss of outputs and targets alone, such as ``torch.nn.CrossEntropyLoss()``."""

    def __init__(self, loss: Callable[[Any, Tensor], Tensor]) -> None:
        self.loss = loss

    def __call__(self, outputs: Any, batch: Batch) -> Tensor:
        """Return the loss; nothing else of the batch is looked at."""
        return self.loss(outputs, batch.targets)


def as_loss(made: Any, name: str = "recipe.loss") -> Loss:
    """Return a loss that is called with outputs and a batch, whichever way ``made`` is written.

    One whose second argument is called ``batch``, or is annotated as one, is given all of it.
    """
    if not callable(made):
        raise LthError(f"{name}: it gave no loss")
    called: Any = made
    try:
        signature = inspect.signature(made.forward if isinstance(made, nn.Module) else made)
    except (TypeError, ValueError):
        return OnTargets(called)  # written in C
    given = list(signature.parameters.values())
    places = [p for p in given if p.kind in PLAIN]
    more = [p for p in given if p.default is p.empty and p.kind in (*PLAIN, p.KEYWORD_ONLY)][2:]
    several = any(p.kind is p.VAR_POSITIONAL for p in given)
    if more or (len(places) < 2 and not several):
        asked = ", ".join(p.name for p in given)
        raise LthError(f"{name}: a {type(made).__name__} that takes ({asked}); {NEEDS}")
    second = places[1] if len(places) > 1 else None
    whole = second is not None and (
        second.name == "batch" or second.annotation in (Batch, "Batch", "lth.types.Batch")
    )
    return called if whole else OnTargets(called)
