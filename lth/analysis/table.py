"""A study's analysis as one long table: every measure of every ticket, by layer or as a whole."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from torch import Tensor

from lth import masks
from lth.analysis import structure
from lth.analysis.connectivity import paths
from lth.analysis.evaluate import measure, rows_of
from lth.data.dataset import Dataset
from lth.entry import Entry
from lth.imp import WINNER, Place
from lth.spec import build
from lth.study import Study

CHILD, DENSE_CHILD = "sgd_noise", "dense_child"


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


class Analysis:
    """Looks at what a study trained; nothing is trained here."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self.dataset: Dataset = build(study.config["data"])
        self.densities = {(r.trial, r.lr, r.arm, r.level, r.copy): r.density for r in study.records}

    def rows(self) -> Iterator[list[Row]]:
        """Yield the rows of one member after another."""
        for place in self.study.members:
            entry = self.entry(place)
            if entry.diverged is None:
                yield [self._row(place, *found) for found in self._measures(place, entry)]

    def entry(self, place: Place) -> Entry:
        """Return a member's entry."""
        return self.study.entry(**place._asdict())

    def _row(self, place: Place, layer: str, name: str, value: float) -> Row:
        p = place
        density = self.densities[p.trial, p.lr, p.arm, p.level, p.copy]
        return Row(
            self.study.id, p.trial, p.copy, p.lr, p.arm, p.level, density, layer, name, float(value)
        )

    def _measures(self, place: Place, entry: Entry) -> Iterator[tuple[str, str, float]]:
        mask, start, final = entry.mask, entry.start, entry.final
        yield from ((n, "density", d) for n, d in structure.layer_density(mask).items())
        for name, (units, inputs) in structure.dead_units(mask).items():
            yield from ((name, "dead_units", units), (name, "dead_inputs", inputs))
        if place.arm == WINNER:
            yield from self._between_trials(place, entry)
        agreement = structure.sign_agreement(start.params, final.params, mask)
        yield "", "sign_agreement", agreement
        moved = structure.distance(start.params, final.params, mask)
        yield from ((n, "distance", d) for n, d in moved.items())
        test = rows_of(self.dataset, "test", self.study.config["seed"], place.trial)
        _, accuracy = measure(entry.about["model"], start, self.dataset, test)
        yield "", "untrained_test_accuracy", accuracy
        for name, other in self._neighbours(place):
            yield from self._barriers(name, place, entry, other)

    def _between_trials(self, place: Place, entry: Entry) -> Iterator[tuple[str, str, float]]:
        if place.trial == 0 or place.level == 0:
            return
        first = self.entry(place._replace(trial=0))
        if entry.about["model"] == first.about["model"]:
            yield "", "overlap_with_trial_0", masks.overlap(entry.mask, first.mask)
            yield "", "chance_overlap", structure.chance_overlap(entry.mask, first.mask)

    def _neighbours(self, place: Place) -> Iterator[tuple[str, Entry]]:
        """Name the networks to which a line is drawn from this one."""
        if place.arm == WINNER and place.level > 0:
            yield "level_barrier", self.entry(place._replace(level=place.level - 1))
        if place.arm == CHILD:
            yield "instability", self.entry(place._replace(arm=WINNER, copy=0))
        if place.arm in (CHILD, DENSE_CHILD):
            for copy in range(place.copy):
                yield "instability", self.entry(place._replace(copy=copy))

    def _barriers(
        self, name: str, place: Place, entry: Entry, other: Entry
    ) -> Iterator[tuple[str, str, float]]:
        if other.diverged is not None:
            return
        train = rows_of(self.dataset, "train", self.study.config["seed"], place.trial)
        test = rows_of(self.dataset, "test", self.study.config["seed"], place.trial)
        few: tuple[Tensor, Tensor] = (train[0][: len(test[0])], train[1][: len(test[0])])
        found = paths(
            entry.about["model"], entry.final, other.final, self.dataset,
            {"test": test, "train": few}, calibrate_on=few[0],
        )  # fmt: skip
        yield from (("", f"{split}_{name}", p.barrier) for split, p in found.items())
