"""Iterative magnitude pruning of any LightningModule, in any Trainer."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from lth.errors import LthError
from lth.lightning.choices import prunable, pruned, pruning, rewinding, scores_of, scoring
from lth.lightning.level import Levels, Origin, Snapshots
from lth.lightning.named import refuse_lazy
from lth.lightning.step_probe import Batches, StepProbe
from lth.networks import masks
from lth.networks.drawn import State
from lth.networks.layers import Layers, describe
from lth.networks.mask import TicketMask
from lth.networks.ticket import Ticket
from lth.pruning.rewind import Start
from lth.pruning.rules import kept_by_level
from lth.spec.argument_types import is_whole
from lth.spec.plain import plain
from lth.streams import stream
from lth.types import Mask


def find_tickets(
    make_trainer: Callable[..., pl.Trainer],
    module: pl.LightningModule,
    data: Any = None,
    *,
    score: Any = "magnitude",
    prune: Any = "globally",
    rewind: Any = "to_init",
    levels: int = 5,
) -> Iterator[tuple[int, Ticket]]:
    """Train, score, prune, rewind, repeat: yield ``(level, ticket)`` once each level has trained.

    Level 0 is the dense network. ``ticket.start.params`` is where the level started, masked, by the
    names of ``module.named_parameters()``; the module itself is in its trained state when a ticket
    is yielded, so measure it there and then. ``ticket.module(model=module)`` is a copy of it at the
    start, which stays a ticket in any training; ``ticket.save(path)`` keeps it.

    Args:
        make_trainer: returns a new ``pl.Trainer``, with new callbacks, for every level; it is given
            ``level=`` if it takes that. Strategies of several processes work as in any script.
        module: what is trained; its Linear, Conv, recurrent and attention weights can be pruned
            where an optimizer trains them, embeddings where ``prune`` includes them.
        data: a ``LightningDataModule``, a loader, ``(train, validation)`` loaders, or None if the
            module brings its own.
        score: how much each weight matters: a name or factory of ``lth.pruning.score``, a spec, or
            ``(trained params) -> scores`` by name, which may take ``initial``, ``mask``,
            ``buffers``, ``generator`` and ``probe`` too. Gradients are those of ``training_step``.
        prune: which weights go: a name or factory of ``lth.pruning.rules`` (``globally`` and
            ``layerwise`` take 20 % of what is left), or ``(scores, mask) -> mask``.
        rewind: where a level starts: of ``lth.pruning.rewind`` ``to_init``, ``to_step``,
            ``to_epoch`` or ``learning_rate``, or ``(dense, trained) -> params`` with ``dense(0)``
            the initial state. From step k > 0 a level trains what is left: Lightning's progress and
            the module's schedules are at k, moments are fresh. Within an epoch a loader that
            cannot be resumed begins that epoch's order again.
        levels: how many times to prune.

    Nothing is drawn from the global generators: after ``pl.seed_everything`` a run is the same
    again; the order of the data goes on from level to level as it would in one program.

    Raises ``LthError`` where a choice does not fit, before training if it can be told; where a
    level that further ones descend from has diverged; where training was interrupted.
    """
    if not is_whole(levels, 0):
        raise LthError(f"find_tickets: levels={levels!r}: a whole number from 0")
    score, prune, rewind = scoring(score), pruning(prune), rewinding(rewind)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        trainer = Levels(make_trainer, module, data, Path(folder))
        if any(True for _ in trainer.module.parameters()):  # else configure_model makes them
            _check(trainer.module, prune, levels)
        snapshots = Snapshots(rewind.steps, Path(folder), rewind.epoch)
        origin = trained = trainer.train(0, None, snapshots)
        dense, rewind = _dense(snapshots), rewind.at(snapshots.facts["per_epoch"])
        layers = _check(trainer.module, prune, levels, snapshots.facts["trained"])
        mask = masks.full(layers, prunable(prune, layers))
        _tell_of_divergence(0, trained)
        yield 0, _ticket(trainer.module, layers, mask, Start(dense(0), 0), dense(0))
        for level in range(1, levels + 1):
            _check_finite(level, trained)
            probe = StepProbe(trainer.module, Batches(trainer.module, data), level)
            scores = scores_of(
                score, trained.params, mask, initial=dense(0).params, buffers=trained.buffers,
                generator=stream("score", 0, level), probe=probe,
            )  # fmt: skip
            mask = pruned(prune, scores, mask, layers)
            start = rewind(dense, trained)
            ticket = _ticket(trainer.module, layers, mask, start, rewind(dense, origin).state)
            checkpoint = snapshots.checkpoints.get(start.step)
            trained = trainer.train(level, Origin(ticket.start, mask, checkpoint))
            _tell_of_divergence(level, trained)
            yield level, ticket


def _check(
    module: pl.LightningModule, prune: Any, levels: int, trained: list[str] | None = None
) -> Layers:
    """Describe the weights that are trained; refuse what the rule cannot prune, or not so often."""
    refuse_lazy(module, "find_tickets")
    layers = describe(module)
    layers = layers if trained is None else layers.only(trained)
    layers = layers.including(getattr(prune, "include", ()))
    if not layers.shapes or not prunable(prune, layers):
        raise LthError(
            "find_tickets: the module has no weights that can be pruned and train; a parameter of "
            "its own is pruned by name: prune=lth.pruning.rules.globally(include=[name])"
        )
    if hasattr(prune, "remaining"):
        kept_by_level(prune, layers, levels)
    return layers


def _dense(snapshots: Snapshots) -> Callable[[int], State]:
    """Return the dense run's state by step."""

    def at(step: int) -> State:
        if step not in snapshots.steps:
            raise LthError(
                f"find_tickets: rewind asks for the dense run's step {step}, which was not kept: a "
                "function of your own has step 0, lth.pruning.rewind.to_step(k) any"
            )
        if step not in snapshots.states:
            if step == 0:
                raise LthError("find_tickets: the trainer trains nothing: it made no batch")
            raise LthError(
                f"find_tickets: the dense run ended before step {step}, which rewind goes to"
            )
        return snapshots.states[step]

    at(max(snapshots.steps))
    return at


def _ticket(
    module: pl.LightningModule, layers: Layers, mask: Mask, start: Start, dense: State
) -> Ticket:
    """Make a ticket; beneath its mask lies the dense network at the point rewound to."""
    params, buffers = start.state
    beneath = {
        n: torch.where(mask[n], p, dense.params[n]) if n in mask else p for n, p in params.items()
    }
    sizes = {n: s for n, s in layers.sizes.items() if n in params}
    return Ticket(
        model=_spec(module), mask=TicketMask(mask), params=beneath, buffers=buffers,
        step=start.step, sizes=sizes, total=sum(sizes.values()),
    )  # fmt: skip


def _spec(module: pl.LightningModule) -> dict[str, Any]:
    """Name the module's class, and the hyperparameters that it saved, where they are plain."""
    kind = type(module)
    try:
        given = plain(dict(module.hparams))
    except LthError:
        given = {}
    return {**given, "_target_": f"{kind.__module__}.{kind.__qualname__}"}


def _diverged(state: State) -> str | None:
    return next((n for n, p in state.params.items() if not bool(p.isfinite().all())), None)


def _tell_of_divergence(level: int, trained: State) -> None:
    if name := _diverged(trained):
        warnings.warn(f"find_tickets: level {level} diverged: {name} is not finite", stacklevel=3)


def _check_finite(level: int, trained: State) -> None:
    if name := _diverged(trained):
        raise LthError(
            f"find_tickets: level {level - 1} diverged ({name} is not finite), so there is no "
            f"level {level}: lower the learning rate"
        )
