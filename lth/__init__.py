"""Find, control and compare winning tickets."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lth import data as data
    from lth import models as models
    from lth import moves as moves
    from lth.api import analyse as analyse
    from lth.api import compare as compare
    from lth.api import fit as fit
    from lth.api import plan as plan
    from lth.api import plot as plot
    from lth.api import run as run
    from lth.errors import LthError as LthError
    from lth.networks.elsewhere import load_ticket as load_ticket
    from lth.networks.ticket import Ticket as Ticket
    from lth.packing import pack as pack
    from lth.packing import unpack as unpack
    from lth.store.study import Study as Study

__version__ = "0.1.0"

_WHERE = {
    "run": "lth.api", "plan": "lth.api", "plot": "lth.api", "analyse": "lth.api",
    "compare": "lth.api", "fit": "lth.api", "Study": "lth.store.study",
    "Ticket": "lth.networks.ticket",
    "load_ticket": "lth.networks.elsewhere", "LthError": "lth.errors",
    "pack": "lth.packing.packed", "unpack": "lth.packing.packed",
}  # fmt: skip

_ROOMS = ("data", "models", "moves")

__all__ = [
    "LthError", "Study", "Ticket", "analyse", "compare", "data", "fit", "load_ticket",
    "models", "moves", "pack", "plan", "plot", "run", "unpack",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Import the public names when they are asked for: ``lth --help`` must not wait for torch."""
    if name in _WHERE:
        return getattr(import_module(_WHERE[name]), name)
    if name in _ROOMS:
        return import_module(f"lth.{name}")
    raise AttributeError(f"module 'lth' has no attribute {name!r}")


def __dir__() -> list[str]:
    """Name what is public, imported or not yet."""
    return sorted({*__all__, "__all__", "__doc__", "__file__", "__name__", "__version__"})
