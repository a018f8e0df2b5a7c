"""The knob of a method for a budget: values are tried, and the best that fits is chosen.

What fits is known from the records; which of that is best is judged on validation examples of the
packed file. Test values are shown of the chosen one alone.
"""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from rich.table import Table

from lth.config import FIT
from lth.errors import LthError, nearest
from lth.measured import measured_of
from lth.records.budget import QUANTITIES, VALIDATION, Weighed, weighed
from lth.records.record import write_table
from lth.spec.argument_types import one_of
from lth.spec.plain import short
from lth.study.progress import Display
from lth.study.run import execute
from lth.study.setup import Setup, prepare
from lth.types import WINNER

LIMITED = (*QUANTITIES, "density")
"""What a budget may limit."""

MOST = 8
"""Values that bisecting tries, at most."""


class Limit(NamedTuple):
    """What a network may cost: ``bytes <= 27000``."""

    name: str
    most: float


class Tried(NamedTuple):
    """A value of the knob, and what a network that it gives costs and is worth."""

    value: Any
    arm: str
    level: int
    lr: float
    density: float
    costs: dict[str, float]
    validation: float
    test: float
    fits: bool


@dataclass(frozen=True, repr=False)
class Fitted:
    """The value that was chosen, all that were tried, and the settings that give it."""

    chosen: Tried
    tried: tuple[Tried, ...]
    knob: str
    settings: dict[str, Any]

    @property
    def value(self) -> Any:
        """The knob's value."""
        return self.chosen.value

    def __repr__(self) -> str:
        one = self.chosen
        return (
            f"Fitted({self.knob}={short(one.value)}: {one.arm}, level {one.level}, validation "
            f"{one.validation:.4f}; {len(self.tried)} networks tried)"
        )


@dataclass(frozen=True)
class Search:
    """What is asked for: a knob by its dotted place, values or a range, limits."""

    knob: str
    values: tuple[Any, ...]
    low: float | None
    high: float | None
    limits: tuple[Limit, ...]
    of: str

    def fits(self, row: Weighed) -> bool:
        """Whether a network keeps to every limit: in all trials, or in their mean."""
        return all(self.cost(row, limit.name) <= limit.most for limit in self.limits)

    def cost(self, row: Weighed, name: str) -> float:
        """Return what is held to the limit; NaN, which fits none, where it is not known."""
        if name == "density":
            return row.density
        values = list(row.trials.get(name, {}).values())
        if not values:
            return math.nan
        return max(values) if self.of == "all" else sum(values) / len(values)


def fit_study(config: Mapping[str, Any], display: Display, command: Sequence[str] = ()) -> Fitted:
    """Try values of a knob, say which is best within the budget, and the command that gives it."""
    search = search_of(config)
    base = {**config, "action": "run", "fit": None, "budget": True}
    tried, folders = list[Tried](), list[Path]()
    for setup, value in _setups(search, base, tried):
        found = _tried(search, setup, value, display)
        tried += found
        folders.append(setup.folder)
        if not found:
            raise LthError(f"fit: {search.knob}={short(value)}: no network was weighed")
    path = Path(config["out"]) / "fit" / f"{config['name']}.csv"
    write_table(path, _header(search), [_row(search, t) for t in tried])
    higher = measured_of(config).higher
    able = [t for t in tried if t.fits and not math.isnan(t.validation)]
    display.say(_table(search, tried))
    if not able:
        near = min(tried, key=lambda t: _excess(search, t))
        raise LthError(
            f"fit: none of {len(tried)} networks keeps to {_words(search.limits)}; nearest is "
            f"{search.knob}={short(near.value)} with "
            + ", ".join(f"{m.name} {near.costs[m.name]:,.6g}" for m in search.limits)
        )
    best = max(able, key=lambda t: t.validation if higher else -t.validation)
    _say(display, search, best, path, command)
    settings = with_value({**config, "action": "run", "fit": None}, search.knob, best.value)
    return Fitted(best, tuple(tried), search.knob, settings)


def search_of(config: Mapping[str, Any]) -> Search:
    """Read what is asked for; anything that cannot be is refused before work."""
    given = config.get("fit") or {}
    if not isinstance(given, Mapping):
        raise LthError(f"fit={short(given)}: fit.knob=..., fit.values=[...], fit.budget=...")
    for name in given:
        if name not in FIT:
            raise LthError(f"fit.{name}: no such setting{nearest(name, FIT)}")
    knob, values, low, high = (given.get(n) for n in ("knob", "values", "low", "high"))
    if not isinstance(knob, str) or not knob:
        raise LthError("fit.knob: name the setting to choose, such as fit.knob=prune.rate")
    if values is not None and not (isinstance(values, list) and values):
        raise LthError(f"fit.values={short(values)}: a list of values to try, such as [2,3,4]")
    numbers = [type(n) in (int, float) for n in (low, high)]
    if (values is None) == (low is None and high is None) or (values is None and not all(numbers)):
        raise LthError("fit: give fit.values=[...], or fit.low and fit.high, numbers to bisect")
    if values is None and not low < high:  # type: ignore[operator]
        raise LthError(f"fit.low={low} must be below fit.high={high}")
    of = one_of("fit.trials", given.get("trials") or "all", ("all", "mean"))
    with_value(config, knob, None)
    return Search(knob, tuple(values or ()), low, high, _limits(given.get("budget")), of)


def _limits(given: Any) -> tuple[Limit, ...]:
    found = []
    for text in given if isinstance(given, list) else [given]:
        parts = re.fullmatch(r"\s*(\w+)\s*<=\s*([\d._]+(?:[eE][+-]?\d+)?)\s*", str(text))
        if parts is None:
            raise LthError(f"fit.budget={short(text)}: such as fit.budget='bytes<=27000'")
        if parts[1] not in LIMITED:
            raise LthError(f"fit.budget: no {parts[1]} is counted{nearest(parts[1], LIMITED)}")
        try:
            found.append(Limit(parts[1], float(parts[2])))
        except ValueError:
            raise LthError(f"fit.budget={short(text)}: {parts[2]} is no number") from None
    return tuple(found)


def with_value(config: Mapping[str, Any], place: str, value: Any) -> dict[str, Any]:
    """Return settings with another value at a dotted place, which must be there already."""

    def changed(node: Any, path: list[str]) -> Any:
        if not path:
            return value
        name, rest = path[0], path[1:]
        if isinstance(node, Mapping) and name in node:
            return {**node, name: changed(node[name], rest)}
        if isinstance(node, list) and name.isdecimal() and int(name) < len(node):
            return [changed(n, rest) if i == int(name) else n for i, n in enumerate(node)]
        known = node if isinstance(node, Mapping) else range(len(node or ()))
        raise LthError(f"fit.knob={place}: there is no {name}{nearest(name, map(str, known))}")

    return changed(config, place.split("."))


def _setups(
    search: Search, base: Mapping[str, Any], tried: list[Tried]
) -> Iterator[tuple[Setup, Any]]:
    """Yield a study for every value to try; listed ones and ends are checked first."""

    def setup(value: Any) -> Setup:
        name = re.sub(r"[^\w.+-]", "_", f"{search.knob.rpartition('.')[2]}-{value}")
        given = with_value(base, search.knob, value)
        return prepare({**given, "name": f"{base['name']}-{name}"})

    if search.values:
        yield from [(setup(value), value) for value in search.values]
        return
    ends = {value: setup(value) for value in (search.low, search.high)}
    for value in _bisected(search, tried):
        yield ends.get(value) or setup(value), value


def _bisected(search: Search, tried: list[Tried]) -> Iterator[Any]:
    """Yield both ends, then the middle of what fits and what does not: where a budget is met."""
    low, high = search.low, search.high
    assert low is not None and high is not None
    whole = type(low) is int and type(high) is int
    yield from (low, high)

    def fits(value: Any) -> bool:
        return any(t.fits for t in tried if t.value == value)

    ends = fits(low), fits(high)
    if ends[0] == ends[1]:
        return
    for _ in range(MOST):
        middle = (low + high) // 2 if whole else (low + high) / 2
        if middle in (low, high):
            return
        yield middle
        low, high = (middle, high) if fits(middle) == ends[0] else (low, middle)


def _tried(search: Search, setup: Setup, value: Any, display: Display) -> list[Tried]:
    """Run a study and return what its networks cost, those of methods where it has some."""
    display.note(f"fit: {search.knob}={short(value)}")
    journal = execute(setup, display)
    journal.logged.finish(journal.records, journal.curves, [], [])
    rows = weighed([r for r in journal.records if r.member in journal.seen])
    arms = set(setup.parts.methods) or set(setup.parts.arms) | {WINNER}
    last: dict[tuple[float, str, int], Weighed] = {}
    for row in rows:
        spot = row.spot
        if spot.arm in arms and (spot.arm != WINNER or spot.level > 0):
            last[spot.lr, spot.arm, spot.level] = row  # phases come in order
    return [
        Tried(
            value, row.spot.arm, row.spot.level, row.spot.lr, row.density,
            {n: search.cost(row, n) for n in LIMITED},
            row.mean(VALIDATION), row.mean("test"), search.fits(row),
        )
        for row in last.values()
    ]  # fmt: skip


def _excess(search: Search, tried: Tried) -> float:
    return max(tried.costs[m.name] / m.most if m.most else math.inf for m in search.limits)


def _words(limits: Sequence[Limit]) -> str:
    return ", ".join(f"{m.name}<={m.most:,.10g}" for m in limits)


def _shown(search: Search) -> list[str]:
    return list(dict.fromkeys([*(m.name for m in search.limits), "bytes", "params"]))


def _header(search: Search) -> list[str]:
    return [search.knob, "arm", "level", "lr", *_shown(search), "validation", "fits"]


def _row(search: Search, tried: Tried) -> list[Any]:
    costs = [tried.costs[n] for n in _shown(search)]
    return [tried.value, tried.arm, tried.level, tried.lr, *costs, tried.validation, tried.fits]


def _table(search: Search, tried: Sequence[Tried]) -> Table:
    table = Table(*_header(search), title=f"fit: {_words(search.limits)}", title_justify="left")
    for one in tried:
        *first, validation, fits = _row(search, one)
        cells = [f"{c:,.6g}" if isinstance(c, float) else short(c).strip("'") for c in first]
        table.add_row(*cells, f"{validation:.4f}", "yes" if fits else "no")
    return table


def _say(display: Display, search: Search, best: Tried, path: Path, command: Sequence[str]) -> None:
    costs = ", ".join(f"{n} {best.costs[n]:,.6g}" for n in _shown(search))
    display.say(
        f"chosen: {search.knob}={short(best.value)} ({best.arm}, level {best.level}): {costs}; "
        f"validation {best.validation:.4f}, test {best.test:.4f}"
    )
    kept = [a for a in command if not a.startswith(("action=", "fit.", "fit=", f"{search.knob}="))]
    given = shlex.join([*kept, f"{search.knob}={best.value}"])
    display.say(f"to run it: lth {given}\ntable:  {path}")
