"""The door for Lightning users: tickets of any LightningModule, in its own training loop."""

from lth.lightning.keep_mask import KeepMask

__all__ = ["KeepMask"]
