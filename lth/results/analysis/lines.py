"""Which networks of a study lines are drawn between, and what is measured along them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from lth.results.analysis.connectivity import Path, paths
from lth.results.analysis.evaluate import Evaluator, Rows
from lth.results.analysis.members import Member, Members
from lth.types import WINNER, MemberId

CHILD, DENSE_CHILD = "sgd_noise", "dense_child"
INSTABILITY, LEVEL = "instability", "level"

INTERPOLATED, RECALIBRATED = "interpolated", "recalibrated"
"""What BatchNorm's running statistics are at every point of a line, its ends included."""


class Point(NamedTuple):
    """A network between two trained ones, a row of ``paths.csv``.

    The member at the row's place is alpha = 0, ``to`` is alpha = 1: another arm and copy under SGD
    noise (``kind`` instability), or the level above. ``norms`` is empty where the network has none.
    """

    study: str
    trial: int
    copy: int
    lr: float
    arm: str
    level: int
    density: float
    kind: str
    to: str
    norms: str
    alpha: float
    split: str
    error: float
    loss: float


class Line(NamedTuple):
    """One way between two networks, measured on one split."""

    kind: str
    to: str
    norms: str
    split: str
    path: Path

    def measures(self) -> Iterator[tuple[str, float]]:
        """Name the barriers: ``test_instability``, ``train_level_barrier_loss_recalibrated``."""
        name = f"{self.split}_{'level_barrier' if self.kind == LEVEL else self.kind}"
        end = "_recalibrated" if self.norms == RECALIBRATED else ""
        yield name + end, self.path.barrier
        yield f"{name}_loss{end}", self.path.loss_barrier

    def points(self, **where: Any) -> Iterator[Point]:
        """Yield the line's rows of ``paths.csv``; ``where`` are the member's place and density."""
        kind, to, norms, split, path = self
        for alpha, error, loss in zip(path.alphas, path.errors, path.losses, strict=True):
            yield Point(
                **where, kind=kind, to=to, norms=norms, alpha=alpha, split=split, error=error,
                loss=loss,
            )  # fmt: skip


def neighbours(place: MemberId, members: Members) -> Iterator[tuple[str, str, MemberId]]:
    """Yield (kind, name, place) of the networks to which a line is drawn from this one.

    A ticket is compared with the one it was pruned from; a child under SGD noise with the ticket,
    which is a child too, and with its elder siblings.
    """
    above = members.above(place)
    if place.arm == WINNER and above is not None:
        yield LEVEL, f"level {above.level}", above
    if place.arm == CHILD:
        yield INSTABILITY, WINNER, place._replace(arm=WINNER, copy=0)
    if place.arm in (CHILD, DENSE_CHILD):
        for copy in range(place.copy):
            yield INSTABILITY, f"{place.arm} {copy}", place._replace(copy=copy)


def lines(
    place: MemberId, member: Member, members: Members, evaluator: Evaluator, splits: dict[str, Rows]
) -> Iterator[Line]:
    """Measure every line from one member, those to networks that diverged left out."""
    for kind, to, other in neighbours(place, members):
        end = members.get(other)
        if member.final is None or end is None or end.final is None or end.model != member.model:
            continue
        for norms in (INTERPOLATED, RECALIBRATED) if evaluator.has_norms else ("",):
            anew = splits["train"][0] if norms == RECALIBRATED else None
            measured = paths(evaluator, member.final, end.final, splits, calibrate_on=anew)
            for split, path in measured.items():
                yield Line(kind=kind, to=to, norms=norms, split=split, path=path)
