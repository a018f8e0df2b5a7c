"""What a student's teacher has seen, as rows of the records, and in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lth.records.intervals import grouped, mean
from lth.records.record import Record

LABELLED = "labelled"
TEACHER_LABELLED, TEACHER_ACCURACY = "teacher/labelled", "teacher/accuracy"
BIAS_SHIFT = "bias_shift"


def taught_points(ticket: Any, entry: Any, step: int) -> list[tuple[int, str, str, float]]:
    """Return a member's (step, split, metric, value) of what it and its teacher have seen.

    ``labelled``: how many labelled examples it trained on, where those were not all, or it has a
    teacher; ``teacher/labelled`` those of the teacher, ``teacher/accuracy`` its accuracy on its own
    validation split at its end, as far as they are known; ``bias_shift``: what a move has added.
    """
    teacher: Mapping[str, Any] = ticket.origin.get("teacher", {})
    own = entry.about.get("examples", {})
    found: list[tuple[int, str, str, float | None]] = []
    if ticket.teacher is not None or own.get(LABELLED) != own.get("training"):
        found.append((step, "train", LABELLED, own.get(LABELLED)))
    if ticket.teacher is not None:
        found.append((step, "train", TEACHER_LABELLED, teacher.get(LABELLED)))
        found.append((step, "validation", TEACHER_ACCURACY, teacher.get("accuracy")))
    found.append((step, "validation", BIAS_SHIFT, ticket.origin.get("bias_shift")))
    return [(s, split, name, float(v)) for s, split, name, v in found if v is not None]


def teachers(records: Iterable[Record]) -> list[str]:
    """Say of every arm with a teacher, in a line, what both have seen: distillation moves labels.

    A student that beats one without a teacher may have got its teacher's labels, not its knowledge.
    """
    rows = list(records)
    taught = {(r.arm, r.phase) for r in rows if r.metric in (TEACHER_LABELLED, TEACHER_ACCURACY)}
    arms = grouped((r for r in rows if (r.arm, r.phase) in taught), lambda r: r.arm)
    return [_line(arm, own) for arm, own in arms.items()]


def _line(arm: str, rows: Sequence[Record]) -> str:
    values = {m: [r.value for r in own] for m, own in grouped(rows, lambda r: r.metric).items()}
    saw, right = _count(values.get(TEACHER_LABELLED)), values.get(TEACHER_ACCURACY)
    said = "" if right is None else f", {100 * mean(right):.2f} % right on its validation"
    own = values.get(LABELLED)
    student = "" if own is None else f"; its student on {_count(own)}"
    return f"{arm}: its teacher was trained on {saw} labelled examples{said}{student}"


def _count(values: Sequence[float] | None) -> str:
    if values is None:
        return "an unknown number of"
    low, high = min(values), max(values)
    return f"{low:,.0f}" if low == high else f"{low:,.0f} to {high:,.0f}"
