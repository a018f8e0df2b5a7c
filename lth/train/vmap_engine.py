"""The GPU's way: R members stacked along a leading axis, trained through ``vmap(functional_call)``.

Torch's own optimizers run over contiguous slices of the stack, a parameter group per learning rate,
so only elementwise optimizers are allowed: one that mixes entries would mix members.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import vmap
from torch.utils._pytree import tree_map

from lth.data.dataset import Dataset
from lth.networks import masks
from lth.networks.ticket import State, draw_model
from lth.recipe.adapt import as_loss
from lth.recipe.evaluation import as_floats
from lth.spec.build import build
from lth.train.alike import check_elementwise, equal_rates
from lth.train.batches import batches_of, sees
from lth.train.engine import Backward, inference_state, lasting
from lth.train.evaluate import EVALUATION_BATCH, taught, teacher_of
from lth.train.job import Job
from lth.train.network import call, holder, places_of, see_all
from lth.train.optimizer import forget, make_optimizer, set_rate, update
from lth.train.uneven import filled, sums_of_own
from lth.types import Batch, Mask, Params


class VmapEngine:
    """R members of one model at one step, sorted by learning rate inside."""

    def __init__(self, jobs: Sequence[Job], dataset: Dataset) -> None:
        check_elementwise(jobs[0])
        self.order = sorted(range(len(jobs)), key=lambda m: jobs[m].lr)
        self.row = {member: row for row, member in enumerate(self.order)}
        self.jobs = [jobs[m] for m in self.order]
        self.dataset, self.device = dataset, dataset.train_inputs.device
        self.recipe = jobs[0].recipe
        self.loss, self.schedule = as_loss(build(self.recipe.loss)), build(self.recipe.schedule)
        self.measures = self.recipe.evaluator(jobs[0].measure)
        self._take_teachers()
        self.model = draw_model(jobs[0].ticket.model, 0).to(self.device)
        self._places = places_of(self.model)
        starts = [job.ticket.plain_start for job in self.jobs]
        self._take_views()
        trains = {  # a frozen parameter does not, nor any weight under a gate
            n: p.requires_grad and not self.views.holds for n, p in self.model.named_parameters()
        }
        self._weights = list(starts[0].params)
        self.leaves = {
            n: nn.Parameter(self._stack([s.params[n] for s in starts]), trains[n])
            for n in self._weights
        } | self._trained
        self.buffers = {n: self._stack([s.buffers[n] for s in starts]) for n in starts[0].buffers}
        self.masks = {
            n: self._stack([job.ticket.mask[n] for job in self.jobs]).to(self.leaves[n].dtype)
            for n in self.jobs[0].ticket.mask
        }
        self.mask = [job.ticket.mask for job in self.jobs]
        self.slices = list(equal_rates(self.jobs))
        self.optimizer, self.update = self._make_optimizer(), update
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
            each = zip(self.batches, rows, strict=True)
            inputs = torch.stack([b.augment(data.train_inputs[r], step) for b, r in each])
            set_rate(self.optimizer, self.jobs[0], self.schedule(step, self.recipe.steps))
            prepared = data.prepare(inputs.flatten(0, 1)).unflatten(0, inputs.shape[:2])
            targets = torch.stack([b.targets(r) for b, r in zip(self.batches, rows, strict=True)])
            batch = self._batch(prepared, targets, rows, step)
            member_losses = self._each(self.loss, as_floats(self._run(batch.inputs)), batch)
            backward(member_losses.sum())  # the sum's gradient is each member's own
            self._update()
            losses.append(member_losses.detach())
        return torch.stack(losses, 1).double()[self._back]

    def evaluate(self, split: str) -> list[dict[str, float]]:
        """Measure every member on its own trial's split."""
        self.model.eval()
        found = [(*b.rows(split), b.index(split)) for b in self.batches]
        sizes = [len(targets) for _, targets, _ in found]
        total: dict[str, list[Tensor]] = {}
        with torch.no_grad():
            for first in range(0, max(sizes), EVALUATION_BATCH):
                last = min(first + EVALUATION_BATCH, max(sizes))
                parts = [filled(first, last, size) for size in sizes]
                each = list(zip(found, parts, strict=True))
                inputs = torch.stack([self.dataset.prepare(f[0][part]) for f, part in each])
                targets = torch.stack([f[1][part] for f, part in each])
                rows = torch.stack([f[2][part] for f, part in each])
                batch = self._batch(inputs, targets, rows, None)
                own = [max(0, min(size, last) - first) for size in sizes]
                outputs = as_floats(self._run(batch.inputs))
                if len({*own}) == 1:
                    sums = self._each(self.measures, outputs, batch)
                else:
                    mine = [own[stream] for stream in self.stream.tolist()]
                    sums = sums_of_own(self.measures, outputs, batch, mine)
                for name, pair in sums.items():
                    pair = [value.to(self.device) for value in pair]
                    before = total.get(name, [torch.zeros_like(v) for v in pair])
                    total[name] = [a + b for a, b in zip(before, pair, strict=True)]
        lists = {n: [value.tolist() for value in pair] for n, pair in total.items()}
        by_row = [
            self.measures.values({n: (top[row], count[row]) for n, (top, count) in lists.items()})
            for row in range(len(self.jobs))
        ]
        return [by_row[self.row[m]] for m in range(len(self.jobs))]

    def state(self, member: int) -> State:
        """Copy a member's params (masked) and buffers to the CPU."""
        row = self.row[member]
        params = {n: p.detach()[row].cpu().clone() for n, p in self.leaves.items()}
        held = self.buffers | lasting(self.views, self.constants)
        buffers = {n: b[row].cpu().clone() for n, b in held.items()}
        return State(masks.apply(params, self.mask[row], self.jobs[row].ticket.frozen), buffers)

    def inference_state(self, member: int) -> tuple[State, Mask]:
        """Return a member's state and mask; a gated one's as its gate leaves it."""
        return inference_state(self.views, self.state(member), self.mask[self.row[member]])

    def set_mask(self, member: int, mask: Mask) -> None:
        """Change a member's mask, and zero its weights and moments where it changed."""
        for name, piece, row in self._pieces(member):
            if name in mask:
                slots = {k: v[row] for k, v in self.optimizer.state[piece].items() if v.ndim}
                forget(~(self.mask[self.row[member]][name] & mask[name]), piece.data[row], slots)
                self.masks[name][self.row[member]] = mask[name].to(self.masks[name])
        self.mask[self.row[member]] = mask

    def batch(self, member: int, step: int) -> Batch:
        """Return a member's batch of one update."""
        batches = self.batches[int(self.stream[self.row[member]])]
        taken = batches.take(batches.indices(step, step + 1)[0], step)
        key = self.jobs[self.row[member]].ticket.teacher
        return taught(self.teachers[key] if key else None, taken)

    def put(self, member: int, state: State) -> None:
        """Overwrite a member's params and buffers in place."""
        row = self.row[member]
        with torch.no_grad():
            for name, value in state.params.items():
                self.leaves[name][row].copy_(value)
            for name, value in state.buffers.items():
                held = self.constants if name in self.constants else self.buffers
                held[name][row].copy_(value)

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

    def module(self, member: int) -> nn.Module:
        """Return a module of a member's rows of the stack."""
        leaves, row = self.leaves.items(), self.row[member]
        params = {n: nn.Parameter(p.data[row], p.requires_grad) for n, p in leaves}
        return holder(params, {n: b[row] for n, b in self.buffers.items()})

    def outputs(self, inputs: Tensor) -> Any:
        """Return every member's outputs."""
        made = self._run(inputs.expand(len(self.jobs), *inputs.shape))
        return tree_map(lambda t: t[self._back], made)

    def keep_masks(self) -> None:
        """Zero pruned weights; the graph masks gradients."""
        for name, mask in self.masks.items():
            self.leaves[name].data.mul_(mask)

    def _one(
        self, leaves: Params, masks: Params, constants: Params, buffers: Params, inputs: Tensor
    ) -> Any:
        weights = {n: leaves[n] for n in self._weights}
        own = leaves | constants
        seen = see_all(self.views, weights, masks, own, self.model.training)
        return call(self.model, self._places, seen | buffers, inputs)

    def _run(self, inputs: Tensor) -> Any:
        return self._forward(self.leaves, self.masks, self.constants, self.buffers, inputs)

    def _each(self, of: Callable[..., Any], outputs: Any, batch: Batch) -> Any:
        """Call a loss, or the measures, for every member by itself."""
        step, given = batch.step, (batch.inputs, batch.targets, batch.rows)
        if batch.teacher is None:
            return vmap(lambda o, i, t, r: of(o, Batch(i, t, r, step)))(outputs, *given)
        return vmap(lambda o, i, t, r, teacher: of(o, Batch(i, t, r, step, teacher)))(
            outputs, *given, batch.teacher
        )

    def _batch(self, inputs: Tensor, targets: Tensor, rows: Tensor, step: int | None) -> Batch:
        """Give every member the batch of its stream ([streams, B, ...] -> [R, B, ...])."""
        rows = rows.to(self.device)
        batch = Batch(inputs[self.stream], targets[self.stream], rows[self.stream], step)
        if not self.teachers:
            return batch
        keys = [job.ticket.teacher or "" for job in self.jobs]
        pairs = list(zip(keys, self.stream.tolist(), strict=True))
        with torch.no_grad():  # once for each teacher and stream
            made = {
                (key, s): as_floats(self.teachers[key](inputs[s]))
                for key, s in dict.fromkeys(pairs)
            }
        outputs = tree_map(lambda *each: torch.stack(each), *(made[pair] for pair in pairs))
        return batch._replace(teacher=outputs)

    def _take_teachers(self) -> None:
        """Build every teacher once, however many members it has."""
        self.teachers: dict[str, nn.Module] = {}
        for job in self.jobs:
            key = job.ticket.teacher or ""
            network = None if key in self.teachers else teacher_of(job, self.device)
            if network is not None:
                self.teachers[key] = network

    def _take_views(self) -> None:
        """Stack what the members' views own; who has no frozen values has 0 there."""
        each = [job.ticket.built_views() for job in self.jobs]
        self.views = max(each, key=lambda views: len(views.own))
        trained, constants = dict[str, nn.Parameter](), Params()
        for name, like in (own for views in each for own in views.own.items()):
            stack = [v.own.get(name, like.detach() * 0) for v in each]
            if isinstance(like, nn.Parameter):
                trained[name] = nn.Parameter(self._stack(stack))
            else:
                constants[name] = self._stack(stack)
        self._trained, self.constants = trained, constants

    def _stack(self, tensors: Sequence[Tensor]) -> Tensor:
        return torch.stack([t.detach() for t in tensors]).to(self.device)

    def _make_streams(self) -> None:
        """Make batches once per trial: its arms, copies and rates see the same ones."""
        named = [(job.streams, sees(job)) for job in self.jobs]
        distinct = {name: job for name, job in zip(named, self.jobs, strict=True)}
        self.batches = [batches_of(job, self.dataset) for job in distinct.values()]
        rows = [[*distinct].index(name) for name in named]
        self.stream = torch.tensor(rows, device=self.device)
        self._back = torch.tensor([self.row[m] for m in range(len(self.jobs))], device=self.device)

    def _make_optimizer(self) -> torch.optim.Optimizer:
        self.pieces = {
            (name, first): nn.Parameter(leaf.data[first:last], leaf.requires_grad)
            for first, last in self.slices
            for name, leaf in self.leaves.items()
        }
        rates = {first: self.jobs[first].lr for first, _ in self.slices}
        groups = [
            {"params": [self.pieces[n, first] for n in self.leaves], "lr": lr, "base_lr": lr}
            for first, lr in rates.items()
        ]
        return make_optimizer(self.jobs[0], groups)

    def _update(self) -> None:
        for first, last in self.slices:
            for name, leaf in self.leaves.items():
                gradient = leaf.grad  # none: this forward pass does not use the parameter
                self.pieces[name, first].grad = None if gradient is None else gradient[first:last]
        self.update(self.optimizer)
        for leaf in self.leaves.values():
            leaf.grad = None

    def _pieces(self, member: int) -> Iterator[tuple[str, nn.Parameter, int]]:
        row = self.row[member]
        first = next(a for a, b in self.slices if a <= row < b)
        for name in self.leaves:
            yield name, self.pieces[name, first], row - first
