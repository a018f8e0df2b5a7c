"""What a sweep chooses by: one number of a study, never of the test set."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

from lth.errors import LthError, nearest
from lth.measured import Measured, higher_is_better, is_better_higher, measured_of
from lth.records.intervals import mean
from lth.records.judged import Judged, valued
from lth.records.record import Record
from lth.records.statistics import EARLY, Cell, Summary, summarise
from lth.types import WINNER

KEYS = ("measure", "arm", "level", "split")

SPLITS = ("validation", "train")
"""Splits that may choose."""

WORDS = re.compile(
    r"(?P<measure>\S+)(?: of (?P<arm>\S+))?(?: at level (?P<level>\d+))?(?: on (?P<split>\S+))?"
)

FORM = "say optimize='accuracy at level 5', 'loss of random_reinit at level 3 on validation' or so"


class Objective(NamedTuple):
    """A measure at early stop, of one arm at one level (None: the deepest), on one split.

    Without a ``measure`` it is the one that the study is judged by.
    """

    measure: str | None = None
    arm: str = WINNER
    level: int | None = None
    split: str = "validation"

    @property
    def words(self) -> str:
        """The objective in words: ``validation accuracy of winning_ticket at level 5``."""
        measure = (self.measure or "the judged measure").replace("_", " ")
        of = measure if self.measure == EARLY else f"{self.split} {measure}"
        where = "the deepest level" if self.level is None else f"level {self.level}"
        return f"{of} of {self.arm} at {where}"


class Outcome(NamedTuple):
    """An objective's value in one study: the mean over trials, of the best learning rate.

    ``trials`` are the values of the trials that reached it. Where one diverged, the value is the
    worst there is: a mean of those that are left would be a choice among trials.
    """

    value: float
    lr: float
    level: int
    density: float
    trials: dict[int, float]


def objective_of(given: Any) -> Objective:
    """Read the setting ``optimize``: a mapping, or its short form in words.

    >>> objective_of("loss of random_reinit at level 3")
    Objective(measure='loss', arm='random_reinit', level=3, split='validation')
    """
    if given is None:
        return Objective()
    if isinstance(given, str):
        found = WORDS.fullmatch(" ".join(given.split()))
        if found is None:
            raise LthError(f"optimize={given}: not understood; {FORM}")
        given = {k: v for k, v in found.groupdict().items() if v is not None}
        given |= {"level": int(given["level"])} if "level" in given else {}
    if not isinstance(given, Mapping):
        raise LthError(f"optimize={given}: a mapping of {', '.join(KEYS)}, or words: {FORM}")
    for key in given:
        if key not in KEYS:
            raise LthError(f"optimize.{key}: no such setting{nearest(str(key), KEYS)}")
    return _checked(Objective(**{k: v for k, v in given.items() if v is not None}))


def _checked(asked: Objective) -> Objective:
    if asked.split == "test":
        raise LthError(
            "optimize.split=test: nothing is chosen on the test set; leave it out (validation)"
        )
    if asked.split not in SPLITS:
        raise LthError(f"optimize.split={asked.split}: it is one of {', '.join(SPLITS)}")
    level = asked.level
    if level is not None and (type(level) is not int or level < 0):
        raise LthError(f"optimize.level={level}: a whole number from 0, or null for the deepest")
    for name in ("measure", "arm"):
        value = getattr(asked, name)
        if value is not None and (not isinstance(value, str) or not value):
            raise LthError(f"optimize.{name}={value!r}: a name; {FORM}")
    return asked


def check_objective(
    asked: Objective,
    arms: Collection[str],
    levels: Collection[int],
    methods: Collection[str] = (),
    measures: Collection[str] | None = None,
) -> None:
    """Refuse, before any work, an arm, a level or a measure that the study will not have.

    Without ``measures`` it is not known what will be measured.
    """
    if asked.measure is not None and measures is not None:
        there = [*dict.fromkeys([*measures, "loss", EARLY])]
        if asked.measure.partition("/")[0] not in there:
            near = nearest(asked.measure, there)
            raise LthError(f"optimize.measure={asked.measure}: it is not measured{near}")
    known = [*dict.fromkeys([WINNER, *arms, *methods])]
    if asked.arm not in known:
        raise LthError(f"optimize.arm={asked.arm}: no such arm here{nearest(asked.arm, known)}")
    deepest = max(levels, default=0)
    shared = asked.arm == WINNER or asked.arm in methods
    there = set(range(deepest + 1)) if shared else set(levels)
    if asked.level is not None and asked.level not in there:
        has = ", ".join(map(str, sorted(levels))) or "0"
        raise LthError(f"optimize.level={asked.level}: {asked.arm} has level {has}")


def is_higher_better(asked: Objective, config: Mapping[str, Any]) -> bool:
    """Return whether more of an objective is better."""
    measured = measured_of(config)
    if asked.measure in (None, measured.metric):
        return measured.higher
    if asked.measure == EARLY:
        return False
    spec = ((config.get("recipe") or {}).get("measures") or {}).get(asked.measure)
    name = str(asked.measure)
    return is_better_higher(name, spec) if spec is not None else higher_is_better(name)


def outcome_of(
    records: Iterable[Record], asked: Objective, config: Mapping[str, Any]
) -> Outcome | None:
    """Return the objective's value in a study's records; None where it has no such rows.

    ``value = mean over trials of the measure at early stop``, of the best rate where there are
    several.
    """
    records = list(records)
    higher, worst = is_higher_better(asked, config), -math.inf
    name = _column(records, asked, measured_of(config))
    cells = summarise(records)
    levels = [c.level for c in cells if c.arm == asked.arm]
    if not levels:
        return None
    level = max(levels) if asked.level is None else asked.level
    found = list[tuple[float, Outcome]]()
    for lr in dict.fromkeys(c.lr for c in cells):
        here = cells.get(Cell(lr, asked.arm, level))
        trials = here.trials.get(name, {}) if here is not None else {}
        if here is not None and not trials and not here.ended:
            _refuse(asked, here)
        begun = cells[Cell(lr, WINNER, 0)].seen if Cell(lr, WINNER, 0) in cells else set(trials)
        whole = bool(trials) and begun <= trials.keys() and not (here is None or here.ended)
        value = mean(list(trials.values())) if whole else (worst if higher else -worst)
        density = here.density if here is not None else math.nan
        merit = value if higher else -value
        found.append((merit, Outcome(value, lr, level, density, dict(trials))))
    return max(found, key=lambda pair: pair[0])[1]


def _column(records: list[Record], asked: Objective, measured: Measured) -> str:
    """Return what summaries call the objective."""
    if asked.measure == EARLY:
        return EARLY
    wanted = measured if asked.measure is None else measured._replace(metric=asked.measure)
    return f"{asked.split}_{valued({r.metric: None for r in records}, wanted)}"


def _refuse(asked: Objective, here: Summary) -> None:
    ends = [n.partition("_") for n in here.values if not n.endswith("_end")]
    known = [rest for split, _, rest in ends if split == asked.split] + [EARLY]
    near = nearest(str(asked.measure), known)
    raise LthError(f"optimize={asked.measure}: not measured on {asked.split}{near}")


def shown_as(asked: Objective, config: Mapping[str, Any], values: Iterable[float]) -> Judged:
    """Return how an objective's numbers are written: a share in percent."""
    measure = asked.measure or measured_of(config).metric
    higher = is_higher_better(asked, config)
    finite = [v for v in values if math.isfinite(v)]
    share = higher and bool(finite) and all(0 <= v <= 1 for v in finite)
    return Judged(asked.split, measure, higher, share)
