"""The thin Lightning module: a *block* of steps is one batch, so its cost is paid per block.

Lightning brings the device, the precision and the backward pass; the cohort does the rest.
"""

from __future__ import annotations

import logging
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytorch_lightning as pl
import torch

from lth.errors import LthError
from lth.train.cohort import Cohort

Block = tuple[Cohort, int, int]


class CohortModule(pl.LightningModule):
    """Trains whatever cohort its blocks belong to, by manual optimization."""

    def __init__(self, after_block: Callable[[Cohort], None]) -> None:
        super().__init__()
        self.automatic_optimization = False  # an optimizer per member, stepped inside the block
        self.after_block = after_block
        self.sigterm = signal.getsignal(signal.SIGTERM)

    def on_fit_start(self) -> None:
        """Give SIGTERM back to who heard it before: Lightning's answer keeps nothing."""
        if threading.current_thread() is threading.main_thread() and self.sigterm is not None:
            signal.signal(signal.SIGTERM, self.sigterm)

    def configure_optimizers(self) -> None:
        """Leave the optimizers to the cohort: one per member on a CPU, stacked on a GPU."""

    def transfer_batch_to_device(
        self, batch: Block, device: torch.device, dataloader_idx: int
    ) -> Block:
        """Leave the block as it is: its data lies on the device already."""
        return batch

    def training_step(self, batch: Block, batch_idx: int) -> None:
        """Run one block."""
        cohort, start, stop = batch
        if not cohort.over:
            cohort.run_block(start, stop, self.manual_backward)
        self.after_block(cohort)


class Blocks:
    """The stream of blocks that Lightning draws from.

    It states a length because Lightning fetches one batch ahead of a stream that has none, and the
    next cohort must not be opened (or waited for) before the last block of this one has run.
    """

    def __init__(self, blocks: Callable[[], Iterator[Block]]) -> None:
        self._blocks = blocks

    def __iter__(self) -> Iterator[Block]:
        return self._blocks()

    def __len__(self) -> int:
        return 2**62


def fit(
    blocks: Callable[[], Iterator[Block]],
    after_block: Callable[[Cohort], None],
    precision: str = "32",
    accelerator: str = "cpu",
) -> None:
    """Run every block through one Lightning fit."""
    quiet()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*configure_optimizers.*returned.*None.*")
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*GPU available but not used.*")
        warnings.filterwarnings("ignore", message=".*LeafSpec.*")
        trainer = pl.Trainer(
            max_epochs=1,
            accelerator=accelerator,
            devices=1,
            precision=lightning_precision(precision),
            barebones=True,
        )
        handler = signal.getsignal(signal.SIGINT)
        try:
            trainer.fit(CohortModule(after_block), train_dataloaders=Blocks(blocks))
        except SystemExit as ended:
            pressed = ended.__context__
            if not isinstance(pressed, KeyboardInterrupt):
                raise
            # Lightning's answer to Ctrl-C is to exit, deaf to any more of them
            if handler is not None:
                signal.signal(signal.SIGINT, handler)
            raise pressed from None


def lightning_precision(name: str) -> Any:
    """Translate the ``trainer.precision`` option to Lightning's."""
    names = {"32": "32-true", "bf16": "bf16-mixed"}
    if str(name) not in names:
        raise LthError(f"trainer.precision={name}: it is one of {', '.join(names)}")
    return names[str(name)]


def quiet() -> None:
    """Silence Lightning's own talk: the console shows one display, ours."""
    for name in ("pytorch_lightning", "lightning.pytorch", "lightning_utilities"):
        logging.getLogger(name).setLevel(logging.ERROR)
