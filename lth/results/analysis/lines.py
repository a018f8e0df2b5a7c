"""Which networks of a study lines are drawn between, and what is measured along them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from lth.networks.ticket import State
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


class PruningChain(NamedTuple):
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

    def points(self) -> Iterator[tuple[str, str, str, float, str, float, float]]:
        """Yield the columns of ``Point`` that follow the place and its density."""
        path = self.path
        for alpha, error, loss in zip(path.alphas, path.errors, path.losses, strict=True):
            yield self.kind, self.to, self.norms, alpha, self.split, error, loss


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
) -> Iterator[PruningChain]:
    """Measure every line from one member, those to networks that diverged left out."""
    for kind, name, other in neighbours(place, members):
        end = members.get(other)
        if member.final is None or end is None or end.final is None or end.model != member.model:
            continue
        for norms in (INTERPOLATED, RECALIBRATED) if evaluator.has_norms else ("",):
            found = _between(member.final, end.final, evaluator, splits, norms)
            yield from (
                PruningChain(kind, name, norms, split, path) for split, path in found.items()
            )


def _between(
    a: State, b: State, evaluator: Evaluator, splits: dict[str, Rows], norms: str
) -> dict[str, Path]:
    calibrate_on = splits["train"][0] if norms == RECALIBRATED else None
    return paths(evaluator, a, b, splits, calibrate_on=calibrate_on)
