"""A study's analysis as long tables: every measure of every member, by layer or as a whole."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any, NamedTuple

import torch

from lth.data.dataset import Dataset
from lth.data.own import data_of
from lth.models.gated import Gated
from lth.networks import masks
from lth.networks.ticket import load_state, network_of
from lth.recipe.evaluation import EVALUATION_BATCH, LOSS
from lth.records.record import last_phases
from lth.results.analysis import structure
from lth.results.analysis.evaluate import Evaluator, Rows, rows_of
from lth.results.analysis.exits import shared_by_exits
from lth.results.analysis.lines import Point, lines
from lth.results.analysis.members import Member, Members
from lth.results.analysis.policies import policies
from lth.spec.build import build
from lth.store.study import Study
from lth.train.work import one_thread
from lth.types import WINNER, Mask, MemberId

Measure = tuple[str, str, float]
"""(layer, measure, value)."""


class Row(NamedTuple):
    """One value: of a layer, or of the whole network where ``layer`` is empty."""

    study: str
    trial: int
    copy: int
    lr: float
    arm: str
    level: int
    density: float
    layer: str
    measure: str
    value: float


class MemberAnalysis(NamedTuple):
    """What there is to say of one member: its rows of ``analysis.csv`` and of ``paths.csv``."""

    rows: list[Row]
    points: list[Point]


class Analysis:
    """Looks at what a study trained; nothing is trained here.

    Members are looked at by several threads side by side, each computing with one: where other
    programs share the cores, torch's own threads wait for each other far longer than they work.
    """

    def __init__(
        self, study: Study, dataset: Dataset | None = None, device: str = "cpu", threads: int = 1
    ) -> None:
        self.study, self.threads = study, threads
        data = data_of(study.config["data"]) if dataset is None else dataset
        self.dataset: Dataset = data if device == "cpu" else data.to(device)
        recipe, self.members = study.config["recipe"], Members(study)
        self.loss = build(recipe["loss"])
        self.measures = {n: build(s) for n, s in (recipe.get("measures") or {}).items()} or None
        rows = last_phases(study.records)
        self.densities = {(r.trial, r.lr, r.arm, r.level, r.copy): r.density for r in rows}
        self.splits = lru_cache(2 * threads)(self._splits)

    def __iter__(self) -> Iterator[MemberAnalysis]:
        """Yield what there is to say of one member after another; nothing if it diverged."""
        with one_thread(), ThreadPoolExecutor(self.threads) as pool:
            try:
                yield from pool.map(self._look, self.members.places)
            finally:
                pool.shutdown(cancel_futures=True)

    def _look(self, place: MemberId) -> MemberAnalysis:
        member = self.members[place]
        if member.final is None:
            return MemberAnalysis([], [])
        evaluator = Evaluator(member.model, self.dataset, self.loss, self.measures)
        own = list(lines(place, member, self.members, evaluator, self.splits(place.trial)))
        measures = [*self._structure(place, member, evaluator)]
        measures += self._training(place, member, evaluator)
        measures += self._policies(place, member, evaluator)
        measures += self._exits(place, member, evaluator)
        measures += [("", *measure) for line in own for measure in line.measures()]
        where = self._where(place)
        rows = [Row(**where, layer=n, measure=m, value=float(v)) for n, m, v in measures]
        return MemberAnalysis(rows, [point for line in own for point in line.points(**where)])

    def _where(self, place: MemberId) -> dict[str, Any]:
        names = ("trial", "copy", "lr", "arm", "level")
        where = {name: getattr(place, name) for name in names}
        return {"study": self.study.id, **where, "density": self.densities[place[:5]]}

    def _structure(
        self, place: MemberId, member: Member, evaluator: Evaluator
    ) -> Iterator[Measure]:
        """Measure the mask that training ended with, by itself and against others."""
        mask = member.final_mask
        yield from ((n, "density", d) for n, d in structure.layer_density(mask).items())
        dead = structure.dead_units(mask, structure.wirings(evaluator.network))
        for name, (units, inputs) in dead.items():
            yield from ((name, "dead_units", units), (name, "dead_inputs", inputs))
        if place.arm != WINNER:
            ticket = self.members.get(place._replace(arm=WINNER, copy=0))
            yield from _overlap(mask, ticket, "overlap_with_ticket", "chance_overlap_with_ticket")
        elif place.trial > 0 and place.level > 0:
            first = self.members.get(place._replace(trial=0))
            yield from _overlap(mask, first, "overlap_with_trial_0", "chance_overlap")

    def _training(self, place: MemberId, member: Member, evaluator: Evaluator) -> Iterator[Measure]:
        """Measure what training did to the weights that it kept from its start to its end."""
        assert member.final is not None
        start, final = member.start.params, member.final.params
        kept = masks.intersect(member.mask, member.final_mask)
        yield "", "sign_agreement", structure.sign_agreement(start, final, kept)
        yield from ((n, "distance", d) for n, d in structure.distance(start, final, kept).items())
        yield from self._movement(place, member)
        values = evaluator.measure(member.start, self.splits(place.trial)["test"])
        yield from (("", f"untrained_test_{n}", v) for n, v in values.items() if n != LOSS)

    def _policies(self, place: MemberId, member: Member, evaluator: Evaluator) -> Iterator[Measure]:
        """Measure what gates do with the test set, against how hard the dense network finds it."""
        if not isinstance(evaluator.network, Gated):
            return
        assert member.final is not None
        dense = self.members.get(place._replace(arm=WINNER, level=0, copy=0)) or member
        static = network_of(dense.model, dense.final or dense.start).eval()
        static = static.to(self.dataset.train_inputs.device)
        load_state(evaluator.network, member.final)
        inputs, targets = self.splits(place.trial)["test"]
        found = policies(evaluator.network, self.dataset.prepare(inputs), targets, static)
        yield from (("", *measure) for measure in found.measures())

    def _exits(self, place: MemberId, member: Member, evaluator: Evaluator) -> Iterator[Measure]:
        """Measure whether the exits of a network share its ticket, on training examples."""
        if not hasattr(evaluator.network, "stages"):
            return
        assert member.final is not None
        network = network_of(member.model, member.final)
        inputs, targets = (part[:EVALUATION_BATCH] for part in self.splits(place.trial)["train"])
        network = network.to(inputs.device)
        found = shared_by_exits(network, member.final_mask, self.dataset.prepare(inputs), targets)
        yield from (("", *measure) for measure in found)

    def _movement(self, place: MemberId, member: Member) -> Iterator[Measure]:
        """Measure how the dense network moved the weights that the ticket keeps, and the others."""
        dense = self.members.get(place._replace(level=0))
        if place.arm != WINNER or place.level == 0 or dense is None or dense.final is None:
            return
        if dense.model != member.model:
            return
        before, after = dense.start.params, dense.final.params
        pruned = {n: ~m for n, m in member.mask.items()}
        for which, mask in ("kept", member.mask), ("pruned", pruned):
            moved = structure.movement(before, after, mask)
            yield from ((n, f"distance_of_{which}", d) for n, d in moved.items())
            grown = structure.growth(before, after, mask)
            yield from ((n, f"growth_of_{which}", g) for n, g in grown.items())

    def _splits(self, trial: int) -> dict[str, Rows]:
        """Return the test set and as many training examples of the trial."""
        seed = self.study.config["seed"]
        test, train = (rows_of(self.dataset, name, seed, trial) for name in ("test", "train"))
        count = len(test[0])
        return {"test": test, "train": (train[0][:count].clone(), train[1][:count].clone())}


def _overlap(mask: Mask, other: Member | None, name: str, chance: str) -> Iterator[Measure]:
    """Compare two masks, where both are of one network's weights."""
    if other is None or _shapes(mask) != _shapes(other.final_mask):
        return
    yield "", name, masks.overlap(mask, other.final_mask)
    yield "", chance, structure.chance_overlap(mask, other.final_mask)


def _shapes(mask: Mask) -> dict[str, torch.Size]:
    return {n: m.shape for n, m in mask.items()}
