"""The GPU's way: R members stacked along a leading axis, trained through ``vmap(functional_call)``.

Torch's own optimizers run over contiguous slices of the stack, a parameter group per learning rate,
so only elementwise optimizers are allowed: one that mixes entries would mix members.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.func import vmap

from lth.data.dataset import Dataset
from lth.errors import LthError
from lth.networks import masks
from lth.networks.ticket import State, draw_model, load_state, memory_key
from lth.spec.build import build
from lth.store.store import Store
from lth.train.alike import agrees, check_elementwise, equal_rates, group_alike
from lth.train.batches import Batches
from lth.train.engine import (
    EVALUATION_BATCH,
    Backward,
    Engine,
    SequentialEngine,
    forget,
    make_optimizer,
    set_rate,
    update,
)
from lth.train.habits import draws_random_numbers, habits_of
from lth.train.job import Job
from lth.train.network import call, masked, places_of
from lth.train.options import Listener, Options
from lth.train.work import work
from lth.types import Mask, Params


class VmapEngine:
    """R members of one model at one step, sorted by learning rate inside."""

    def __init__(self, jobs: Sequence[Job], dataset: Dataset) -> None:
        check_elementwise(jobs[0])
        self.order = sorted(range(len(jobs)), key=lambda m: jobs[m].lr)
        self.row = {member: row for row, member in enumerate(self.order)}
        self.jobs = [jobs[m] for m in self.order]
        self.dataset, self.device = dataset, dataset.train_inputs.device
        self.recipe = jobs[0].recipe
        self.loss, self.schedule = build(self.recipe.loss), build(self.recipe.schedule)
        self.measure = build(jobs[0].measure or self.recipe.loss)
        self.model = draw_model(jobs[0].ticket.model, 0).to(self.device)
        self._places = places_of(self.model)
        starts = [job.ticket.start for job in self.jobs]
        trains = {n: p.requires_grad for n, p in self.model.named_parameters()}  # a frozen one not
        self.leaves = {
            n: nn.Parameter(self._stack([s.params[n] for s in starts]), trains[n])
            for n in starts[0].params
        }
        self.buffers = {n: self._stack([s.buffers[n] for s in starts]) for n in starts[0].buffers}
        self.masks = {
            n: self._stack([job.ticket.mask[n] for job in self.jobs]).to(self.leaves[n].dtype)
            for n in self.jobs[0].ticket.mask
        }
        self.mask = [job.ticket.mask for job in self.jobs]
        frozen = dict.fromkeys(n for job in self.jobs for n in job.ticket.frozen)
        self.frozen = {
            n: self._stack(
                [job.ticket.frozen.get(n, job.ticket.params[n] * 0) for job in self.jobs]
            )
            for n in frozen
        }
        self.slices = list(equal_rates(self.jobs))
        self.optimizer = self._make_optimizer()
        self._make_streams()
        forward = vmap(self._one, in_dims=(0, 0, 0, 0, 0))
        self._forward: Callable[..., Tensor] = (
            forward if jobs[0].compile is None else torch.compile(forward, backend=jobs[0].compile)
        )

    def advance(self, start: int, stop: int, backward: Backward) -> Tensor:
        """Make updates ``start..stop`` of all members at once."""
        self.model.train()
        data, losses = self.dataset, []
        indices = torch.stack([b.indices(start, stop) for b in self.batches], 1).to(self.device)
        for step, rows in zip(range(start, stop), indices, strict=True):  # rows: [streams, B]
            inputs = torch.stack(
                [
                    b.augment(data.train_inputs[r], step)
                    for b, r in zip(self.batches, rows, strict=True)
                ]
            )
            factor = self.schedule(step, self.recipe.steps)
            set_rate(self.optimizer, self.jobs[0], factor)
            batch = data.prepare(inputs.flatten(0, 1)).unflatten(0, inputs.shape[:2])
            logits = self._run(batch[self.stream]).float()
            member_losses = vmap(self.loss)(logits, data.train_targets[rows][self.stream])
            backward(member_losses.sum())  # the sum's gradient is each member's own
            self._update()
            losses.append(member_losses.detach())
        return torch.stack(losses, 1).double()[self._back]

    def evaluate(self, split: str) -> list[tuple[float, float]]:
        """Measure every member on its own trial's split."""
        self.model.eval()
        found = [b.rows(split) for b in self.batches]
        size = len(found[0][1])
        total = torch.zeros(len(self.jobs), dtype=torch.float64, device=self.device)
        right = torch.zeros(len(self.jobs), dtype=torch.int64, device=self.device)
        with torch.no_grad():
            for first in range(0, size, EVALUATION_BATCH):
                part = slice(first, first + EVALUATION_BATCH)
                inputs = torch.stack([self.dataset.prepare(i[part]) for i, _ in found])
                targets = torch.stack([t[part] for _, t in found])[self.stream]
                logits = self._run(inputs[self.stream]).float()
                total += vmap(self.measure)(logits, targets).double() * targets.shape[1]
                right += (logits.argmax(2) == targets).sum(1)
        values = zip((total / size).tolist(), (right.double() / size).tolist(), strict=True)
        by_row = list(values)
        return [by_row[self.row[m]] for m in range(len(self.jobs))]

    def state(self, member: int) -> State:
        """Copy a member's params (masked) and buffers to the CPU."""
        row = self.row[member]
        params = {n: p.detach()[row].cpu().clone() for n, p in self.leaves.items()}
        buffers = {n: b[row].cpu().clone() for n, b in self.buffers.items()}
        return State(masks.apply(params, self.mask[row], self.jobs[row].ticket.frozen), buffers)

    def found(self, member: int) -> tuple[State, Mask]:
        """Return a member's state and mask."""
        return self.state(member), self.mask[self.row[member]]

    def set_mask(self, member: int, mask: Mask) -> None:
        """Change a member's mask, and zero its weights and moments where it changed."""
        for name, piece, row in self._pieces(member):
            if name in mask:
                slots = {k: v[row] for k, v in self.optimizer.state[piece].items() if v.ndim}
                forget(~(self.mask[self.row[member]][name] & mask[name]), piece.data[row], slots)
                self.masks[name][self.row[member]] = mask[name].to(self.masks[name])
        self.mask[self.row[member]] = mask

    def batch(self, member: int, step: int) -> tuple[Tensor, Tensor]:
        """Return a member's batch of one update."""
        batches = self.batches[int(self.stream[self.row[member]])]
        return batches.take(batches.indices(step, step + 1)[0], step)

    def put(self, member: int, state: State) -> None:
        """Overwrite a member's params and buffers in place."""
        row = self.row[member]
        with torch.no_grad():
            for name, value in state.params.items():
                self.leaves[name][row].copy_(value)
            for name, value in state.buffers.items():
                self.buffers[name][row].copy_(value)

    def optimizer_state(self, member: int) -> Params:
        """Copy a member's rows of the optimizer's tensors."""
        found: Params = {}
        for name, piece, row in self._pieces(member):
            for slot, value in self.optimizer.state[piece].items():
                if isinstance(value, Tensor):
                    found[f"{name}/{slot}"] = (value[row] if value.ndim else value).cpu().clone()
        return found

    def put_optimizer_state(self, member: int, state: Params) -> None:
        """Restore a member's rows."""
        for name, piece, row in self._pieces(member):
            slots = self.optimizer.state[piece]
            for key, value in state.items():
                at, _, slot = key.rpartition("/")
                if at == name and value.ndim == 0:
                    slots[slot] = value.to(self.device)
                elif at == name:
                    slots.setdefault(slot, torch.zeros_like(piece))
                    slots[slot][row] = value.to(self.device)

    def _one(
        self, leaves: Params, masks: Params, frozen: Params, buffers: Params, inputs: Tensor
    ) -> Tensor:
        seen = {n: masked(w, masks[n]) if n in masks else w for n, w in leaves.items()}
        seen |= {n: seen[n] + f for n, f in frozen.items()}
        return call(self.model, self._places, seen | buffers, inputs)

    def _run(self, inputs: Tensor) -> Tensor:
        return self._forward(self.leaves, self.masks, self.frozen, self.buffers, inputs)

    def _stack(self, tensors: Sequence[Tensor]) -> Tensor:
        return torch.stack([t.detach() for t in tensors]).to(self.device)

    def _make_streams(self) -> None:
        """Make batches once per trial: its arms, copies and rates see the same ones."""
        distinct = list(dict.fromkeys(job.streams for job in self.jobs))
        self.batches = [Batches(self.dataset, s, self.recipe.batch) for s in distinct]
        rows = [distinct.index(job.streams) for job in self.jobs]
        self.stream = torch.tensor(rows, device=self.device)
        self._back = torch.tensor([self.row[m] for m in range(len(self.jobs))], device=self.device)

    def _make_optimizer(self) -> torch.optim.Optimizer:
        self.pieces = {
            (name, first): nn.Parameter(leaf.data[first:last], leaf.requires_grad)
            for first, last in self.slices
            for name, leaf in self.leaves.items()
        }
        groups = [
            {
                "params": [self.pieces[name, first] for name in self.leaves],
                "lr": self.jobs[first].lr,
                "base_lr": self.jobs[first].lr,
            }
            for first, _ in self.slices
        ]
        return make_optimizer(self.jobs[0], groups)

    def _update(self) -> None:
        for first, last in self.slices:
            for name, leaf in self.leaves.items():
                gradient = leaf.grad  # none: this forward pass does not use the parameter
                self.pieces[name, first].grad = None if gradient is None else gradient[first:last]
        update(self.optimizer)
        for leaf in self.leaves.values():
            leaf.grad = None

    def _pieces(self, member: int) -> Iterator[tuple[str, nn.Parameter, int]]:
        row = self.row[member]
        first = next(a for a, b in self.slices if a <= row < b)
        for name in self.leaves:
            yield name, self.pieces[name, first], row - first


def run_stacked(
    jobs: Sequence[Job],
    dataset: Dataset,
    store: Store,
    options: Options,
    listener: Listener,
    device: str = "cuda",
    stop: Callable[[], bool] = lambda: False,
) -> None:
    """Train all jobs in stacks of one model and step; a stack that does not fit is halved."""
    dataset = dataset.to(device)
    most = options.chunk or len(jobs)
    for alike in group_alike(jobs):
        waiting = list(alike)
        # a member's random numbers must not depend on its company
        limit = 1 if trains_alone(waiting[0], dataset) else most
        while waiting:
            chunk, rest = waiting[:limit], waiting[limit:]
            try:
                accelerator = "cuda" if device == "cuda" else "cpu"
                work([chunk], dataset, store, make_engine, listener.step, str(options.precision),
                     accelerator, stop)  # fmt: skip
            except torch.OutOfMemoryError:
                if len(chunk) == 1:
                    raise LthError(
                        "one member alone does not fit in the GPU's memory: lower recipe.batch"
                    ) from None
                most = limit = max(1, len(chunk) // 2)
                rest = waiting
                torch.cuda.empty_cache()
                listener.note(f"{len(chunk)} members do not fit in memory; going on with {limit}")
            waiting = rest


def make_engine(jobs: Sequence[Job], dataset: Dataset) -> Engine:
    """Stack the jobs; one that cannot be stacked comes alone, and trains as on a CPU."""
    if len(jobs) == 1 and trains_alone(jobs[0], dataset):
        return SequentialEngine(jobs[0], dataset)
    return VmapEngine(jobs, dataset)


def trains_alone(job: Job, dataset: Dataset) -> bool:
    """Whether a member draws random numbers, replaces its buffers, or is not itself in a stack."""
    if draws_random_numbers(job, dataset) or habits_of(job.ticket.model, dataset).replaces:
        return True
    key = memory_key(job.ticket.model)
    if key not in _unstackable:
        try:
            _unstackable[key] = not _agrees(job, dataset)
        except (LthError, torch.OutOfMemoryError):
            raise
        except Exception:  # whatever it is that a vmap does not take
            _unstackable[key] = True
    return _unstackable[key]


def _agrees(job: Job, dataset: Dataset) -> bool:
    stack = VmapEngine([replace(job, compile=None)] * 2, dataset)
    alone = draw_model(job.ticket.model, 0).to(stack.device)
    load_state(alone, job.ticket.start)
    inputs = dataset.prepare(dataset.train_inputs[:32])
    return agrees(stack.model.train(), stack._run, stack.leaves, alone, inputs, job.ticket.mask)


_unstackable: dict[str, bool] = {}  # a pure function's memory, nothing else
