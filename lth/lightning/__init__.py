"""The door for Lightning users: tickets of any LightningModule, in its own training loop."""

from lth.lightning.find_tickets import find_tickets
from lth.lightning.keep_mask import KeepMask
from lth.lightning.prune_during import PruneDuring
from lth.lightning.rewind_point import RewindPoint
from lth.lightning.ticket_data import TicketData
from lth.lightning.ticket_module import TicketModule

__all__ = ["KeepMask", "PruneDuring", "RewindPoint", "TicketData", "TicketModule", "find_tickets"]
