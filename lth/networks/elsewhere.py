"""A ticket from wherever it comes: files of here, OpenLTH's, torch's own pruning, a state."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lth.errors import LthError
from lth.files import header, is_torchs, reading
from lth.networks import openlth
from lth.networks.adopt import ZEROS
from lth.networks.ticket import Ticket
from lth.spec.trust import Trust


def load_ticket(
    source: Any, model: Any = None, mask: Any = None, *, step: int | None = None, trust: Trust = ()
) -> Ticket:
    """Return the ticket that a file, a folder, a state dict or a module holds.

    ``source`` is a file of ``Ticket.save``; a level's folder of OpenLTH's (``mask.pth`` and the
    earliest ``model_ep*_it*.pth``); or a state, a dict, a module or a file of tensors. Its mask is
    ``mask`` (a dict of 0 and 1, or a file such as OpenLTH's ``mask.pth``), else what
    ``torch.nn.utils.prune`` left in it (``weight_orig``, ``weight_mask``), else where it is exactly
    0. ``model`` is the network's factory; a ticket's own file names it itself, and one of this
    package's needs no ``model``, one of your own ``model`` or ``trust``. Training starts at
    ``step``, 0 if nothing says otherwise.
    """
    if isinstance(source, str | Path):
        path = Path(source)
        if path.is_dir():
            found, source = openlth.files(path)
            mask, step = found if mask is None else mask, _step(source) if step is None else step
        elif _is_ticket(path):
            if mask is not None or step is not None:
                raise LthError(f"{path}: it is a ticket, which has a mask and a step of its own")
            return Ticket.load(path, model, trust)
    if model is None:
        raise LthError(
            "load_ticket: a state does not say how its network is made: give the factory, "
            "model=mine.net or model=functools.partial(lth.models.lenet, input_shape=[1, 28, 28], "
            "classes=10)"
        )
    ticket = Ticket.from_state(model, source, ZEROS if mask is None else mask, step=step or 0)
    if mask is None and all(bool(m.all()) for m in ticket.mask.values()):
        raise LthError("mask: there is none, and no weight that can be pruned is 0: give a mask")
    return ticket


def _step(path: Path) -> int:
    """Return the step of a state of OpenLTH's; an epoch's length is not known here."""
    found = openlth.STATE.fullmatch(path.name)
    assert found is not None
    return int(found[2]) if int(found[1]) == 0 else 0


def _is_ticket(path: Path) -> bool:
    with reading(path, "file", "write it again"):
        content = path.read_bytes()
        if content[:3] == b"LTH":
            raise LthError(f"{path}: a packed network, not a ticket: lth.unpack reads it")
        return not is_torchs(content[:9]) and "ticket" in header(content)[1]
