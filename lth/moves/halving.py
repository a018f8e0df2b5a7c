"""Half the bytes of what is not seen through a view: biases, norms, codebooks, steps."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from lth.errors import LthError
from lth.moves.trained import Move, Trained
from lth.networks.layers import VECTOR
from lth.networks.ticket import Ticket
from lth.networks.views.sharing import shared
from lth.pruning.turn import Turn
from lth.spec.argument_types import is_whole
from lth.types import Params

HALF = 16


def halve(bits: int = HALF) -> Move:
    """Round biases, norms, their statistics and what views own to values of float16.

    So a packed file, which loses nothing, has them in two bytes each. ``bits`` below 16 lets the
    numbers of every bias and norm (not what views own) share ``2^bits`` such values besides. What
    float16 cannot hold stays as it is. It leaves nothing to train: ``measure`` follows.
    """
    if not is_whole(bits, 1) or bits > HALF:
        raise LthError(f"moves.halve: bits={bits!r}: a whole number in 1..{HALF}")

    def move(trained: Trained, context: Turn) -> Ticket:
        ticket, layers = trained.now(), trained.layers
        vectors = {n for n, other in layers.others.items() if other.kind == VECTOR}
        return replace(
            ticket, owned=ticket.owned | _halved_own(ticket),
            params={n: short(p, bits) if n in vectors else p for n, p in ticket.params.items()},
            buffers={n: short(b, bits) for n, b in ticket.buffers.items()},
        )  # fmt: skip

    return move


def short(tensor: Tensor, bits: int = HALF) -> Tensor:
    """Return a tensor of float16's values, few of them if ``bits`` are; of whole numbers itself."""
    if not tensor.is_floating_point() or not tensor.numel():
        return tensor
    if bits < HALF:
        values, ids = shared(tensor.flatten(), 2**bits)
        tensor = values[ids].reshape(tensor.shape)
    halved = tensor.half().to(tensor.dtype)
    return halved if bool(halved.isfinite().all()) else tensor


def _halved_own(ticket: Ticket) -> Params:
    made = ticket.built_views()
    own = {n: t.detach() for n, t in made.own.items() if n in made.lasting}
    return {n: short(t) for n, t in own.items() if t.is_floating_point()}
