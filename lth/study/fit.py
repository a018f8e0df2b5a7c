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

from lth.errors import LthError
from lth.measured import measured_of
from lth.records.budget import VALIDATION, Weighed, weighed
from lth.records.record import write_table
from lth.spec.build import digest
from lth.spec.plain import short
from lth.study.fit_search import LIMITED, Limit, Search, search_of, with_value
from lth.study.progress import Display
from lth.study.run import execute
from lth.study.setup import Setup, prepare
from lth.types import WINNER

MOST = 8
"""Values that bisecting tries, at most."""

LONGEST = 60
"""Letters that a value adds to the name of its study, at most."""


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


def _setups(
    search: Search, base: Mapping[str, Any], tried: list[Tried]
) -> Iterator[tuple[Setup, Any]]:
    """Yield a study for every value to try; listed ones and ends are checked first."""

    def setup(value: Any) -> Setup:
        name = _label(f"{search.knob.rpartition('.')[2]}-{value}")
        given = with_value(base, search.knob, value)
        return prepare({**given, "name": f"{base['name']}-{name}"})

    if search.values:
        yield from [(setup(value), value) for value in search.values]
        return
    ends = {value: setup(value) for value in (search.low, search.high)}
    for value in _bisected(search, tried):
        yield ends.get(value) or setup(value), value


def _label(text: str) -> str:
    """Return a text as a part of a folder's name; the end of a long one is its digest's."""
    name = re.sub(r"[^\w.+-]", "_", text)
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 9]}-{digest(text)[:8]}"


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


def typed(value: Any) -> str:
    """Write a setting's value as it is typed on the command line: Hydra's words for it.

    >>> typed({"fc1": 3, "*": None}), typed(["a b", True])
    ('{fc1:3,*:null}', "['a b',true]")
    """
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, Mapping):
        pairs = (f"{re.sub(KEY, BEHIND, str(k))}:{typed(v)}" for k, v in value.items())
        return f"{{{','.join(pairs)}}}"
    if isinstance(value, list | tuple):
        return f"[{','.join(map(typed, value))}]"
    if isinstance(value, str) and not re.fullmatch(PLAIN, value):
        return "'" + re.sub(r"(\\*)('|$)", _quoted, value) + "'"
    return str(value)


def _quoted(found: re.Match[str]) -> str:
    """Double the backslashes before a quote or the end, where alone they mean something."""
    behind, quote = found.groups()
    return behind * 2 + (f"\\{quote}" if quote else "")


KEY, BEHIND = r"[\\()\[\]{}:=, \t]", r"\\\g<0>"
"""What a key of Hydra's has a backslash before, for it takes no quotes."""

PLAIN = r"(?i:(?!(null|true|false|inf|nan)$))[A-Za-z_][\w./*-]*"
"""A text that Hydra takes for one without quotes."""


def _say(display: Display, search: Search, best: Tried, path: Path, command: Sequence[str]) -> None:
    costs = ", ".join(f"{n} {best.costs[n]:,.6g}" for n in _shown(search))
    display.say(
        f"chosen: {search.knob}={short(best.value)} ({best.arm}, level {best.level}): {costs}; "
        f"validation {best.validation:.4f}, test {best.test:.4f}"
    )
    kept = [a for a in command if not a.startswith(("action=", "fit.", "fit=", f"{search.knob}="))]
    given = shlex.join([*kept, f"{search.knob}={typed(best.value)}"])
    display.say(f"to run it: lth {given}\ntable:  {path}")
