"""Arms that keep what is pruned, frozen at a value, instead of zero.

The mask-0 actions of Zhou et al. 2019 (arXiv 1905.01067, Section 3).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from lth.arms.protocol import draw_seed
from lth.errors import LthError
from lth.networks.ticket import State, Ticket, draw_state
from lth.pruning.needs import takes
from lth.types import Params

VALUES, ONLY = ("init", "reinit"), ("all", "grew", "shrank")


def freeze(values: str = "init", only: str = "all") -> Callable[..., Ticket]:
    """Freeze pruned weights at their start (``init``) or at a fresh draw (``reinit``).

    ``only`` freezes ``all`` of them, or those whose magnitude ``grew`` (or ``shrank``) in the dense
    run, and zeroes the rest: Zhou et al. 2019's freeze_init, freeze_reinit, freeze_init_zero_mask
    and, for ``shrank``, its reverse.
    """
    if values not in VALUES:
        raise LthError(f"values={values}: it is one of {', '.join(VALUES)}")
    if only not in ONLY:
        raise LthError(f"only={only}: it is one of {', '.join(ONLY)}")

    def arm(
        winner: Ticket, generator: torch.Generator, *, trained: Params,
        initial: State | None = None,
    ) -> Ticket:  # fmt: skip
        drawn = draw_state(winner.model, draw_seed(generator)).params
        source = winner.params if values == "init" else drawn
        before = winner.params if initial is None else initial.params
        frozen = {}
        for name, mask in winner.mask.items():
            grew = trained[name].abs() > before[name].abs()
            wanted = {"all": ~mask, "grew": ~mask & grew, "shrank": ~mask & ~grew}[only]
            frozen[name] = torch.where(wanted, source[name], 0.0)
        used = ["mask", "start"] + ([] if only == "all" else ["trained"])
        return takes(replace(winner, frozen=frozen), *used)

    return arm
