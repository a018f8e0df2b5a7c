"""Find, control and compare winning tickets."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lth import data as data
    from lth.api import fit as fit
    from lth.api import run as run
    from lth.errors import LthError as LthError
    from lth.networks.ticket import Ticket as Ticket
    from lth.packing import pack as pack
    from lth.packing import unpack as unpack
    from lth.store.study import Study as Study

__version__ = "0.1.0"

_WHERE = {
    "run": "lth.api", "fit": "lth.api", "Study": "lth.store.study", "Ticket": "lth.networks.ticket",
    "LthError": "lth.errors", "pack": "lth.packing.packed", "unpack": "lth.packing.packed",
}  # fmt: skip

__all__ = ["LthError", "Study", "Ticket", "data", "fit", "pack", "run", "unpack"]


def __getattr__(name: str) -> Any:
    """Import the public names when they are asked for: ``lth --help`` must not wait for torch."""
    if name in _WHERE:
        return getattr(import_module(_WHERE[name]), name)
    if name == "data":
        return import_module("lth.data")
    raise AttributeError(f"module 'lth' has no attribute {name!r}")
