"""A Lightning fit for every cohort: its Trainer, its talk, its answer to signals."""

from __future__ import annotations

import logging
import signal
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from lth.train.cohort import Cohort
from lth.train.module import Blocks, CohortModule, Splits
from lth.train.trainer_options import TrainerOptions, lightning_precision, make_trainer


class Fits:
    """Fits cohorts one after the other; ``after_block(cohort, ended)`` hears of every block.

    Where the user has given nothing of Lightning's, nobody could tell one Trainer from another or
    hear a validation, so one serves all and cohorts are measured between blocks: a Trainer of its
    own costs 8 ms a member, Lightning's validation 0.8 ms each time.
    """

    def __init__(
        self,
        after_block: Callable[[Cohort, bool], None],
        precision: str = "32",
        accelerator: str = "cpu",
        lightning: TrainerOptions | None = None,
    ) -> None:
        self._after_block, self._lightning = after_block, lightning
        self._settled = {
            "accelerator": accelerator, "precision": lightning_precision(precision)
        }  # fmt: skip
        self._values = {} if lightning is None else lightning.values
        self._plain: Any = None

    def fit(self, cohort: Cohort) -> None:
        """Train a cohort to its end in one Lightning fit."""
        quiet()
        _let_speak(self._values)
        with warnings.catch_warnings():
            for message in UNWANTED:
                warnings.filterwarnings("ignore", message=message)
            trainer = self._trainer(cohort)
            stepped = "profiler" in self._values or bool(cohort.courses[0].job.lightning)
            module = CohortModule(cohort, self._after_block, bool(self._values), stepped)
            splits = Splits(cohort.splits) if module.hooked and cohort.splits else None
            if cohort.over:  # nothing trains: of no batches Lightning makes no fit at all
                module.measure_alone(trainer.precision_plugin)
                return
            with _heard():
                trainer.fit(module, train_dataloaders=Blocks(cohort), val_dataloaders=splits)

    def _trainer(self, cohort: Cohort) -> Any:
        if self._values:
            checks = -1 if cohort.fresh else 0
            return make_trainer(
                self._lightning, name_of(cohort), **self._settled, num_sanity_val_steps=checks
            )
        if self._plain is None:
            self._plain = make_trainer(None, "", **self._settled)
        self._plain.fit_loop.max_epochs = self._plain.current_epoch + 1
        return self._plain


@contextmanager
def _heard() -> Iterator[None]:
    """Undo Lightning's answer to Ctrl-C, which is to exit, deaf to any more of them."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as ended:
        pressed = ended.__context__
        if not isinstance(pressed, KeyboardInterrupt):
            raise
        if handler is not None:
            signal.signal(signal.SIGINT, handler)
        raise pressed from None


def rehearse(lightning: TrainerOptions, precision: str) -> None:
    """Make a Trainer and leave it: what Lightning refuses, it refuses now."""
    quiet()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        make_trainer(
            lightning, "rehearsal", accelerator="cpu", precision=lightning_precision(precision)
        )


UNWANTED = (
    ".*does not have many workers.*", ".*GPU available but not used.*", ".*LeafSpec.*",
    ".*in eval mode at the start of training.*", ".*exists and is not empty.*",
    ".*but have no `val_dataloader`.*",
)  # fmt: skip
"""Warnings that say nothing to who does not know what happens here."""


def name_of(cohort: Cohort) -> str:
    """Name a fit after its first member: ``winning_ticket-trial0-level2-lr0.01-1f0c9a``."""
    job = cohort.courses[0].job
    place = job.about.get("place") or {}
    named = [f"{n}{place[n]:g}" for n in ("trial", "level", "lr", "copy") if n in place]
    others = f"and{len(cohort.courses) - 1}more" if len(cohort.courses) > 1 else ""
    parts = (place.get("arm"), *named, job.key[:6], others)
    return "-".join(str(part) for part in parts if part) or "member"


def quiet() -> None:
    """Silence Lightning's own talk: the console shows one display, ours."""
    for name in ("pytorch_lightning", "lightning.pytorch", "lightning_utilities"):
        logging.getLogger(name).setLevel(logging.ERROR)


def _let_speak(values: Mapping[str, Any]) -> None:
    """Let a model summary be heard that the user has asked for."""
    if values.get("enable_model_summary") or "Summary" in str(values.get("callbacks")):
        for name in ("callbacks", "utilities"):
            logging.getLogger(f"pytorch_lightning.{name}.model_summary").setLevel(logging.INFO)
