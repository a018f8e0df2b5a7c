"""The table of budgets: one row per network, what it costs beside what it gives."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

from rich.markup import escape
from rich.table import Table

from lth.measured import Measured
from lth.records.budget import TEST, Weighed, judged_of, ratios, weighed
from lth.records.intervals import grouped
from lth.records.judged import ACCURACY, Judged
from lth.records.levels import shown_levels
from lth.records.record import Record
from lth.records.statistics import percent
from lth.records.table import plain_table

WIDE = 100
"""Columns of a terminal that hold what is counted beside bytes, too."""

NARROW, LEAST = 64, 48
"""Below so many columns there is no room for multiply-adds; for ratios and intervals."""

NAME = 16
"""Least columns of a name."""

SHORT = 5
"""Levels of an arm in a short table, at most, but for those that a user has named."""


def budget_tables(
    records: Iterable[Record], width: int = 80, measured: Measured = ACCURACY, full: bool = True
) -> list[Table]:
    """Return a table per learning rate of the networks that have been weighed; none: no table.

    A short one has some levels, and of a method's phases the last.
    """
    records = list(records)
    rows, what = weighed(records), judged_of(records, measured)
    if not rows:
        return []
    every = list(zip(rows, ratios(rows), strict=True))
    kept = every if full else _some(every, shown_levels(records, measured, SHORT))
    rates = grouped(kept, lambda row: row[0].spot.lr)
    tables = [_table(own, what, width, len(rates) > 1) for own in rates.values()]
    if len(kept) < len(every):
        tables[0].title = f"{tables[0].title}; {len(kept)} of {len(every)} (all: table=full)"
    return tables


def _some(
    rows: Sequence[tuple[Weighed, float]], levels: Mapping[float, Sequence[int]]
) -> list[tuple[Weighed, float]]:
    last = {(w.spot.lr, w.spot.arm, w.spot.level): w.spot.phase for w, _ in rows}
    return [
        (w, ratio) for w, ratio in rows
        if w.spot.level in levels[w.spot.lr]
        and w.spot.phase == last[w.spot.lr, w.spot.arm, w.spot.level]
    ]  # fmt: skip


def _table(rows: Sequence[tuple[Weighed, float]], what: Judged, width: int, several: bool) -> Table:
    trials = max((len(w.trials.get("bytes", ())) for w, _ in rows), default=0)
    rate = f"lr {rows[0][0].spot.lr:g}; " * several
    over = f"mean of {trials} trials" if trials > 1 else "one trial"
    table = plain_table(
        f"budget at the end of training, packed: {rate}{over}; ratio to the dense float32"
    )
    columns = _columns(rows, what, width)
    table.add_column("network", overflow="fold", min_width=min(NAME, width // 4))
    for head in columns:
        table.add_column(head, justify="right", no_wrap=True)
    for found, ratio in rows:
        spot = found.spot
        name = "dense network" if spot.level == 0 else spot.arm.replace("_", " ")
        cells = (write(found, ratio) for write in columns.values())
        table.add_row(escape(name), *cells, style="dim" if spot.level == 0 else "")
    return table


Write = Callable[[Weighed, float], str]
"""Writes a cell of a network and its ratio to the dense one."""


def _columns(rows: Sequence[tuple[Weighed, float]], what: Judged, width: int) -> dict[str, Write]:
    """Return what is shown of a network, by head: the more, the wider the terminal is."""
    columns: dict[str, Write] = {"level": lambda w, _: str(w.spot.level)}
    if len({(w.spot.arm, w.spot.level) for w, _ in rows}) < len(rows):
        columns["phase"] = lambda w, _: str(w.spot.phase or "")
    if width >= WIDE:
        columns["density"] = lambda w, _: percent(w.density)
        columns |= {n: _counted(n) for n in ("params", "nonzeros")}
    columns["kB"] = lambda w, _: kilo(w.mean("bytes"))
    if width >= LEAST:
        columns["ratio"] = lambda _, ratio: times(ratio)
    if width >= NARROW:
        columns["MACs"] = _counted("macs")
    if width >= WIDE:
        columns |= {"nonzero": _counted("macs_nonzero"), "search": _counted("search_macs")}
    if any(TEST in w.values for w, _ in rows):
        half = width >= LEAST
        columns[f"{what.split}{' %' * what.share}"] = lambda w, _: _score(w, what, half)
    return columns


def _counted(name: str) -> Write:
    return lambda found, _: short(found.mean(name)) if name in found.values else "-"


def _score(found: Weighed, what: Judged, half: bool) -> str:
    value = found.values.get(TEST)
    if value is None:
        return "-"
    return what.with_half(value) if half else what.text(value.mean)


def short(count: float) -> str:
    """Write a count to three digits.

    >>> short(266200), short(2.293e6), short(431), short(1.2e13)
    ('266k', '2.29M', '431', '12.0T')
    """
    if not math.isfinite(count):
        return "-"
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= 0.9995 * size:
            return f"{_three(count / size)}{letter}"
    return f"{count:.0f}"


def kilo(size: float) -> str:
    """Write bytes in kB (1,000 bytes) to three digits.

    >>> kilo(26640), kilo(1066440), kilo(431)
    ('26.6', '1,066', '0.431')
    """
    return _three(size / 1000)


def times(ratio: float) -> str:
    """Write how many times smaller something is.

    >>> times(40.03), times(1.0), times(float("nan"))
    ('40.0x', '1.00x', '-')
    """
    return f"{_three(ratio)}x" if math.isfinite(ratio) else "-"


def _three(value: float) -> str:
    if value >= 99.95:
        return f"{value:,.0f}"
    digits = 1 if value >= 9.995 else 2 if value >= 0.9995 else 3
    return f"{value:.{digits}f}"
