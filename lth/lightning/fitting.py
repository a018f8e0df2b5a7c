"""A fit by an ordinary trainer, inside a command that has a display and a Ctrl-C of its own."""

from __future__ import annotations

import logging
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytorch_lightning as pl


def fit(trainer: pl.Trainer, module: pl.LightningModule, data: Any) -> None:
    """Fit a module by an ordinary trainer; Ctrl-C stays what it is."""
    handler = signal.getsignal(signal.SIGINT)
    with silence():
        try:
            trainer.fit(module, datamodule=data)
        except SystemExit as ended:
            if not isinstance(ended.__context__, KeyboardInterrupt):
                raise
            signal.signal(signal.SIGINT, handler)  # Lightning's answer is to exit, deaf from then
            raise ended.__context__ from None


def prepared() -> None:
    """Stand for a ``prepare_data`` that has been called: it is called once a run."""


@contextmanager
def silence() -> Iterator[None]:
    """Keep to ourselves what Lightning says of every fit: it has a console of its own."""
    with warnings.catch_warnings():
        hush()
        yield


def hush() -> None:
    """Keep to ourselves what Lightning says of every fit, from now on in this process."""
    for name in TALKERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    for words in HINTS:
        warnings.filterwarnings("ignore", message=f".*{words}.*")


TALKERS = (
    "pytorch_lightning", "lightning.pytorch", "lightning_utilities", "lightning_fabric",
    "lightning.fabric",
)  # fmt: skip

HINTS = (
    "does not have many workers", "LeafSpec", "smaller than the logging interval",
    "that has more than 1 parameter", "Checkpoint directory", "GPU available but not used",
    "was configured so", "no logger", "lr_scheduler.step", "ended before the epoch ended",
    "in eval mode at the start", "Trying to infer the `batch_size`", "enable_checkpointing",
    "recommended to use `self.log", "sync_dist=True", "use_distributed_sampler", "os.fork",
    "multi-threaded, use of fork",
)  # fmt: skip
