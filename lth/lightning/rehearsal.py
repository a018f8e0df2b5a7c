"""A rehearsal before any work: one batch of the dense network by an ordinary trainer.

An error in a user's own code shows here, in seconds; and here is seen what only a fit can tell: how
many updates it will make, what is logged, at which rate, and how often each weight is used.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.loggers.logger import DummyLogger
from pytorch_lightning.utilities.data import extract_batch_size
from pytorch_lightning.utilities.model_helpers import is_overridden
from torch import Tensor

from lth.errors import LthError, told
from lth.lightning.content import content_of, is_plain, plain_state
from lth.lightning.fitting import fit, prepared, silence
from lth.lightning.settings import Settings
from lth.lightning.values import logged, points
from lth.networks.trace import Following, Trace, plainly
from lth.spec.build import digest


@dataclass
class Facts:
    """What a rehearsal has seen."""

    steps: int = 0  # of a whole fit
    epoch_steps: float = 0.0
    batch: int = 1
    lr: float | None = None
    logged: dict[str, dict[str, float]] = field(default_factory=dict)  # by stage and name
    trace: Trace | None = None
    shape: tuple[int, ...] = ()
    content: str = ""
    pieces: dict[str, str] = field(default_factory=dict)
    validates: bool = True
    tests: bool = False
    state: tuple[set[str], set[str]] = field(default_factory=lambda: (set(), set()))
    sizes: dict[str, int] = field(default_factory=dict)


class Enough(Exception):
    """A fit that was only asked how long it would be."""


class Count(pl.Callback):
    """Asks a fit that is about to begin how many updates it will make; it ends there."""

    def __init__(self, result: Path) -> None:
        self.result = result

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write it down: this may be another process."""
        found = {
            "steps": trainer.estimated_stepping_batches,
            "batches": trainer.num_training_batches,
            "epochs": trainer.max_epochs,
            "max_steps": trainer.max_steps,
        }
        if trainer.is_global_zero:
            self.result.write_text(json.dumps(found))
        raise Enough


class Watch(Checkpoint):
    """Watches one batch."""

    def __init__(self, layers: Mapping[str, str], module: pl.LightningModule) -> None:
        self.layers, self.facts = layers, Facts()
        self._trace: Any = None
        self._before = _attributes(module)
        self._drawn = {n: p.detach().clone() for n, p in module.named_parameters()}
        self._set_up = ""

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look at what ``setup`` has set: what it has read from a file is in no argument."""
        changed = {n: v for n, v in _attributes(pl_module).items() if self._before.get(n) != v}
        data = getattr(trainer, "datamodule", None)
        own = {} if data is None else vars(data)
        if changed or any(map(is_plain, own.values())):
            self._set_up = digest([changed, plain_state(own, {})])

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look at the data, the parameters and the optimizers."""
        loop = trainer.fit_loop
        evaluated = loop.epoch_loop.val_loop._combined_loader
        loaders = [c.flattened for c in (loop._combined_loader, evaluated) if c is not None]
        self.facts.sizes = {str(n): len(split) for n, split in enumerate(loaders)}
        self.facts.content, self.facts.pieces = content_of([x for split in loaders for x in split])
        if self._set_up:
            self.facts.content = digest([self.facts.content, self._set_up])
        groups = [g for optimizer in trainer.optimizers for g in optimizer.param_groups]
        rates = [float(g.get("initial_lr", g.get("lr", 0.0))) for g in groups]
        self.facts.lr = next((r for r in rates if r > 0), None)
        self.facts.state = names_of(pl_module)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Follow the weights through the training step."""
        self._check_drawn(pl_module)
        self.facts.batch = batch_size(batch)
        self.facts.shape = _shape(batch)
        if self._trace is None:
            self._trace = Following(pl_module, self.layers)
            self._trace.__enter__()

    def _check_drawn(self, module: pl.LightningModule) -> None:
        """Refuse a module that draws its weights when a fit begins: a ticket's are lost."""
        own, self._drawn = self._drawn, {}
        for name, param in module.named_parameters():
            if name in own and not torch.equal(own[name].to(param), param):
                raise LthError(
                    f"task.module: {name} is changed when a fit begins (setup, on_fit_start, "
                    "on_train_start), which would undo a ticket's weights: draw it in __init__"
                )

    def on_before_backward(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: Tensor
    ) -> None:
        """End it at the loss."""
        self._end(loss)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any,
        batch_idx: int,
    ) -> None:  # fmt: skip
        """End it where no loss has come."""
        self._end(None)

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Leave nothing switched on."""
        self._end(None)

    def _end(self, loss: Tensor | None) -> None:
        if self._trace is not None and not isinstance(self._trace, Trace):
            self._trace.__exit__(None, None, None)
            found = self._trace.ending(loss, self.facts.batch)
            self._trace = self.facts.trace = found

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take what validation logs."""
        self.facts.logged["validation"] = logged(trainer, "validation")

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take what training logs."""
        self.facts.logged["train"] = logged(trainer, "train")
        self.facts.steps = trainer.global_step


def names_of(module: pl.LightningModule) -> tuple[set[str], set[str]]:
    """Return the names of a module's parameters and buffers."""
    return {n for n, _ in module.named_parameters()}, {n for n, _ in module.named_buffers()}


def _attributes(module: pl.LightningModule) -> dict[str, str]:
    """Return digests of a module's own attributes and buffers, by name."""
    held = {n: v for n, v in vars(module).items() if not n.startswith("__") and is_plain(v)}
    return {n: plain_state({n: v}, {}) for n, v in (held | dict(module.named_buffers())).items()}


def rehearse(
    settings: Settings, module: pl.LightningModule, data: Any, layers: Mapping[str, str]
) -> Facts:
    """Train the module on a batch, validate and test it on one; say what was seen."""
    watch = Watch(layers, module)
    once = {
        "devices": 1, "strategy": "auto", "max_epochs": 1, "max_steps": -1,
        "limit_train_batches": settings.trainer.get("accumulate_grad_batches", 1),
        "limit_val_batches": settings.trainer.get("limit_val_batches", 1.0) and 1,
        "limit_test_batches": 1, "check_val_every_n_epoch": 1, "val_check_interval": 1.0,
        "min_epochs": None, "min_steps": None, "overfit_batches": 0.0,
        "callbacks": [*settings.trainer["callbacks"], watch], "profiler": None,
    }  # fmt: skip
    once["logger"] = _unheard(settings)
    trainer = settings.make(**{n: v for n, v in once.items() if v is not None})
    with plainly():
        _told(lambda: fit(trainer, module, data), "one batch of training")
    if data is not None:
        vars(data)["prepare_data"] = prepared
    facts = watch.facts
    facts.validates = bool(facts.logged.get("validation"))
    facts.tests = _has_test(module, data)
    if facts.tests:
        _told(lambda: trainer.test(module, datamodule=data, verbose=False), "one batch of the test")
        facts.logged["test"] = logged(trainer, "test")
        test = trainer.test_loop._combined_loader
        found, pieces = content_of([] if test is None else test.flattened)
        facts.content, facts.pieces = digest([facts.content, found]), facts.pieces | pieces
    return facts


def _unheard(settings: Settings) -> Any:
    """Return a logger that keeps nothing where one is asked for: callbacks may ask whether."""
    return DummyLogger() if settings.trainer.get("logger") else False


def length(settings: Settings, module: pl.LightningModule, data: Any, per_batch: int) -> Facts:
    """Ask the trainer how long a fit is: ``(steps, steps of an epoch)``."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "length.json"
        callbacks = [*settings.trainer["callbacks"], Count(path)]
        trainer = settings.make(callbacks=callbacks, logger=_unheard(settings))
        try:
            fit(trainer, module, data)
        except Exception as error:
            if not path.exists():
                raise LthError(f"task: {told(error)}") from error
        if not path.exists():
            raise LthError("trainer: a fit of this length makes no update; see trainer.max_epochs")
        about = json.loads(path.read_text())
    accumulated = settings.trainer.get("accumulate_grad_batches", 1)
    batches = about["batches"]
    steps, updates = about["steps"], 1
    if not module.automatic_optimization:  # its steps come as the module makes them
        updates, accumulated = per_batch, 1
        many = batches * updates * max(about["epochs"] or 1, 1)
        steps = many if about["max_steps"] == -1 else min(many, about["max_steps"])
    if steps in (-1, None) or not float(steps) < float("inf"):
        raise LthError("trainer.max_steps: the data has no length: say how many updates to make")
    epoch = steps if batches == float("inf") else -(-batches // accumulated) * updates
    return Facts(steps=int(steps), epoch_steps=float(epoch))


def check_monitor(settings: Settings, facts: Facts) -> None:
    """Refuse a monitor that is never logged, by what is."""
    by_name = {n: v for stage in ("train", "validation") for n, v in
               facts.logged.get(stage, {}).items()}  # fmt: skip
    if settings.monitor in by_name:
        return
    whole = settings.monitor.removesuffix("_epoch")
    if whole in by_name:
        raise LthError(
            f"task.monitor={settings.monitor}: its mean over an epoch is {whole}: say that"
        )
    said = ", ".join(by_name) or "nothing"
    more = "" if facts.validates else " (there is no validation: monitor what training logs)"
    raise LthError(
        f"task.monitor={settings.monitor}: the module logs no such value over an epoch; "
        f"it logs {said}{more}"
    )


def judged(settings: Settings, facts: Facts) -> str:
    """Return the split whose values are judged: test where it has the metric, else validation."""
    for split in ("test", "validation"):
        values = points(facts.logged.get(split, {}), split, 0)
        if any(p[1:3] == (split, settings.measured.metric) for p in values):
            return split
    return "train"


def _told(call: Any, what: str) -> None:
    try:
        with silence():
            call()
    except LthError:
        raise
    except Exception as error:
        raise LthError(f"task.module: {what} fails: {told(error)}") from error


def _has_test(module: pl.LightningModule, data: Any) -> bool:
    if not is_overridden("test_step", module):
        return False
    source = module if data is None or not is_overridden("test_dataloader", data) else data
    if not is_overridden("test_dataloader", source):
        return False
    try:
        return source.test_dataloader() is not None
    except Exception:  # it may need what setup("test") makes: the test itself will tell
        return True


def batch_size(batch: Any) -> int:
    """Return how many examples a batch has, as Lightning counts them."""
    try:
        return int(extract_batch_size(batch))
    except Exception:  # it holds no tensor
        return 1


def _shape(batch: Any) -> tuple[int, ...]:
    """Return the shape of an example, where a batch's first part is a tensor of them."""
    first = batch[0] if isinstance(batch, tuple | list) and batch else batch
    return tuple(first.shape[1:]) if isinstance(first, Tensor) and first.ndim else ()
